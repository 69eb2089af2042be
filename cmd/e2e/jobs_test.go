package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/auth/jobs/ccbackend/ccbackendtest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// jobSettings returns settings that poll a fake cc-backend every second.
func jobSettings(t *testing.T, server *ccbackendtest.Server) settings {
	t.Setenv("RINGSTORE_TEST_TOKEN", ccbackendtest.Token)
	s := newSettings(t)
	s["main"]["backend-url"] = server.URL
	s["auth"] = map[string]any{"jobs": map[string]any{"backend": map[string]any{"token": "env:RINGSTORE_TEST_TOKEN", "poll-interval": "1s"}}}
	return s
}

// as returns a token for a user with roles.
func as(user string, roles ...string) string {
	return issuer.Token(map[string]any{"sub": user, "roles": append([]string{}, roles...), "projects": []string{"p"}, "exp": now() + 3600})
}

// seenBy returns how many samples of each host a query for all nodes returns.
func (p *program) seenBy(t *testing.T, token string, from, to int64) map[string]int {
	t.Helper()
	a := p.send(t, token, "POST", "/api/query", fmt.Sprintf(`{"cluster":"alpha","for-all-nodes":["cpu_load"],"from":%d,"to":%d}`, from, to)).answer(t)
	seen := make(map[string]int)
	for i, q := range a.Queries {
		for _, e := range a.Results[i] {
			seen[q.Host] += len(e.ByTime())
		}
	}
	return seen
}

