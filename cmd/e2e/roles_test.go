package e2e

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// roleTable is the design's table, for single roles. "jobs" means: requires a job source. There is
// none here, so it is denied unless users-read is "all".
var roleTable = []struct {
	action                                   string
	admin, api, support, manager, user, none string
}{
	{"query", "yes", "yes", "yes", "jobs", "jobs", "403"},
	{"healthcheck", "yes", "yes", "yes", "403", "403", "403"},
	{"write", "yes", "yes", "403", "403", "403", "403"},
	{"free", "yes", "403", "403", "403", "403", "403"},
	{"debug", "yes", "403", "403", "403", "403", "403"},
	{"status", "yes", "403", "403", "403", "403", "403"},
	{"snapshot", "yes", "403", "403", "403", "403", "403"},
	{"confirm-clock", "yes", "403", "403", "403", "403", "403"},
	{"pprof", "yes", "403", "403", "403", "403", "403"},
	{"metrics", "yes", "yes", "yes", "403", "403", "403"},
	{"openapi", "yes", "yes", "yes", "403", "403", "403"},
	{"whoami", "yes", "yes", "yes", "yes", "yes", "yes"},
	{"jobs", "yes", "yes", "yes", "yes", "yes", "yes"},
	{"open", "yes", "yes", "yes", "yes", "yes", "yes"},
}

var roleNames = []string{"admin", "api", "support", "manager", "user"}

// mayQuery is the design's rule for reads: the widest of admin, support, manager, user counts; api
// only as the sole role or next to admin or support.
func mayQuery(roles []string, usersReadAll bool) bool {
	has := func(role string) bool { return slices.Contains(roles, role) }
	switch {
	case has("admin") || has("support"):
		return true
	case has("manager") || has("user"):
		return usersReadAll
	default:
		return has("api")
	}
}

// may reports whether a set of roles permits an action by the table.
func may(t testing.TB, action string, roles []string, usersReadAll bool) bool {
	t.Helper()
	if action == "query" {
		return mayQuery(roles, usersReadAll)
	}
	for _, row := range roleTable {
		if row.action != action {
			continue
		}
		cells := map[string]string{"admin": row.admin, "api": row.api, "support": row.support, "manager": row.manager, "user": row.user}
		return row.none == "yes" || slices.ContainsFunc(roles, func(r string) bool { return cells[r] == "yes" })
	}
	t.Fatalf("no action %s", action)
	return false
}

// TestRoleTableAgreesWithTheRule: for single roles, the table and mayQuery agree.
func TestRoleTableAgreesWithTheRule(t *testing.T) {
	row := roleTable[0]
	for role, cell := range map[string]string{
		"admin": row.admin, "api": row.api, "support": row.support, "manager": row.manager, "user": row.user, "none": row.none,
	} {
		if mayQuery([]string{role}, false) != (cell == "yes") || mayQuery([]string{role}, true) != (cell != "403") {
			t.Errorf("%s: %s", role, cell)
		}
	}
}

