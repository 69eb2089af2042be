package nats

import (
	"slices"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/auth"
)

// eventRecorder handles events and records when each begins and ends.
type eventRecorder struct {
	mu    sync.Mutex
	lines []string
}

func (d *eventRecorder) record(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *eventRecorder) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

func (*eventRecorder) May(*auth.Principal) (func(string) bool, error) { return nil, nil }
func (*eventRecorder) MarkAlive()                                     {}
func (d *eventRecorder) MarkLost()                                    { d.record("lost") }

func (d *eventRecorder) Handle(_ func(string) bool, message []byte) error {
	d.record("begin " + string(message))
	time.Sleep(20 * time.Millisecond) // enough for another worker to begin
	d.record("end " + string(message))
	return nil
}

// If the end of a short job were handled before its start, the job would never end.
func TestEventsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	d := new(eventRecorder)
	h.options.Workers = 4
	h.options.Subjects = append(h.options.Subjects, Subject{Subject: eventSubject, Events: d})
	s := h.withPassword().subscribe("")
	var messages []*natsgo.Msg
	var want []string
	for _, name := range []string{"a", "b", "c", "d"} {
		m := message(name, "Authorization", "Bearer "+slurmctld())
		m.Subject = eventSubject
		messages, want = append(messages, m), append(want, "begin "+name, "end "+name)
	}
	publish(t, connect(t, addressOf(s), natsgo.UserInfo(withPassword())), messages...)
	eventually(t, "all are taken", func() bool { return len(d.read()) == len(want) })
	if got := d.read(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// A dropped event may be the end of a job.
func TestDroppedEventsAreMarkedLost(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	d := new(eventRecorder)
	h.options.PendingMessages = 2
	h.options.Subjects = append(h.options.Subjects, Subject{Subject: eventSubject, Events: d})
	c := connect(t, addressOf(h.withPassword().subscribe("")), natsgo.UserInfo(withPassword()))
	var flood []*natsgo.Msg
	for range 20 {
		flood = append(flood, event(1, "alpha", "Authorization", "Bearer "+slurmctld()))
	}
	publish(t, c, flood...)
	eventually(t, "it is logged", func() bool { return slices.Contains(d.read(), "lost") })
}
