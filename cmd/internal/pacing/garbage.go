// Package pacing adapts the Go runtime to a server that keeps days of samples in memory: how much
// garbage may grow before it is collected, and how many threads run Go code during a flood of bad
// tokens.
//
// It changes settings of the whole process. It is wrong to use it in a process that does not hold
// such a store, in a command that ends by itself, in a library, and twice in one process. Where the
// environment sets GOGC, GOMEMLIMIT or GOMAXPROCS, that setting stays.
package pacing

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/ringstore/ringstore/auth/ticker"
)

// How much garbage may grow before it is collected: percentOfLive of the live heap, plus
// percentOfScanned of the part that the collector has to scan, which is its work. Samples live for
// days and hold no pointers, so collecting at 5 % garbage costs little beside a day of them,
// whereas Go's default of 100 % takes 7.9 bytes of memory per sample instead of 4.4
// (scripts/bench). While a site's first intervals arrive, almost everything is pointers: collecting
// at 5 % would scan all of it for every 5 % that is added.
const (
	percentOfLive    = 5
	percentOfScanned = 40
)

// headroom is how many bytes of garbage are not worth collecting: in a small store a few requests
// make 5 %, and the collector would scan all series for each few megabytes. idleCollector returns
// them when the work ends, and the limit of the process's memory (LimitMemory) takes precedence.
const headroom = 32 << 20

// GCPercent is the percentage that results for a store that holds a day of samples.
const GCPercent = 6

const (
	// adjustInterval is the time between two looks at the percentage, and minAdjustment how far off
	// it must be to be changed, as a change stops the world for a moment.
	adjustInterval = 250 * time.Millisecond
	minAdjustment  = 2
	// idleLooks is how many looks without a collection count as idle: garbage from the end of the
	// last work, such as merging, would otherwise stay until new garbage triggers a collection.
	idleLooks = 40
	// growthEnds is by how many points the percentage falls when a site is complete: memory that
	// was only needed for the growth is returned at once.
	growthEnds = 10
)

// outsideRuntime bounds the memory that the runtime does not count: the program's own code, and what
// the heap grows by before a collection ends. It is at most a sixteenth of the limit.
const outsideRuntime = 64 << 20

// LimitMemory limits the memory of the process to a number of bytes, 0 for no limit, and sets the
// percentage of garbage to start with.
func LimitMemory(limit int64) {
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit - min(outsideRuntime, limit/16))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(GCPercent)
	}
}

// Garbage adjusts the percentage of garbage until ctx ends.
func Garbage(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	var idle idleCollector
	current, share := GCPercent, GCPercent
	for range ticker.FromNow(ctx, adjustInterval) {
		idle.look()
		newShare, minPercent := garbagePercent()
		if n := max(newShare, minPercent); n-current >= minAdjustment || current-n >= minAdjustment {
			debug.SetGCPercent(n)
			current = n
		}
		if share-newShare >= growthEnds {
			debug.FreeOSMemory()
		}
		share = newShare
	}
}

// idleCollector collects garbage and returns memory to the system, once, after a while without
// collections.
type idleCollector struct {
	cycles uint64 // of the garbage collector
	looks  int    // since cycles changed
}

func (c *idleCollector) look() {
	if n := collections(); n != c.cycles {
		c.cycles, c.looks = n, 0
		return
	}
	if c.looks++; c.looks == idleLooks {
		debug.FreeOSMemory()
		c.cycles = collections()
	}
}

func collections() uint64 {
	cycles := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(cycles)
	return cycles[0].Value.Uint64()
}

// garbagePercent returns how much garbage may grow in relation to the live heap, and the minimum
// that leaves headroom uncollected. Both go by the last collection.
func garbagePercent() (share, minPercent int) {
	heap := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/heap:bytes"}}
	metrics.Read(heap)
	live, scanned := max(heap[0].Value.Uint64(), 1<<20), heap[1].Value.Uint64()
	share = percentOfLive + int(percentOfScanned*min(scanned, live)/live)
	return share, int(100 * headroom / live)
}
