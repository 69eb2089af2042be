package ticker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestIntervals: both yield at every interval until the context or the loop ends; they differ in
// the first time.
func TestIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		begin := time.Now()
		var every, fromNow []time.Duration
		for now := range Every(ctx, 10*time.Second) {
			every = append(every, now.Sub(begin))
		}
		if len(every) != 3 || every[0] != 10*time.Second || every[2] != 30*time.Second {
			t.Errorf("Every: %v", every)
		}
		begin = time.Now()
		for now := range FromNow(t.Context(), 10*time.Second) {
			if fromNow = append(fromNow, now.Sub(begin)); len(fromNow) == 3 {
				break
			}
		}
		if len(fromNow) != 3 || fromNow[0] != 0 || fromNow[2] != 20*time.Second {
			t.Errorf("FromNow: %v", fromNow)
		}
		for range FromNow(t.Context(), time.Second) {
			break
		}
		for range FromNow(ctx, time.Second) { // ctx has ended
			t.Error("FromNow yields after its context has ended")
		}
		begin = time.Now()
		var slow []time.Duration
		for now := range FromNow(t.Context(), time.Second) {
			if slow = append(slow, now.Sub(begin)); len(slow) == 4 {
				break
			}
			if len(slow) == 2 {
				time.Sleep(3500 * time.Millisecond)
			}
		}
		if slow[1] != time.Second || slow[3] != 5*time.Second {
			t.Errorf("ticks during the work are not skipped: %v", slow)
		}
	})
}
