package auth

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// queueLenPerSlot is how many unknown tokens of one issuer may wait per core.
	queueLenPerSlot = 32
	// knownQueueLen is how many tokens may wait that were good a moment ago.
	knownQueueLen = 1024
	// maxWait limits how long a token waits.
	maxWait = 2 * time.Second
	// retryAfter is how long a client should wait before it retries.
	retryAfter = time.Second
)

// gate limits the signature checks that run at the same time. A few more tokens wait; further ones
// are refused as Busy, so that a flood of forgeries costs neither memory nor the time of requests
// that need no check. Tokens that were good a moment ago have a queue of their own, which no
// forgery enters and which is served first, and half of the slots. The others are served in turn by
// issuer and, within an issuer, by peer: forgeries of one issuer, whose signatures may be expensive,
// do not delay the tokens of another.
type gate struct {
	mu       sync.Mutex
	free     int // slots
	reserved int // slots that only known tokens may use
	known    []*waiter
	unknown  fairQueue
	maxWait  time.Duration
}

// waiter is a token that waits. ready is closed when it is granted a slot, or displaced.
type waiter struct {
	issuer    string
	peer      netip.Addr
	ready     chan struct{}
	displaced bool
}

func newGate(slots int) *gate {
	return &gate{
		free: slots, reserved: slots / 2, maxWait: maxWait,
		unknown: fairQueue{maxLen: slots * queueLenPerSlot},
	}
}

// peerKey is the key of the peer in a context.
type peerKey struct{}

// WithPeer returns a context for the tokens that a peer sends. While many tokens wait to be
// verified, each peer gets its share.
func WithPeer(ctx context.Context, peer netip.Addr) context.Context {
	return context.WithValue(ctx, peerKey{}, peer)
}

// enter waits for a slot, which leave must free. known says that the token, of the named issuer, was
// good a moment ago. Without a slot in time the error is an *Overloaded or ctx's cause.
func (g *gate) enter(ctx context.Context, issuer string, known bool) error {
	peer, _ := ctx.Value(peerKey{}).(netip.Addr)
	w := &waiter{issuer: issuer, peer: peer, ready: make(chan struct{})}
	if entered, err := g.enqueue(w, known); entered || err != nil {
		return err
	}
	timer := time.NewTimer(g.maxWait)
	defer timer.Stop()
	select {
	case <-w.ready:
		return g.result(w, nil)
	case <-timer.C:
		return g.result(w, &Overloaded{Busy, retryAfter})
	case <-ctx.Done():
		return g.result(w, context.Cause(ctx))
	}
}

// enqueue takes a slot if one is free, and reports that. Otherwise w waits, or the error says why
// not.
func (g *gate) enqueue(w *waiter, known bool) (entered bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.free > g.reserved || known && g.free > 0 { // then no token waits that may use it
		g.free--
		return true, nil
	}
	full := len(g.known) == knownQueueLen
	if known && !full {
		g.known = append(g.known, w)
	}
	if !known {
		full = !g.unknown.push(w)
	}
	if full {
		return false, &Overloaded{Busy, retryAfter}
	}
	return false, nil
}

// result returns nil if w has a slot. Otherwise w leaves its queue, and the error is err.
func (g *gate) result(w *waiter, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.displaced {
		return &Overloaded{Busy, retryAfter}
	}
	if at := slices.Index(g.known, w); at >= 0 {
		g.known = slices.Delete(g.known, at, at+1)
		return err
	}
	if g.unknown.remove(w) {
		return err
	}
	return nil
}

// tryEnter takes a slot if one is free, and reports whether it did.
func (g *gate) tryEnter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.free <= g.reserved {
		return false
	}
	g.free--
	return true
}

// leave frees the slot, or grants it to the next token.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.known) > 0 {
		close(g.known[0].ready)
		g.known = slices.Delete(g.known, 0, 1)
		return
	}
	if g.free >= g.reserved {
		if w := g.unknown.pop(); w != nil {
			close(w.ready)
			return
		}
	}
	g.free++
}