// endpoints returns a valid request for every endpoint.
func endpoints() []struct{ action, method, path, body string } {
	query := fmt.Sprintf(`{"cluster":"alpha","from":%d,"to":%d,"queries":[{"metric":"cpu_load","host":"n1"}]}`, now()-60, now())
	health := `{"cluster":"alpha","nodes":["n1"],"metric-names":["cpu_load"]}`
	return []struct{ action, method, path, body string }{
		{"query", "GET", "/api/query?version=v2", query},
		{"query", "POST", "/api/query/", query},
		{"healthcheck", "GET", "/api/healthcheck/", health},
		{"healthcheck", "POST", "/api/healthcheck", health},
		{"write", "POST", "/api/write/?cluster=alpha", "cpu_load,hostname=n1 value=1"},
		{"write", "POST", "/api/write?cluster=alpha", "cpu_load,hostname=n1 value=1"},
		{"write", "POST", "/write?db=alpha", "cpu,host=n1 load=1"},
		{"write", "POST", "/api/v2/write?bucket=alpha", "cpu,host=n1 load=1"},
		{"free", "POST", "/api/free/?to=1", `[["alpha"]]`},
		{"free", "POST", "/api/free?to=1", `[["alpha"]]`},
		{"debug", "GET", "/api/debug/", ""},
		{"debug", "POST", "/api/debug", ""},
		{"status", "GET", "/api/status", ""},
		{"status", "GET", "/api/status/?top=1", ""},
		{"snapshot", "POST", "/api/snapshot", ""},
		{"confirm-clock", "POST", "/api/confirm-clock", ""},
		{"openapi", "GET", "/api/openapi.json", ""},
		{"whoami", "GET", "/api/whoami", ""},
		{"jobs", "GET", "/api/jobs", ""},
		{"metrics", "GET", "/metrics", ""},
		{"metrics", "GET", "/metrics/", ""},
		{"pprof", "GET", "/debug/pprof/", ""},
		{"pprof", "GET", "/debug/pprof/cmdline", ""},
		{"pprof", "GET", "/debug/pprof/goroutine", ""},
		{"open", "GET", "/-/healthy", ""},
		{"open", "GET", "/-/ready", ""},
		{"open", "GET", "/ping", ""},
		{"open", "GET", "/health", ""},
		{"write", "POST", "/query?q=CREATE+DATABASE+alpha", ""},
	}
}

// allRoles returns the 32 sets of roles.
func allRoles() (sets [][]string) {
	for set := range 1 << len(roleNames) {
		var roles []string
		for i, name := range roleNames {
			if set&(1<<i) != 0 {
				roles = append(roles, name)
			}
		}
		sets = append(sets, roles)
	}
	return sets
}

// TestRolesOverREST checks every endpoint with every set of roles.
func TestRolesOverREST(t *testing.T) {
	for _, usersReadAll := range []bool{false, true} {
		s := newSettings(t)
		if usersReadAll {
			s["auth"] = map[string]any{"users-read": "all"}
		}
		p := serve(t, s)
		if warned := strings.Contains(p.stderr.String(), "users-read"); warned != usersReadAll {
			t.Errorf("users-read all: %v, warned of: %v", usersReadAll, warned)
		}
		for _, roles := range allRoles() {
			for _, e := range endpoints() {
				got := p.send(t, token(roles...), e.method, e.path, e.body)
				want := 200
				if !may(t, e.action, roles, usersReadAll) {
					want = 403
				}
				if got.status != want && (want != 200 || got.status != http.StatusNoContent) {
					t.Errorf("users-read all %v, %v: %s %s: %d, want %d", usersReadAll, roles, e.method, e.path, got.status, want)
				}
				if want == 403 {
					message := "the token's roles do not permit this"
					if e.action == "query" && (slices.Contains(roles, "user") || slices.Contains(roles, "manager")) {
						message = "no job source is configured"
					}
					checkDenied(t, got, message)
				}
			}
		}
	}
}

// checkDenied checks an answer by RFC 6750, section 3.1.
func checkDenied(t *testing.T, got reply, message string) {
	t.Helper()
	if c := got.header.Get("WWW-Authenticate"); c != `Bearer error="insufficient_scope"` {
		t.Errorf("WWW-Authenticate: %s", c)
	}
	if !strings.Contains(got.body, `:"`+message+`"`) || strings.Contains(got.body, "tester") {
		t.Errorf("got %s, want only %q", got.body, message)
	}
}

// TestUnknownRoles: unknown names, also known ones in another case, grant nothing and take nothing
// away.
func TestUnknownRoles(t *testing.T) {
	p := serve(t, newSettings(t))
	f := func(status int, roles ...string) {
		t.Helper()
		got := p.send(t, token(roles...), "POST", "/api/write/?cluster=alpha", "cpu_load,hostname=n1 value=1")
		if got.status != status {
			t.Errorf("%q: %d, want %d", roles, got.status, status)
		}
	}
	f(403)
	f(403, "API")
	f(403, "Admin")
	f(403, "api ")
	f(403, "")
	f(403, "root")
	f(200, "root", "api")
	f(200, "api", "api")
}

