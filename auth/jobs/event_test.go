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

// start returns a start event of a job on all of the host h1, unless more members say otherwise.
func start(id int64, user string, at int64, more string) string {
	if !strings.Contains(more, `"shared"`) && !strings.Contains(more, `"exclusive"`) {
		more += `,"shared":"none"`
	}
	return line("start_job", fmt.Sprintf(`{"jobId":%d,"user":%q,"project":"p","cluster":"emmy","startTime":%d,"resources":[{"hostname":"h1"}]%s}`, id, user, base+at, more))
}

func stop(id, started, stopped int64) string {
	return line("stop_job", fmt.Sprintf(`{"jobId":%d,"cluster":"emmy","startTime":%d,"stopTime":%d,"jobState":"completed"}`, id, base+started, base+stopped))
}

// handle passes a message to e as the owner of a subscription does.
func handle(e *Events, p *auth.Principal, message []byte) error {
	may, err := e.May(p)
	if err != nil {
		return err
	}
	return e.Handle(may, message)
}

// No other right includes the right to report jobs, not even the right to write samples, and nobody
// can choose a publisher's name: not at another issuer, and not where people choose their names.
func TestEventsAreAcceptedOfPublishersOnly(t *testing.T) {
	f := func(p *auth.Principal, accepted bool, publishers ...Publisher) {
		t.Helper()
		ix := new(clock).index()
		err := handle(NewEvents(ix, publishers), p, []byte(start(1, "ann", -100, "")))
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
	slurm := Publisher{"i", "slurmctld"}
	f(nil, false, slurm, Publisher{})
	f(of("", "", 0), false)
	f(of("i", "collector", auth.API), false, slurm)
	f(of("i", "ann", auth.User|auth.Manager|auth.Support|auth.API), false, slurm)
	f(of("i", "Slurmctld", auth.API), false, slurm)
	f(of("i", "slurmctld", auth.API), false)
	f(of("other", "slurmctld", auth.API), false, slurm)
	f(of("other", "i:slurmctld", auth.API), false, slurm)
	f(of("i:slurmctld", "", auth.API), false, slurm)
	f(of("i", "slurmctld", auth.API), true, slurm)
	f(of("i", "system:slurmctld", auth.API), true, Publisher{"i", "system:slurmctld"})
	f(of("i", "slurmctld", 0), true, slurm)
	student := of("i", "slurmctld", auth.User)
	student.SelfChosen = true
	f(student, false, slurm)
	f(of("i", "root", auth.Admin), true)
	limited := of("i", "root", auth.Admin)
	limited.Clusters = []string{"fritz"}
	f(limited, false)
	limited = of("i", "slurmctld", auth.API)
	limited.Clusters = []string{"fritz"}
	f(limited, false, slurm)
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
			err := handle(NewEvents(ix, nil), admin(), []byte(message+"\n"+start(2, "bob", -10, "")))
			if !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v", err)
			}
			if n := ix.Size(); n.Jobs != 1 {
				t.Errorf("%+v: expected only the valid event", n)
			}
		})
	}
	f("no line protocol", "hunter2")
	f("another measurement", strings.Replace(start(1, "ann", -10, ""), "job,", "jobs,", 1))
	f("no event", `job,function=start_job hunter2="{}" 1`)
	f("a number", `job,function=start_job event=1 1`)
	f("no function", strings.Replace(start(1, "ann", -10, ""), ",function=start_job", "", 1))
	f("another function", strings.Replace(start(1, "ann", -10, ""), "start_job", "start_jobs", 1))
	f("no JSON", line("start_job", "hunter2"))
	f("a list", line("start_job", "[]"))
	f("two values", line("start_job", "{}{}"))
	f("an empty object", line("start_job", "{}"))
	f("no user", start(1, "", -10, ""))
	f("text for a number", line("start_job", `{"jobId":"hunter2"}`))
	f("no resources", start(1, "ann", -10, `,"resources":[]`))
	f("the end of an unknown job", stop(7, -10, 0))
	f("no stop", line("stop_job", "{}"))
}

func TestAMessageIsBounded(t *testing.T) {
	ix := new(clock).index()
	e := NewEvents(ix, nil)
	if err := handle(e, admin(), make([]byte, maxMessage+1)); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if err := handle(e, admin(), []byte(strings.Repeat("job x=1\n", maxEvents+5))); !errors.Is(err, ErrInvalid) || len(err.Error()) > 1000 {
		t.Error(err)
	}
}

// step is an event, a report of cc-backend, or time that passes.
type step func(ix *Index, c *clock) error

