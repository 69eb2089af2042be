package jobs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a user sees after reports of cc-backend.
func TestApply(t *testing.T) {
	f := func(name, want string, reports ...Report) {
		t.Run(name, func(t *testing.T) {
			ix := new(clock).index()
			for _, r := range reports {
				ok(t, ix.Apply(r))
			}
			if got := seen(ix.own("ann"), "h1"); got != want {
				t.Errorf("seen %s, want %s", got, want)
			}
		})
	}
	job := jobOn("ann", 1, base-1000, 0, "h1", "h2")
	runs := func(at int64) Report { return Report{job, true, base + at} }
	ended := func(end int64) Report {
		j := job
		j.End = base + end
		return Report{Job: j}
	}
	f("nothing", "")
	f("it runs", "[-1000 -30)", runs(-30))
	f("it runs on", "[-1000 30)", runs(-30), runs(0), runs(30))
	f("an old report comes late", "[-1000 0)", runs(0), runs(-30))
	f("it starts in our future", "", runs(-2000))
	f("it ended", "[-1000 -10)", runs(-30), ended(-10))
	f("it ended before it was last seen", "[-1000 -100)", runs(-30), ended(-100))
	f("it ended at once", "", ended(-1000))
	f("it ended before the first report", "[-1000 -10)", ended(-10))
	f("the end is corrected", "[-1000 -20)", ended(-10), ended(-20))
	f("it is seen right after its end", "[-1000 -10)", ended(-10), runs(0))
	f("it runs again", "[-1000 100)", ended(-10), runs(100))
	other := job
	other.User = "bob"
	f("it has another user", "", runs(-30), Report{other, true, base})
	moved := job
	moved.Nodes = []Node{{Host: "h2"}}
	f("it has other hosts", "", runs(-30), Report{moved, true, base})
	f("it has the first hosts again", "[-1000 30)", runs(-30), Report{moved, true, base}, runs(30))
	requeued := job
	requeued.Start = base - 100
	f("it was requeued", "[-1000 -500)[-100 0)", ended(-500), Report{requeued, true, base})
	shared := job
	shared.Nodes = []Node{{"h1", &Devices{HWThreads: []int{1, 2}, Accelerators: []string{"a"}}}}
	f("it shares the host", "[-1000 0)[1 2] [a]", Report{shared, true, base})
	twice := job
	twice.Nodes = append(twice.Nodes, job.Nodes...)
	f("a host twice", "[-1000 0)[-1000 0)", Report{twice, true, base})
}

func TestInvalid(t *testing.T) {
	f := func(name string, change func(j *Job)) {
		t.Run(name, func(t *testing.T) {
			ix := new(clock).index()
			j := jobOn("ann", 1, base-1000, base, "h1")
			change(&j)
			good := jobOn("ann", 2, base-10, base, "h1")
			if err := ix.Apply(Report{Job: j}, Report{Job: good}); !errors.Is(err, ErrInvalid) {
				t.Errorf("error %v", err)
			}
			if got := seen(ix.own("ann"), "h1"); got != "[-10 0)" {
				t.Errorf("seen %s, expected only the valid job", got)
			}
		})
	}
	f("no start", func(j *Job) { j.Start = 0 })
	f("a start before 1970", func(j *Job) { j.Start = -5 })
	f("a start in milliseconds", func(j *Job) { j.Start *= 1000; j.End *= 1000 })
	f("an end before the start", func(j *Job) { j.End = j.Start - 1 })
	f("an end in milliseconds", func(j *Job) { j.End *= 1000 })
	f("no user", func(j *Job) { j.User = "" })
	f("a long user", func(j *Job) { j.User = strings.Repeat("x", 257) })
	f("a user in two lines", func(j *Job) { j.User = "a\nb" })
	f("a user that is not UTF-8", func(j *Job) { j.User = "\xff" })
	f("a project in two lines", func(j *Job) { j.Project = "a\nb" })
	f("no cluster", func(j *Job) { j.Cluster = "" })
	f("no nodes", func(j *Job) { j.Nodes = nil })
	f("too many nodes", func(j *Job) { j.Nodes = slices.Repeat(j.Nodes, maxNodes+1) })
	f("a host without a name", func(j *Job) { j.Nodes[0].Host = "" })
	f("a negative hwthread", func(j *Job) { j.Nodes[0].Devices = &Devices{HWThreads: []int{-1}} })
	f("too many hwthreads", func(j *Job) { j.Nodes[0].Devices = &Devices{HWThreads: make([]int, maxDevices+1)} })
	f("an accelerator without a name", func(j *Job) { j.Nodes[0].Devices = &Devices{Accelerators: []string{""}} })
}

