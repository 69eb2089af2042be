package nats

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/auth/jobs"
)

const eventSubject = "cc.job.event"

// started returns the event of ann's job that has just started on e1.
func started(id int, cluster string) []byte {
	job := fmt.Sprintf(`{"jobId":%d,"user":"ann","project":"p","cluster":%q,"startTime":%d,"resources":[{"hostname":"e1"}]}`,
		id, cluster, time.Now().Unix()-100)
	return []byte("job,function=start_job event=" + strconv.Quote(job) + " 1795200000000000000\n")
}

// subscribeEvents adds a subject for events of slurmctld.
func subscribeEvents(h *harness, authorization Authorization) *jobs.Index {
	index := jobs.New(jobs.Options{Keep: time.Hour})
	h.options.Subjects = append(h.options.Subjects, Subject{
		Subject: eventSubject, Authorization: authorization, Events: jobs.NewEvents(index, []jobs.Publisher{{Issuer: issuerName, Subject: "slurmctld"}}),
	})
	return index
}

func slurmctld(roles ...string) string {
	return issuer.Token(claims(map[string]any{"sub": "slurmctld", "roles": append([]string{}, roles...)}))
}

func event(id int, cluster string, header ...string) *natsgo.Msg {
	m := message(string(started(id, cluster)), header...)
	m.Subject = eventSubject
	return m
}

func TestJobEventsByHeader(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	index := subscribeEvents(h, Header)
	c := connect(t, addressOf(h.withPassword().subscribe("")), natsgo.UserInfo(withPassword()))
	refused := func(code string, header ...string) {
		t.Helper()
		before := h.sum("ringstore_nats_refused_total", eventSubject, code)
		publish(t, c, event(1, "alpha", header...))
		eventually(t, "refused: "+code, func() bool { return h.sum("ringstore_nats_refused_total", eventSubject, code) == before+1 })
	}
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	refused("missing")
	refused("insufficient_role", bearer(token("api"))...)
	refused("insufficient_role", bearer(token("user", "manager", "support", "api"))...)
	refused("expired", bearer(issuer.Token(claims(map[string]any{"sub": "slurmctld", "exp": time.Now().Unix() - 100})))...)
	failed := h.sum("ringstore_nats_failed_total", eventSubject)
	publish(t, c, event(1, "alpha", append(bearer(slurmctld()), "Content-Encoding", "gzip")...), message(line("h"), bearer(slurmctld())...))
	eventually(t, "compressed events fail", func() bool { return h.sum("ringstore_nats_failed_total", eventSubject) == failed+1 })
	eventually(t, "a publisher of events may not write", func() bool { return h.sum("ringstore_nats_refused_total", subject) == 1 })
	if n := index.Size(); n.Jobs != 0 || h.stored("h") {
		t.Errorf("%+v", n)
	}
	publish(t, c, event(1, "alpha", bearer(slurmctld())...), event(2, "gamma", bearer(token("admin"))...))
	eventually(t, "both are known", func() bool { return index.Size().Jobs == 2 })
	mustContain(t, "the audit", h.audit.String(), `"peer":"`+eventSubject+`"`)
}

func TestJobEventsByConnection(t *testing.T) {
	t.Parallel()
	var index *jobs.Index
	connectionModes(t, func(h *harness) { index = subscribeEvents(h, Connection) }, func(t *testing.T, h *harness, address string) {
		publishEvent := func(c *natsgo.Conn) error { return c.Publish(eventSubject, started(1, "alpha")) }
		collector := token("api")
		mayNot(t, address, "publishing job events", publishEvent, natsgo.UserInfo("collector", collector))
		mayNot(t, address, "writing", func(c *natsgo.Conn) error { return c.Publish(subject, []byte(line("h"))) }, natsgo.UserInfo("x", slurmctld()))
		if n := index.Size(); n.Jobs != 0 {
			t.Errorf("%+v", n)
		}
		publish(t, connect(t, address, natsgo.UserInfo("x", slurmctld())), event(1, "alpha"))
		publish(t, connect(t, address, natsgo.UserInfo("x", token("admin"))), event(2, "gamma"), plain(subject, "h2"))
		eventually(t, "both are known", func() bool { return index.Size().Jobs == 2 && h.stored("h2") })
		eventually(t, "the index has heard of its source", func() bool { return index.EventsAliveAt() > 0 })
		if h.stored("h") {
			t.Error("a publisher of events has written")
		}
	})
}

func TestSubjectsOfEvents(t *testing.T) {
	events := jobs.NewEvents(jobs.New(jobs.Options{Keep: time.Hour}), nil)
	f := func(ok bool, subjects ...Subject) {
		t.Helper()
		if _, err := mergeSubjects(subjects); ok != (err == nil) {
			t.Errorf("%+v: %v", subjects, err)
		}
	}
	f(false, Subject{Subject: "a", Events: events, Authorization: Trusted})
	f(false, Subject{Subject: "a", Events: events, Stream: "S", Durable: "d"})
	f(false, Subject{Subject: "a", Events: events}, Subject{Subject: "a"})
	f(false, Subject{Subject: "a.b", Events: events, Authorization: Connection}, Subject{Subject: "a.*", Authorization: Connection})
	f(false, Subject{Subject: ">", Authorization: Header}, Subject{Subject: "a.b", Events: events, Authorization: Connection})
	f(true, Subject{Subject: ">"}, Subject{Subject: "a.b", Events: events})
	f(true, Subject{Subject: "a.b", Events: events, Authorization: Connection}, Subject{Subject: "a.c", Authorization: Connection})
}
