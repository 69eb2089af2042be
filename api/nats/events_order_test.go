package nats

import (
	"slices"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/auth"
)

// diary takes events and writes down when each begins and ends.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

func (*diary) May(*auth.Principal) (func(string) bool, error) { return nil, nil }
func (*diary) MarkAlive()                                     {}
func (d *diary) MarkLost()                                    { d.note("lost") }

func (d *diary) Handle(_ func(string) bool, message []byte) error {
	d.note("begin " + string(message))
	time.Sleep(20 * time.Millisecond) // in which another worker would begin
	d.note("end " + string(message))
	return nil
}

// A job that ends in the second in which it began would stay open for ever if
// its end were taken first.
func TestEventsAreTakenInTheirOrder(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := new(diary)
	h.options.Workers = 4
	h.options.Subjects = append(h.options.Subjects, Subject{Subject: eventSubject, Events: d})
	s := h.subscribe("")
	var messages []*natsgo.Msg
	var want []string
	for _, name := range []string{"a", "b", "c", "d"} {
		m := message(name, "Authorization", "Bearer "+slurmctld())
		m.Subject = eventSubject
		messages, want = append(messages, m), append(want, "begin "+name, "end "+name)
	}
	publish(t, connect(t, addressOf(s)), messages...)
	eventually(t, "all are taken", func() bool { return len(d.read()) == len(want) })
	if got := d.read(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// One that is dropped may be the end of a job.
func TestEventsThatAreDroppedAreToldOf(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := new(diary)
	h.options.PendingMessages = 2
	h.options.Subjects = append(h.options.Subjects, Subject{Subject: eventSubject, Events: d})
	c := connect(t, addressOf(h.subscribe("")))
	var flood []*natsgo.Msg
	for range 20 {
		flood = append(flood, event(1, "alpha", "Authorization", "Bearer "+slurmctld()))
	}
	publish(t, c, flood...)
	eventually(t, "it is told", func() bool { return slices.Contains(d.read(), "lost") })
}
