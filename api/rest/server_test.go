package rest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest"
)

// dial opens a connection that closes with the test.
func (d *deployment) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", d.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// readResponse reads the response to a POST that was written to a connection.
func readResponse(t *testing.T, conn net.Conn, path string) reply {
	t.Helper()
	resp, err := contract().ReadResponse(t, conn, httptest.NewRequest("POST", path, nil))
	if err != nil {
		t.Fatal(err)
	}
	return readReply(t, resp)
}

// signalEnds makes the server send to ended when a handler returns.
func signalEnds(d *deployment, ended chan<- struct{}) {
	inner := d.Config.Handler
	d.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		inner.ServeHTTP(w, r)
	})
}

// serve starts a Server on a free port. It returns the Server, its address, and the result of
// Serve.
func serve(t *testing.T, handler http.Handler, o rest.ServerOptions) (s *rest.Server, address string, served <-chan error) {
	t.Helper()
	s, err := rest.NewServer(handler, o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- s.Serve(l) }()
	return s, l.Addr().String(), end
}

func TestShutdownWaitsForRequests(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		_, _ = io.WriteString(w, "done")
	})
	s, address, served := serve(t, handler, rest.ServerOptions{})
	answered := make(chan string, 1)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	go func() {
		resp, err := client.Get("http://" + address)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answered <- string(body)
	}()
	<-begun
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	close(finish)
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if got := <-answered; got != "done" {
		t.Errorf("the answer: %s", got)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("a second Shutdown: %v", err)
	}
}

// Shutdown does not wait for a connection without a request. net/http alone would wait longer than
// this context.
func TestShutdownDoesNotWaitForUnusedConnections(t *testing.T) {
	s, address, served := serve(t, http.NotFoundHandler(), rest.ServerOptions{})
	unused, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer unused.Close()
	// A response on this connection shows that the server has accepted the one before.
	used, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	_, _ = io.WriteString(used, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := io.ReadFull(used, make([]byte, 12)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestShutdownCutsOffRequestsAtTheDeadline(t *testing.T) {
	begun := make(chan struct{})
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})
	s, address, served := serve(t, handler, rest.ServerOptions{})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); err == nil {
		t.Error("Shutdown returned no error")
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	_, _ = io.ReadAll(conn) // returns because the connection is closed
}

func TestHTTPS(t *testing.T) {
	cert, key, pool := selfSigned(t)
	log := new(syncBuffer)
	d := open(t)
	s, address, served := serve(t, d.Config.Handler, rest.ServerOptions{Certificate: rest.Certificate{CertFile: cert, KeyFile: key}, Log: slogTo(log)})
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: protocol == "HTTP/2.0"}
		client := &http.Client{Transport: contract().Transport(t, transport)}
		resp, err := client.Get("https://" + address + "/-/healthy")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.Proto != protocol {
			t.Errorf("%d over %s, want %s", resp.StatusCode, resp.Proto, protocol)
		}
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+address+"/api/write?cluster=alpha", strings.NewReader(atBase(goodLine)))
		req.Header.Set("X-Auth-Token", d.token("api"))
		if resp, err = client.Do(req); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("write over %s: %d", protocol, resp.StatusCode)
		}
		transport.CloseIdleConnections()
	}
	old := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11}}
	if _, err := (&http.Client{Transport: old}).Get("https://" + address); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	old.CloseIdleConnections()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	<-served
	if strings.Contains(log.String(), "level=WARN") {
		t.Errorf("a failed handshake caused a warning: %s", log)
	}
}

func TestNewServerChecksCertificates(t *testing.T) {
	cert, key, _ := selfSigned(t)
	f := func(cert, key string) {
		t.Helper()
		if _, err := rest.NewServer(http.NotFoundHandler(), rest.ServerOptions{Certificate: rest.Certificate{CertFile: cert, KeyFile: key}}); err == nil {
			t.Errorf("%q with %q is accepted", cert, key)
		}
	}
	f(cert, "")
	f("", key)
	f(cert, cert)
	f(cert, cert+"x")
}

// selfSigned writes a new certificate for 127.0.0.1 and its key to files. pool trusts it.
func selfSigned(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der},
		keyFile:  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return certFile, keyFile, pool
}
