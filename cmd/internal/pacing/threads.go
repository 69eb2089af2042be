package pacing

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/ringstore/ringstore/auth/ticker"
)

// On a machine with one or two cores a flood of bad tokens keeps as many threads busy. The kernel
// may then let the thread of a good request wait behind another for a whole tick while a core is
// idle: the runtime counts that thread as running and wakes no other. With twice the threads one
// gets to run: the 99th percentile of good requests is 1.7 times their usual one, instead of 2.4
// times (TestFlood). This is no setting for normal operation: waking the additional threads makes
// writes 8 % slower.
const (
	// minCores is the number of cores that a flood does not keep busy.
	minCores = 4
	// floodRate is how many rejected tokens per second are a flood.
	floodRate = 1000
	// floodInterval is the time between two looks at the rate, and calmLooks how many looks below
	// the rate end a flood.
	floodInterval = 100 * time.Millisecond
	calmLooks     = 10
)

// FloodThreads returns how many threads should run Go code during a flood. ok is false if the
// number should stay as it is: if there are enough cores, or if GOMAXPROCS or a CPU quota, which
// more threads would use up, sets it.
func FloodThreads() (threads int, ok bool) {
	usual := runtime.GOMAXPROCS(0)
	return 2 * usual, usual < minCores && usual == runtime.NumCPU() && os.Getenv("GOMAXPROCS") == ""
}

// Threads lets this many threads run Go code while many tokens are rejected, until ctx ends.
// rejected returns how many tokens have been rejected since the start.
func Threads(ctx context.Context, rejected func() uint64, threads int) {
	const limit = uint64(floodRate * floodInterval / time.Second)
	before, left := rejected(), 0
	defer func() {
		if left > 0 {
			runtime.SetDefaultGOMAXPROCS()
		}
	}()
	for range ticker.Every(ctx, floodInterval) {
		now := rejected()
		switch {
		case now-before > limit:
			if left == 0 {
				runtime.GOMAXPROCS(threads)
			}
			left = calmLooks
		case left > 0:
			if left--; left == 0 {
				runtime.SetDefaultGOMAXPROCS()
			}
		}
		before = now
	}
}
