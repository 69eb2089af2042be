// Package ticker repeats work at an interval: the saving and polling of jobs, and the loops of the
// server. It knows nothing of the work.
package ticker

import (
	"context"
	"iter"
	"time"
)

// Every yields the time at every interval until ctx ends. The first time comes after one interval.
// Ticks that pass during the work are skipped.
func Every(ctx context.Context, interval time.Duration) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-t.C:
				if ctx.Err() != nil || !yield(now) {
					return
				}
			}
		}
	}
}

// FromNow is like [Every], but yields the first time at once.
func FromNow(ctx context.Context, interval time.Duration) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		if ctx.Err() == nil && yield(time.Now()) {
			Every(ctx, interval)(yield)
		}
	}
}
