package rest_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth/authtest"
)

// endpoints has one request for each action that requires a role.
var endpoints = []struct{ name, method, path, body string }{
	{"query", "GET", "/api/query", `{}`},
	{"healthcheck", "GET", "/api/healthcheck", `{}`},
	{"write", "POST", "/api/write", ``},
	{"free", "POST", "/api/free?to=1", ``},
	{"debug", "GET", "/api/debug", ``},
	{"metrics", "GET", "/metrics", ``},
	{"profile", "GET", "/debug/pprof/cmdline", ``},
	{"status", "GET", "/api/status", ``},
	{"snapshot", "POST", "/api/snapshot", ``},
	{"confirm-clock", "POST", "/api/confirm-clock", ``},
	{"openapi", "GET", "/api/openapi.json", ``},
}

func TestRoleTable(t *testing.T) {
	const table = `
		roles          query healthcheck write free debug metrics profile status snapshot confirm-clock openapi
		admin          200   200         200   200  200   200     200     200    200      200           200
		api            200   200         200   403  403   200     403     403    403      403           200
		support        200   200         403   403  403   200     403     403    403      403           200
		manager        403   403         403   403  403   403     403     403    403      403           403
		user           403   403         403   403  403   403     403     403    403      403           403
		-              403   403         403   403  403   403     403     403    403      403           403
		Admin          403   403         403   403  403   403     403     403    403      403           403
		user,api       403   200         200   403  403   200     403     403    403      403           200
		manager,api    403   200         200   403  403   200     403     403    403      403           200
		support,api    200   200         200   403  403   200     403     403    403      403           200
		admin,user     200   200         200   200  200   200     200     200    200      200           200`
	d := open(t)
	rows := strings.Split(strings.TrimSpace(table), "\n")
	for _, row := range rows[1:] {
		cells := strings.Fields(row)
		var roles []string
		if cells[0] != "-" {
			roles = strings.Split(cells[0], ",")
		}
		for i, e := range endpoints {
			for _, slash := range []string{"", "/"} {
				path, query, _ := strings.Cut(e.path, "?")
				got := d.send(t, e.method, path+slash+"?"+query, e.body, "Authorization", "Bearer "+d.token(roles...))
				if fmt.Sprint(got.status) != cells[i+1] {
					t.Errorf("%s: %s%s: %d, want %s", cells[0], path, slash, got.status, cells[i+1])
				}
				if got.status == 403 {
					if c := got.header.Get("WWW-Authenticate"); c != `Bearer error="insufficient_scope"` {
						t.Errorf("%s: %s: WWW-Authenticate: %s", cells[0], path, c)
					}
					message := "the token's roles do not permit this"
					if e.name == "query" && (strings.Contains(cells[0], "user") || strings.Contains(cells[0], "manager")) {
						message = "no job source is configured"
					}
					if fail := got.failure(t); fail.Error != message {
						t.Errorf("%s: %s: error %q, want %q", cells[0], path, fail.Error, message)
					}
				}
			}
		}
	}
}

