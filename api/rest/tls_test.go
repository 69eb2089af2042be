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

// https is a server with a certificate of its own.
type https struct {
	*rest.Server
	files   rest.Certificate
	address string
	roots   *x509.CertPool
}

func openHTTPS(t *testing.T, handler http.Handler, clientCA string) *https {
	t.Helper()
	h := new(https)
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

// get asks once, over a connection of its own. identity may be nil.
func (h *https) get(t *testing.T, identity *tls.Certificate, cache tls.ClientSessionCache) (status int, err error) {
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

// identity is a certificate of a client, and the file that holds its authority.
func identity(t *testing.T) (cert *tls.Certificate, authority string) {
	t.Helper()
	certFile, keyFile, _ := selfSigned(t)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return &pair, certFile
}

// With authorities for clients nobody connects without a certificate of one of
// them, and a certificate is no token. The authorities can be replaced; a session
// from before does not get around that.
func TestClientCertificates(t *testing.T) {
	ours, authority := identity(t)
	stranger, other := identity(t)
	d := open(t)
	h := openHTTPS(t, d.Config.Handler, authority)
	f := func(identity *tls.Certificate, cache tls.ClientSessionCache, want bool) {
		t.Helper()
		status, err := h.get(t, identity, cache)
		if want && (err != nil || status != 200) || !want && err == nil {
			t.Errorf("%d, %v, want %v", status, err, want)
		}
	}
	sessions := tls.NewLRUClientSessionCache(4)
	f(nil, nil, false)
	f(stranger, nil, false)
	f(ours, sessions, true)
	f(ours, sessions, true)

	config := &tls.Config{RootCAs: h.roots, Certificates: []tls.Certificate{*ours}, MinVersion: tls.VersionTLS12}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: contract().Transport(t, transport)}).Get("https://" + h.address + "/api/whoami")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a certificate in the place of a token: %d", resp.StatusCode)
	}

	replaced := h.files
	for _, bad := range []string{filepath.Join(t.TempDir(), "none"), h.files.KeyFile} {
		replaced.ClientCAFile = bad
		if err := h.LoadCertificate(replaced); err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), "authorities") {
			t.Errorf("%s: %v", bad, err)
		}
		f(nil, nil, false)
		f(ours, nil, true)
	}
	replaced.ClientCAFile = other
	if err := h.LoadCertificate(replaced); err != nil {
		t.Fatal(err)
	}
	f(ours, sessions, false)
	f(stranger, nil, true)
	replaced.ClientCAFile = ""
	if err := h.LoadCertificate(replaced); err != nil {
		t.Fatal(err)
	}
	f(nil, nil, true)
}

// Nothing is served if the file of the authorities cannot be used.
func TestClientAuthoritiesAreReadAtOnce(t *testing.T) {
	cert, key, _ := selfSigned(t)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{empty, key, empty + "x"} {
		files := rest.Certificate{CertFile: cert, KeyFile: key, ClientCAFile: bad}
		if _, err := rest.NewServer(http.NotFoundHandler(), rest.ServerOptions{Certificate: files}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	if _, err := rest.NewServer(http.NotFoundHandler(), rest.ServerOptions{Certificate: rest.Certificate{ClientCAFile: cert}}); err == nil {
		t.Error("clients' certificates without HTTPS are taken")
	}
}

// Over HTTP/2 requests share a connection: one that stalls is answered 408 by
// itself, and the others go on.
func TestHTTP2(t *testing.T) {
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
			t.Errorf("a body that does not come: %d, %v: %s", got.status, err, got.body)
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
		t.Errorf("%d connections", c.dials)
	}
}

// What takes longer than a stall in all, and moves on, is not cut off over HTTP/2
// either, where a deadline that passes ends a stream by itself.
func TestHTTP2TakesItsTime(t *testing.T) {
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

// http2Client asks as admin, all over one connection.
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

// deaf is a connection that takes nothing any more, once it is told.
type deaf struct {
	net.Conn
	told   atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (d *deaf) Read(p []byte) (int, error) {
	if d.told.Load() {
		<-d.closed
	}
	return d.Conn.Read(p)
}

func (d *deaf) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Conn.Close()
}

// A client that takes nothing loses its connection: through that it would have to be
// told the end of its streams, and until then their handlers stay, and a stop waits.
func TestHTTP2EndsWithoutAReader(t *testing.T) {
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
		conn := &deaf{Conn: raw, closed: make(chan struct{})}
		secure := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
		err = secure.HandshakeContext(ctx)
		conn.told.Store(true)
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
				t.Errorf("%d without a reader", resp.StatusCode)
			}
		})
	}
	for range queries {
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("it is still answered")
		}
	}
	stopping, late := context.WithTimeout(t.Context(), 10*time.Second)
	defer late()
	if err := s.Shutdown(stopping); err != nil {
		t.Errorf("the connection is still there: %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
