package auth

import (
	"context"
	"errors"
	"sync"
)

// flights lets those who bring the same token at the same time share one verification: after a start, a thousand
// collectors come with one token before any verdict is there.
type flights struct {
	mu     sync.Mutex
	inside map[flightKey]*flight
}

// flightKey has the generation in it, so that who comes after a revocation gets no verdict from before.
type flightKey struct {
	token      digest
	generation uint64
}

// flight is over when done is closed; then the rest may be read.
type flight struct {
	done chan struct{}
	p    *Principal
	err  error
}

// share calls verify, or waits for whoever has called it for that key. Where that one's client went away, verify is
// called again.
func (s *flights) share(ctx context.Context, key flightKey, verify func() (*Principal, error)) (*Principal, error) {
	for {
		f, first := s.board(key)
		if first {
			return s.fly(f, key, verify)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		_, refused := errors.AsType[*Refusal](f.err)
		if _, overloaded := errors.AsType[*Overloaded](f.err); f.err == nil || refused || overloaded {
			return f.p, f.err
		}
	}
}

func (s *flights) board(key flightKey) (f *flight, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f = s.inside[key]; f != nil {
		return f, false
	}
	if s.inside == nil {
		s.inside = make(map[flightKey]*flight)
	}
	f = &flight{done: make(chan struct{}), err: context.Canceled} // which stays, should verify panic
	s.inside[key] = f
	return f, true
}

func (s *flights) fly(f *flight, key flightKey, verify func() (*Principal, error)) (*Principal, error) {
	defer func() {
		s.mu.Lock()
		delete(s.inside, key)
		s.mu.Unlock()
		close(f.done)
	}()
	f.p, f.err = verify()
	return f.p, f.err
}