func event(text string) step {
	return func(ix *Index, _ *clock) error { return handle(NewEvents(ix, nil), admin(), []byte(text)) }
}

func reported(r Report) step { return func(ix *Index, _ *clock) error { return ix.Apply(r) } }

// silence lets seconds pass without events.
func silence(seconds int64) step {
	return func(_ *Index, c *clock) error { c.now += seconds; return nil }
}

func alive(ix *Index, _ *clock) error { NewEvents(ix, nil).MarkAlive(); return nil }

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
	f("a start event with another user", "[-100 open)", begin, event(start(1, "bob", -100, "")))
	f("a start event after one with another user", "", event(start(1, "bob", -100, "")), event(start(1, "ann", -100, "")))
	f("events are silent for 10 minutes", "[-100 open)", begin, silence(600))
	f("events are silent for too long", "[-100 0)", begin, silence(601))
	f("events come again", "[-100 0)", begin, silence(601), alive)
	f("the start of its next run", "[-100 -50)[-50 open)", begin, event(start(1, "ann", -50, "")))
	f("the start of its next run, then its stop", "[-100 -60)[-50 open)", begin, event(start(1, "ann", -50, "")), event(stop(1, -100, -60)))
	f("its stop is later than the next user's start", "[-100 -50)", begin, event(start(2, "bob", -50, "")), event(stop(1, -100, -20)))
	f("events come again, with a stop", "[-100 300)", begin, silence(601), event(stop(1, -100, 300)))
	f("events came all the time", "[-100 open)", begin, silence(599), alive, silence(599))
	f("events were lost", "[-100 0)", begin, lost, silence(60), alive)
	f("events were lost, but not the stop", "[-100 30)", begin, lost, event(stop(1, -100, 30)))
	f("events were lost, and cc-backend sees the job", "[-100 30)", begin, lost, reported(Report{jobOn("ann", 1, base-100, 0, "h1"), true, base + 30}))
	var restart step
	f("a restart", "[-100 open)", begin, restart)
	f("a restart, then a stop", "[-100 -10)", begin, restart, event(stop(1, -100, -10)))
	f("a restart, and the stop was lost", "[-100 -50)", begin, restart, event(start(2, "bob", -50, "")))
	f("a long restart", "[-100 0)", begin, silence(601), restart)
	f("a long restart, then events come again", "[-100 0)", begin, silence(601), restart, alive)
	f("the stop was lost", "[-100 -50)", begin, event(start(2, "bob", -50, "")))
	f("the stop was lost, and others share the host", "[-100 -50)", begin,
		event(start(2, "bob", -50, `,"shared":"multi_user","resources":[{"hostname":"h1","hwthreads":[2]}]`)))
	alone := `,"shared":"single_user"`
	f("two jobs of one user on a host", "[-100 open)[-50 open)", event(start(1, "ann", -100, alone)), event(start(2, "ann", -50, alone)))
	f("two jobs of one user on a host, one stops", "[-100 open)[-50 0)", event(start(1, "ann", -100, alone)), event(start(2, "ann", -50, alone)), event(stop(2, -50, 0)))
	f("a shared host", "[-100 open)[1] []", event(start(1, "ann", -100, `,"shared":"multi_user","resources":[{"hostname":"h1","hwthreads":[1]}]`)),
		event(start(2, "bob", -50, `,"shared":"multi_user","resources":[{"hostname":"h1","hwthreads":[2]}]`)))
	f("devices without shared", "[-100 open)[1] []", event(start(1, "ann", -100, `,"shared":null,"resources":[{"hostname":"h1","hwthreads":[1]}]`)))
	f("an unknown value of shared", "[-100 open)[] []", event(start(1, "ann", -100, `,"shared":"perhaps"`)))
	f("events were lost, then the next job starts", "[-100 -50)", begin, lost, event(start(2, "bob", -50, "")))
	runs := Report{jobOn("ann", 1, base-100, 0, "h1"), true, base - 10}
	runs.Project = "p"
	f("cc-backend reports late that it ended", "[-100 -50)", begin, reported(runs), event(start(2, "bob", -50, "")))
	f("cc-backend reports the end", "[-100 -20)", begin, reported(Report{Job: job}))
	f("cc-backend reports the end, then a stop", "[-100 -20)", begin, reported(Report{Job: job}), event(stop(1, -100, 0)))
	f("cc-backend reports another user, then a start event", "", reported(Report{jobOn("bob", 1, base-100, 0, "h1"), true, base}), begin)
	f("a start event, then cc-backend reports another user", "[-100 0)", event(start(1, "bob", -100, "")), reported(Report{job, true, base}))
	unseen := func(at int64) step {
		return func(ix *Index, _ *clock) error { ix.Unseen(base+at, 120); return nil }
	}
	f("cc-backend does not know it yet", "[-100 open)", begin, unseen(10))
	f("cc-backend no longer sees it", "[-100 5)", begin, reported(Report{job, true, base + 5}), unseen(60))
}

