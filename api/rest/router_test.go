package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/api/rest"
)

// spellings returns paths that resemble path, and that a less strict router or a proxy takes for
// path.
func spellings(path string) (all []string) {
	for i, c := range []byte(path) {
		before, after := path[:i], path[i+1:]
		if i > 0 { // net/http refuses a request target without a slash at its beginning
			all = append(all, fmt.Sprintf("%s%%%02X%s", before, c, after), fmt.Sprintf("%s%%%02x%s", before, c, after),
				fmt.Sprintf("%s%%25%02x%s", before, c, after))
		}
		if c == '/' {
			all = append(all, before+"//"+after, before+"/./"+after, before+"/x/../"+after, before+"/%2e/"+after, before+"/%2F"+after)
		}
		if upper := strings.ToUpper(string(c)); upper != string(c) {
			all = append(all, before+upper+after)
		}
	}
	if path == "/" {
		return append(all, "/%2F", "/%00", "/%20", "/;", "//", "/x")
	}
	return append(all, path+"%2F", path+"%00", path+"%20", path+";", strings.ToUpper(path)+"/", path+"x", path[:len(path)-1])
}

// Only the exact spelling of a path reaches its route, so a proxy that filters by path cannot be
// bypassed. Nothing is redirected.
func TestOnlyTheExactPathReachesARoute(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.SwaggerUI, o.Explorer = true, page(t) })
	d.skipContract() // below a prefix, pprof and the user interface write their own 404
	d.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	routes := d.Config.Handler.(*rest.Handler).Routes()
	known := make(map[string]bool)
	for _, r := range routes {
		known[r.Path] = true
	}
	for _, r := range routes {
		others := spellings(r.Path)
		if !r.Below {
			others = append(others, r.Path+"//", r.Path+"/.", r.Path+"/..", r.Path+"/x", r.Path+"/%2e")
		}
		for _, path := range others {
			if known[path] {
				continue
			}
			// No route serves PATCH, so a wrong match does not start a profile.
			below := strings.HasPrefix(path, "/debug/pprof/") || strings.HasPrefix(path, "/swagger/")
			method, query := "PATCH", ""
			if below {
				method, query = r.Methods[0], "?seconds=1"
			}
			got := d.send(t, method, path+query, "")
			if got.status != http.StatusNotFound || got.header.Get("Allow") != "" || got.header.Get("Location") != "" {
				t.Errorf("%s %s: %d, want 404; headers %v", method, path, got.status, got.header)
				break
			}
			if !below {
				got.failure(t)
			}
		}
	}
}

// An encoded spelling gets a 404 below a prefix, too.
func TestEncodedPathsBelowAPrefix(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.SwaggerUI, o.Explorer = true, page(t) })
	d.skipContract()
	f := func(path string, status int) {
		t.Helper()
		if got := d.send(t, "GET", path, ""); got.status != status {
			t.Errorf("%s: %d, want %d: %.100s", path, got.status, status, got.body)
		}
	}
	f("/debug/pprof/goroutine", 200)
	f("/debug/pprof/%67oroutine", 404)
	f("/debug/pprof%2Fgoroutine", 404)
	f("/debug/pprof/%2Fgoroutine", 404)
	f("/debug/pprof//goroutine", 404)
	f("/debug/pprof/./goroutine", 404)
	f("/debug/pprof/x/../goroutine", 404)
	f("/debug/pprof/GOROUTINE", 404)
	f("/swagger/swagger-ui.css", 200)
	f("/swagger/swagger-ui%2Ecss", 404)
	f("/swagger/../api/status", 404)
	f("/swagger/%2e%2e/api/status", 404)
}

// Every route answers with and without one trailing slash, and a wrong method gets the same JSON
// error on both.
func TestTrailingSlashAndMethod(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.SwaggerUI, o.Explorer = true, page(t) })
	d.skipContract()
	for _, r := range d.Config.Handler.(*rest.Handler).Routes() {
		plain := strings.ReplaceAll(r.Path, "{name}", "hostname")
		for _, path := range []string{plain, strings.TrimSuffix(plain, "/") + "/"} {
			got := d.send(t, "PATCH", path, "")
			if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != strings.Join(r.Methods, ", ") {
				t.Errorf("PATCH %s: %d, Allow: %s", path, got.status, got.header.Get("Allow"))
			}
			if !slices.Contains([]string{"/write", "/api/v2/write", "/query"}, plain) && !strings.Contains(plain, "/api/v1/") { // the errors of other APIs
				got.failure(t)
			}
		}
	}
	metrics := d.send(t, "GET", "/metrics", "").body
	for _, want := range []string{`{code="4xx",route="free"} 2`, `{code="4xx",route="influx"} 6`, `{code="4xx",route="status"} 2`} {
		if !strings.Contains(metrics, "ringstore_http_requests_total"+want+"\n") {
			t.Errorf("%s is not counted", want)
		}
	}
	d.send(t, "GET", "/api/%73tatus", "")
	if metrics := d.send(t, "GET", "/metrics", "").body; !strings.Contains(metrics, `ringstore_http_requests_total{code="4xx",route="none"} 1`+"\n") {
		t.Error("a path without a route is not counted as route none")
	}
}

// A handler of metrics alone serves nothing else, and its errors have the form of all errors.
func TestMetricsHandler(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "seen_total", Help: "For the test."}))
	handler, err := rest.MetricsHandler(registry)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	f := func(method, path string, status int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Transport.RoundTrip(req) // follows no redirects
		if err != nil {
			t.Fatal(err)
		}
		got := readReply(t, resp)
		if got.status != status {
			t.Errorf("%s %s: %d, want %d", method, path, got.status, status)
		}
		if status == http.StatusOK && method == "GET" && !strings.Contains(got.body, "seen_total 0\n") {
			t.Errorf("%s %s: %.200s", method, path, got.body)
		}
		if status >= 400 && (!json.Valid([]byte(got.body)) || got.failure(t).Error == "") {
			t.Errorf("%s %s: %q", method, path, got.body)
		}
		if allow := got.header.Get("Allow"); (allow == "GET, HEAD") != (status == http.StatusMethodNotAllowed) {
			t.Errorf("%s %s: Allow: %q", method, path, allow)
		}
	}
	f("GET", "/metrics", 200)
	f("GET", "/metrics/", 200)
	f("HEAD", "/metrics", 200)
	f("POST", "/metrics", 405)
	f("POST", "/metrics/", 405)
	f("GET", "/", 404)
	f("GET", "/api/query", 404)
	for _, path := range spellings("/metrics") {
		f("GET", path, 404)
	}
}
