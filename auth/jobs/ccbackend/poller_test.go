package ccbackend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/auth/jobs/ccbackend/ccbackendtest"
	"github.com/ringstore/ringstore/auth/jobs/jobstest"
)

func index(now func() int64) *jobs.Index {
	return jobs.New(jobs.Options{Keep: 72 * time.Hour, Now: func() time.Time { return time.Unix(now(), 0) }})
}

func poller(t testing.TB, s *ccbackendtest.Server, ix *jobs.Index, log *slog.Logger) *Poller {
	t.Helper()
	c, err := NewClient(s.URL, ccbackendtest.Token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return NewPoller(PollerOptions{
		Client: c, Index: ix, LookBack: 7 * 24 * time.Hour, Interval: time.Millisecond,
		Now: func() time.Time { return time.Unix(s.Now(), 0) }, Log: log,
	})
}

func running(user string, id, start, end int64, hosts ...string) ccbackendtest.Job {
	j := ccbackendtest.Job{Job: jobs.Job{ID: id, Cluster: "alpha", User: user, Start: start, End: end}, State: "timeout", Shared: "none"}
	for _, h := range hosts {
		j.Nodes = append(j.Nodes, jobs.Node{Host: h})
	}
	return j
}

func sees(ix *jobs.Index, user, host string) (text string) {
	grants := ix.View(user, nil).Grants("alpha", host)
	slices.SortFunc(grants, func(a, b jobs.Grant) int { return int(a.From - b.From) })
	for _, g := range grants {
		text += fmt.Sprintf("[%d %d)", g.From-now, g.To-now)
	}
	return text
}

// A user sees a running job until the last poll that saw it. When the job has ended it has its real
// end, also if cc-backend was unavailable at that time.
func TestAJobThatEndsWhileTheBackendIsAway(t *testing.T) {
	s := ccbackendtest.New(t, now)
	s.Set(running("ann", 1, now-5000, now+70, "h1"))
	ix := index(s.Now)
	p := poller(t, s, ix, nil)
	f := func(what, want string) {
		t.Helper()
		if got := sees(ix, "ann", "h1"); got != want {
			t.Errorf("%s: seen %s, want %s", what, got, want)
		}
	}
	poll := func(good bool) {
		t.Helper()
		if err := p.Poll(t.Context()); (err == nil) != good {
			t.Error(err)
		}
	}
	f("before the first poll", "")
	poll(true)
	f("it runs", "[-5000 0)")
	s.Advance(30)
	f("between polls", "[-5000 0)")
	poll(true)
	f("it runs on", "[-5000 30)")
	s.Break(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) })
	s.Advance(3600)
	poll(false)
	f("the backend is unavailable", "[-5000 30)")
	s.Break(nil)
	only := 0 // only the first two requests get a response, not the one for the job itself
	s.Each(func(int) int64 {
		if only++; only > 2 {
			return -1
		}
		return 0
	})
	poll(false)
	f("the request for the job fails", "[-5000 30)")
	s.Each(func(int) int64 { return 0 })
	poll(true)
	f("the backend is available again", "[-5000 70)")
	s.Set()
	s.Advance(30)
	poll(true)
	f("the backend no longer knows the job", "[-5000 70)")
}

func TestAJobThatIsForgotten(t *testing.T) {
	s := ccbackendtest.New(t, now)
	s.Set(running("ann", 1, now-100, now+7000, "h1"))
	ix := index(s.Now)
	p := poller(t, s, ix, nil)
	for range 3 {
		if err := p.Poll(t.Context()); err != nil {
			t.Error(err)
		}
		s.Set()
		s.Advance(30)
	}
	if got := sees(ix, "ann", "h1"); got != "[-100 0)" || ix.Size().Open != 0 {
		t.Errorf("seen %s, %+v", got, ix.Size())
	}
}

