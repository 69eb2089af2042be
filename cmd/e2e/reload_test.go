package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// saysTimes waits until the program has written a text n times to stderr.
func (p *program) saysTimes(t testing.TB, n int, text string) {
	t.Helper()
	cmdtest.Eventually(t, fmt.Sprintf("%d times %q", n, text), func() bool {
		if p.hasEnded() {
			t.Fatalf("exit code %d; stderr:\n%s", p.code, tail(p.stderr.String()))
		}
		return strings.Count(p.stderr.String(), text) >= n
	})
}

// status returns the status of a query with a token.
func (p *program) status(t testing.TB, token string) int {
	t.Helper()
	return p.send(t, token, "POST", "/api/query", "{}").status
}

// TestSIGHUP: a reload applies issuers, their settings and keys. An unusable configuration changes
// nothing. A request in flight continues.
func TestSIGHUP(t *testing.T) {
	c := newCentre(t)
	file := c.settings.file(t)
	p := launch(t, nil, "-config", file)
	p.ready(t)
	reload := func(says string, n int) {
		t.Helper()
		cmdtest.WriteFile(t, file, mustJSON(c.settings))
		p.signal(t, syscall.SIGHUP)
		p.says(t, regexp.MustCompile(`"transport":"signal",.*"action":"reload","code":"accepted"`))
		p.saysTimes(t, n, says)
	}
	const done = `msg=reloaded what="issuers, keys and revocations"`
	student := c.keycloak.Token(authtest.KeycloakUser(time.Now(), realm, "jupyter", "alice", "student"))
	cc := c.cc.Token(authtest.CCBackend(time.Now(), "alice", "api"))
	want := func(token string, does string) {
		t.Helper()
		if got := p.does(t, token); got != does {
			t.Errorf("query, write, free: %s, want %s", got, does)
		}
	}
	want(student, "403 403 403")
	want(cc, "200 200 403")

	// A write that is in flight during all of this.
	body, more := io.Pipe()
	answer := make(chan reply, 1)
	go func() {
		r, err := p.try(cc, "POST", "/api/write/?cluster=fritz", body)
		if err != nil {
			t.Error(err)
		}
		answer <- r
	}()
	fmt.Fprintf(more, "cpu_load,hostname=n7 value=1 %d\n", now()-120)

	c.issuers[1]["role-map"] = jsonObject{"student": "admin"}
	reload(done, 1)
	want(student, "200 200 200")

	// One issuer gets another key, one is removed, one is added.
	old, fresh := c.cc, authtest.NewSigner("EdDSA", "")
	c.issuers[0] = jsonObject{"name": "cc-backend", "public-key": string(pemOf("PUBLIC KEY", spki(t, fresh)))}
	dataHub := c.dataHub.Token(authtest.DataHub(time.Now(), "PERSONAL", "alice"))
	want(dataHub, "200 403 403")
	c.issuers[3] = jsonObject{"name": "new", "issuer": "new", "public-key": string(pemOf("PUBLIC KEY", spki(t, old))), "default-roles": []string{"api"}}
	reload(done, 2)
	want(cc, "401 401 401")
	want(fresh.Token(authtest.CCBackend(time.Now(), "alice", "api")), "200 200 403")
	want(dataHub, "401 401 401")
	want(old.Token(jsonObject{"iss": "new", "sub": "a", "exp": time.Now().Unix() + 60}), "200 200 403")
	want(student, "200 200 200")

	// An unusable configuration changes nothing.
	for n, bad := range []jsonObject{
		{"name": "cc-backend", "public-key": "none"},
		{"name": "hpc-sso", "public-key": string(pemOf("PUBLIC KEY", spki(t, old)))},
		{"name": "cc-backend", "public-key-file": filepath.Join(t.TempDir(), "none.pem")},
		{"name": "cc-backend", "public-key": "env:RINGSTORE_TEST_NOT_SET"},
	} {
		good := c.issuers[0]
		c.issuers[0] = bad
		c.issuers[1]["role-map"] = jsonObject{"student": "user"}
		reload("stays active", 0)
		p.saysTimes(t, n+1, "reload failed")
		c.issuers[0] = good
		want(student, "200 200 200")
		want(cc, "401 401 401")
	}
	cmdtest.WriteFile(t, file, []byte(`{"main": `))
	p.signal(t, syscall.SIGHUP)
	p.saysTimes(t, 5, "reload failed")
	want(student, "200 200 200")

	// Only a section with a change that requires a restart is named.
	c.settings["limits"] = jsonObject{"hosts": 7}
	reload(done, 3)
	want(student, "403 403 403")
	if log := p.stderr.String(); strings.Count(log, "requires a restart") != 1 || !strings.Contains(log, `msg="a changed setting requires a restart" section=limits`) {
		t.Errorf("%s", log)
	}

	fmt.Fprintf(more, "cpu_load,hostname=n7 value=2 %d\n", now()-60)
	more.Close()
	if r := <-answer; r.status != 200 {
		t.Errorf("the write in flight: %d %s", r.status, r.body)
	}
}

