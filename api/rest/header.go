package rest

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
)

// The limits of a request's header. A token has at most 16 KiB.
const (
	headerBytes  = 32 << 10
	headerFields = 128

	// headerSlack is what net/http reads in addition to MaxHeaderBytes.
	headerSlack = 4 << 10
	// headerChunk is how many bytes of an incomplete header any connection may have in memory.
	headerChunk = 4 << 10
)

// The phases of a connection.phase.
const (
	beforeHeader = iota // of the next request
	afterHeader
)

// http1Conn is a connection that speaks HTTP/1. It hands a header to net/http only when it is
// complete: until then a header costs its bytes, while net/http would keep every field in memory at
// many times its size.
type http1Conn struct {
	net.Conn // the connection, or TLS over it
	c        *connection

	lines   lineScanner
	pending []byte // read, but not handed over
}

// newHTTP1Conn returns a connection for net/http, which takes from it whether it is HTTPS.
func newHTTP1Conn(conn net.Conn, c *connection) net.Conn {
	h := &http1Conn{Conn: conn, c: c}
	if t, ok := conn.(*tls.Conn); ok {
		return &https1Conn{h, t}
	}
	return h
}

// https1Conn is an http1Conn over TLS.
type https1Conn struct {
	*http1Conn
	tls *tls.Conn
}

// ConnectionState makes net/http set the TLS field of requests.
func (c *https1Conn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// CloseWrite implements the interface that net/http uses.
func (h *http1Conn) CloseWrite() error { return closeWrite(h.Conn) }

func (h *http1Conn) Read(p []byte) (int, error) {
	if len(h.pending) > 0 {
		return h.handOver(p), nil
	}
	n, err := h.Conn.Read(p)
	// While a request is answered, net/http reads one byte to notice that the client leaves.
	if h.c.phase.Load() == afterHeader || len(p) == 1 {
		h.lines.skip(p[:n])
		return n, err
	}
	ended := h.lines.scan(p[:n])
	if !ended && !h.lines.tooMany && n > 0 && err == nil {
		h.pending = append(make([]byte, 0, headerChunk), p[:n]...)
		err = h.collect()
	}
	switch {
	case h.lines.tooMany:
		return h.refuse()
	case len(h.pending) > 0:
		return h.handOver(p), nil // the next read meets the same error
	}
	return n, err
}

// collect reads until the header is complete, too long for net/http, or has too many fields.
func (h *http1Conn) collect() error {
	for len(h.pending) < headerBytes+headerSlack {
		if len(h.pending) == cap(h.pending) {
			if err := h.c.beginLongHeader(); err != nil {
				return err
			}
			h.pending = slices.Grow(h.pending, min(len(h.pending), headerBytes+headerSlack-len(h.pending)))
		}
		n, err := h.Conn.Read(h.pending[len(h.pending):cap(h.pending)])
		read := h.pending[len(h.pending) : len(h.pending)+n]
		h.pending = h.pending[:len(h.pending)+n]
		if ended := h.lines.scan(read); ended || h.lines.tooMany || err != nil {
			return err
		}
	}
	return nil
}

// handOver copies pending bytes to p.
func (h *http1Conn) handOver(p []byte) int {
	n := copy(p, h.pending)
	if h.pending = h.pending[n:]; len(h.pending) == 0 {
		h.pending = nil
	}
	return n
}

// refuse answers a header with too many fields as net/http answers one that is too long.
func (h *http1Conn) refuse() (int, error) {
	h.pending = nil
	const text = "431 Request Header Fields Too Large"
	_, err := io.WriteString(h.Conn, "HTTP/1.1 "+text+"\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"+text)
	if err == nil {
		err = io.EOF
	}
	return 0, err
}

// lineScanner finds the empty line that ends a header. It may be one of a body: net/http decides.
type lineScanner struct {
	count   int  // of the lines of a header
	text    bool // the current line is not empty
	tooMany bool // a header has more than headerFields
}

// scan reports whether b contains an empty line.
func (s *lineScanner) scan(b []byte) bool {
	for len(b) > 0 {
		line, rest, ended := bytes.Cut(b, []byte{'\n'})
		if len(line) > 1 || len(line) == 1 && line[0] != '\r' {
			s.text = true
		}
		if !ended {
			return false
		}
		if !s.text {
			s.skip(b)
			return true
		}
		s.count++
		s.tooMany = s.tooMany || s.count > headerFields+1 // and the request line
		s.text = false
		b = rest
	}
	return false
}

// skip takes b, which may end in the middle of the next header.
func (s *lineScanner) skip(b []byte) {
	if len(b) == 0 {
		return
	}
	last := b[bytes.LastIndexByte(b, '\n')+1:]
	switch {
	case len(last) > 1 || len(last) == 1 && last[0] != '\r':
		s.text = true
	case len(last) < len(b):
		s.text = false
	}
	s.count = 0
}

// serveConnection counts the requests of a connection, and refuses headers that HTTP/2 permits but
// HTTP/1 here does not.
func (s *Server) serveConnection(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := connectionOf(r.Context())
		c.begin()
		defer c.end()
		if c != nil && c.last.Load() {
			w.Header().Set("Connection", "close")
		}
		if countFields(r.Header) > headerFields {
			clear(r.Header)
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func countFields(h http.Header) (n int) {
	for _, values := range h {
		n += len(values)
	}
	return n
}
