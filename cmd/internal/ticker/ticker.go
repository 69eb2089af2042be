// Package ticker repeats work at an interval.
package ticker

import (
	"context"
	"iter"
	"time"
)

// Every yields the time at every interval until ctx ends. The first time comes after one interval.
func Every(ctx context.Context, interval time.Duration) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-t.C:
				if !yield(now) {
					return
				}
			}
		}
	}
}

// FromNow is like [Every], but yields the first time at once.
func FromNow(ctx context.Context, interval time.Duration) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		if yield(time.Now()) {
			Every(ctx, interval)(yield)
		}
	}
}
