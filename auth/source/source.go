// Package source brings the keys of issuers, and whatever else must follow the world while the program runs, from where
// they stand: files, URLs, OpenID Connect discovery documents, and references that somebody else follows.
//
// It hands bytes to a callback whenever they have changed, in the background and never on a request's path. It knows
// neither keys nor tokens, nor the configuration: what the bytes mean, and whether they are any good, the callback
// says, and bad ones leave the last good state as it is. What is empty is never good.
package source

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/ringstore/ringstore/configs/smallfile"
)

// MaxBytes is the most that is read of a [File] or of an answer.
const MaxBytes = 1 << 20

// Apply takes what a source holds, when it is first read and after every change; data is the receiver's. An error
// keeps the state that was there before, is reported, and data is offered again at the next look. The sources of one
// [Watcher] apply one at a time.
type Apply func(data []byte) error

// Source is one place that is watched. It belongs to the one [Watcher] that it is given to.
type Source struct {
	name     string
	apply    Apply
	fetch    fetcher
	required bool   // the program does not start without it
	file     string // its path, if it is a file

	asked chan struct{} // holds one wish for a look as soon as the limit allows
	told  chan struct{} // holds one order to look now

	mu     sync.Mutex
	looked chan struct{} // closed after the next look that begins; nil: nobody waits for it
	closed bool
}

// fetcher reads a source once.
type fetcher interface {
	fetch(ctx context.Context, client *http.Client) (found, error)
}

// found is what a look has found.
type found struct {
	data  []byte
	fresh time.Duration // how long it may be taken for current; 0: not said
}

// fetchFunc is a fetcher that needs no HTTP.
type fetchFunc func(ctx context.Context) ([]byte, error)

func (f fetchFunc) fetch(ctx context.Context, _ *http.Client) (found, error) {
	data, err := f(ctx)
	return found{data: data}, err
}

func newSource(name string, fetch fetcher, apply Apply) *Source {
	return &Source{name: name, apply: apply, fetch: fetch, asked: make(chan struct{}, 1), told: make(chan struct{}, 1)}
}

// File is a regular file of at most [MaxBytes], or a symbolic link to one. It is read again within a moment of a
// change of its directory, the swaps of links that Kubernetes does in mounted secrets among them, and at a slow pace
// in any case. The watcher does not open without it.
func File(path string, apply Apply) *Source { return FileUpTo(MaxBytes, path, apply) }

// FileUpTo is [File] for one that may have as many bytes as that.
func FileUpTo(maxBytes int64, path string, apply Apply) *Source {
	return Reference(path, path, func(context.Context) ([]byte, error) { return smallfile.ReadRegular(path, maxBytes) }, apply)
}

// URL is what an https URL answers, or an http one on loopback, such as a JWK set. The watcher opens without it.
func URL(url string, apply Apply) *Source {
	return newSource(url, &document{url: url}, apply)
}

// Discovery is the JWK set of an OpenID provider, whose discovery document names it:
// https://openid.net/specs/openid-connect-discovery-1_0.html, section 4. The issuer is an https URL or one on loopback,
// and the document must give it exactly so. The watcher opens without it.
func Discovery(issuer string, apply Apply) *Source {
	return newSource(issuer, &discovery{issuer: issuer, metadata: document{url: wellKnown(issuer)}}, apply)
}

// Reference is what read returns, such as a secret in a vault: name stands for it in messages. If that is in a file,
// file is its path, and it is watched as by [File]; otherwise it is empty, and the source is read again at every poll.
// The watcher does not open without it.
func Reference(name, file string, read func(context.Context) ([]byte, error), apply Apply) *Source {
	s := newSource(name, fetchFunc(read), apply)
	s.required, s.file = true, file
	return s
}

// String is what the source is called in messages: its path, URL, issuer or name.
func (s *Source) String() string { return s.name }

// Refresh asks for a look at the source before its time, as for a key that is not known yet. It never waits: the
// channel that it returns is closed after the next look that begins, whatever came of it. Looks asked for have at
// least Options.MinRefresh between them, and all who ask in the meantime share the next one, so nobody can use them
// up, nor have more of them by asking more often. Of a source that is not watched, or not any more, it is closed.
func (s *Source) Refresh() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		done := make(chan struct{})
		close(done)
		return done
	}
	if s.looked == nil {
		s.looked = make(chan struct{})
		offer(s.asked)
	}
	return s.looked
}

// begin hands over those who wait for the look that begins now.
func (s *Source) begin() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.looked
	s.looked = nil
	return waiting
}

// end lets all go who wait, now and later: there will be no more looks.
func (s *Source) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.looked != nil {
		close(s.looked)
		s.looked = nil
	}
}

// offer leaves a message in a channel that holds one, unless one is there.
func offer(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// state is what is known of a source from its looks. Its goroutine owns it.
type state struct {
	applied  []byte // the last good data; nil: none yet
	failures int    // in a row
	began    time.Time
}

// changed says whether data has to be applied.
func (s *state) changed(data []byte) bool { return s.applied == nil || !bytes.Equal(s.applied, data) }
