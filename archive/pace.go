package archive

import (
	"context"
	"time"
)

// A pace spreads work that nobody waits for, in pieces of a few milliseconds: after
// each it rests for three times as long, but no longer than longestRest. A thread of
// a writer that the system has put behind it on a processor waits for one piece, and
// not for all of the work. The zero pace knows no rest.
type pace struct {
	ctx   context.Context // its end ends the rests
	since time.Time       // when the piece began
}

const longestRest = 100 * time.Millisecond

func paced(ctx context.Context) *pace { return &pace{ctx, time.Now()} }

// rest ends a piece and returns when the next may begin.
func (p *pace) rest() {
	if p.ctx == nil {
		return
	}
	t := time.NewTimer(min(3*time.Since(p.since), longestRest))
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
	p.since = time.Now()
}
