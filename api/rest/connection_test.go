package rest_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/api/rest"
)

// limited serves the API of d on a server with limits of its connections.
func limited(t *testing.T, d *deployment, o rest.ServerOptions) (address string) {
	t.Helper()
	s, address, served := serve(t, d.Config.Handler, o)
	t.Cleanup(func() {
		_ = s.Shutdown(t.Context())
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return address
}

// dialTo opens a connection that closes with the test, and sends text over it.
func dialTo(t *testing.T, address, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

// statusOn sends a request and returns the status of the answer, 0 if the connection is closed.
func statusOn(c net.Conn, request string) int {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		return 0
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	defer r.Body.Close()
	_, _ = io.Copy(io.Discard, r.Body)
	return r.StatusCode
}

func whoami(token string) string {
	return "GET /api/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n\r\n"
}

const probe = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"

// Headers that never end cost about their bytes, and no more than 64 may be long: 200 connections
// with 252 KB of short fields each once cost 648 MB.
func TestHeadersBeforeATokenCostLittle(t *testing.T) {
	d := open(t)
	for name, field := range map[string]string{"short fields": "a:b\r\n", "one long field": "", "no line": "x"} {
		t.Run(name, func(t *testing.T) {
			address := limited(t, d, rest.ServerOptions{})
			header := "GET / HTTP/1.1\r\nHost: x\r\n"
			if field == "" {
				header += "A: " + strings.Repeat("b", 252_000)
			} else {
				header += strings.Repeat(field, 252_000/len(field))
			}
			before := heap()
			for range 200 {
				c, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
				_, _ = io.WriteString(c, header) // the server need not read it
			}
			if grown := heap() - before; grown > 20<<20 {
				t.Errorf("200 connections cost %d bytes", grown)
			}
			c := dialTo(t, address, "")
			if got := statusOn(c, whoami(d.token("user"))); got != 200 {
				t.Errorf("a good request: %d", got)
			}
		})
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestHeaderLimits(t *testing.T) {
	d := open(t)
	f := func(name, header string, want int) {
		t.Helper()
		address := limited(t, d, rest.ServerOptions{})
		if got := statusOn(dialTo(t, address, ""), "GET /-/healthy HTTP/1.1\r\nHost: x\r\n"+header+"\r\n"); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	f("100 fields", strings.Repeat("A: b\r\n", 100), 200)
	f("200 fields of one name", strings.Repeat("A: b\r\n", 200), 431)
	f("a token of 16 KiB", "Authorization: Bearer "+strings.Repeat("A", 16<<10)+"\r\n", 200)
	f("31 KiB", "A: "+strings.Repeat("b", 31<<10)+"\r\n", 200)
	f("40 KiB", "A: "+strings.Repeat("b", 40<<10)+"\r\n", 431)
	many := ""
	for i := range 200 {
		many += fmt.Sprintf("A%d: b\r\n", i)
	}
	f("200 fields", many, 431)

	cert, key, pool := selfSigned(t)
	address := limited(t, d, rest.ServerOptions{Certificate: rest.Certificate{CertFile: cert, KeyFile: key}})
	for _, n := range []int{100, 200} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+address+"/-/healthy", nil)
		for i := range n {
			r.Header.Set(fmt.Sprint("A", i), "b")
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if want := map[int]int{100: 200, 200: 431}[n]; resp.StatusCode != want || resp.Proto != "HTTP/2.0" {
			t.Errorf("%d fields over %s: %d, want %d", n, resp.Proto, resp.StatusCode, want)
		}
		transport.CloseIdleConnections()
	}
}

// Requests are understood however their bytes arrive: in one piece with the next ones, or cut at any
// place.
func TestRequestsInPieces(t *testing.T) {
	d := open(t)
	address := limited(t, d, rest.ServerOptions{})
	auth := "Host: x\r\nAuthorization: Bearer " + d.token("api") + "\r\n"
	line := atBase(goodLine)
	text := probe +
		"GET /-/healthy HTTP/1.1\nHost: x\n\n" +
		"POST /api/write?cluster=alpha HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n\n\r\n\r" + // 401
		"\r\n" + // some clients send it after a body
		fmt.Sprintf("POST /api/write?cluster=alpha HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", auth, len(line), line) +
		"GET /-/healthy HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 6000) + "\r\n\r\n" +
		fmt.Sprintf("POST /api/write?cluster=alpha HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", auth, len(line), line) +
		"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	want := "200 200 401 200 200 200 200"
	f := func(pieces ...string) {
		t.Helper()
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		go func() {
			for _, p := range pieces {
				_, _ = io.WriteString(c, p)
				if len(pieces) < 1000 {
					time.Sleep(time.Millisecond)
				}
			}
		}()
		var got []string
		for r := bufio.NewReader(c); ; {
			a, err := http.ReadResponse(r, nil)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, a.Body)
			got = append(got, fmt.Sprint(a.StatusCode))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("in %d pieces, the first of %d bytes: %s, want %s", len(pieces), len(pieces[0]), s, want)
		}
	}
	f(text)
	f(strings.Split(text, "")...)
	cuts := make(chan int)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for i := range cuts {
				f(text[:i], text[i:])
			}
		})
	}
	for i := 1; i < len(text); i++ {
		if text[i] != 'y' || i%500 == 0 {
			cuts <- i
		}
	}
	close(cuts)
	all.Wait()
}

// If an address has too many connections without a token, the oldest is closed. Those that have
// shown a token stay, and new ones can.
func TestConnectionsOfOneAddress(t *testing.T) {
	d := open(t)
	address := limited(t, d, rest.ServerOptions{Connections: rest.ConnectionLimits{PerPeer: 4}})
	shown := dialTo(t, address, "")
	if got := statusOn(shown, whoami(d.token("user"))); got != 200 {
		t.Fatal(got)
	}
	refused := dialTo(t, address, "")
	if got := statusOn(refused, whoami("garbage")); got != 401 {
		t.Fatal(got)
	}
	for range 50 {
		dialTo(t, address, "GET / HT")
	}
	if got := statusOn(refused, whoami(d.token("user"))); got != 0 {
		t.Errorf("the oldest connection without a token: %d", got)
	}
	if got := statusOn(shown, whoami(d.token("user"))); got != 200 {
		t.Errorf("a connection with a token: %d", got)
	}
	for range 20 { // more than the limit, at the same time
		c := dialTo(t, address, "")
		if got := statusOn(c, whoami(d.token("user"))); got != 200 {
			t.Errorf("a new connection with a token: %d", got)
		}
	}
}

// Connections that are closed in favour of others are counted.
func TestEvictedConnectionsAreCounted(t *testing.T) {
	s, address, served := serve(t, open(t).Config.Handler, rest.ServerOptions{Connections: rest.ConnectionLimits{PerPeer: 2}})
	if n := s.EvictedConnections(); n != 0 {
		t.Errorf("%d at the start", n)
	}
	var open []net.Conn
	for range 5 {
		c := dialTo(t, address, "")
		if got := statusOn(c, probe); got != 200 { // so the server has accepted it
			t.Fatal(got)
		}
		open = append(open, c)
	}
	for _, c := range open[3:] {
		if got := statusOn(c, probe); got != 200 {
			t.Errorf("one of the last two: %d", got)
		}
	}
	if n := s.EvictedConnections(); n != 3 {
		t.Errorf("%d, want 3", n)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// endless is a connection that always has bytes to read.
type endless struct{ net.Conn }

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (endless) Close() error               { return nil }
func (endless) RemoteAddr() net.Addr       { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

// An HTTP/2 connection that has shown no token is not read while many of its requests are in
// progress: their headers stay in memory until they are answered.
func TestHTTP2ReadsWaitForRequestsInProgress(t *testing.T) {
	f := func(name string, proceed func(rest.Connection)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			c := rest.NewConnection(endless{})
			defer c.Close()
			read := make(chan error, 1)
			start := func() { go func() { _, err := c.Read(make([]byte, 1)); read <- err }() }
			for range rest.WaitingHandlers {
				start()
				if err := <-read; err != nil {
					t.Fatal(err)
				}
				c.Begin()
			}
			start()
			synctest.Wait()
			select {
			case err := <-read:
				t.Fatalf("%s: read with %d requests in progress: %v", name, rest.WaitingHandlers, err)
			default:
			}
			proceed(c)
			synctest.Wait()
			select {
			case <-read:
			default:
				t.Errorf("%s: still waits", name)
				c.Close()
				<-read
			}
		})
	}
	f("a request ends", func(c rest.Connection) { c.End() })
	f("a token is shown", func(c rest.Connection) { c.Identify() })
	f("the connection is closed", func(c rest.Connection) { c.Close() })
}

// More requests than that on one HTTP/2 connection without a token are all answered, one after
// another.
func TestManyHTTP2RequestsWithoutAToken(t *testing.T) {
	cert, key, pool := selfSigned(t)
	address := limited(t, open(t), rest.ServerOptions{Certificate: rest.Certificate{CertFile: cert, KeyFile: key}})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, MaxConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	var all sync.WaitGroup
	for range 10 * rest.WaitingHandlers {
		all.Go(func() {
			r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+address+"/api/whoami", nil)
			r.Header.Set("Authorization", "Bearer garbage")
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode != 401 || resp.ProtoMajor != 2 {
				t.Errorf("%d over %s", resp.StatusCode, resp.Proto)
			}
		})
	}
	all.Wait()
}

// A quarter of all connections may be without a token; the rest is for those that have shown one.
func TestReservedConnections(t *testing.T) {
	d := open(t)
	address := limited(t, d, rest.ServerOptions{Connections: rest.ConnectionLimits{Total: 8}})
	var shown []net.Conn
	for range 8 {
		for range 8 {
			dialTo(t, address, "GET / HT")
		}
		c := dialTo(t, address, "")
		if got := statusOn(c, whoami(d.token("user"))); got != 200 {
			t.Fatalf("connection %d: %d", len(shown)+1, got)
		}
		shown = append(shown, c)
	}
	if got := statusOn(dialTo(t, address, ""), probe); got != 0 {
		t.Errorf("one more than permitted: %d", got)
	}
	for i, c := range shown {
		if got := statusOn(c, whoami(d.token("user"))); got != 200 {
			t.Errorf("connection %d: %d", i+1, got)
		}
	}
}

// A connection without a token is closed if its handshake or header does not arrive, also if its
// bytes trickle in. One with a token is not.
func TestUnidentifiedConnectionsEnd(t *testing.T) {
	d := open(t)
	short := rest.ConnectionLimits{HeaderTimeout: 100 * time.Millisecond}
	cert, key, pool := selfSigned(t)
	plain := limited(t, d, rest.ServerOptions{Connections: short})
	https := limited(t, d, rest.ServerOptions{Connections: short, Certificate: rest.Certificate{CertFile: cert, KeyFile: key}})
	ends := func(name string, c net.Conn) {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
	}
	ends("silent", dialTo(t, plain, ""))
	ends("half a header", dialTo(t, plain, "GET / HTTP/1.1\r\nHost"))
	ends("after an answer", dialTo(t, plain, probe))
	ends("a silent handshake", dialTo(t, https, ""))
	ends("half a handshake", dialTo(t, https, "\x16\x03\x01\x02\x00\x01"))
	trickle := dialTo(t, plain, "GET / HTTP/1.1\r\n")
	go func() {
		for {
			if _, err := io.WriteString(trickle, "a:b\r\n"); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	ends("a trickle", trickle)
	for _, protocol := range []string{"", "h2", "http/1.1"} {
		c, err := tls.Dial("tcp", https, &tls.Config{RootCAs: pool, NextProtos: []string{protocol}})
		if protocol == "" {
			c, err = tls.Dial("tcp", https, &tls.Config{RootCAs: pool})
		}
		if err != nil {
			t.Fatal(err)
		}
		ends("after a handshake for "+protocol, c)
		c.Close()
	}
	shown := dialTo(t, plain, "")
	if got := statusOn(shown, whoami(d.token("user"))); got != 200 {
		t.Fatal(got)
	}
	time.Sleep(time.Second)
	if got := statusOn(shown, whoami(d.token("user"))); got != 200 {
		t.Errorf("a connection with a token: %d", got)
	}
}

// The requests of one connection may have different tokens, good and bad ones, as behind a proxy.
func TestPrincipalsOnOneConnection(t *testing.T) {
	d := open(t)
	address := limited(t, d, rest.ServerOptions{Connections: rest.ConnectionLimits{PerPeer: 1}})
	c := dialTo(t, address, "")
	for i := range 300 {
		for token, want := range map[string]int{d.token("user"): 200, "garbage": 401, d.token("api"): 200} {
			if got := statusOn(c, whoami(token)); got != want {
				t.Fatalf("round %d: %d, want %d", i, got, want)
			}
		}
	}
}

func TestHTTPToHTTPS(t *testing.T) {
	cert, key, _ := selfSigned(t)
	address := limited(t, open(t), rest.ServerOptions{Certificate: rest.Certificate{CertFile: cert, KeyFile: key}})
	if got := statusOn(dialTo(t, address, ""), probe); got != 400 {
		t.Errorf("got %d, want 400", got)
	}
}
