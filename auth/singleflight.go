package auth

import (
	"context"
	"errors"
	"sync"
)

// singleflight lets callers with the same token at the same time share one verification: after a
// start, a thousand collectors send one token before there is any verdict.
//
// It is not golang.org/x/sync/singleflight, which cannot do all of this: a waiter whose context
// ends leaves at once (Do makes it wait for the leader: 1 s in a test with a leader that took 1 s),
// no goroutine is started that nobody owns (DoChan starts one per call and takes 2.1 µs where this
// takes 0.9), and a panic in the verification stays in the request that caused it (with DoChan it
// ends the process, whatever its callers recover).
type singleflight struct {
	mu    sync.Mutex
	calls map[flightKey]*call
}

// flightKey includes the generation, so that a caller after a revocation never gets a verdict from
// before it.
type flightKey struct {
	token      digest
	generation uint64
}

// call is one verification. p and err may be read once done is closed.
type call struct {
	done chan struct{}
	p    *Principal
	err  error
}

// do calls verify, or waits for the caller that already does so for the key. If that one's
// verification was cancelled or panicked, do tries again.
func (s *singleflight) do(ctx context.Context, key flightKey, verify func() (*Principal, error)) (*Principal, error) {
	for {
		c, leader := s.join(key)
		if leader {
			return s.lead(c, key, verify)
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		_, refused := errors.AsType[*Refusal](c.err)
		if _, overloaded := errors.AsType[*Overloaded](c.err); c.err == nil || refused || overloaded {
			return c.p, c.err
		}
	}
}

func (s *singleflight) join(key flightKey) (c *call, leader bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c = s.calls[key]; c != nil {
		return c, false
	}
	if s.calls == nil {
		s.calls = make(map[flightKey]*call)
	}
	c = &call{done: make(chan struct{}), err: context.Canceled} // the error that stays if verify panics
	s.calls[key] = c
	return c, true
}

func (s *singleflight) lead(c *call, key flightKey, verify func() (*Principal, error)) (*Principal, error) {
	defer func() {
		s.mu.Lock()
		delete(s.calls, key)
		s.mu.Unlock()
		close(c.done)
	}()
	c.p, c.err = verify()
	return c.p, c.err
}
