// Package ticks repeats work at an interval.
package ticks

import (
	"context"
	"iter"
	"time"
)

// Every yields at once and then at each interval, until ctx ends. Ticks that pass during the work
// are skipped.
func Every(ctx context.Context, interval time.Duration) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for now := time.Now(); ctx.Err() == nil && yield(now); {
			select {
			case <-ctx.Done():
				return
			case now = <-ticker.C:
			}
		}
	}
}