// TestUsersSeeTheirJobs: users see the samples of their jobs and no others, also after a kill and a
// restart without cc-backend. A job that ended meanwhile ends when it was last reported.
func TestUsersSeeTheirJobs(t *testing.T) {
	begin := now() - 120*60
	server := ccbackendtest.New(t, now())
	job := func(id int64, user string, start, end int64, hosts ...string) ccbackendtest.Job {
		j := ccbackendtest.Job{Job: jobs.Job{ID: id, Cluster: "alpha", User: user, Project: "p", Start: start, End: end}, State: "timeout", Shared: "none"}
		for _, h := range hosts {
			j.Nodes = append(j.Nodes, jobs.Node{Host: h})
		}
		return j
	}
	server.Set(
		job(1, "ann", begin+600, begin+1800, "n1"),
		job(2, "ann", begin+3600, begin+7*24*3600, "n2"),
		job(3, "bob", begin+1800, begin+3600, "n1", "n2"),
	)
	s := jobSettings(t, server)
	p := process(t, s)
	var lines strings.Builder
	for minute := range int64(120) {
		for _, host := range []string{"n1", "n2", "n3"} {
			fmt.Fprintf(&lines, "cpu_load,hostname=%s value=%d %d\n", host, minute, begin+60*minute)
		}
	}
	p.write(t, lines.String())
	f := func(name, token string, want string) {
		t.Helper()
		if got := fmt.Sprint(p.seenBy(t, token, begin, begin+7200)); got != want {
			t.Errorf("%s sees %s, want %s", name, got, want)
		}
	}
	cmdtest.Eventually(t, "jobs are known", func() bool { return len(p.seenBy(t, as("ann", "user"), begin, begin+7200)) > 0 })
	check := func() {
		t.Helper()
		f("ann", as("ann", "user"), "map[n1:20 n2:60]")
		f("bob", as("bob", "user"), "map[n1:30 n2:30]")
		f("ann, as manager", as("ann", "manager"), "map[n1:50 n2:90]")
		f("a user without jobs", as("cleo", "user"), "map[]")
		f("an admin", as("root", "admin"), "map[n1:120 n2:120 n3:120]")
		f("support", as("root", "support"), "map[n1:120 n2:120 n3:120]")
	}
	check()

	list := func(token, query string) (ids []int64, status int) {
		t.Helper()
		got := p.send(t, token, "GET", "/api/jobs"+query, "")
		var answer struct {
			Jobs []struct {
				JobID int64
				Hosts []string
			}
		}
		if got.status == 200 {
			if err := json.Unmarshal([]byte(got.body), &answer); err != nil {
				t.Error(err)
			}
		}
		for _, j := range answer.Jobs {
			ids = append(ids, j.JobID)
		}
		return ids, got.status
	}
	jobsOf := func(token, query string, status int, want ...int64) {
		t.Helper()
		if ids, got := list(token, query); got != status || !slices.Equal(ids, want) {
			t.Errorf("/api/jobs%s: %d %v, want %d %v", query, got, ids, status, want)
		}
	}
	jobsOf("", "", 401)
	jobsOf(as("ann", "user"), "", 200, 2, 1)
	jobsOf(as("ann", "user"), "?user=ann", 200, 2, 1)
	jobsOf(as("ann", "user"), "?user=bob", 403)
	jobsOf(as("ann", "user"), "?user=nobody", 403)
	jobsOf(as("ann", "api"), "?user=bob", 403)
	jobsOf(as("ann", "user"), "?state=running", 400)
	jobsOf(as("ann", "user"), "?cluster=beta", 200)
	jobsOf(as("ann", "manager"), "", 200, 2, 3, 1)
	jobsOf(as("ann"), "", 200, 2, 1)
	jobsOf(as("root", "support"), "?user=bob", 200, 3)
	jobsOf(as("root", "admin"), "?user=ann&cluster=alpha", 200, 2, 1)
	jobsOf(as("root", "admin"), "", 200)
	if got := p.send(t, as("ann", "user"), "GET", "/api/healthcheck", `{"cluster":"alpha","nodes":["n1"]}`); got.status != http.StatusForbidden {
		t.Errorf("healthcheck: %d", got.status)
	}

	cmdtest.Eventually(t, "the jobs are saved", func() bool { return p.metric(t, "ringstore_jobs_saved_timestamp_seconds") > 0 })
	server.Break(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	p.signal(t, syscall.SIGKILL)
	p.wait(t)
	p = process(t, s)
	check()
	if got := p.send(t, "", "GET", "/-/ready", ""); got.status != 200 {
		t.Errorf("ready: %d %s", got.status, got.body)
	}
	if token := ccbackendtest.Token; strings.Contains(p.stderr.String(), token) {
		t.Error("the log shows the token")
	}
}

// TestASilentSourceIsReported: /-/ready and the metrics report a source that has never answered,
// and users see no running jobs.
func TestASilentSourceIsReported(t *testing.T) {
	server := ccbackendtest.New(t, now())
	server.Break(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	p := serve(t, jobSettings(t, server))
	got := p.send(t, "", "GET", "/-/ready", "")
	if got.status != 200 || !strings.Contains(got.body, "cc-backend has not reported running jobs yet") {
		t.Errorf("ready: %d %s", got.status, got.body)
	}
	if p.metric(t, "ringstore_jobs_stale", "source", "cc-backend") != 1 || p.metric(t, "ringstore_jobs_told_timestamp_seconds", "source", "cc-backend") != 0 {
		t.Error("the gauges do not report the silent source")
	}
	if seen := p.seenBy(t, as("ann", "user"), now()-60, now()); len(seen) > 0 {
		t.Errorf("seen: %v", seen)
	}
	server.Break(nil)
	cmdtest.Eventually(t, "an answer", func() bool { return p.send(t, "", "GET", "/-/ready", "").body == "ok\n" })
}

// TestProjectsFile: a manager whose token has no projects, as cc-backend's, sees the jobs of the
// projects that the file says, and of others when the file changes. A broken file changes nothing.
func TestProjectsFile(t *testing.T) {
	begin := now() - 3600
	server := ccbackendtest.New(t, now())
	job := func(id int64, user, project, host string) ccbackendtest.Job {
		return ccbackendtest.Job{
			Job:   jobs.Job{ID: id, Cluster: "alpha", User: user, Project: project, Start: begin, End: begin + 600, Nodes: []jobs.Node{{Host: host}}},
			State: "completed", Shared: "none",
		}
	}
	server.Set(job(1, "bob", "p1", "n1"), job(2, "cleo", "p2", "n2"))
	s := jobSettings(t, server)
	file := filepath.Join(t.TempDir(), "projects.json")
	cmdtest.WriteFile(t, file, []byte(`{"ann": ["p1"], "dan": ["p1", "p2"]}`))
	s["auth"]["jobs"].(map[string]any)["projects-file"] = file
	p := process(t, s)
	var lines strings.Builder
	for minute := range int64(10) {
		for _, host := range []string{"n1", "n2", "n3"} {
			fmt.Fprintf(&lines, "cpu_load,hostname=%s value=%d %d\n", host, minute, begin+60*minute)
		}
	}
	p.write(t, lines.String())
	token := func(user string, roles ...string) string {
		return issuer.Token(map[string]any{"sub": user, "roles": roles, "exp": now() + 3600})
	}
	sees := func(token string) string { return fmt.Sprint(p.seenBy(t, token, begin, begin+600)) }
	cmdtest.Eventually(t, "jobs are known", func() bool { return sees(token("dan", "manager")) == "map[n1:10 n2:10]" })
	f := func(token, want string) {
		t.Helper()
		if got := sees(token); got != want {
			t.Errorf("seen %s, want %s", got, want)
		}
	}
	f(token("ann", "manager"), "map[n1:10]")
	f(token("ann", "user"), "map[]")
	f(token("eve", "manager"), "map[]")
	if r := p.send(t, token("dan", "manager"), "GET", "/api/whoami", ""); !strings.Contains(r.body, `"projects":["p1","p2"]`) {
		t.Errorf("%s", r.body)
	}
	cmdtest.WriteFile(t, file, []byte(`{"ann": ["p2"]}`))
	cmdtest.Eventually(t, "the new file applies", func() bool { return sees(token("ann", "manager")) == "map[n2:10]" })
	f(token("dan", "manager"), "map[]")
	cmdtest.WriteFile(t, file, []byte(`{"ann": "p1"}`))
	p.saysTimes(t, 1, "source not read")
	f(token("ann", "manager"), "map[n2:10]")
	f(as("bob", "manager"), "map[n1:10]")
}
