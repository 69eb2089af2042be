package rest_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/jwk"
)

// restricted starts a server whose issuer is restricted to clusters.
func restricted(t testing.TB, clusters ...string) *deployment {
	t.Helper()
	return open(t, func(o *rest.Options) {
		d := open(t)
		chain, err := auth.NewChain(auth.ChainConfig{Now: clock, Issuers: []auth.Issuer{{
			Name: "restricted", Keys: []jwk.Key{{Public: d.issuer.PublicKey()}}, Clusters: clusters,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		o.Authenticator = chain
	})
}

// A principal that is restricted to clusters writes and frees only on these.
func TestClustersOfThePrincipal(t *testing.T) {
	d := restricted(t, "alpha", "beta", "*")
	lines := atBase("cpu_load,cluster=alpha,hostname=n1 value=1 {0}\ncpu_load,cluster=gamma,hostname=n1 value=1 {0}\ncpu_load,cluster=beta,hostname=n1 value=1 {0}\n")
	got := d.send(t, "POST", "/api/write", lines)
	if fail := got.failure(t); got.status != 400 || *fail.Accepted != 2 || len(fail.Rejected) != 1 ||
		fail.Rejected[0].Line != 2 || fail.Rejected[0].Reason != "not permitted on this cluster" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if strings.Count(d.audit.String(), `"code":"other_cluster"`) != 1 {
		t.Errorf("audited: %s", d.audit)
	}
	d.Config.Handler.(*rest.Handler).AuthDisabled = true // to write without the restriction
	d.send(t, "POST", "/api/write", lines)
	d.Config.Handler.(*rest.Handler).AuthDisabled = false
	f := func(body string, status int, left string) {
		t.Helper()
		got := d.send(t, "POST", fmt.Sprintf("/api/free?to=%d", now), body)
		if got.status != status {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
		var clusters []string
		for _, c := range []string{"alpha", "beta", "gamma"} {
			if len(d.store.Hosts(c)) > 0 {
				clusters = append(clusters, c)
			}
		}
		if got := strings.Join(clusters, " "); got != left {
			t.Errorf("%s leaves %q, want %q", body, got, left)
		}
	}
	f(`[["gamma"]]`, 403, "alpha beta gamma")
	f(`[["alpha"], ["gamma"]]`, 403, "alpha beta gamma")
	f(`[[["alpha", "gamma"]]]`, 403, "alpha beta gamma")
	f(`[["*"]]`, 403, "alpha beta gamma") // here "*" in the configuration is a name, not a wildcard
	f(`[["delta"]]`, 403, "alpha beta gamma")
	f(`[["alpha", "n2"]]`, 200, "alpha beta gamma")
	f(`[["alpha", "*"]]`, 200, "beta gamma")

	d = restricted(t, "alpha")
	d.Config.Handler.(*rest.Handler).AuthDisabled = true
	d.send(t, "POST", "/api/write", lines)
	d.Config.Handler.(*rest.Handler).AuthDisabled = false
	f(`[["*"]]`, 200, "beta gamma")
}

// A token that cannot be verified now gets a 503 and is counted. It causes neither an audit event
// nor a warning, so that a flood of tokens does not fill the log.
func TestOverloadedAuthenticatorAnswers503(t *testing.T) {
	f := func(after time.Duration, header string) {
		t.Helper()
		busy := &auth.Overloaded{Code: auth.Busy, RetryAfter: after}
		d := open(t, func(o *rest.Options) { o.Authenticator = fixedAuthenticator{err: busy} })
		got := d.send(t, "POST", "/api/query", "{}")
		if got.status != 503 || got.header.Get("Retry-After") != header || got.failure(t).Error != "tokens cannot be verified at the moment" ||
			got.header.Get("WWW-Authenticate") != "" {
			t.Errorf("%d %v %s", got.status, got.header, got.body)
		}
		d.Close()
		if d.audit.String() != "" || strings.Contains(d.log.String(), "level=WARN") {
			t.Errorf("audited: %s\nlogged: %s", d.audit, d.log)
		}
		counts := d.counters(t)
		if !strings.Contains(counts, `ringstore_auth_refusals_total{reason="busy",transport="http"} 1`) {
			t.Errorf("counted: %s", counts)
		}
	}
	f(0, "5")
	f(time.Millisecond, "1")
	f(time.Second, "1")
	f(1500*time.Millisecond, "2")
}

// counters returns the values of all counters, a line each.
func (d *deployment) counters(t testing.TB) string {
	t.Helper()
	families, err := d.Config.Handler.(*rest.Handler).Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, family := range families {
		for _, m := range family.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			if c := m.Counter; c != nil {
				fmt.Fprintf(&b, "%s{%s} %v\n", family.GetName(), strings.Join(labels, ","), c.GetValue())
			}
		}
	}
	return b.String()
}

// A new certificate applies to new connections; open ones continue. A certificate that cannot be
// loaded leaves the previous one active.
func TestCertificatesAreReplaced(t *testing.T) {
	oldCert, oldKey, oldPool := selfSigned(t)
	newCert, newKey, newPool := selfSigned(t)
	s, err := rest.NewServer(http.NotFoundHandler(), rest.ServerOptions{Certificate: rest.Certificate{CertFile: oldCert, KeyFile: oldKey}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	defer serving.Wait()
	defer func() { _ = s.Shutdown(t.Context()) }()
	dial := func(trust *tls.Config) (*tls.Conn, error) { return tls.Dial("tcp", l.Addr().String(), trust) }
	trustOld := &tls.Config{RootCAs: oldPool, MinVersion: tls.VersionTLS12}
	trustNew := &tls.Config{RootCAs: newPool, MinVersion: tls.VersionTLS12}
	checkDial := func(trust *tls.Config, want bool) {
		t.Helper()
		conn, err := dial(trust)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != want {
			t.Errorf("handshake: %v, want success: %t", err, want)
		}
	}
	open, err := dial(trustOld)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for _, bad := range [][2]string{{newCert, oldKey}, {oldCert, newKey}, {newCert + "x", newKey}, {newKey, newCert}} {
		if err := s.LoadCertificate(rest.Certificate{CertFile: bad[0], KeyFile: bad[1]}); err == nil || !strings.Contains(err.Error(), "HTTPS certificate") {
			t.Errorf("%q: %v", bad, err)
		}
		checkDial(trustOld, true)
	}
	if err := s.LoadCertificate(rest.Certificate{CertFile: newCert, KeyFile: newKey}); err != nil {
		t.Fatal(err)
	}
	checkDial(trustNew, true)
	checkDial(trustOld, false)
	fmt.Fprint(open, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	answer := make([]byte, 12)
	if _, err := open.Read(answer); err != nil || string(answer) != "HTTP/1.1 404" {
		t.Errorf("on the open connection: %q, %v", answer, err)
	}
}
