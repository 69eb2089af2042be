package main

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/ringstore/ringstore/auth"
)

// On a machine with one or two cores a flood of bad tokens keeps as many threads
// busy, and the kernel may let a good request's thread stand behind another for a
// whole tick while a core is idle: the runtime takes it for running, and wakes no
// other. With twice the threads one is found: the 99th percentile of good requests
// is 1.7 times their usual then, and 2.4 times without (TestFlood). It is no
// setting for every day, as to wake them takes a twelfth more time of writes.
const (
	// fewCores is how many are too many for a flood to keep busy.
	fewCores = 4
	// floodRate is how many tokens refused in a second are a flood.
	floodRate = 1000
	// floodEvery is how often that is looked at, and floodLooks how many times it must
	// have been less until it is over.
	floodEvery = 100 * time.Millisecond
	floodLooks = 10
)

// spareThreads returns how many threads run Go code at a time in a flood, and
// whether that is to be more than usual: not where there are cores enough, nor where
// GOMAXPROCS or a quota of CPU time, which they would use up, says how many.
func spareThreads() (threads int, ok bool) {
	usual := runtime.GOMAXPROCS(0)
	return 2 * usual, usual < fewCores && usual == runtime.NumCPU() && os.Getenv("GOMAXPROCS") == ""
}

// withstandFloods lets that many threads run Go code while tokens are refused in
// large numbers, until ctx ends.
func withstandFloods(ctx context.Context, chain *auth.Chain, threads int) {
	const most = uint64(floodRate * floodEvery / time.Second)
	before, left := refusals(chain), 0
	defer func() {
		if left > 0 {
			runtime.SetDefaultGOMAXPROCS()
		}
	}()
	for range ticks(ctx, floodEvery) {
		now := refusals(chain)
		switch {
		case now-before > most:
			if left == 0 {
				runtime.GOMAXPROCS(threads)
			}
			left = floodLooks
		case left > 0:
			if left--; left == 0 {
				runtime.SetDefaultGOMAXPROCS()
			}
		}
		before = now
	}
}

// refusals returns how many tokens were looked at and not found good.
func refusals(chain *auth.Chain) (n uint64) {
	chain.Verifications(func(_ string, code auth.Reason, of uint64) {
		if code != auth.Accepted {
			n += of
		}
	})
	return n
}
