// Package source watches data that changes while the program runs, such as issuers' keys: in files,
// at URLs, through OpenID Connect discovery documents, and behind references that the caller
// resolves.
//
// It passes the bytes to a callback whenever they have changed, in the background and never during
// a request. It does not interpret them: the callback accepts or refuses them, and refused data
// leaves the previous data active. Empty data is always refused.
package source

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/ringstore/ringstore/configs/smallfile"
)

// MaxBytes is the maximum size of a [File] or of an HTTP response.
const MaxBytes = 1 << 20

// Apply receives a source's data when it is first read and after every change. It owns data. If it
// returns an error, the previous data stays active unless the error wraps [ErrDropped], and data is
// passed again after the next read. The error is logged at once, and again after growing pauses.
// The sources of one [Watcher] call Apply one at a time.
type Apply func(data []byte) error

// ErrDropped is wrapped by an error of Apply after which the previous data is no longer active,
// although the new data was refused.
var ErrDropped = errors.New("the previous data is no longer active")

// Source is one watched location. It belongs to exactly one [Watcher].
type Source struct {
	name     string
	apply    Apply
	fetch    fetcher
	required bool   // Open fails if it cannot be read
	file     string // its path, if it is a file

	refresh chan struct{} // holds a request to read once MinRefresh permits
	changed chan struct{} // holds a request to read now

	mu     sync.Mutex
	waiter chan struct{} // closed after the next read that begins; nil: no caller waits
	closed bool
}

// fetcher reads a source once.
type fetcher interface {
	fetch(ctx context.Context, client *http.Client) (found, error)
}

// found is the result of a read.
type found struct {
	data  []byte
	fresh time.Duration // how long the data counts as current; 0: unknown
}

// fetchFunc is a fetcher that needs no HTTP.
type fetchFunc func(ctx context.Context) ([]byte, error)

func (f fetchFunc) fetch(ctx context.Context, _ *http.Client) (found, error) {
	data, err := f(ctx)
	return found{data: data}, err
}

func newSource(name string, fetch fetcher, apply Apply) *Source {
	return &Source{name: name, apply: apply, fetch: fetch, refresh: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
}

// File is a regular file of at most [MaxBytes], or a symbolic link to one. It is read again shortly
// after a change in its directory, including the swaps of links by which Kubernetes updates mounted
// secrets, and also every FileInterval. Open fails if it cannot be read.
func File(path string, apply Apply) *Source { return FileUpTo(MaxBytes, path, apply) }

// FileUpTo is [File] with a maximum size of maxBytes.
func FileUpTo(maxBytes int64, path string, apply Apply) *Source {
	return Reference(path, path, func(context.Context) ([]byte, error) { return smallfile.ReadRegular(path, maxBytes) }, apply)
}

// URL is the response of an https URL, or an http one on loopback, such as a JWK set. Open succeeds
// without it.
func URL(url string, apply Apply) *Source {
	return newSource(url, &document{url: url}, apply)
}

// Discovery is the JWK set of an OpenID provider, found through its discovery document:
// https://openid.net/specs/openid-connect-discovery-1_0.html, section 4. The issuer is an https URL
// or an http one on loopback, and the document must contain exactly the same. Open succeeds without
// it.
func Discovery(issuer string, apply Apply) *Source {
	return newSource(issuer, &discovery{issuer: issuer, metadata: document{url: wellKnown(issuer)}}, apply)
}

// Reference is the data that read returns, such as a secret in a vault. Messages call it name. If
// the data is in a file, file is its path and is watched as by [File]; otherwise file is empty, and
// the source is read at every PollInterval. Open fails if it cannot be read.
func Reference(name, file string, read func(context.Context) ([]byte, error), apply Apply) *Source {
	s := newSource(name, fetchFunc(read), apply)
	s.required, s.file = true, file
	return s
}

// String returns the source's name in messages: its path, URL, issuer or name.
func (s *Source) String() string { return s.name }

// Refresh requests an early read of the source, such as for an unknown key. It does not block: the
// returned channel is closed after the next read that begins, successful or not. Requested reads
// are at least Options.MinRefresh apart, and all requests in between share the next one, so more
// requests do not cause more reads. After Close, the channel is already closed.
func (s *Source) Refresh() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		done := make(chan struct{})
		close(done)
		return done
	}
	if s.waiter == nil {
		s.waiter = make(chan struct{})
		offer(s.refresh)
	}
	return s.waiter
}

// takeWaiter returns the channel to close after the read that begins now, nil if no caller waits.
func (s *Source) takeWaiter() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiter := s.waiter
	s.waiter = nil
	return waiter
}

// close releases all current and future waiters: there will be no more reads.
func (s *Source) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.waiter != nil {
		close(s.waiter)
		s.waiter = nil
	}
}

// offer sends to a channel with a buffer of one, unless the buffer is full.
func offer(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// state is the result of a source's reads so far. The source's goroutine owns it.
type state struct {
	applied  []byte // the last accepted data; nil: none yet
	failures int    // consecutive
	log      failureLog
	began    time.Time
}

// changed reports whether data has to be applied.
func (s *state) changed(data []byte) bool { return s.applied == nil || !bytes.Equal(s.applied, data) }
