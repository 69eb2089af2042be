package jobs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/auth"
)

// line writes an event as cc-backend's adapters do.
func line(function, event string) string {
	return "job,function=" + function + " event=" + strconv.Quote(event) + " 1795200000000000000\n"
}

func start(id int64, user string, at int64, more string) string {
	return line("start_job", fmt.Sprintf(`{"jobId":%d,"user":%q,"project":"p","cluster":"emmy","startTime":%d,"resources":[{"hostname":"h1"}]%s}`, id, user, base+at, more))
}

func stop(id, started, stopped int64) string {
	return line("stop_job", fmt.Sprintf(`{"jobId":%d,"cluster":"emmy","startTime":%d,"stopTime":%d,"jobState":"completed"}`, id, base+started, base+stopped))
}

// tell hands a message over as a broker does that knows its sender.
func tell(e *Events, p *auth.Principal, message []byte) error {
	may, err := e.May(p)
	if err != nil {
		return err
	}
	return e.Handle(may, message)
}

// A token that may write samples, or do anything else, may not tell of jobs.
func TestEventsAreAcceptedOfPublishersOnly(t *testing.T) {
	f := func(p *auth.Principal, accepted bool, publishers ...string) {
		t.Helper()
		ix := new(clock).index()
		err := tell(NewEvents(ix, publishers), p, []byte(start(1, "ann", -100, "")))
		if accepted != (err == nil) || !accepted && !errors.Is(err, ErrPublisher) {
			t.Errorf("%+v: %v", p, err)
		}
		if visible := seen(ix.own("ann"), "h1") != ""; visible != accepted {
			t.Errorf("%+v: visible %v", p, visible)
		}
	}
	of := func(issuer, subject string, roles auth.Roles) *auth.Principal {
		return &auth.Principal{Issuer: issuer, Subject: subject, Roles: roles}
	}
	f(nil, false, "slurmctld", "")
	f(of("", "", 0), false)
	f(of("i", "collector", auth.API), false, "slurmctld")
	f(of("i", "ann", auth.User|auth.Manager|auth.Support|auth.API), false, "slurmctld")
	f(of("i", "Slurmctld", auth.API), false, "slurmctld")
	f(of("i", "slurmctld", auth.API), false)
	f(of("other", "slurmctld", auth.API), false, "i:slurmctld")
	f(of("other", "i:slurmctld", auth.API), false, "i:slurmctld")
	f(of("i", "slurmctld", auth.API), true, "i:slurmctld")
	f(of("i", "system:slurmctld", auth.API), true, "i:system:slurmctld")
	f(of("i", "slurmctld", 0), true, "slurmctld")
	f(of("i", "root", auth.Admin), true)
	limited := of("i", "root", auth.Admin)
	limited.Clusters = []string{"fritz"}
	f(limited, false)
	limited = of("i", "slurmctld", auth.API)
	limited.Clusters = []string{"fritz"}
	f(limited, false, "slurmctld")
	limited = of("i", "root", auth.Admin)
	limited.Limited = []auth.MappedRole{{Role: auth.Admin, Clusters: []string{"fritz"}}}
	f(limited, false)
	limited.Limited[0].Clusters = []string{"emmy"}
	f(limited, true)
}

func TestBadEvents(t *testing.T) {
	f := func(name, message string) {
		t.Run(name, func(t *testing.T) {
			ix := new(clock).index()
			err := tell(NewEvents(ix, nil), admin(), []byte(message+"\n"+start(2, "bob", -10, "")))
			if !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v", err)
			}
			if n := ix.Size(); n.Jobs != 1 {
				t.Errorf("%+v: the good event counts, and no other", n)
			}
		})
	}
	f("no line", "hunter2")
	f("another measurement", strings.Replace(start(1, "ann", -10, ""), "job,", "jobs,", 1))
	f("no event", `job,function=start_job hunter2="{}" 1`)
	f("a number", `job,function=start_job event=1 1`)
	f("no function", strings.Replace(start(1, "ann", -10, ""), ",function=start_job", "", 1))
	f("another function", strings.Replace(start(1, "ann", -10, ""), "start_job", "start_jobs", 1))
	f("no JSON", line("start_job", "hunter2"))
	f("a list", line("start_job", "[]"))
	f("two values", line("start_job", "{}{}"))
	f("nothing in it", line("start_job", "{}"))
	f("no user", start(1, "", -10, ""))
	f("text for a number", line("start_job", `{"jobId":"hunter2"}`))
	f("no resources", start(1, "ann", -10, `,"resources":[]`))
	f("the end of an unknown job", stop(7, -10, 0))
	f("no stop", line("stop_job", "{}"))
}

func TestAMessageIsBounded(t *testing.T) {
	ix := new(clock).index()
	e := NewEvents(ix, nil)
	if err := tell(e, admin(), make([]byte, maxMessage+1)); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if err := tell(e, admin(), []byte(strings.Repeat("job x=1\n", maxEvents+5))); !errors.Is(err, ErrInvalid) || len(err.Error()) > 1000 {
		t.Error(err)
	}
}

// step is an event, or a report of cc-backend, or time that passes.
type step func(ix *Index, c *clock) error

func event(text string) step {
	return func(ix *Index, _ *clock) error { return tell(NewEvents(ix, nil), admin(), []byte(text)) }
}

func told(r Report) step { return func(ix *Index, _ *clock) error { return ix.Apply(r) } }

// quiet lets seconds pass in which no event is heard.
func quiet(seconds int64) step {
	return func(_ *Index, c *clock) error { c.now += seconds; return nil }
}

