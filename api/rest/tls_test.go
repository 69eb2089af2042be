package rest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest"
)

// httpsServer is a Server with its own certificate.
type httpsServer struct {
	*rest.Server
	files   rest.Certificate
	address string
	roots   *x509.CertPool
}

func openHTTPS(t *testing.T, handler http.Handler, clientCA string) *httpsServer {
	t.Helper()
	h := new(httpsServer)
	h.files.CertFile, h.files.KeyFile, h.roots = selfSigned(t)
	h.files.ClientCAFile = clientCA
	s, address, served := serve(t, handler, rest.ServerOptions{Certificate: h.files})
	h.Server, h.address = s, address
	t.Cleanup(func() {
		_ = s.Shutdown(t.Context())
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return h
}

// get sends one request over a new connection. identity may be nil.
func (h *httpsServer) get(t *testing.T, identity *tls.Certificate, cache tls.ClientSessionCache) (status int, err error) {
	t.Helper()
	config := &tls.Config{RootCAs: h.roots, MinVersion: tls.VersionTLS12, ClientSessionCache: cache}
	if identity != nil {
		config.Certificates = []tls.Certificate{*identity}
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: contract().Transport(t, transport)}).Get("https://" + h.address + "/-/healthy")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// identity returns a client certificate and the file with its authority.
func identity(t *testing.T) (cert *tls.Certificate, authority string) {
	t.Helper()
	certFile, keyFile, _ := selfSigned(t)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return &pair, certFile
}

// With client authorities configured, a connection requires a certificate of one of them. A
// certificate does not replace the token. After the authorities are replaced, an old TLS session
// does not bypass the new ones.
func TestClientCertificates(t *testing.T) {
	trusted, authority := identity(t)
	untrusted, otherAuthority := identity(t)
	d := open(t)
	h := openHTTPS(t, d.Config.Handler, authority)
	f := func(identity *tls.Certificate, cache tls.ClientSessionCache, want bool) {
		t.Helper()
		status, err := h.get(t, identity, cache)
		if want && (err != nil || status != 200) || !want && err == nil {
			t.Errorf("%d, %v, want success: %t", status, err, want)
		}
	}
	sessions := tls.NewLRUClientSessionCache(4)
	f(nil, nil, false)
	f(untrusted, nil, false)
	f(trusted, sessions, true)
	f(trusted, sessions, true)

	config := &tls.Config{RootCAs: h.roots, Certificates: []tls.Certificate{*trusted}, MinVersion: tls.VersionTLS12}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: contract().Transport(t, transport)}).Get("https://" + h.address + "/api/whoami")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a certificate without a token: %d, want 401", resp.StatusCode)
	}

	replaced := h.files
	for _, bad := range []string{filepath.Join(t.TempDir(), "none"), h.files.KeyFile} {
		replaced.ClientCAFile = bad
		if err := h.LoadCertificate(replaced); err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), "authorities") {
			t.Errorf("%s: %v", bad, err)
		}
		f(nil, nil, false)
		f(trusted, nil, true)
	}
	replaced.ClientCAFile = otherAuthority
	if err := h.LoadCertificate(replaced); err != nil {
		t.Fatal(err)
	}
	f(trusted, sessions, false)
	f(untrusted, nil, true)
	replaced.ClientCAFile = ""
	if err := h.LoadCertificate(replaced); err != nil {
		t.Fatal(err)
	}
	f(nil, nil, true)
}

// NewServer fails if the file of the client authorities is unusable.
func TestNewServerChecksClientAuthorities(t *testing.T) {
	cert, key, _ := selfSigned(t)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{empty, key, empty + "x"} {
		files := rest.Certificate{CertFile: cert, KeyFile: key, ClientCAFile: bad}
		if _, err := rest.NewServer(http.NotFoundHandler(), rest.ServerOptions{Certificate: files}); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	if _, err := rest.NewServer(http.NotFoundHandler(), rest.ServerOptions{Certificate: rest.Certificate{ClientCAFile: cert}}); err == nil {
		t.Error("client authorities without HTTPS are accepted")
	}
}

// HTTP/2 requests share a connection. A stalled request gets a 408; the others continue.
func TestHTTP2StalledRequest(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.Stall = 200 * time.Millisecond })
	c := openHTTP2(t, d)
	ask := func(method, path, body string, status int) reply {
		t.Helper()
		got, err := c.send(method, path, strings.NewReader(body))
		if err != nil || got.status != status {
			t.Errorf("%s: %d, %v: %s", path, got.status, err, got.body)
		}
		return got
	}
	ask("GET", "/-/ready", "", 200)
	stalled, end := io.Pipe()
	defer end.Close()
	var waiting sync.WaitGroup
	defer waiting.Wait()
	waiting.Go(func() {
		if got, err := c.send("POST", "/api/write?cluster=alpha", stalled); err != nil || got.status != http.StatusRequestTimeout {
			t.Errorf("a stalled body: %d, %v: %s", got.status, err, got.body)
		}
	})
	for range 20 {
		ask("POST", "/api/write?cluster=alpha", atBase("cpu_load,hostname=n1 value=1 {0}"), 200)
		got := ask("GET", "/api/query", atBase(`{"cluster": "alpha", "from": {0}, "to": {60}, "queries": [{"metric": "cpu_load", "host": "n1"}]}`), 200)
		if a := got.answer(t); len(a.Results) != 1 || len(a.Results[0]) != 1 || *a.Results[0][0].Data[0] != 1 {
			t.Errorf("%s", got.body)
		}
	}
	ask("POST", "/api/write?cluster=alpha", "cpu_load value=1", 400)
	waiting.Wait()
	if c.dials != 1 {
		t.Errorf("%d connections, want 1", c.dials)
	}
}

