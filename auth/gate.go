package auth

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// roomPerSlot is how many unknown tokens may wait for a core.
	roomPerSlot = 8
	// provenRoom is how many tokens may wait that were good a moment ago.
	provenRoom = 1024
	// patience is the longest that an unknown token waits, and provenPatience one that was good a moment ago.
	patience       = 50 * time.Millisecond
	provenPatience = 2 * time.Second
	// comeAgain is what who was not served is asked to wait.
	comeAgain = time.Second
)

// gate lets at most one verification per core run. A few more wait their turn; all others are turned away, so that a
// flood of forgeries costs neither memory nor the time of those who need no verification. Tokens that were good a
// moment ago wait in a queue of their own, into which no forgery gets, and which goes first.
type gate struct {
	mu      sync.Mutex
	free    int
	proven  queue
	unknown queue
}

// queue is who waits, in order. A turn is given by closing the channel.
type queue struct {
	waiting  []chan struct{}
	room     int
	patience time.Duration
}

func newGate(slots int) *gate {
	return &gate{
		free:    slots,
		proven:  queue{room: provenRoom, patience: provenPatience},
		unknown: queue{room: slots * roomPerSlot, patience: patience},
	}
}

// enter returns nil when it is the token's turn; leave must follow.
func (g *gate) enter(ctx context.Context, known bool) error {
	q := &g.unknown
	if known {
		q = &g.proven
	}
	g.mu.Lock()
	if g.free > 0 { // so nobody waits
		g.free--
		g.mu.Unlock()
		return nil
	}
	if len(q.waiting) == q.room {
		g.mu.Unlock()
		return &Overloaded{Busy, comeAgain}
	}
	turn := make(chan struct{})
	q.waiting = append(q.waiting, turn)
	g.mu.Unlock()

	timer := time.NewTimer(q.patience)
	defer timer.Stop()
	select {
	case <-turn:
		return nil
	case <-timer.C:
		return g.giveUp(q, turn, &Overloaded{Busy, comeAgain})
	case <-ctx.Done():
		return g.giveUp(q, turn, context.Cause(ctx))
	}
}

// giveUp leaves the queue, unless the turn has come meanwhile.
func (g *gate) giveUp(q *queue, turn chan struct{}, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := slices.Index(q.waiting, turn)
	if at < 0 {
		return nil
	}
	q.waiting = slices.Delete(q.waiting, at, at+1)
	return err
}

// leave gives the turn to the next.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, q := range []*queue{&g.proven, &g.unknown} {
		if len(q.waiting) > 0 {
			close(q.waiting[0])
			q.waiting = slices.Delete(q.waiting, 0, 1)
			return
		}
	}
	g.free++
}