// TestSIGHUPWithoutTheURL: keys of a URL that cannot be read any more stay, and so do those of the
// issuer's other sources.
func TestSIGHUPWithoutTheURL(t *testing.T) {
	c := newCentre(t)
	other := c.keycloak.Named("e0")
	c.issuers[4]["jwks-file"] = c.file("entra.json", jwks(other))
	file := c.settings.file(t)
	p := launch(t, nil, "-config", file)
	p.ready(t)
	check := func() {
		t.Helper()
		for _, s := range []*authtest.Signer{c.entra, other} {
			if got := p.status(t, s.Token(authtest.EntraV1(time.Now(), tenant, object, "Metrics.Read"))); got != 200 {
				t.Errorf("%s: %d", s.KID(), got)
			}
		}
		if got := p.status(t, c.entra.Token(authtest.EntraV2(time.Now(), tenant, object, "Metrics.Read"))); got != 200 {
			t.Errorf("v2: %d", got)
		}
	}
	check()
	c.web.Close()
	for n := range 2 {
		p.signal(t, syscall.SIGHUP)
		p.saysTimes(t, n+1, `msg=reloaded what="issuers, keys and revocations"`)
		check()
	}
	// Keys of a source that is no longer configured are removed, although the new one cannot be
	// read.
	delete(c.issuers[4], "jwks-file")
	c.issuers[4]["jwks-urls"] = []string{c.web.URL + "/moved"}
	cmdtest.WriteFile(t, file, mustJSON(c.settings))
	p.signal(t, syscall.SIGHUP)
	p.saysTimes(t, 3, `msg=reloaded what="issuers, keys and revocations"`)
	for _, s := range []*authtest.Signer{c.entra, other} {
		if got := p.status(t, s.Token(authtest.EntraV1(time.Now(), tenant, object, "Metrics.Read"))); got != 503 {
			t.Errorf("%s, of a removed source: %d", s.KID(), got)
		}
	}
}

// TestKeysAreFollowed: a replaced key file takes effect at once, also for cached tokens. Unusable
// content changes nothing.
func TestKeysAreFollowed(t *testing.T) {
	c := newCentre(t)
	p := serve(t, c.settings)
	fresh := authtest.NewSigner("EdDSA", "")
	old, young := c.cc.Token(authtest.CCBackend(time.Now(), "a", "api")), fresh.Token(authtest.CCBackend(time.Now(), "a", "api"))
	want := func(token string, status int) {
		t.Helper()
		if got := p.status(t, token); got != status {
			t.Errorf("%d, want %d", got, status)
		}
	}
	want(old, 200)
	want(young, 401)
	for n, bad := range []string{"no key", string(pemOf("PRIVATE KEY", ownKey())), string(make([]byte, 32)), strings.Repeat("x", 2<<20)} {
		c.file("cc.pem", []byte(bad))
		p.saysTimes(t, n+1, `msg="source not read; the previous data stays active" source=`+filepath.Join(c.directory, "cc.pem"))
		want(old, 200)
	}
	c.file("cc.pem", pemOf("PUBLIC KEY", spki(t, fresh)))
	cmdtest.Eventually(t, "the new key", func() bool { return p.status(t, young) == 200 })
	want(old, 401)
	if err := os.Remove(filepath.Join(c.directory, "cc.pem")); err != nil {
		t.Fatal(err)
	}
	p.says(t, regexp.MustCompile(`cc.pem: no such file`))
	want(young, 200)
}

// TestRevocations: a cached token is refused once the file names it or its subject. An unusable
// file changes nothing.
func TestRevocations(t *testing.T) {
	c := newCentre(t)
	revoked := func(text string) string { return c.file("revoked.json", []byte(text)) }
	c.settings["auth"]["revocation-file"] = revoked(`{"tokens": [], "subjects": []}`)
	p := serve(t, c.settings)
	personal := c.dataHub.Token(authtest.DataHub(time.Now(), "PERSONAL", "alice"))
	user := c.cc.Token(authtest.CCBackend(time.Now(), "collector", "api"))
	for _, token := range []string{personal, user} {
		if got := p.status(t, token); got != 200 {
			t.Fatal(got)
		}
	}
	gone := func(token string) {
		t.Helper()
		cmdtest.Eventually(t, "the revocation", func() bool { return p.status(t, token) == 401 })
	}
	const jti = `"7c3b1c68-3e1f-4b8b-9a53-2b8f7d6e5c4a"`
	revoked(`{"tokens": [` + jti + `]}`)
	gone(personal)
	if got := p.status(t, user); got != 200 {
		t.Errorf("another's token: %d", got)
	}
	for n, bad := range []string{`{"tokens": [`, `{"token": []}`, `{"subjects": [{"issuer": "nobody", "sub": "collector"}]}`} {
		revoked(bad)
		p.saysTimes(t, n+1, `msg="source not read; the previous data stays active" source=`+filepath.Join(c.directory, "revoked.json"))
		if got, other := p.status(t, personal), p.status(t, user); got != 401 || other != 200 {
			t.Errorf("%s: %d, %d", bad, got, other)
		}
	}
	revoked(`{"tokens": [` + jti + `], "subjects": [{"issuer": "cc-backend", "sub": "collector"}]}`)
	gone(user)
	many := strings.Repeat(`"`+strings.Repeat("0", 64)+`", `, 100_000)
	revoked(`{"tokens": [` + many + jti + `]}`)
	cmdtest.Eventually(t, "the longer file", func() bool { return p.status(t, user) == 200 })
	gone(personal)
	revoked(`{"tokens": []}`)
	cmdtest.Eventually(t, "the end of the revocation", func() bool { return p.status(t, user) == 200 && p.status(t, personal) == 200 })
}