// A malformed response adds no jobs, and the error does not show the response.
func TestHostilePages(t *testing.T) {
	f := func(name, want string, handler http.HandlerFunc) {
		t.Run(name, func(t *testing.T) {
			s := ccbackendtest.New(t, now)
			s.Break(handler)
			ix := index(s.Now)
			err := poller(t, s, ix, nil).Poll(t.Context())
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), ccbackendtest.Token) {
				t.Errorf("error %v, want %s", err, want)
			}
			if n := ix.Size(); n.Jobs > 0 {
				t.Errorf("%+v", n)
			}
		})
	}
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
	}
	const job = `{"jobId":1,"user":"ann","cluster":"alpha","jobState":"running","startTime":1795200000,"resources":[{"hostname":"h1"}]}`
	f("an error", "502 Bad Gateway", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "hunter2", http.StatusBadGateway) })
	f("a page of HTML", "invalid character", text("<html>hunter2"))
	f("another object", "no jobs", text(`{"usedNodes":{}}`))
	f("a list", "cannot unmarshal", text(`["hunter2"]`))
	f("malformed jobs", "do not have the format of cc-backend", text(`{"jobs":["hunter2",5,null,{"jobId":"x"}],"items":250,"page":1}`))
	f("jobs without a user", "invalid job", text(`{"jobs":[{"jobId":1,"cluster":"hunter2","startTime":1795200000}],"items":250,"page":1}`))
	f("another page", "expected page 1, got page 7", text(`{"jobs":[],"items":250,"page":7}`))
	f("the same page always", "expected page 2, got page 1", text(`{"jobs":[`+strings.Repeat(job+",", 249)+job+`],"items":250,"page":1}`))
	f("an endless body", "larger than", func(w http.ResponseWriter, _ *http.Request) {
		for chunk := bytes.Repeat([]byte(" "), 1<<20); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	f("endless pages", "got more", func(w http.ResponseWriter, r *http.Request) {
		page := json.RawMessage(r.URL.Query().Get("page"))
		_ = json.NewEncoder(w).Encode(map[string]any{"jobs": make([]any, 250), "items": 250, "page": page})
	})
	f("an oversized page", "got more", func(w http.ResponseWriter, r *http.Request) {
		page := json.RawMessage(r.URL.Query().Get("page"))
		_ = json.NewEncoder(w).Encode(map[string]any{"jobs": make([]any, 50_000), "items": 1 << 40, "page": page})
	})
}

// All pages are read, also if the server returns smaller pages than requested.
func TestSmallPages(t *testing.T) {
	s := ccbackendtest.New(t, now)
	s.Break(func(w http.ResponseWriter, r *http.Request) {
		var page int
		_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
		list := []any{}
		if page <= 7 {
			list = append(list, map[string]any{
				"jobId": page, "user": "ann", "cluster": "alpha", "jobState": "running", "startTime": now - 10, "shared": "none",
				"resources": []any{map[string]any{"hostname": "h1"}},
			})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"jobs": list, "items": 1, "page": page})
	})
	ix := index(s.Now)
	if err := poller(t, s, ix, nil).Poll(t.Context()); err != nil || ix.Size().Jobs != 7 {
		t.Errorf("%v, %+v", err, ix.Size())
	}
}

// checkVisible compares what users see with the schedule: no user sees anything of others' jobs,
// and every user sees what cc-backend knew of their jobs at the last successful poll.
func checkVisible(t *testing.T, ix *jobs.Index, schedule []ccbackendtest.Job, now, polled int64) {
	t.Helper()
	type seen struct {
		user, host string
		grant      string
	}
	visible := make(map[seen]int64)
	for u := range 6 {
		user := fmt.Sprintf("u%d", u)
		v := ix.View(user, nil)
		for _, host := range v.Hosts("alpha") {
			for _, g := range v.Grants("alpha", host) {
				k := seen{user, host, fmt.Sprint(g.From, devices(g.Devices))}
				visible[k] = max(visible[k], g.To)
			}
		}
	}
	may := make(map[seen]int64)
	for _, j := range schedule {
		for _, n := range j.Nodes {
			k := seen{j.User, n.Host, fmt.Sprint(j.Start, devices(n.Devices))}
			may[k] = max(may[k], min(j.End, now))
			until := min(j.End, polled)
			if j.Known <= polled && j.Start < until && visible[k] < until {
				t.Fatalf("at %d, polled at %d: hidden: %+v, seen until %d", now, polled, j, visible[k])
			}
		}
	}
	for k, to := range visible {
		if to > may[k] {
			t.Fatalf("at %d: leaked: %+v seen until %d, may until %d", now, k, to, may[k])
		}
	}
}

func devices(d *jobs.Devices) string {
	if d == nil {
		return "all"
	}
	return fmt.Sprint(d.HWThreads, d.Accelerators)
}