func TestPolicyMayPermitUsersToRead(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.Policy.UsersReadAll = true })
	if got := d.send(t, "GET", "/api/query", `{}`, "Authorization", "Bearer "+d.token("user")); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := d.send(t, "POST", "/api/write", ``, "Authorization", "Bearer "+d.token("user")); got.status != 403 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	d := open(t)
	good := d.token("admin")
	claims := func(change map[string]any) string {
		c := map[string]any{"sub": "tester", "roles": []string{"admin"}, "exp": now + 3600}
		for k, v := range change {
			c[k] = v
			if v == nil {
				delete(c, k)
			}
		}
		return d.issuer.Token(c)
	}
	hs256, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "tester", "roles": []string{"admin"}, "exp": now + 3600}).
		SignedString([]byte(d.issuer.PublicKey()))
	if err != nil {
		t.Fatal(err)
	}
	withAlg := func(alg string) string {
		parts := strings.Split(good, ".")
		parts[0] = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + alg + `","typ":"JWT"}`))
		return strings.Join(parts, ".")
	}
	const none, invalid = `Bearer realm="ringstore"`, `Bearer error="invalid_token"`
	message := "a valid bearer token is required"
	f := func(name, authorization, xAuthToken, challenge string) {
		t.Helper()
		for _, e := range endpoints {
			got := d.send(t, e.method, e.path, e.body, "Authorization", authorization, "X-Auth-Token", xAuthToken)
			if got.status != 401 || got.header.Get("WWW-Authenticate") != challenge {
				t.Errorf("%s: %s: %d, WWW-Authenticate: %s", name, e.path, got.status, got.header.Get("WWW-Authenticate"))
			}
			if fail := got.failure(t); fail.Error != message {
				t.Errorf("%s: %s: error %q", name, e.path, fail.Error)
			}
		}
	}
	f("none", "", "", none)
	f("empty", "Bearer ", "", none)
	f("wrong scheme", "Basic dGVzdGVyOnNlY3JldA==", "", none)
	f("garbage", "Bearer garbage", "", invalid)
	f("garbage in the other header", "", "garbage", invalid)
	f("two different tokens", "Bearer "+good, claims(map[string]any{"sub": "other"}), invalid)
	f("wrong key", "Bearer "+authtest.NewIssuer("other").Token(map[string]any{"sub": "tester", "roles": []string{"admin"}, "exp": now + 3600}), "", invalid)
	f("alg none", "Bearer "+withAlg("none"), "", invalid)
	f("alg none, unsigned", "Bearer "+withAlg("none")[:strings.LastIndex(withAlg("none"), ".")+1], "", invalid)
	f("alg in lower case", "Bearer "+withAlg("eddsa"), "", invalid)
	f("HS256 with the public key", "Bearer "+hs256, "", invalid)
	expired := map[string]any{"sub": "tester", "roles": []string{"admin"}, "exp": now - 3600}
	f("expired, and of another key", "Bearer "+authtest.NewIssuer("other").Token(expired), "", invalid)
	f("expired, without sub", "Bearer "+claims(map[string]any{"exp": now - 3600, "sub": nil}), "", invalid)
	message = "the token has expired"
	f("expired", "Bearer "+claims(expired), "", invalid+`, error_description="the token has expired"`)
	f("expired, in the other header", "", claims(expired), invalid+`, error_description="the token has expired"`)
	f("exp 0", "Bearer "+claims(map[string]any{"exp": 0}), "", invalid+`, error_description="the token has expired"`)
	message = "the token is not valid yet"
	f("not yet valid", "Bearer "+claims(map[string]any{"nbf": now + 3600}), "", invalid+`, error_description="the token is not valid yet"`)
	message = "a valid bearer token is required"
	f("issued in the future", "Bearer "+claims(map[string]any{"iat": now + 3600}), "", invalid)
	f("truncated", "Bearer "+good[:len(good)-10], "", invalid)
	f("100 kB long", "Bearer "+strings.Repeat("A", 100_000), "", invalid)
	f("roles as a string", "Bearer "+claims(map[string]any{"roles": "admin"}), "", invalid)
	f("empty sub", "Bearer "+claims(map[string]any{"sub": ""}), "", invalid)
	f("no sub", "Bearer "+claims(map[string]any{"sub": nil}), "", invalid)
	if strings.Contains(d.log.String(), good) || strings.Contains(d.audit.String(), good) || strings.Contains(d.audit.String(), "garbage") {
		t.Error("a log contains a token")
	}
}

func TestGoodTokensAreAccepted(t *testing.T) {
	d := open(t)
	f := func(authorization, xAuthToken string) {
		t.Helper()
		if got := d.send(t, "GET", "/api/query", `{}`, "Authorization", authorization, "X-Auth-Token", xAuthToken); got.status != 200 {
			t.Errorf("%.20q, %.20q: %d %s", authorization, xAuthToken, got.status, got.body)
		}
	}
	token := d.token("api")
	f("Bearer "+token, "")
	f("bearer "+token, "")
	f("BEARER  "+token, "")
	f("", token)
	f("Bearer "+token, token)
}

