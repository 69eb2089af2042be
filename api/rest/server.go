package rest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ServerOptions say how a [Server] listens and logs.
type ServerOptions struct {
	Certificate Certificate  // the zero one: HTTP
	Log         *slog.Logger // nil means none

	// Stall is how long a client of HTTP/2 may not take a byte of a connection: the
	// end of a stream, as by [Options.Stall], has to go through it. 0 means 30 s.
	Stall time.Duration
}

// Certificate names the PEM files of HTTPS.
type Certificate struct {
	CertFile, KeyFile string
	// ClientCAFile holds the authorities of clients' certificates. With one, who has
	// no certificate of theirs gets no connection; a token is wanted all the same.
	ClientCAFile string
}

// The time that a connection may take before a request is there. Once it is,
// bodies and answers take as long as they move on: see [Options.Stall].
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	headerBytes   = 256 << 10
)

// Server serves a handler on listeners that its caller opened.
type Server struct {
	http http.Server
	tls  atomic.Pointer[tls.Config] // of connections to come

	mu     sync.Mutex
	unused map[net.Conn]struct{} // connections that no request has come in on
}

// NewServer returns a server. It reads the certificate at once, so that this
// may be done before privileges are dropped.
func NewServer(handler http.Handler, o ServerOptions) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{unused: make(map[net.Conn]struct{})}
	s.http = http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          log.New(serverLog{o.Log}, "", 0),
		HTTP2:             &http.HTTP2Config{WriteByteTimeout: cmp.Or(o.Stall, defaultStall)},
		ConnState:         s.track,
	}
	if o.Certificate == (Certificate{}) {
		return s, nil
	}
	if err := s.LoadCertificate(o.Certificate); err != nil {
		return nil, err
	}
	s.http.TLSConfig = &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.tls.Load(), nil },
		MinVersion:         tls.VersionTLS12,
	}
	return s, nil
}

// IsHTTPS tells whether the server was made with a certificate.
func (s *Server) IsHTTPS() bool { return s.http.TLSConfig != nil }

// LoadCertificate reads a certificate for the connections to come; those that are
// open go on. With an error what was read before stays. It has no effect on a
// server that was made for HTTP.
func (s *Server) LoadCertificate(c Certificate) error {
	config, err := c.load()
	if err != nil {
		return err
	}
	s.tls.Store(config)
	return nil
}

func (c Certificate) load() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("HTTPS certificate %q with key %q: %w", c.CertFile, c.KeyFile, err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if c.ClientCAFile == "" {
		return config, nil
	}
	text, err := os.ReadFile(c.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("authorities of HTTPS clients: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("authorities of HTTPS clients: %q holds no certificate (PEM)", c.ClientCAFile)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.SessionTicketsDisabled = true // a session would outlive the authority that let it in
	return config, nil
}

// Serve answers what comes in on l, which it closes, until Shutdown is called;
// then it returns nil at once, while Shutdown waits for what is in flight.
func (s *Server) Serve(l net.Listener) error {
	var err error
	if s.http.TLSConfig != nil {
		err = s.http.ServeTLS(l, "", "")
	} else {
		err = s.http.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// track keeps the connections that were opened and never used: clients make
// some in reserve, and net/http would wait seconds for them.
func (s *Server) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.unused[c] = struct{}{}
	} else {
		delete(s.unused, c)
	}
}

// Shutdown closes the listeners and the connections that were never used, and
// waits until what is in flight is answered. When ctx ends before, it breaks off
// the rest and returns ctx's error. It may be called again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	for c := range s.unused {
		_ = c.Close() // there is nothing in it to lose
	}
	s.mu.Unlock()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// serverLog takes what net/http logs by itself: warnings, but for handshakes,
// which anybody can make fail.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Write(line []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.Contains(line, []byte("TLS handshake error")) {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, string(bytes.TrimSpace(line)))
	return len(line), nil
}