// adapterStop is a stop event of cc-slurm-adapter, with its tags, members and time.
func adapterStop(id, stopped int64) string {
	return fmt.Sprintf(`job,function=stop_job,hostname=slurmctl1,partition=work,type=node,type-id=0 event="{\"jobId\":%d,\"cluster\":\"emmy\",\"jobState\":\"completed\",\"stopTime\":%d}" %d000000000`,
		id, base+stopped, base+stopped) + "\n"
}

// A stop without a start time ends the latest open run that began before it.
func TestStopsWithoutAStartTime(t *testing.T) {
	f := func(name, want string, ignored int64, steps ...step) {
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
			if got := seen(ix.own("ann"), "h1"); got != want || ix.IgnoredStops() != ignored {
				t.Errorf("seen %s, ignored %d; want %s, %d", got, ix.IgnoredStops(), want, ignored)
			}
		})
	}
	begin, again, end := event(start(1, "ann", -100, "")), event(start(1, "ann", -50, "")), event(adapterStop(1, -10))
	var restart step
	f("it stops", "[-100 -10)", 0, begin, end)
	f("it stops when it starts", "", 0, begin, event(adapterStop(1, -100)))
	f("it stops twice", "[-100 -10)", 1, begin, end, event(adapterStop(1, -5)))
	f("both in one message", "[-100 -10)", 0, event(start(1, "ann", -100, "")+adapterStop(1, -10)))
	f("a restart between", "[-100 -10)", 0, begin, restart, end)
	f("a stop without a start", "", 1, end)
	f("the stop comes before the start", "[-100 open)", 1, end, begin)
	f("another job stops", "[-100 open)", 1, begin, event(adapterStop(2, -10)))
	f("a job of another cluster stops", "[-100 open)", 1, begin, event(strings.Replace(adapterStop(1, -10), "emmy", "fritz", 1)))
	f("the stop is before the start", "[-100 open)", 1, begin, event(adapterStop(1, -101)))
	f("a null for the start time", "[-100 -10)", 0, begin, event(line("stop_job", fmt.Sprintf(`{"jobId":1,"cluster":"emmy","startTime":null,"stopTime":%d}`, base-10))))
	f("requeued, and both stop", "[-100 -60)[-50 -10)", 0, begin, event(adapterStop(1, -60)), again, end)
	f("requeued, and the first run's stop comes late", "[-100 -60)[-50 open)", 0, begin, again, event(adapterStop(1, -60)))
	f("requeued, and the first run's stop comes twice", "[-100 -60)[-50 open)", 1, begin, event(adapterStop(1, -60)), again, event(adapterStop(1, -60)))
	f("requeued, and the first run's stop is lost", "[-100 -50)[-50 -10)", 0, begin, again, end)
	f("requeued, the first run's stop is lost, the second's comes twice", "[-100 -50)[-50 -10)", 0, begin, again, end, event(adapterStop(1, -5)))
	f("requeued, and a restart", "[-100 -50)[-50 -10)", 0, begin, again, restart, end, restart)
	f("requeued, and the starts come in the wrong order", "[-100 -60)[-50 -10)", 0, again, begin, end, event(adapterStop(1, -60)))
	f("requeued, and the first run's start comes late", "[-50 open)", 0, again, begin)
	shared := func(id int64, user string, at int64) step {
		return event(start(id, user, at, `,"shared":"multi_user","resources":[{"hostname":"h1","hwthreads":[1]}]`))
	}
	f("the next user of a shared node", "[-100 -10)[1] []", 0, shared(1, "ann", -100), end, shared(2, "bob", -5))
	f("cc-backend knows the end", "[-100 -20)", 1, begin, reported(Report{Job: jobOn("ann", 1, base-100, base-20, "h1")}), end)
	f("only cc-backend knows the job", "[-100 -10)", 0, reported(Report{jobOn("ann", 1, base-100, 0, "h1"), true, base - 30}), end)
	for _, at := range []int64{-base, -base - 1, 1 << 40} {
		ix := new(clock).index()
		ok(t, begin(ix, nil))
		if err := handle(NewEvents(ix, nil), admin(), []byte(adapterStop(1, at))); !errors.Is(err, ErrInvalid) || ix.IgnoredStops() != 0 {
			t.Errorf("a stop at %d: %v", base+at, err)
		}
	}
}

