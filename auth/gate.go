package auth

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// queueLenPerSlot is how many unknown tokens may wait per core.
	queueLenPerSlot = 8
	// knownQueueLen is how many tokens may wait that were good a moment ago.
	knownQueueLen = 1024
	// unknownMaxWait and knownMaxWait limit how long tokens wait.
	unknownMaxWait = 50 * time.Millisecond
	knownMaxWait   = 2 * time.Second
	// retryAfter is how long a client should wait before it retries.
	retryAfter = time.Second
)

// gate limits the signature checks that run at the same time. A few more tokens wait; further ones
// are refused as Busy, so that a flood of forgeries costs neither memory nor the time of requests
// that need no check. Tokens that were good a moment ago have a queue of their own, which no
// forgery enters and which is served first.
type gate struct {
	mu      sync.Mutex
	free    int // slots
	known   queue
	unknown queue
}

// queue holds the waiting tokens in order. Closing a channel grants its token the slot.
type queue struct {
	waiting []chan struct{}
	maxLen  int
	maxWait time.Duration
}

func newGate(slots int) *gate {
	return &gate{
		free:    slots,
		known:   queue{maxLen: knownQueueLen, maxWait: knownMaxWait},
		unknown: queue{maxLen: slots * queueLenPerSlot, maxWait: unknownMaxWait},
	}
}

// enter waits for a slot, which leave must free. known says that the token was good a moment ago.
// Without a slot in time the error is an *Overloaded or ctx's cause.
func (g *gate) enter(ctx context.Context, known bool) error {
	q := &g.unknown
	if known {
		q = &g.known
	}
	g.mu.Lock()
	if g.free > 0 { // then no token waits
		g.free--
		g.mu.Unlock()
		return nil
	}
	if len(q.waiting) == q.maxLen {
		g.mu.Unlock()
		return &Overloaded{Busy, retryAfter}
	}
	granted := make(chan struct{})
	q.waiting = append(q.waiting, granted)
	g.mu.Unlock()

	timer := time.NewTimer(q.maxWait)
	defer timer.Stop()
	select {
	case <-granted:
		return nil
	case <-timer.C:
		return g.giveUp(q, granted, &Overloaded{Busy, retryAfter})
	case <-ctx.Done():
		return g.giveUp(q, granted, context.Cause(ctx))
	}
}

// tryEnter takes a slot if one is free, and reports whether it did.
func (g *gate) tryEnter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.free == 0 {
		return false
	}
	g.free--
	return true
}

// giveUp leaves the queue and returns err, or nil if the slot was granted in the meantime.
func (g *gate) giveUp(q *queue, granted chan struct{}, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := slices.Index(q.waiting, granted)
	if at < 0 {
		return nil
	}
	q.waiting = slices.Delete(q.waiting, at, at+1)
	return err
}

// leave frees the slot, or grants it to the next token.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, q := range []*queue{&g.known, &g.unknown} {
		if len(q.waiting) > 0 {
			close(q.waiting[0])
			q.waiting = slices.Delete(q.waiting, 0, 1)
			return
		}
	}
	g.free++
}
