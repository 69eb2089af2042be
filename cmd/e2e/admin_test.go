package e2e

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/api/rest/resttest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

var adminListening = regexp.MustCompile(`msg="the administrators' paths are served" addr=\S+:(\d+)`)

// adminURL returns the URL of the administrators' listener, which this machine reaches by loopback.
func (p *program) adminURL(t testing.TB, scheme string) string {
	return scheme + "://127.0.0.1:" + p.says(t, adminListening)[1]
}

// administrators are the paths that move to main.admin-addr.
var administrators = []struct{ method, path, body string }{
	{"POST", "/api/free?to=1", `[["nobody"]]`},
	{"GET", "/api/debug", ""},
	{"GET", "/api/status", ""},
	{"GET", "/api/status/?top=1", ""},
	{"POST", "/api/snapshot", ""},
	{"POST", "/api/confirm-clock", ""},
	{"GET", "/debug/pprof/", ""},
	{"GET", "/debug/pprof/goroutine", ""},
	{"GET", "/debug/pprof/cmdline", ""},
}

// TestAdminAddr: with main.admin-addr, the administrators' paths are found there only. Both
// listeners answer queries, show the metrics and need tokens; samples arrive at the main one only.
func TestAdminAddr(t *testing.T) {
	s := newSettings(t)
	s["main"]["admin-addr"] = "127.0.0.1:0"
	p := serve(t, s)
	main, described := p.url, p.client.Transport
	admin := p.adminURL(t, "http")
	if main == admin {
		t.Fatal("both are the same listener")
	}
	p.write(t, "cpu_load,hostname=n1 value=1")
	f := func(listener, role, method, path, body string, status int) {
		t.Helper()
		p.url, p.client.Transport = listener, described
		if status == http.StatusNotFound { // is not described
			p.client.Transport = resttest.Bare(described)
		}
		bearer := ""
		if role != "" {
			bearer = token(role)
		}
		if got := p.send(t, bearer, method, path, body); got.status != status {
			t.Errorf("%s %s at %s as %q: %d, want %d: %.200s", method, path, listener, role, got.status, status, got.body)
		}
	}
	for _, a := range administrators {
		f(main, "admin", a.method, a.path, a.body, http.StatusNotFound)
		f(main, "", a.method, a.path, a.body, http.StatusNotFound)
		f(main, "admin", "PATCH", a.path, "", http.StatusNotFound)
		f(admin, "", a.method, a.path, a.body, http.StatusUnauthorized)
		f(admin, "support", a.method, a.path, a.body, http.StatusForbidden)
		f(admin, "admin", a.method, a.path, a.body, http.StatusOK)
	}
	const query = `{"cluster": "alpha", "from": 1, "to": 2, "queries": [{"metric": "cpu_load", "host": "n1"}]}`
	for _, listener := range []string{main, admin} {
		f(listener, "", "GET", "/-/ready", "", http.StatusOK)
		f(listener, "", "POST", "/api/query", query, http.StatusUnauthorized)
		f(listener, "admin", "POST", "/api/query", query, http.StatusOK)
		f(listener, "admin", "GET", "/api/v1/labels", "", http.StatusOK)
		f(listener, "admin", "GET", "/metrics", "", http.StatusOK)
		f(listener, "admin", "GET", "/api/whoami", "", http.StatusOK)
	}
	const line = "cpu_load,hostname=n1 value=2"
	f(main, "api", "POST", "/api/write?cluster=alpha", line, http.StatusOK)
	f(admin, "api", "POST", "/api/write?cluster=alpha", line, http.StatusNotFound)
	f(admin, "admin", "POST", "/write?db=alpha", line, http.StatusNotFound)
	f(admin, "admin", "POST", "/api/v2/write?bucket=alpha", line, http.StatusNotFound)
}

// TestAdminAddrSpeaksHTTPS: with a certificate, the administrators' listener speaks HTTPS like the
// main one, except on loopback.
func TestAdminAddrSpeaksHTTPS(t *testing.T) {
	c := newCertificate(t, t.TempDir())
	f := func(addr, scheme string) {
		t.Helper()
		s := newSettings(t)
		s.https(c)
		s["main"]["admin-addr"] = addr
		p := call(t, "-config", s.file(t))
		p.client = newClient(t, c.trust)
		p.ready(t)
		p.url = p.adminURL(t, scheme)
		if got := p.send(t, token("admin"), "GET", "/api/status", ""); got.status != http.StatusOK {
			t.Errorf("%s, %s: %d", addr, scheme, got.status)
		}
		if strings.Contains(p.stderr.String(), "without encryption") {
			t.Errorf("%s: a warning of plain HTTP", addr)
		}
	}
	f(":0", "https")
	f("127.0.0.1:0", "http")
}

// TestAdminAddrInUse: the start fails if the address is in use.
func TestAdminAddrInUse(t *testing.T) {
	first := serve(t, newSettings(t))
	s := newSettings(t)
	s["main"]["admin-addr"] = strings.TrimPrefix(first.url, "http://")
	p := call(t, "-config", s.file(t))
	if code := p.wait(t); code != exitFailure || !strings.Contains(p.stderr.String(), "main.admin-addr: listen tcp") {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
}

// TestAdminCertificateIsFollowed: both HTTPS listeners get a replaced certificate.
func TestAdminCertificateIsFollowed(t *testing.T) {
	directory := t.TempDir()
	c := newCertificate(t, directory)
	s := newSettings(t)
	s.https(c)
	s["main"]["admin-addr"] = "0.0.0.0:0"
	p := call(t, "-config", s.file(t))
	p.client = newClient(t, c.trust)
	p.ready(t)
	next := newCertificate(t, t.TempDir())
	for from, to := range map[string]string{next.certFile: c.certFile, next.keyFile: c.keyFile} {
		cmdtest.WriteFile(t, to, []byte(cmdtest.ReadFile(t, from)))
	}
	for _, address := range []string{p.url, p.adminURL(t, "https")} {
		cmdtest.Eventually(t, "the new certificate at "+address, func() bool {
			client := newClient(t, next.trust)
			defer client.CloseIdleConnections()
			resp, err := client.Get(address + "/-/healthy")
			if err != nil {
				return false
			}
			return resp.Body.Close() == nil
		})
	}
}
