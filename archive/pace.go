package archive

import (
	"context"
	"time"
)

// A pace spreads background work that comes in pieces of a few milliseconds: after each piece it
// rests three times as long as the piece took, at most maxRest. A writer's thread that the
// scheduler has queued behind this work on a processor then waits for one piece, not for all of
// them. The zero pace does not rest.
type pace struct {
	ctx   context.Context // ends the rests
	since time.Time       // start of the piece
}

const maxRest = 100 * time.Millisecond

func newPace(ctx context.Context) *pace { return &pace{ctx, time.Now()} }

// rest ends a piece and returns when the next may start.
func (p *pace) rest() {
	if p.ctx == nil {
		return
	}
	t := time.NewTimer(min(3*time.Since(p.since), maxRest))
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
	p.since = time.Now()
}
