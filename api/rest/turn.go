package rest

import (
	"context"
	"time"
)

// turn is the right of a large query to work. There is one turn less than there are cores, so that
// writes and small queries find a core that is free or only busy with a helper, which ends soon.
// Queries pass their turns on after turnTime.
type turn struct {
	h     *Handler
	since time.Time // zero: not taken
}

const turnTime = 2 * time.Millisecond

// take waits for a turn, unless the query has one.
func (t *turn) take(ctx context.Context) error {
	if !t.since.IsZero() {
		return nil
	}
	t.h.waiting.Add(1)
	defer t.h.waiting.Add(-1)
	select {
	case t.h.turns <- struct{}{}:
		t.since = time.Now()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turn) leave() {
	if !t.since.IsZero() {
		<-t.h.turns
		t.since = time.Time{}
	}
}

// pass lets another query work if one waits and it is time.
func (t *turn) pass(ctx context.Context) error {
	if t.h.waiting.Load() == 0 || time.Since(t.since) < turnTime {
		return nil
	}
	t.leave()
	return t.take(ctx)
}
