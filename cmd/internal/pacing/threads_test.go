package pacing

import (
	"context"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// TestThreadsOfAFlood: more threads run while many tokens are rejected, and no longer.
func TestThreadsOfAFlood(t *testing.T) {
	usual := runtime.GOMAXPROCS(0)
	if usual != runtime.NumCPU() || os.Getenv("GOMAXPROCS") != "" {
		t.Skip("the environment sets the number of threads")
	}
	var rejected atomic.Uint64
	during := func(f func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); Threads(ctx, rejected.Load, usual+1) }()
		f()
		cancel()
		<-ended
		if n := runtime.GOMAXPROCS(0); n != usual {
			t.Errorf("%d threads stay, want %d", n, usual)
		}
	}
	during(func() {
		for range 4 {
			rejected.Add(floodRate / 50)
			time.Sleep(floodInterval)
			if n := runtime.GOMAXPROCS(0); n != usual {
				t.Errorf("%d threads for a few bad tokens, want %d", n, usual)
			}
		}
		cmdtest.Eventually(t, "more threads run in a flood", func() bool {
			rejected.Add(floodRate)
			return runtime.GOMAXPROCS(0) == usual+1
		})
		cmdtest.Eventually(t, "no more run after it", func() bool { return runtime.GOMAXPROCS(0) == usual })
	})
	during(func() { // the context ends during the flood
		cmdtest.Eventually(t, "more threads run in a flood", func() bool {
			rejected.Add(floodRate)
			return runtime.GOMAXPROCS(0) == usual+1
		})
	})
}