// Users see the right jobs of a schedule with all kinds of jobs, through outages, pages that change
// during a poll, restarts and a lost file.
func TestScheduleIsFollowed(t *testing.T) {
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 11))
		schedule := ccbackendtest.Random(r, now-100_000, now+100_000)
		s := ccbackendtest.New(t, now)
		s.Set(schedule...)
		file := new(jobstest.File)
		ix := index(s.Now)
		p := poller(t, s, ix, nil)
		polled := int64(0)
		for round := range 200 {
			broken := r.IntN(4) == 0
			n := 0
			s.Each(func(int) int64 {
				if n++; broken && n > r.IntN(4) {
					return -1
				}
				return r.Int64N(3)
			})
			begin := s.Now()
			if p.Poll(t.Context()) == nil {
				polled = begin
			}
			checkVisible(t, ix, schedule, s.Now(), polled)
			switch {
			case r.IntN(20) == 0:
				s.Advance(r.Int64N(20_000))
			default:
				s.Advance(r.Int64N(300))
			}
			if round%10 == 9 {
				if err := ix.Save(file); err != nil {
					t.Fatal(err)
				}
				ix = index(s.Now)
				if round%40 == 39 {
					polled = 0 // the file is lost
				} else if err := ix.Load(file); err != nil {
					t.Fatal(err)
				}
				p = poller(t, s, ix, nil)
			}
			checkVisible(t, ix, schedule, s.Now(), polled)
		}
	}
}

// Run polls at each interval, logs a failure once, and ends with its context.
func TestPollerRuns(t *testing.T) {
	s := ccbackendtest.New(t, now)
	s.Set(running("ann", 1, now-100, now+7000, "h1"))
	s.Break(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	var log buffer
	ix := index(s.Now)
	p := poller(t, s, ix, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("never: %s", what)
			}
		}
	}
	until("five requests", func() bool { return s.Requests() >= 5 })
	s.Break(nil)
	until("a job", func() bool { return sees(ix, "ann", "h1") != "" })
	until("a log line", func() bool { return strings.Contains(log.String(), "reports again") })
	cancel()
	running.Wait()
	if text := log.String(); strings.Count(text, "502 Bad Gateway") != 1 || strings.Count(text, "reports again") != 1 || strings.Contains(text, ccbackendtest.Token) {
		t.Errorf("the log:\n%s", text)
	}
}

// While cc-backend hangs, refuses connections or answers nonsense, one warning says so: the query
// parameters, which are other ones in each poll, are no reason.
func TestTheSameFailureIsLoggedOnce(t *testing.T) {
	f := func(name string, broken http.HandlerFunc) {
		t.Run(name, func(t *testing.T) {
			s := ccbackendtest.New(t, now)
			var log buffer
			p := poller(t, s, index(s.Now), slog.New(slog.NewTextHandler(&log, nil)))
			polls := 0
			s.Break(func(w http.ResponseWriter, r *http.Request) {
				polls++
				broken(w, r)
			})
			s.Each(func(int) int64 { return 7 }) // seconds
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { p.Run(ctx) })
			for end := time.Now().Add(20 * time.Second); s.Requests() < 12 && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			cancel()
			running.Wait()
			if text := log.String(); strings.Count(text, "level=WARN") != 1 || strings.Contains(text, "start-time=") {
				t.Errorf("the log:\n%s", text)
			}
		})
	}
	listed := func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("state") == "running" {
			_, _ = w.Write([]byte(`{"jobs":[],"items":250,"page":1}`))
			return true
		}
		return false
	}
	f("the connection breaks off", func(w http.ResponseWriter, r *http.Request) {
		if !listed(w, r) {
			panic(http.ErrAbortHandler)
		}
	})
	f("a status", func(w http.ResponseWriter, r *http.Request) {
		if !listed(w, r) {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	f("no JSON", func(w http.ResponseWriter, r *http.Request) {
		if !listed(w, r) {
			_, _ = w.Write([]byte("<html>"))
		}
	})
	f("everything breaks off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// A connection from another local port, or that breaks at another byte, is the same reason.
func TestReasonsLeaveOutWhatChanges(t *testing.T) {
	f := func(a, b string, same bool) {
		t.Helper()
		if got := reason(errors.New(a)) == reason(errors.New(b)); got != same {
			t.Errorf("%q, %q: the same reason: %v", a, b, got)
		}
	}
	f("read tcp 127.0.0.1:40123->10.0.0.1:443: connection reset by peer", "read tcp 127.0.0.1:50001->10.0.0.1:443: connection reset by peer", true)
	f("3 jobs do not have the format of cc-backend", "40 jobs do not have the format of cc-backend", true)
	f("invalid job: end time: expected 1795200000 to 4294967295, got 7", "invalid job: end time: expected 1795200030 to 4294967295, got 9", true)
	f("expected status 200, got 502 Bad Gateway", "expected status 200, got 504 Gateway Timeout", false)
	f("connection refused", "connection reset by peer", false)
}