func TestFull(t *testing.T) {
	ix := New(Options{Keep: time.Hour, MaxIntervals: 3, Now: func() time.Time { return time.Unix(base, 0) }})
	err := ix.Apply(Report{Job: jobOn("ann", 1, base-10, base, "h1", "h2")}, Report{Job: jobOn("bob", 2, base-10, base, "h1", "h2")})
	if !errors.Is(err, ErrFull) || seen(ix.own("ann"), "h1") == "" || seen(ix.own("bob"), "h1") != "" || ix.Size().Intervals != 2 {
		t.Errorf("%v, %+v", err, ix.Size())
	}
}

// Unseen returns the open jobs that were not seen; a job that cc-backend no longer knows ends when
// it was last seen.
func TestUnseenAndVanished(t *testing.T) {
	ix := new(clock).index()
	a, b, c := jobOn("ann", 1, base-1000, 0, "h1"), jobOn("ann", 2, base-900, 0, "h2"), jobOn("ann", 3, base-800, base, "h3")
	ok(t, ix.Apply(Report{a, true, base - 30}, Report{b, true, base}, Report{Job: c}))
	if got := ix.Unseen(base, 120); !slices.Equal(got, []Key{a.Key()}) {
		t.Errorf("unseen: %v", got)
	}
	ix.CloseVanished(a.Key())
	ix.CloseVanished(Key{"emmy", 99, base})
	if got := ix.Unseen(base+5, 120); !slices.Equal(got, []Key{b.Key()}) {
		t.Errorf("unseen: %v", got)
	}
	if got := seen(ix.own("ann"), "h1"); got != "[-1000 -30)" {
		t.Errorf("seen %s", got)
	}
}

func TestViews(t *testing.T) {
	ix := new(clock).index()
	a, b := jobOn("ann", 1, base-1000, base, "h1", "h2"), jobOn("bob", 2, base-900, base, "h2", "h3")
	a.Project, b.Project = "p", "p"
	x := jobOn("bob", 3, base-800, base, "h4")
	far := jobOn("ann", 4, base-800, base, "h1")
	far.Cluster = "fritz"
	empty := jobOn("ann", 5, base-5, base-5, "h5")
	nameless := jobOn("cleo", 6, base-5, base, "h6")
	nameless.Project = ""
	for _, j := range []Job{a, b, x, far, empty, nameless} {
		ok(t, ix.Apply(Report{Job: j}))
	}
	f := func(v View, hosts string, ids ...int64) {
		t.Helper()
		if got := strings.Join(v.Hosts("emmy"), " "); got != hosts {
			t.Errorf("hosts %s, want %s", got, hosts)
		}
		var got []int64
		for _, j := range v.Jobs() {
			got = append(got, j.ID)
		}
		if !slices.Equal(got, ids) {
			t.Errorf("jobs %d, want %d", got, ids)
		}
	}
	f(View{}, "")
	f(ix.View("", nil), "")
	f(ix.View("", []string{""}), "")
	f(ix.View("unknown", []string{"none"}), "")
	f(ix.View("emmy", []string{"h1"}), "") // names of a cluster and a host
	f(ix.View("ann", nil), "h1 h2", 5, 4, 1)
	f(ix.View("bob", nil), "h2 h3 h4", 3, 2)
	f(ix.View("ann", []string{"p"}), "h1 h2 h3", 5, 4, 2, 1)
	f(ix.View("", []string{"p", "p-bob"}), "h1 h2 h3 h4", 3, 2, 1)
}

// naive is the simplest possible index.
type naive struct {
	jobs  map[Key]Report
	until map[Key]int64
}

func (n *naive) apply(r Report) {
	k := r.Key()
	old, known := n.jobs[k]
	until := n.until[k]
	switch {
	case !r.Running:
		until = r.End
	case !known:
		until = max(r.Start, r.At)
	case old.Running:
		until = max(until, r.Start, r.At)
	case r.At >= until+reopenAfter:
		until = r.At
	default:
		r.Running = false
	}
	n.jobs[k], n.until[k] = r, until
}

