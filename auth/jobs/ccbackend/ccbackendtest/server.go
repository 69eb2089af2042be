// Package ccbackendtest has a fake of cc-backend's job endpoint for tests. A schedule of jobs and a
// clock drive it.
package ccbackendtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ringstore/ringstore/auth/jobs"
)

// Token is the token that the server accepts.
const Token = "eyJ.the-token-of.role-api"

// Job is a job of the schedule.
type Job struct {
	jobs.Job        // Start and End by the cluster's clock
	Known    int64  // Unix seconds when the server learns of the job
	State    string // after its end
	Shared   string
}

// Server responds as cc-backend does at the time of its clock.
type Server struct {
	*httptest.Server
	mu       sync.Mutex
	now      int64
	jobs     []Job
	requests int
	each     func(n int) bool // called before each response; false breaks off the response
	broken   http.HandlerFunc
}

// New returns a running server, which the test closes.
func New(t testing.TB, now int64) *Server {
	s := &Server{now: now}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// Now returns the server's time in Unix seconds.
func (s *Server) Now() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Advance moves the clock.
func (s *Server) Advance(seconds int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now += seconds
}

// Set replaces the schedule.
func (s *Server) Set(all ...Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs = all
}

// Break makes f handle all requests; nil restores the server.
func (s *Server) Break(f http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = f
}

// Each calls f before each response with the number of the request, and adds the seconds that f
// returns to the clock. A negative result breaks off the response. f must not call the server.
func (s *Server) Each(f func(n int) int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each = func(n int) bool {
		d := f(n)
		s.now += max(d, 0)
		return d >= 0
	}
}

// Requests returns the number of requests so far.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// ServeHTTP handles a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if s.each != nil && !s.each(s.requests) {
		panic(http.ErrAbortHandler)
	}
	switch {
	case s.broken != nil:
		s.broken(w, r)
	case r.Header.Get("Authorization") != "Bearer "+Token:
		http.Error(w, "no", http.StatusUnauthorized)
	case r.URL.Path == "/api/jobs/used_nodes":
		_, _ = w.Write([]byte(`{"usedNodes":{}}`))
	case r.Method != http.MethodGet || r.URL.Path != "/api/jobs/":
		http.Error(w, "what?", http.StatusNotFound)
	default:
		s.list(w, r)
	}
}

// filter holds the query parameters of a request.
type filter struct {
	states      []string
	cluster     string
	from, to    int64
	items, page int
}

func parse(r *http.Request) (f filter, err error) {
	f = filter{to: 1 << 60, items: 25, page: 1}
	for name, values := range r.URL.Query() {
		switch v := values[0]; name {
		case "state":
			f.states = values
		case "cluster":
			f.cluster = v
		case "start-time":
			_, err = fmt.Sscanf(v, "%d-%d", &f.from, &f.to)
		case "items-per-page":
			f.items, err = strconv.Atoi(v)
		case "page":
			f.page, err = strconv.Atoi(v)
		default:
			err = fmt.Errorf("invalid query parameter: %s", name)
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	f, err := parse(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	found := []map[string]any{}
	sorted := slices.SortedStableFunc(slices.Values(s.jobs), func(a, b Job) int {
		return cmp.Or(cmp.Compare(b.Start, a.Start), cmp.Compare(b.ID, a.ID))
	})
	for _, j := range sorted {
		state := "running"
		if s.now >= j.End {
			state = j.State
		}
		if s.now < j.Known || j.Start < f.from || j.Start > f.to || f.cluster != "" && f.cluster != j.Cluster ||
			f.states != nil && !slices.Contains(f.states, state) {
			continue
		}
		found = append(found, s.wire(j, state))
	}
	begin := min((f.page-1)*f.items, len(found))
	_ = json.NewEncoder(w).Encode(map[string]any{
		"jobs": found[begin:min(begin+f.items, len(found))], "items": f.items, "page": f.page,
	})
}

func (s *Server) wire(j Job, state string) map[string]any {
	resources := []map[string]any{}
	for _, n := range j.Nodes {
		r := map[string]any{"hostname": n.Host}
		if n.Devices != nil {
			r["hwthreads"], r["accelerators"] = n.Devices.HWThreads, n.Devices.Accelerators
		}
		resources = append(resources, r)
	}
	return map[string]any{
		"id": j.ID + 1000, "jobId": j.ID, "user": j.User, "project": j.Project, "cluster": j.Cluster, "jobState": state,
		"startTime": j.Start, "duration": max(0, min(s.now, j.End)-j.Start), "shared": j.Shared, "resources": resources,
		"subCluster": "main", "numNodes": len(j.Nodes), "metaData": nil, "arrayJobId": 0,
	}
}

// States are states in which a job can end. Package jobs knows none of them by name.
var States = strings.Fields("completed failed cancelled stopped timeout preempted out_of_memory node_fail deadline boot_fail")

// Random returns a schedule between two times. It has exclusive nodes, shared nodes, job arrays,
// jobs that end at once, requeued jobs, and jobs that cc-backend learns of minutes late.
func Random(r *rand.Rand, from, to int64) (all []Job) {
	id := int64(1)
	add := func(j Job) {
		j.Cluster, j.State = "alpha", States[r.IntN(len(States))]
		j.Project = "p" + strconv.Itoa(r.IntN(3))
		j.Known = j.Start
		if r.IntN(4) == 0 {
			j.Known += r.Int64N(300)
		}
		all = append(all, j)
	}
	user := func() string { return "u" + strconv.Itoa(r.IntN(5)) }
	for node := range 6 { // exclusive nodes; some jobs have two
		for at := from + r.Int64N(3000); at < to; {
			j := Job{Shared: []string{"none", "none", "single_user"}[r.IntN(3)]}
			j.ID, j.User, j.Start = id, user(), at
			j.End = at + r.Int64N([]int64{1, 100, 10_000, 60_000}[r.IntN(4)])
			j.Nodes = []jobs.Node{{Host: "h" + strconv.Itoa(node)}}
			if r.IntN(3) == 0 {
				j.Nodes = append(j.Nodes, jobs.Node{Host: "x" + strconv.Itoa(node)})
			}
			add(j)
			at = j.End
			if r.IntN(2) == 0 {
				at += r.Int64N(5000)
			}
			if r.IntN(5) > 0 { // otherwise the job is requeued
				id++
			} else if at == j.Start {
				at++
			}
		}
		id++
	}
	for thread := range 8 { // shared nodes; some jobs have an accelerator
		for at := from + r.Int64N(3000); at < to; at += r.Int64N(3000) {
			owner := user()
			length := r.Int64N(30_000)
			for range 1 + r.IntN(3)/2 { // a job array
				j := Job{Shared: "multi_user"}
				j.ID, j.User, j.Start, j.End = id, owner, at, at+length
				d := &jobs.Devices{HWThreads: []int{thread}}
				if thread < 2 {
					d.Accelerators = []string{fmt.Sprintf("00000000:%d9:00.0", thread)}
				}
				j.Nodes = []jobs.Node{{Host: "s" + strconv.Itoa(r.IntN(2)), Devices: d}}
				add(j)
				id++
			}
			at += length
		}
	}
	return all
}
