package source_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/auth/source"
)

// TestProvidersDoNotLeadElsewhere: neither a redirect nor a discovery document makes the program ask
// another host, or this machine and its link, unless the configuration names such a host.
func TestProvidersDoNotLeadElsewhere(t *testing.T) {
	redirect := func(to string) page { return page{status: http.StatusFound, header: map[string]string{"Location": to}} }
	f := func(want string, to string, s func(source.Apply) *source.Source, pages map[string]page) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var w web
			var r receiver
			var log lines
			for url, p := range pages {
				w.put(url, p)
			}
			w.put(to, page{body: "theirs"})
			open(t, source.Options{Transport: &w, Log: log.logger()}, s(r.apply))
			if want == "" {
				r.want(t, "theirs")
			} else if r.want(t, ""); !log.has(want) {
				t.Errorf("%s: %q", to, log.all)
			}
		})
	}
	url := func(apply source.Apply) *source.Source { return source.URL(jwks, apply) }
	discovery := func(apply source.Apply) *source.Source { return source.Discovery(issuer, apply) }
	for _, to := range []string{"https://evil.example.org/jwks", "https://127.0.0.1/jwks", "https://169.254.169.254/latest", "https://[::1]/", "https://sso.example.org.evil.org/jwks"} {
		f("redirected to another host", to, url, map[string]page{jwks: redirect(to)})
		f("redirected to another host", to, discovery, map[string]page{config: redirect(to)})
		f("redirected to another host", to, discovery, map[string]page{config: {body: `{"issuer": "` + issuer + `", "jwks_uri": "` + jwks + `"}`}, jwks: redirect(to)})
	}
	for _, to := range []string{"https://sso.example.org/moved", "https://SSO.example.org:8443/moved"} {
		f("", to, url, map[string]page{jwks: redirect(to)})
	}
	for _, to := range []string{"https://127.0.0.1/jwks", "https://localhost/jwks", "https://[::1]:8443/jwks", "https://[::ffff:127.0.0.1]/", "https://169.254.169.254/latest/meta-data", "https://[fe80::1]/", "https://0.0.0.0/"} {
		f("on this machine or its link", to, discovery, map[string]page{config: {body: `{"issuer": "` + issuer + `", "jwks_uri": "` + to + `"}`}})
	}
	f("", "https://www.keys.example.org/jwks", discovery, map[string]page{config: {body: `{"issuer": "` + issuer + `", "jwks_uri": "https://www.keys.example.org/jwks"}`}})
}

// TestNamesOfLoopback: a host name that a provider chose and that resolves to this machine is not
// connected to. One of the configuration is.
func TestNamesOfLoopback(t *testing.T) {
	if addresses, err := net.LookupHost("localhost."); err != nil || len(addresses) == 0 {
		t.Skip("localhost. is not resolved: ", err)
	}
	var asked atomic.Int64
	inside := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer inside.Close()
	port := inside.Listener.Addr().(*net.TCPAddr).Port
	// "localhost." is no name that secureurl knows as loopback.
	theirs := fmt.Sprintf("https://localhost.:%d/jwks", port)
	var metadata string
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, metadata) }))
	defer outside.Close()
	metadata = fmt.Sprintf(`{"issuer": %q, "jwks_uri": %q}`, outside.URL, theirs)
	var log lines
	// The configured host is loopback here, so its keys may be too: the handshake fails, not the connection.
	open(t, source.Options{Log: log.logger()}, source.Discovery(outside.URL, new(receiver).apply))
	if !log.has("certificate") || log.has("its link") {
		t.Errorf("%q", log.all)
	}
	log = lines{}
	open(t, source.Options{Log: log.logger()}, source.URL(theirs, new(receiver).apply))
	if !log.has("certificate") || log.has("its link") {
		t.Errorf("%q", log.all)
	}
}

// TestLocalAddressesAreRefusedAtConnect: what a provider's document, a redirect or a name server says
// leads to no address of this machine or its link, however it is written. The check is of the
// address to which the name was resolved.
func TestLocalAddressesAreRefusedAtConnect(t *testing.T) {
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	_, port, _ := net.SplitHostPort(inside.Addr().String())
	hosts := []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "localhost",
		"169.254.169.254", "::ffff:169.254.169.254", "fe80::1%lo", "224.0.0.1", "ff02::1%lo",
	}
	if _, err := net.LookupHost("localhost."); err == nil {
		hosts = append(hosts, "localhost.")
	}
	for _, host := range hosts {
		for _, configured := range []string{"sso.example.org", "", "192.0.2.1", "127.0.0.1.example.org"} {
			c, err := source.Dial(t.Context(), configured, net.JoinHostPort(host, port))
			if err == nil {
				c.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "on this machine or its link") {
				t.Errorf("%s for keys of %q: %v", host, configured, err)
			}
		}
	}
	for host, configured := range map[string]string{"127.0.0.1": "localhost", "localhost": "127.0.0.1"} {
		c, err := source.Dial(t.Context(), configured, net.JoinHostPort(host, port))
		if err != nil {
			t.Errorf("%s for keys of %s: %v", host, configured, err)
			continue
		}
		c.Close()
	}
}

// TestOpenDoesNotWaitForProviders: one that does not answer delays the start by two seconds, however
// many there are, and its keys are used when they arrive. Files are waited for.
func TestOpenDoesNotWaitForProviders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("file"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var w web
		var log lines
		var slow, good receiver
		w.put(jwks, page{body: "late", slow: 8 * time.Second})
		w.put(config, page{slow: time.Hour})
		w.put("https://other.example.org/jwks", page{body: "soon", slow: time.Second})
		began := time.Now()
		read := func(context.Context) ([]byte, error) { time.Sleep(3 * time.Second); return []byte("vault"), nil }
		open(t, source.Options{Transport: &w, Log: log.logger()}, source.URL(jwks, slow.apply), source.Discovery(issuer, slow.apply),
			source.URL("https://other.example.org/jwks", good.apply))
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("Open took %v", took)
		}
		good.want(t, "soon")
		slow.want(t, "")
		if !log.has("source does not answer") {
			t.Errorf("%q", log.all)
		}
		began = time.Now()
		vault := new(receiver)
		open(t, source.Options{Transport: &w, Log: log.logger()}, source.Reference("vault", "", read, vault.apply), source.URL(jwks, new(receiver).apply))
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("Open with a reference took %v", took)
		}
		vault.want(t, "vault")
		pass(8 * time.Second)
		slow.want(t, "late")
	})
	synctest.Test(t, func(t *testing.T) {
		var w web
		w.put(jwks, page{slow: time.Hour})
		refused := source.Reference("vault", "", func(context.Context) ([]byte, error) { return nil, errors.New("closed") }, new(receiver).apply)
		began := time.Now()
		if _, err := source.Open(t.Context(), source.Options{Transport: &w}, source.URL(jwks, new(receiver).apply), refused); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a failing Open took %v", took)
		}
	})
}