// A request that takes longer than the stall timeout but makes progress is not cut off. Over HTTP/2
// a deadline that passes ends its stream, so the server must extend it in time.
func TestHTTP2SlowRequests(t *testing.T) {
	const stall = 250 * time.Millisecond
	d := open(t, func(o *rest.Options) {
		o.Stall = stall
		o.Store = slowStore{o.Store, stall + 50*time.Millisecond}
	})
	c := openHTTP2(t, d)
	fill(t, d)
	got, err := c.send("POST", "/api/query", strings.NewReader(largeQuery(2)))
	if err != nil {
		t.Fatal(err)
	}
	if a := got.answer(t); len(a.Results) != 2 || len(a.Results[1]) != 1 || a.Results[1][0].Error != nil {
		t.Errorf("%d results", len(a.Results))
	}
	body, in := io.Pipe()
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		defer in.Close()
		for range 40 {
			time.Sleep(stall / 25)
			if _, err := io.WriteString(in, "#"+strings.Repeat("x", 4094)+"\n"); err != nil {
				return
			}
		}
		_, _ = io.WriteString(in, atBase(goodLine))
	})
	if got, err := c.send("POST", "/api/write?cluster=alpha", body); err != nil || got.status != 200 {
		t.Errorf("%d, %v: %s", got.status, err, got.body)
	}
}

// http2Client sends requests as admin over one connection.
type http2Client struct {
	*http.Client
	t     *testing.T
	d     *deployment
	url   string
	dials int
}

func openHTTP2(t *testing.T, d *deployment) *http2Client {
	h := openHTTPS(t, d.Config.Handler, "")
	c := &http2Client{t: t, d: d, url: "https://" + h.address}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: h.roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c.dials++
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	c.Client = &http.Client{Transport: contract().Transport(t, transport)}
	return c
}

func (c *http2Client) send(method, path string, body io.Reader) (reply, error) {
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, body)
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.d.token("admin"))
	resp, err := c.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if resp.Proto != "HTTP/2.0" {
		err = errors.Join(err, errors.New(resp.Proto))
	}
	return reply{resp.StatusCode, resp.Header, string(text)}, err
}

// stalledConn is a connection that reads nothing more once stalled is set.
type stalledConn struct {
	net.Conn
	stalled atomic.Bool
	closed  chan struct{}
	once    sync.Once
}

func (c *stalledConn) Read(p []byte) (int, error) {
	if c.stalled.Load() {
		<-c.closed
	}
	return c.Conn.Read(p)
}

func (c *stalledConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// The server closes the connection of a client that reads nothing. Otherwise the handlers of its
// streams would never return, and a shutdown would wait for them.
func TestHTTP2ClosesStalledConnections(t *testing.T) {
	const stall = 200 * time.Millisecond
	const queries = 3
	d := open(t, func(o *rest.Options) { o.Stall = stall })
	fill(t, d)
	ended := make(chan struct{}, queries)
	signalEnds(d, ended)
	cert, key, roots := selfSigned(t)
	s, address, served := serve(t, d.Config.Handler, rest.ServerOptions{Certificate: rest.Certificate{CertFile: cert, KeyFile: key}, Stall: stall})
	transport := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conn := &stalledConn{Conn: raw, closed: make(chan struct{})}
		secure := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
		err = secure.HandshakeContext(ctx)
		conn.stalled.Store(true)
		return secure, err
	}}
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for range queries {
		asking.Go(func() {
			req, err := http.NewRequestWithContext(ctx, "POST", "https://"+address+"/api/query", strings.NewReader(largeQuery(100)))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+d.token("admin"))
			if resp, err := transport.RoundTrip(req); err == nil {
				resp.Body.Close()
				t.Errorf("%d although the client reads nothing", resp.StatusCode)
			}
		})
	}
	for range queries {
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("a handler is still running after 10 s")
		}
	}
	stopping, cancelStop := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancelStop()
	if err := s.Shutdown(stopping); err != nil {
		t.Errorf("the connection is still open: %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