func TestRefusalsAreAuditedAndCounted(t *testing.T) {
	d := open(t)
	d.send(t, "POST", "/api/free?to=1", `[["*"]]`, "Authorization", "Bearer "+d.token("user"), "X-Request-Id", "job-17")
	anonymous := d.send(t, "POST", "/api/free?to=1", `[["*"]]`, "Authorization", "").header.Get("X-Request-Id")
	performed := d.send(t, "POST", "/api/free?to=1", `[["*"]]`).header.Get("X-Request-Id")
	type event struct {
		Transport, ID, Peer, Issuer, Subject, Action, Code string
		Roles                                              []string
	}
	var got []string
	for line := range strings.Lines(d.audit.String()) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		got = append(got, fmt.Sprint(e))
	}
	want := []string{
		fmt.Sprint(event{"http", "job-17", "127.0.0.1", "jwt-public-key", "tester", "free", "insufficient_role", []string{"user"}}),
		fmt.Sprint(event{"http", anonymous, "127.0.0.1", "", "", "free", "missing", []string{}}),
		fmt.Sprint(event{"http", performed, "127.0.0.1", "jwt-public-key", "tester", "free", "accepted", []string{"admin"}}),
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("audited:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	metrics := d.send(t, "GET", "/metrics", "").body
	for _, want := range []string{
		`ringstore_auth_refusals_total{reason="insufficient_role",transport="http"} 1`,
		`ringstore_auth_refusals_total{reason="missing",transport="http"} 1`,
		`ringstore_http_requests_total{code="2xx",route="free"} 1`,
		`ringstore_http_requests_total{code="4xx",route="free"} 2`,
		`ringstore_http_request_duration_seconds_count{route="free"} 3`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("/metrics lacks %s:\n%s", want, metrics)
		}
	}
}

// TestAdministrativeActionsAreAudited: what an administrator does is in the audit, and what anybody
// reads or writes is not, nor is a request that is refused as malformed.
func TestAdministrativeActionsAreAudited(t *testing.T) {
	d := open(t)
	d.skipContract() // of profiles
	f := func(want, method, path, body string, status int, roles ...string) {
		t.Helper()
		before := d.audit.String()
		got := d.send(t, method, path, body, "Authorization", "Bearer "+d.token(roles...))
		if got.status != status {
			t.Fatalf("%s: %d %s", path, got.status, got.body)
		}
		audited := strings.TrimPrefix(d.audit.String(), before)
		if want == "" && audited != "" || want != "" && !strings.Contains(audited, want) {
			t.Errorf("%s: audited %q, want %q", path, audited, want)
		}
	}
	f(`"action":"free","code":"accepted"`, "POST", "/api/free?to=1", `[["*"]]`, 200, "admin")
	f(`"subject":"tester","roles":["admin"],"action":"debug","code":"accepted"`, "GET", "/api/debug", "", 200, "admin")
	f(`"action":"snapshot","code":"accepted"`, "POST", "/api/snapshot", "", 200, "admin")
	f(`"action":"profile","code":"accepted"`, "GET", "/debug/pprof/cmdline", "", 200, "admin")
	f(`"action":"profile","code":"accepted"`, "GET", "/debug/pprof/goroutine", "", 200, "admin")
	f(`"action":"debug","code":"insufficient_role"`, "GET", "/api/debug", "", 403, "api")
	f("", "POST", "/api/free", `[["*"]]`, 400, "admin")
	f("", "GET", "/api/free?to=1", "", 405, "admin")
	f("", "GET", "/api/debug?selector=none", "", 404, "admin")
	f("", "POST", "/api/write?cluster=alpha", "", 200, "admin")
	f("", "GET", "/api/query", "{}", 200, "admin")
	f("", "GET", "/metrics", "", 200, "admin")
	f("", "GET", "/api/whoami", "", 200, "admin")
}

// An error of the authenticator other than a refusal is an internal error.
func TestErrorsOfTheAuthenticatorAreInternal(t *testing.T) {
	fault := errors.New("the key server at 192.0.2.1 is down")
	d := open(t, func(o *rest.Options) { o.Authenticator = fixedAuthenticator{err: fault} })
	got := d.send(t, "GET", "/api/query", `{}`)
	if got.status != 500 || got.failure(t).Error != "internal error" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if d.audit.String() != "" {
		t.Errorf("audited: %s", d.audit)
	}
}

