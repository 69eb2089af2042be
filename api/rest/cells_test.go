package rest_test

import (
	"context"
	"fmt"
	"io"
	"math/bits"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth/authtest"
)

// Who may use a path, in words of its own: the roles of which one suffices, reads for the rule of
// queries, anyone for every good token.
const cellTable = `
	/api/query             reads
	/api/write             admin api
	/write                 admin api
	/api/v2/write          admin api
	/query                 admin api
	/api/v1/write          admin api
	/prometheus/api/v1/write admin api
	/api/free              admin
	/api/debug             admin
	/api/status            admin
	/api/snapshot          admin
	/api/confirm-clock     admin
	/debug/pprof           admin
	/debug/pprof/cmdline   admin
	/debug/pprof/profile   admin
	/debug/pprof/symbol    admin
	/debug/pprof/trace     admin
	/api/healthcheck       admin api support
	/api/openapi.json      admin api support
	/metrics               admin api support
	/api/whoami            anyone
	/api/jobs              anyone`

// prometheusPaths begin the paths of the API of Prometheus, which reads unless the table says otherwise.
var prometheusPaths = []string{"/api/v1/", "/prometheus/"}

// permitted reports whether a good token with these roles may use a path.
func permitted(t *testing.T, path string, roles []string) bool {
	t.Helper()
	rule := ""
	for line := range strings.Lines(cellTable) {
		if cells := strings.Fields(line); len(cells) > 0 && cells[0] == path {
			rule = strings.Join(cells[1:], " ")
		}
	}
	if rule == "" && slices.ContainsFunc(prometheusPaths, func(p string) bool { return strings.HasPrefix(path, p) }) {
		rule = "reads"
	}
	has := func(role string) bool { return slices.Contains(roles, role) }
	switch rule {
	case "":
		t.Fatalf("no rule for %s: add it to the table", path)
	case "anyone":
		return true
	case "reads": // without a job source; api reads unless the token is also a person's
		return has("admin") || has("support") || has("api") && !has("user") && !has("manager")
	}
	return slices.ContainsFunc(strings.Fields(rule), has)
}

// listeners are ways to reach a handler's routes, in words of their own: has reports whether a route
// is among them.
var listeners = []struct {
	name     string
	separate bool // from the administrators'
	serve    func(*rest.Handler, http.ResponseWriter, *http.Request)
	has      func(path string) bool
}{
	{"the only one", false, (*rest.Handler).ServeHTTP, func(string) bool { return true }},
	{"main", true, (*rest.Handler).ServeHTTP, func(path string) bool { return !isFor(path, administrative) }},
	{"admin", true, (*rest.Handler).ServeAdmin, func(path string) bool { return !isFor(path, writing) }},
}

var (
	administrative = []string{"/api/free", "/api/debug", "/api/status", "/api/snapshot", "/api/confirm-clock", "/debug/pprof"}
	writing        = []string{"/api/write", "/write", "/api/v2/write", "/query", "/api/v1/write", "/prometheus/api/v1/write"}
)

// isFor reports whether a path is one of these or below it.
func isFor(path string, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}

// TestEveryCell sends a request for every listener, route, method and set of roles, and with
// credentials of no worth, through the router. A listener hides what belongs to another. A method that
// a route does not have is refused before anything else, and only the roles of the table pass.
func TestEveryCell(t *testing.T) {
	if err := pprof.StartCPUProfile(io.Discard); err == nil { // so that no request has to wait for one
		defer pprof.StopCPUProfile()
	}
	for _, l := range listeners {
		t.Run(l.name, func(t *testing.T) {
			d := open(t, func(o *rest.Options) { o.SwaggerUI, o.SeparateAdmin, o.Explorer = true, l.separate, page(t) })
			handler := d.Config.Handler.(*rest.Handler)
			roles := 6
			if l.separate || raceDetector {
				roles = 2
			}
			testEveryCell(t, d, roles, l.has, func(w http.ResponseWriter, r *http.Request) { l.serve(handler, w, r) })
		})
	}
}

// testEveryCell uses tokens with up to so many roles.
func testEveryCell(t *testing.T, d *deployment, maxRoles int, has func(path string) bool, serve http.HandlerFunc) {
	type credential struct {
		name, header string
		roles        []string
		good         bool
	}
	foreign := authtest.NewIssuer("other").Token(map[string]any{"sub": "tester", "roles": []string{"admin"}, "exp": now + 3600})
	expired := d.issuer.Token(map[string]any{"sub": "tester", "roles": []string{"admin"}, "exp": now - 3600})
	credentials := []credential{
		{name: "none"},
		{name: "garbage", header: "Bearer garbage"},
		{name: "Basic", header: "Basic YWRtaW46YWRtaW4="},
		{name: "another key", header: "Bearer " + foreign},
		{name: "expired", header: "Bearer " + expired},
	}
	names := []string{"admin", "api", "support", "manager", "user", "Admin"}
	for set := range 1 << len(names) {
		if bits.OnesCount(uint(set)) > maxRoles {
			continue
		}
		var roles []string
		for i, name := range names {
			if set&(1<<i) != 0 {
				roles = append(roles, name)
			}
		}
		credentials = append(credentials, credential{fmt.Sprint(roles), "Bearer " + d.token(roles...), roles, true})
	}
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"}
	cells := 0
	for _, route := range d.Config.Handler.(*rest.Handler).Routes() {
		for _, method := range methods {
			for _, c := range credentials {
				cells++
				got := cellStatus(t, serve, method, route.Path, c.header)
				var wrong bool
				switch {
				case !has(route.Path):
					wrong = got != http.StatusNotFound
				case !slices.Contains(route.Methods, method):
					wrong = got != http.StatusMethodNotAllowed
				case route.Open:
					wrong = got == http.StatusUnauthorized || got == http.StatusForbidden || got == http.StatusMethodNotAllowed
				case !c.good:
					wrong = got != http.StatusUnauthorized
				case !permitted(t, route.Path, c.roles):
					wrong = got != http.StatusForbidden
				default:
					wrong = got == http.StatusUnauthorized || got == http.StatusForbidden || got == http.StatusMethodNotAllowed
				}
				if wrong {
					t.Errorf("%s %s with %s: %d", method, route.Path, c.name, got)
				}
			}
		}
	}
	if cells < 3696 {
		t.Errorf("%d cells", cells)
	}
	t.Logf("%d cells", cells)
}

// cellStatus returns the status of a request, whose client does not wait for a trace.
func cellStatus(t *testing.T, serve http.HandlerFunc, method, path, authorization string) int {
	t.Helper()
	ctx := t.Context()
	if path == "/debug/pprof/trace" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
	}
	path = strings.ReplaceAll(path, "{name}", "hostname")
	r := httptest.NewRequestWithContext(ctx, method, path+"?to=1&cluster=alpha", strings.NewReader(""))
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	serve(w, r)
	return w.Code
}
