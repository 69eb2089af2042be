package archive

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPace(t *testing.T) {
	f := func(name string, start func(context.Context) *pace, works, rests time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			p := start(ctx)
			for range 2 {
				time.Sleep(works)
				began := time.Now()
				p.rest()
				if got := time.Since(began); got != rests {
					t.Errorf("%s: after %v it rests for %v, want %v", name, works, got, rests)
				}
			}
		})
	}
	f("short pieces", newPace, 2*time.Millisecond, 6*time.Millisecond)
	f("long pieces", newPace, 200*time.Millisecond, maxRest)
	f("no time left", newPace, 2*time.Second, 0)
	f("never", func(context.Context) *pace { return new(pace) }, 2*time.Millisecond, 0)
}
