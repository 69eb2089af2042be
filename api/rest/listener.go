package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// listener admits connections and, for HTTPS, makes their handshakes, so that a connection reaches
// net/http when it can carry requests.
type listener struct {
	net.Listener
	server *Server
	tls    *tls.Config // nil for HTTP
	spare  spareDescriptor

	ready     chan net.Conn // after their handshakes
	stopped   chan struct{} // closed by Close
	closing   sync.Once
	accepting sync.WaitGroup
	failed    chan struct{} // closed when err is set
	err       error

	mu         sync.Mutex
	handshakes map[*connection]struct{} // in progress
}

func (s *Server) newListener(inner net.Listener) *listener {
	l := &listener{
		Listener: inner, server: s, tls: s.tlsConfig,
		ready: make(chan net.Conn), stopped: make(chan struct{}), failed: make(chan struct{}),
		handshakes: make(map[*connection]struct{}),
	}
	l.spare.open()
	if l.tls != nil {
		l.accepting.Go(l.acceptTLS)
	}
	return l
}

// Accept returns the next connection that is ready for requests.
func (l *listener) Accept() (net.Conn, error) {
	if l.tls == nil {
		c, err := l.accept()
		if err != nil {
			return nil, err
		}
		return newHTTP1Conn(c, c), nil
	}
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.failed:
		return nil, l.err
	}
}

// Close closes the listener and the connections whose handshakes are in progress.
func (l *listener) Close() (err error) {
	l.closing.Do(func() {
		err = l.Listener.Close()
		close(l.stopped)
		l.mu.Lock()
		for c := range l.handshakes {
			_ = c.Close() // it carries no request
		}
		l.mu.Unlock()
		l.accepting.Wait()
		l.spare.close()
	})
	return err
}

// The time between two attempts to accept a connection when no file descriptor is left.
const (
	minAcceptWait = 5 * time.Millisecond
	maxAcceptWait = time.Second
)

// accept returns the next connection for which there is a place. Without a file descriptor it closes
// an unidentified connection, or lends the spare descriptor to the next one, or waits.
func (l *listener) accept() (*connection, error) {
	wait := time.Duration(0)
	for {
		conn, err := l.Listener.Accept()
		if err == nil {
			wait = 0
			if c := l.server.admission.admit(conn); c != nil {
				return c, nil
			}
			continue
		}
		if !isOutOfDescriptors(err) {
			return nil, err
		}
		if l.server.admission.evictOldest() {
			continue
		}
		if l.spare.lend() {
			c, err := l.acceptSpare()
			if c != nil || err != nil {
				return c, err
			}
		}
		wait = min(max(2*wait, minAcceptWait), maxAcceptWait)
		l.server.logDescriptors()
		select {
		case <-l.stopped:
			return nil, net.ErrClosed
		case <-time.After(wait):
		}
	}
}

// acceptSpare accepts a connection with the spare descriptor, which it keeps until it is closed. It
// carries one request, such as that of /-/ready.
func (l *listener) acceptSpare() (*connection, error) {
	if t, ok := l.Listener.(*net.TCPListener); ok {
		_ = t.SetDeadline(time.Now().Add(maxAcceptWait))
		defer func() { _ = t.SetDeadline(time.Time{}) }()
	}
	conn, err := l.Listener.Accept()
	switch {
	case err == nil:
	case isOutOfDescriptors(err), errors.Is(err, os.ErrDeadlineExceeded):
		l.spare.open()
		return nil, nil
	default:
		return nil, err
	}
	c := l.server.admission.admit(conn)
	if c == nil {
		l.spare.open()
		return nil, nil
	}
	c.last.Store(true)
	c.setOnClose(l.spare.open)
	return c, nil
}

func isOutOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// checkDescriptors returns an error if no file can be opened because there are too many.
func checkDescriptors() error {
	f, err := os.Open(os.DevNull)
	if err == nil {
		return f.Close()
	}
	if isOutOfDescriptors(err) {
		return err
	}
	return nil
}

// spareDescriptor is a file descriptor that is given up when there is no other one.
type spareDescriptor struct {
	mu     sync.Mutex
	file   *os.File // nil while it is lent
	closed bool
}

func (s *spareDescriptor) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil && !s.closed {
		s.file, _ = os.Open(os.DevNull) // nil if there is none to spare
	}
}

// lend closes the descriptor, so that another file can use it. It reports whether there was one.
func (s *spareDescriptor) lend() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return false
	}
	_ = s.file.Close() // nothing was written to it
	s.file = nil
	return true
}

func (s *spareDescriptor) close() {
	s.lend()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// acceptTLS accepts connections and makes their handshakes.
func (l *listener) acceptTLS() {
	defer close(l.failed)
	for {
		c, err := l.accept()
		if err != nil {
			l.err = err
			return
		}
		l.mu.Lock()
		l.handshakes[c] = struct{}{}
		l.mu.Unlock()
		l.accepting.Go(func() { l.shake(c) })
	}
}

// shake makes the handshake of a connection, which its timer limits.
func (l *listener) shake(c *connection) {
	conn, err := l.handshake(c)
	l.mu.Lock()
	delete(l.handshakes, c)
	l.mu.Unlock()
	if err != nil {
		l.server.handshakeFailed(c, err)
		_ = c.Close() // it never carried a request
		return
	}
	select {
	case l.ready <- conn:
	case <-l.stopped:
		_ = c.Close() // it carries no request
	}
}

func (l *listener) handshake(c *connection) (net.Conn, error) {
	conn := tls.Server(c, l.tls)
	if err := conn.HandshakeContext(context.Background()); err != nil {
		return nil, err
	}
	if conn.ConnectionState().NegotiatedProtocol == "h2" {
		c.http2.Store(true)
		return conn, nil // net/http knows HTTP/2 by this type
	}
	return newHTTP1Conn(conn, c), nil
}

// handshakeFailed tells a client that speaks HTTP to use HTTPS, reports what is wrong with a client's
// certificate, and logs all failures, which any client can cause.
func (s *Server) handshakeFailed(c *connection, err error) {
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok && record.Conn != nil && looksLikeHTTP(record.RecordHeader) {
		_, _ = io.WriteString(record.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	}
	if code := certificateReason(err); code != "" {
		s.refused(c.peer.String(), code)
	}
	s.log.Debug("TLS handshake failed", "peer", c.peer.String(), "error", err)
}

func looksLikeHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}