func TestWithoutAuthEveryCallerIsAdmin(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.AuthDisabled, o.Authenticator = true, nil })
	for _, e := range endpoints { // from loopback
		if got := d.send(t, e.method, e.path, e.body, "Authorization", ""); got.status != 200 {
			t.Errorf("%s: %d %s", e.name, got.status, got.body)
		}
	}
	for _, e := range endpoints {
		f := func(peer string, status int) {
			t.Helper()
			req := httptest.NewRequestWithContext(t.Context(), e.method, e.path, strings.NewReader(e.body))
			req.RemoteAddr = peer
			got := contract().Serve(t, d.Config.Handler, req)
			if got.Code != status {
				t.Errorf("%s from %s: %d, want %d", e.name, peer, got.Code, status)
			}
		}
		remote := 200
		if e.name == "profile" {
			remote = 403
		}
		f("127.0.0.1:1", 200)
		f("[::1]:1", 200)
		f("[::ffff:127.0.0.1]:1", 200)
		f("192.0.2.1:1", remote)
		f("[2001:db8::1]:1", remote)
		f("", remote)
	}
}

func TestPathsAndMethods(t *testing.T) {
	d := open(t)
	f := func(method, path string, status int, allow string) {
		t.Helper()
		got := d.send(t, method, path, "")
		if got.status != status || got.header.Get("Allow") != allow {
			t.Errorf("%s %s: %d, Allow: %s", method, path, got.status, got.header.Get("Allow"))
		}
		if status >= 400 && method != "HEAD" {
			got.failure(t)
		}
	}
	f("GET", "/", 404, "")
	f("GET", "/api", 404, "")
	f("GET", "/api/nope", 404, "")
	f("GET", "//api/query", 404, "")
	f("GET", "/api/query//", 404, "")
	f("GET", "/api/../api/query", 404, "")
	f("GET", "/api/query/x", 404, "")
	f("GET", "/api//query", 404, "")
	f("GET", "/API/query", 404, "")
	f("GET", "/metrics/x", 404, "")
	f("GET", "/debug/pprofs", 404, "")
	f("GET", "/debug/pprofs/heap", 404, "")
	f("PUT", "/api/query", 405, "GET, POST")
	f("HEAD", "/api/query", 405, "GET, POST")
	f("GET", "/api/write", 405, "POST")
	f("PUT", "/api/write/", 405, "POST")
	f("GET", "/api/free", 405, "POST")
	f("DELETE", "/api/debug", 405, "GET, POST")
	f("PATCH", "/api/healthcheck/", 405, "GET, POST")
	f("POST", "/-/healthy", 405, "GET, HEAD")
	f("POST", "/metrics", 405, "GET, HEAD")
	f("POST", "/debug/pprof/heap", 405, "GET, HEAD")
	f("GET", "/debug/pprof", 200, "")
	f("GET", "/debug/pprof/", 200, "")
	f("GET", "/debug/pprof/goroutine", 200, "")
	f("HEAD", "/-/healthy", 200, "")
}