// TestRolesOverNATS writes once with each set of roles, each to another host: permitted samples are
// stored, the others are counted and audited.
func TestRolesOverNATS(t *testing.T) {
	p := serve(t, newSettings(t))
	c := connect(t, p.nats)
	var stored []string
	sets := allRoles()
	for i, roles := range sets {
		host := fmt.Sprintf("h%02d", i)
		publish(t, c, message(token(roles...), fmt.Sprintf("cpu_load,hostname=%s value=%d %d", host, i, now()-60)))
		if may(t, "write", roles, false) {
			stored = append(stored, host)
		}
	}
	refused := float64(len(sets) - len(stored))
	cmdtest.Eventually(t, "all messages", func() bool {
		return p.metric(t, "ringstore_ingest_samples_total", `transport="nats"`)+
			p.metric(t, "ringstore_nats_refused_total") == float64(len(sets))
	})
	if got := p.metric(t, "ringstore_nats_refused_total", `reason="insufficient_role"`, `subject="metrics"`); got != refused {
		t.Errorf("refused: %v, want %v", got, refused)
	}
	a := p.query(t, fmt.Sprintf(`{"cluster":"alpha","from":%d,"to":%d,"for-all-nodes":["cpu_load"]}`, now()-120, now()+60))
	var found []string
	for _, q := range a.Queries {
		found = append(found, q.Host)
	}
	slices.Sort(found)
	if !slices.Equal(found, stored) {
		t.Errorf("stored: %v, want %v", found, stored)
	}
	p.stopWell(t)
	checkAudit(t, p.stderr.String(), refused)
}

// TestAuthDisabled: no request needs a token, over HTTP and NATS, and every start warns of this.
func TestAuthDisabled(t *testing.T) {
	s := newSettings(t)
	delete(s["main"], "jwt-public-key")
	s["auth"] = map[string]any{"disabled": true}
	p := serve(t, s)
	if !strings.Contains(p.stderr.String(), "level=WARN") || !strings.Contains(p.stderr.String(), "auth.disabled: no token is required") {
		t.Errorf("no warning in:\n%s", p.stderr.String())
	}
	for _, credential := range []string{"", "garbage", token()} {
		for _, e := range endpoints() {
			if got := p.send(t, credential, e.method, e.path, e.body); got.status != 200 && got.status != http.StatusNoContent {
				t.Errorf("%s %s: %d %s", e.method, e.path, got.status, got.body)
			}
		}
		publish(t, connect(t, p.nats), message(credential, fmt.Sprintf("fast,hostname=n%d value=1", len(credential))))
	}
	cmdtest.Eventually(t, "the messages", func() bool {
		return p.metric(t, "ringstore_ingest_samples_total", `transport="nats"`) == 3
	})
}

// TestProfilesAreForLoopbackWithoutTokens: a profile shows memory contents, so without
// authentication only loopback gets one, whatever headers say.
func TestProfilesAreForLoopbackWithoutTokens(t *testing.T) {
	address := otherAddress(t)
	s := newSettings(t)
	delete(s["main"], "jwt-public-key")
	s["main"]["addr"] = "0.0.0.0:0"
	s["auth"] = map[string]any{"disabled": true}
	p := serve(t, s)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	f := func(host, path string, status int) {
		t.Helper()
		p.url = "http://" + net.JoinHostPort(host, port)
		if got := p.send(t, "", "GET", path, "", "X-Forwarded-For", "127.0.0.1", "X-Real-Ip", "127.0.0.1"); got.status != status {
			t.Errorf("%s from %s: %d, want %d", path, host, got.status, status)
		}
	}
	f("127.0.0.1", "/debug/pprof/", 200)
	f("127.0.0.1", "/api/debug", 200)
	f(address, "/api/debug", 200)
	f(address, "/debug/pprof/", 403)
	f(address, "/debug/pprof/goroutine", 403)
	f(address, "/debug/pprof/cmdline/", 403)
}

// otherAddress returns an address of this machine that is not on loopback.
func otherAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Skip(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no other address")
	return ""
}
