package rest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringstore/ringstore/api/internal/ciphers"
	"github.com/ringstore/ringstore/auth"
)

// ServerOptions are the options of a [Server].
type ServerOptions struct {
	Certificate Certificate  // zero means HTTP
	Log         *slog.Logger // nil means none

	// RefusedCertificate is called for each connection that is refused because of its client
	// certificate, with the peer's address; nil means none.
	RefusedCertificate func(peer string, code auth.Reason)

	// Stall is the longest time in which an HTTP/2 client may read nothing from its connection:
	// even the end of a stream, as [Options.Stall] causes it, must be sent over it. 0 means 30 s.
	Stall time.Duration

	Connections ConnectionLimits
}

// The limits of a connection until a request's header has arrived. Bodies and answers may then take
// as long as bytes keep moving: see [Options.Stall].
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute

	// maxStreams is how many requests of one HTTP/2 connection may be in progress.
	maxStreams = 100
)

// Server serves a handler on listeners that its caller opened.
type Server struct {
	http      http.Server
	log       *slog.Logger
	refused   func(peer string, code auth.Reason) // for its certificate
	admission *admission
	tlsConfig *tls.Config                // nil for HTTP
	tls       atomic.Pointer[tls.Config] // of new connections

	mu     sync.Mutex
	logged time.Time             // when a lack of file descriptors was last logged
	unused map[net.Conn]struct{} // connections without a request so far
}

// NewServer returns a server. It reads the certificate immediately, so a program can call it before
// it drops privileges.
func NewServer(handler http.Handler, o ServerOptions) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.RefusedCertificate == nil {
		o.RefusedCertificate = func(string, auth.Reason) {}
	}
	s := &Server{log: o.Log, refused: o.RefusedCertificate, admission: newAdmission(o.Connections), unused: make(map[net.Conn]struct{})}
	s.http = http.Server{
		Handler:           s.serveConnection(handler),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytes,
		ErrorLog:          log.New(serverLog{o.Log}, "", 0),
		HTTP2:             &http.HTTP2Config{WriteByteTimeout: cmp.Or(o.Stall, defaultStall), MaxConcurrentStreams: maxStreams},
		ConnState:         s.track,
		ConnContext:       withConnection,
	}
	if o.Certificate == (Certificate{}) {
		return s, nil
	}
	if err := s.LoadCertificate(o.Certificate); err != nil {
		return nil, err
	}
	s.tlsConfig = &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.tls.Load(), nil },
		MinVersion:         tls.VersionTLS12,
		CipherSuites:       ciphers.AEAD(),
	}
	return s, nil
}

// Serve answers requests on l until Shutdown is called, and closes l. It then returns nil at once,
// while Shutdown waits for the requests in progress.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(s.newListener(l))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// track maintains the set of connections that had no request yet. Clients open some in advance, and
// net/http's Shutdown would wait seconds for them.
func (s *Server) track(c net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		if own := ownConnection(c); own != nil {
			own.phase.Store(beforeHeader)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.unused[c] = struct{}{}
	} else {
		delete(s.unused, c)
	}
}

// withConnection adds the connection and its peer to the context of its requests.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	own := ownConnection(c)
	if own != nil {
		ctx = auth.WithPeer(ctx, own.peer)
	}
	return context.WithValue(ctx, connectionKey{}, own)
}

// ownConnection returns the connection below what net/http knows, nil if there is none.
func ownConnection(c net.Conn) *connection {
	switch c := c.(type) {
	case *http1Conn:
		return c.c
	case *https1Conn:
		return c.c
	case *tls.Conn:
		own, _ := c.NetConn().(*connection)
		return own
	}
	return nil
}

// descriptorLogInterval is the time between two log lines about file descriptors.
const descriptorLogInterval = time.Minute

// logDescriptors logs that connections cannot be accepted, not too often.
func (s *Server) logDescriptors() {
	s.mu.Lock()
	now := time.Now()
	again := now.Sub(s.logged) >= descriptorLogInterval
	if again {
		s.logged = now
	}
	s.mu.Unlock()
	if again {
		s.log.Error("no file descriptor is left: new connections wait; raise the limit of open files (LimitNOFILE=)")
	}
}

// Shutdown closes the listeners and the unused connections, and waits for the requests in progress.
// If ctx ends first, it closes their connections and returns ctx's error. It may be called again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	for c := range s.unused {
		_ = c.Close() // it carries no request
	}
	s.mu.Unlock()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// serverLog receives the log lines of net/http. They become warnings.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Write(line []byte) (int, error) {
	l.log.Warn(string(bytes.TrimSpace(line)))
	return len(line), nil
}