func TestProbesNeedNoToken(t *testing.T) {
	d := open(t)
	for _, path := range []string{"/-/healthy", "/-/healthy/", "/-/ready", "/-/ready/"} {
		if got := d.send(t, "GET", path, "", "Authorization", ""); got.status != 200 || got.body != "ok\n" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

func TestBeforeReadyOnlyHealthyAnswers(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.Ready = func() error { return errors.New("restoring") } })
	paths := []string{"/-/ready", "/-/ready/", "/nope", "/-/healthy/x"}
	for _, e := range endpoints {
		paths = append(paths, e.path)
	}
	for _, path := range paths {
		for _, authorization := range []string{"", "Bearer garbage", "Bearer " + d.token("admin")} {
			got := d.send(t, "GET", path, "", "Authorization", authorization)
			if fail := got.failure(t); got.status != 503 || got.header.Get("Retry-After") == "" || fail.Error != "not ready: restoring" {
				t.Errorf("%s: %d %s", path, got.status, got.body)
			}
		}
	}
	for _, path := range []string{"/-/healthy", "/-/healthy/"} {
		if got := d.send(t, "GET", path, ""); got.status != 200 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

// With a full disk the server is not ready, but it still answers requests.
func TestReadyReportsAFullDisk(t *testing.T) {
	full := fmt.Errorf("the journal accepts no records: %w", syscall.ENOSPC)
	d := open(t, func(o *rest.Options) { o.Writable = func() error { return full } })
	if got := d.send(t, "GET", "/-/ready", "", "Authorization", ""); got.status != 503 || got.failure(t).Error != "the disk is full" {
		t.Errorf("/-/ready: %d %s", got.status, got.body)
	}
	if got := d.send(t, "GET", "/-/healthy", ""); got.status != 200 {
		t.Errorf("/-/healthy: %d %s", got.status, got.body)
	}
	if got := d.send(t, "GET", "/api/debug", "", "Authorization", "Bearer "+d.token("admin")); got.status != 200 {
		t.Errorf("/api/debug: %d %s", got.status, got.body)
	}
}

func TestRequestIDs(t *testing.T) {
	d := open(t)
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	f := func(given string, accepted bool) {
		t.Helper()
		got := d.send(t, "GET", "/-/healthy", "", "X-Request-Id", given).header.Get("X-Request-Id")
		if accepted && got != given || !accepted && !uuid.MatchString(got) {
			t.Errorf("%q: %q", given, got)
		}
		if !strings.Contains(d.log.String(), "id="+got) {
			t.Errorf("%q is not in the log", got)
		}
	}
	f("", false)
	f("job-17_a.B", true)
	f(strings.Repeat("x", 64), true)
	f(strings.Repeat("x", 65), false)
	f("a b", false)
	f(`a"b`, false)
	f("ä", false)
}

func TestAnswersAreGzipOnlyIfConfigured(t *testing.T) {
	f := func(configured bool, accept, encoding, vary string) {
		t.Helper()
		d := open(t, func(o *rest.Options) { o.Gzip = configured })
		fill(t, d)
		d.Client().CloseIdleConnections()
		got := d.send(t, "GET", "/api/query", largeQuery(3), "Accept-Encoding", accept)
		if e := got.header.Get("Content-Encoding"); e != encoding || got.header.Get("Vary") != vary {
			t.Errorf("%t, %q: Content-Encoding: %q, Vary: %q", configured, accept, e, got.header.Get("Vary"))
		}
		if encoding == "gzip" {
			got.body, got.header = gunzipped(t, got.body), nil
		}
		if a := got.answer(t); len(a.Results) != 3 || len(a.Results[2][0].Data) != 3600 {
			t.Errorf("%t, %q: %d results", configured, accept, len(a.Results))
		}
	}
	f(false, "gzip", "", "")
	f(true, "identity", "", "Accept-Encoding")
	f(true, "gzip", "gzip", "Accept-Encoding")
	f(true, "zstd, gzip;q=0.5", "gzip", "Accept-Encoding")
	f(true, "gzip;q=0", "", "Accept-Encoding")
	f(true, "zstd", "", "Accept-Encoding")
}

func TestOptionsAreChecked(t *testing.T) {
	d := open(t)
	full := rest.Options{Store: d.store, Freer: storage{d.store}, Ingester: nopStorage{}, AuthDisabled: true}
	f := func(name string, change func(*rest.Options)) {
		t.Helper()
		o := full
		change(&o)
		if _, err := rest.New(o); (err == nil) != (name == "full") {
			t.Errorf("%s: %v", name, err)
		}
	}
	f("full", func(*rest.Options) {})
	f("no store", func(o *rest.Options) { o.Store = nil })
	f("no freer", func(o *rest.Options) { o.Freer = nil })
	f("no ingester", func(o *rest.Options) { o.Ingester = nil })
	f("no authenticator", func(o *rest.Options) { o.AuthDisabled = false })
	used := prometheus.NewRegistry()
	if _, err := rest.New(rest.Options{Store: d.store, Freer: storage{d.store}, Ingester: nopStorage{}, AuthDisabled: true, Registry: used}); err != nil {
		t.Fatal(err)
	}
	f("counters registered twice", func(o *rest.Options) { o.Registry = used })
}

// The documents tell clients to poll /-/ready: that it is not ready is not logged as a warning.
func TestPollingIsNoWarning(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.Ready = func() error { return errors.New("restoring") } })
	for _, path := range []string{"/-/ready", "/-/ready/", "/health"} {
		if got := d.send(t, "GET", path, "", "Authorization", ""); got.status != 503 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	if log := d.log.String(); strings.Contains(log, "level=WARN") {
		t.Errorf("%s", log)
	}
	d.send(t, "GET", "/api/query", "")
	if log := d.log.String(); !strings.Contains(log, "level=WARN") {
		t.Errorf("another request is not logged: %s", log)
	}
}