func (n *naive) grants(user string, projects []string, cluster, host string) (all []string) {
	for k, r := range n.jobs {
		if r.Cluster != cluster || r.User != user && !slices.Contains(projects, r.Project) || n.until[k] <= r.Start {
			continue
		}
		for _, node := range r.Nodes {
			if node.Host == host {
				all = append(all, fmt.Sprint(r.Start, n.until[k], node.Devices))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// The index shows the same as the naive one after any sequence of reports, also after it was saved,
// loaded and pruned.
func TestIndexIsAsTheNaiveOne(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	c := new(clock)
	ix := c.index()
	n := naive{make(map[Key]Report), make(map[Key]int64)}
	var known []Job
	check := func() {
		t.Helper()
		for range 200 {
			user, cluster, host := fmt.Sprintf("u%d", r.IntN(8)), []string{"emmy", "fritz"}[r.IntN(2)], fmt.Sprintf("h%02d", r.IntN(13))
			var projects []string
			for range r.IntN(3) {
				projects = append(projects, fmt.Sprintf("p%d", r.IntN(4)))
			}
			var got []string
			for _, g := range ix.View(user, projects).Grants(cluster, host) {
				got = append(got, fmt.Sprint(g.From, g.To, g.Devices))
			}
			slices.Sort(got)
			if got, want := slices.Compact(got), n.grants(user, projects, cluster, host); !slices.Equal(got, want) {
				t.Fatalf("%s %v on %s %s: %v, want %v", user, projects, cluster, host, got, want)
			}
		}
	}
	for round := range 30 {
		var batch []Report
		for range 100 {
			j := randomJob(r, int64(r.IntN(5000)))
			if len(known) > 0 && r.IntN(2) == 0 {
				j = known[r.IntN(len(known))]
				switch r.IntN(10) {
				case 0:
					j.User = fmt.Sprintf("u%d", r.IntN(6))
				case 1:
					j.Nodes = randomJob(r, 0).Nodes
				case 2:
					j.End = j.Start + r.Int64N(20_000)
				}
			}
			known = append(known, j)
			rep := Report{j, r.IntN(2) == 0, j.Start + r.Int64N(20_000)}
			batch = append(batch, rep)
			n.apply(rep)
		}
		ok(t, ix.Apply(batch...))
		check()
		if round%7 == 0 {
			ix = reloaded(t, ix, c)
			check()
		}
	}
	before := base - 48*3600
	ix.Prune()
	for k, until := range n.until {
		if until < before {
			delete(n.jobs, k)
		}
	}
	check()
	if got := ix.Size(); got.Jobs != len(n.jobs) {
		t.Errorf("%d jobs, want %d", got.Jobs, len(n.jobs))
	}
}

// A million intervals take less than 100 MB, also if each job has one node. The test has a tenth of
// that.
func TestMemoryOfIntervals(t *testing.T) {
	for _, maxNodes := range []int{1, 8} {
		if mb, n := memoryOf(100_000, maxNodes); mb > 10 || n.Intervals < 100_000 {
			t.Errorf("%d intervals of %d jobs: %.1f MB", n.Intervals, n.Jobs, mb)
		}
	}
}

func BenchmarkMillionIntervals(b *testing.B) {
	for _, maxNodes := range []int{1, 8} {
		b.Run(fmt.Sprintf("1-%d nodes", maxNodes), func(b *testing.B) {
			for b.Loop() {
				mb, _ := memoryOf(1_000_000, maxNodes)
				b.ReportMetric(mb, "MB")
			}
		})
	}
}

func memoryOf(intervals, maxNodes int) (mb float64, n Size) {
	var before, after runtime.MemStats
	ix := bigIndex(intervals, maxNodes)
	runtime.GC()
	runtime.ReadMemStats(&before)
	n = ix.Size()
	runtime.KeepAlive(ix)
	ix = nil
	runtime.GC()
	runtime.ReadMemStats(&after)
	return float64(int64(before.HeapAlloc)-int64(after.HeapAlloc)) / 1e6, n
}

// bigIndex is the index of a cluster with 1000 nodes and 400 users. Jobs have up to maxNodes nodes.
func bigIndex(intervals, maxNodes int) *Index {
	ix := new(clock).index()
	r := rand.New(rand.NewPCG(3, 3))
	var batch []Report
	for id, n := int64(0), 0; n < intervals; id++ {
		start := base - 100_000 + id%90_000
		j := jobOn(fmt.Sprintf("u%d", r.IntN(400)), id, start, start+int64(r.IntN(20_000)))
		for range 1 + r.IntN(maxNodes) {
			j.Nodes = append(j.Nodes, Node{Host: fmt.Sprintf("e%04d", r.IntN(1000))})
		}
		n += len(j.Nodes)
		if batch = append(batch, Report{Job: j}); len(batch) == 10_000 {
			_ = ix.Apply(batch...)
			batch = batch[:0]
		}
	}
	_ = ix.Apply(batch...)
	return ix
}