// Older versions say "exclusive" in place of "shared". What is not said to be exclusive is shared.
func TestExclusive(t *testing.T) {
	const whole, shared, none = "[-100 open)", "[-100 open)[1] []", "[-100 open)[] []"
	f := func(members, want, wantWithoutDevices string) {
		t.Helper()
		for resources, want := range map[string]string{`{"hostname":"h1","hwthreads":[1]}`: want, `{"hostname":"h1"}`: wantWithoutDevices} {
			ix := new(clock).index()
			ok(t, event(line("start_job", fmt.Sprintf(`{"jobId":1,"user":"ann","project":"p","cluster":"emmy","startTime":%d,"resources":[%s]%s}`,
				base-100, resources, members)))(ix, nil))
			if got := seen(ix.own("ann"), "h1"); got != want {
				t.Errorf("%s %s: seen %s, want %s", resources, members, got, want)
			}
		}
	}
	f("", shared, none)
	f(`,"shared":""`, shared, none)
	f(`,"shared":null,"exclusive":null`, shared, none)
	f(`,"shared":"multi_user"`, shared, none)
	f(`,"shared":"none"`, whole, whole)
	f(`,"shared":"single_user"`, whole, whole)
	f(`,"exclusive":0`, shared, none)
	f(`,"exclusive":1`, whole, whole)
	f(`,"exclusive":2`, whole, whole)
	f(`,"exclusive":3`, shared, none)
	f(`,"exclusive":-1`, shared, none)
	f(`,"exclusive":1,"shared":"none"`, whole, whole)
	f(`,"exclusive":1,"shared":"multi_user"`, shared, none)
	f(`,"exclusive":0,"shared":"none"`, shared, none)
	for _, value := range []string{`"1"`, "true", "1.5", "[1]"} {
		ix := new(clock).index()
		if err := event(start(1, "ann", -100, `,"exclusive":`+value))(ix, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("exclusive %s: %v", value, err)
		}
	}
}

// A job that the next one on its node has ended does not run, whoever ends it later.
func TestAJobThatTheNextOneEndsDoesNotRun(t *testing.T) {
	f := func(name string, want bool, steps ...step) {
		t.Run(name, func(t *testing.T) {
			c := new(clock)
			ix := c.index()
			ok(t, event(start(1, "ann", -100, ""))(ix, c))
			for _, s := range steps {
				if s == nil {
					ix = reloaded(t, ix, c)
					continue
				}
				ok(t, s(ix, c))
			}
			all := ix.own("ann").Jobs()
			if got := all[len(all)-1].Running; got != want {
				t.Errorf("running %v, want %v", got, want)
			}
		})
	}
	next := event(start(2, "bob", -50, ""))
	var restart step
	f("nothing", true)
	f("a restart", true, restart)
	f("the next job", false, next)
	f("the next job and a restart", false, next, restart)
	f("its next run", false, event(start(1, "ann", -50, "")))
	f("the next job on another node", true, event(start(2, "bob", -50, `,"shared":"none","resources":[{"hostname":"h2"}]`)))
	f("the user's next job", true, event(start(2, "ann", -150, `,"project":"p"`)))
	f("events were lost", true, lost)
	f("events were lost, then the next job", false, lost, next)
	f("cc-backend sees it after the next job's start", true, next, reported(Report{jobOn("ann", 1, base-100, 0, "h1"), true, base}))
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(start(1, "ann", -100, "")))
	f.Add([]byte(stop(1, -100, 0)))
	f.Add([]byte(start(1, "ann", -100, "") + start(1, "ann", -50, "") + adapterStop(1, -60) + adapterStop(1, -10)))
	f.Add([]byte(start(1, "ann", -100, `,"shared":"multi_user","resources":[{"hostname":"h","hwthreads":[9,1,1],"accelerators":["b","a"]}]`)))
	f.Add([]byte("job,function=start_job event=\"{\\\"jobId\\\":1e99}\""))
	f.Fuzz(func(t *testing.T, message []byte) {
		ix := new(clock).index()
		e := NewEvents(ix, nil)
		_ = handle(e, admin(), message)
		_ = handle(e, admin(), message)
		for j := range ix.t.all() {
			if err := j.check(false); err != nil {
				t.Fatal(err)
			}
		}
	})
}