// TestCertificates: the next connection gets a replaced certificate, and open connections continue.
// Files that do not match change nothing.
func TestCertificates(t *testing.T) {
	directory := t.TempDir()
	s := newSettings(t)
	old := newCertificate(t, directory)
	s.https(old)
	p := call(t, "-config", s.file(t))
	p.client = newClient(t, old.trust)
	p.ready(t)
	address := strings.TrimPrefix(p.url, "https://")
	open, err := tls.Dial("tcp", address, old.trust)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	shows := func(c certificate) bool {
		conn, err := tls.Dial("tcp", address, c.trust)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	}
	cmdtest.WriteFile(t, filepath.Join(directory, "cert.pem"), []byte("none"))
	p.says(t, regexp.MustCompile(`source not read; the previous data stays active" source=\S+cert.pem`))
	if !shows(old) {
		t.Error("the certificate is gone with its file")
	}
	fresh := newCertificate(t, directory)
	cmdtest.Eventually(t, "the new certificate", func() bool { return shows(fresh) })
	if shows(old) {
		t.Error("the old certificate is still used")
	}
	fmt.Fprint(open, "GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if got, err := io.ReadAll(open); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200") {
		t.Errorf("the connection that was open: %s, %v", got, err)
	}
}

// TestSources: the server needs all files and references to start, but not the URLs: tokens of
// issuers without keys get 503, all others are accepted. A vault may be there at the next start, so
// the service manager tries again.
func TestSources(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	f := func(member string, value any, code int, stderr string) {
		t.Helper()
		c := newCentre(t)
		for _, name := range []string{"public-key-file", "public-key", "jwks-file"} {
			delete(c.issuers[0], name)
		}
		c.issuers[0][member] = value
		file := c.settings.file(t)
		for _, args := range [][]string{{"-config", file}, {"check-config", "-config", file}} {
			if got := runCommand(t, nil, args...); got.code != code || got.stdout != "" || !strings.Contains(got.stderr, "auth: "+stderr) {
				t.Errorf("%q: exit code %d, %s%s", args, got.code, got.stdout, got.stderr)
			}
		}
	}
	f("public-key-file", missing, exitBadUsage, missing+": no such file or directory\n")
	f("jwks-file", missing, exitBadUsage, missing+": no such file or directory\n")
	f("public-key", "env:RINGSTORE_TEST_NOT_SET", exitBadUsage, "auth.issuers[0].public-key: env:RINGSTORE_TEST_NOT_SET: the environment variable is not set\n")
	f("public-key", "file:"+missing, exitBadUsage, "auth.issuers[0].public-key: file:"+missing+": no such file or directory\n")
	f("public-key", "azure-kv://127.0.0.1:1/key", exitFailure, "auth.issuers[0].public-key: azure-kv://127.0.0.1:1/key: ")

	c := newCentre(t)
	c.issuers[4]["jwks-urls"] = []string{"http://127.0.0.1:1/jwks"}
	file := c.settings.file(t)
	got := runCommand(t, nil, "check-config", "-config", file)
	if got.code != exitOK || !strings.Contains(got.stderr, "warning: ") || !strings.Contains(got.stderr, "http://127.0.0.1:1/jwks: ") {
		t.Errorf("check-config: exit code %d, %s", got.code, got.stderr)
	}
	p := serve(t, c.settings)
	v1 := p.send(t, c.entra.Token(authtest.EntraV1(time.Now(), tenant, object, "Metrics.Read")), "POST", "/api/query", "{}")
	if v1.status != 503 || v1.header.Get("Retry-After") != "1" || v1.failure(t).Error != "tokens cannot be verified at the moment" {
		t.Errorf("an issuer without keys: %d, %v, %s", v1.status, v1.header, v1.body)
	}
	if got := p.status(t, c.entra.Token(authtest.EntraV2(time.Now(), tenant, object, "Metrics.Read"))); got != 200 {
		t.Errorf("another issuer: %d", got)
	}
}