func heard(ix *Index, _ *clock) error { NewEvents(ix, nil).MarkAlive(); return nil }

func lost(ix *Index, _ *clock) error { NewEvents(ix, nil).MarkLost(); return nil }

func TestEvents(t *testing.T) {
	f := func(name, want string, steps ...step) {
		t.Run(name, func(t *testing.T) {
			c := new(clock)
			ix := c.index()
			for _, s := range steps {
				if s == nil {
					ix = reloaded(t, ix, c)
					continue
				}
				ok(t, s(ix, c))
			}
			if got := seen(ix.own("ann"), "h1"); got != want {
				t.Errorf("seen %s, want %s", got, want)
			}
		})
	}
	begin := event(start(1, "ann", -100, ""))
	job := jobOn("ann", 1, base-100, base-20, "h1")
	f("it starts", "[-100 open)", begin)
	f("it starts and stops", "[-100 -10)", begin, event(stop(1, -100, -10)))
	f("both in one message", "[-100 -10)", event(start(1, "ann", -100, "")+stop(1, -100, -10)))
	f("it stops twice", "[-100 -10)", begin, event(stop(1, -100, -10)), event(stop(1, -100, 50)))
	f("it starts again after its end", "[-100 -10)", begin, event(stop(1, -100, -10)), begin)
	f("another says it is his", "[-100 open)", begin, event(start(1, "bob", -100, "")))
	f("it is another's", "", event(start(1, "bob", -100, "")), event(start(1, "ann", -100, "")))
	f("no event for a while", "[-100 open)", begin, quiet(600))
	f("none for too long", "[-100 0)", begin, quiet(601))
	f("they come again", "[-100 0)", begin, quiet(601), heard)
	f("they come again, with its end", "[-100 300)", begin, quiet(601), event(stop(1, -100, 300)))
	f("they came all the time", "[-100 open)", begin, quiet(599), heard, quiet(599))
	f("some were lost", "[-100 0)", begin, lost, quiet(60), heard)
	f("some were lost, and its end was not", "[-100 30)", begin, lost, event(stop(1, -100, 30)))
	f("some were lost, and cc-backend sees it", "[-100 30)", begin, lost, told(Report{jobOn("ann", 1, base-100, 0, "h1"), true, base + 30}))
	var restart step
	f("a restart", "[-100 open)", begin, restart)
	f("a restart, and its end", "[-100 -10)", begin, restart, event(stop(1, -100, -10)))
	f("a restart, and its end was lost", "[-100 -50)", begin, restart, event(start(2, "bob", -50, "")))
	f("a long restart", "[-100 0)", begin, quiet(601), restart)
	f("a long restart, and they come again", "[-100 0)", begin, quiet(601), restart, heard)
	f("its end was lost", "[-100 -50)", begin, event(start(2, "bob", -50, "")))
	f("its end was lost, and others share the node", "[-100 -50)", begin,
		event(start(2, "bob", -50, `,"shared":"multi_user","resources":[{"hostname":"h1","hwthreads":[2]}]`)))
	alone := `,"shared":"single_user"`
	f("both are hers", "[-100 open)[-50 open)", event(start(1, "ann", -100, alone)), event(start(2, "ann", -50, alone)))
	f("and one of them ends", "[-100 open)[-50 0)", event(start(1, "ann", -100, alone)), event(start(2, "ann", -50, alone)), event(stop(2, -50, 0)))
	f("it shares the node", "[-100 open)[1] []", event(start(1, "ann", -100, `,"shared":"multi_user","resources":[{"hostname":"h1","hwthreads":[1]}]`)),
		event(start(2, "bob", -50, `,"shared":"multi_user","resources":[{"hostname":"h1","hwthreads":[2]}]`)))
	f("devices are named, sharing is not", "[-100 open)[1] []", event(start(1, "ann", -100, `,"resources":[{"hostname":"h1","hwthreads":[1]}]`)))
	f("an unknown kind of sharing", "[-100 open)[] []", event(start(1, "ann", -100, `,"shared":"perhaps"`)))
	f("cc-backend knows the end", "[-100 -20)", begin, told(Report{Job: job}))
	f("and an event another one", "[-100 -20)", begin, told(Report{Job: job}), event(stop(1, -100, 0)))
	f("an event of what cc-backend says is another's", "", told(Report{jobOn("bob", 1, base-100, 0, "h1"), true, base}), begin)
	f("cc-backend says whose it is", "[-100 0)", event(start(1, "bob", -100, "")), told(Report{job, true, base}))
	unseen := func(at int64) step {
		return func(ix *Index, _ *clock) error { ix.Unseen(base+at, 120); return nil }
	}
	f("cc-backend does not know it yet", "[-100 open)", begin, unseen(10))
	f("cc-backend does not see it any more", "[-100 5)", begin, told(Report{job, true, base + 5}), unseen(60))
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(start(1, "ann", -100, "")))
	f.Add([]byte(stop(1, -100, 0)))
	f.Add([]byte(start(1, "ann", -100, `,"shared":"multi_user","resources":[{"hostname":"h","hwthreads":[9,1,1],"accelerators":["b","a"]}]`)))
	f.Add([]byte("job,function=start_job event=\"{\\\"jobId\\\":1e99}\""))
	f.Fuzz(func(t *testing.T, message []byte) {
		ix := new(clock).index()
		e := NewEvents(ix, nil)
		_ = tell(e, admin(), message)
		_ = tell(e, admin(), message)
		for j := range ix.t.all() {
			if err := j.check(false); err != nil {
				t.Fatal(err)
			}
		}
	})
}
