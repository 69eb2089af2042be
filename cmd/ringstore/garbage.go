package main

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/ringstore/ringstore/configs"
)

// What garbage may grow to before it is collected, in percent: of all that is in
// use, and of what of it the collector has to read, which is its work. Samples
// are in use for days and hold no pointers: to collect at a twentieth of garbage
// beside a day of them costs little, where Go's usual 100 takes 7.9 bytes of memory a
// sample in place of 4.4 (scripts/bench). At a site's first intervals nearly all is
// pointers, and a twentieth would be to read all of it for each twentieth that comes.
const (
	garbageOfAll  = 5
	garbageOfRead = 40
)

// leastHeap is what it is not worth to collect garbage below, in bytes: of a store
// with little in it a twentieth is made by a few hundred requests, which would share
// their time with the collector.
const leastHeap = 16 << 20

// gcPercent is what the two come to with a day of samples.
const gcPercent = 6

// paceEvery is how often the percentage is looked at, and paceStep how far off it
// must be to be set, which stops the world for a moment.
const (
	paceEvery = 250 * time.Millisecond
	paceStep  = 2
	// restAfter is how many looks without a collection make a rest: what was replaced at
	// the end of the work before, as by merging, is garbage that nothing new would collect.
	restAfter = 40
	// growthEnds is how far it falls when a site is complete: what that took and
	// needs no longer is given back at once.
	growthEnds = 10
)

// limitMemory tells the runtime how much memory there is, and to stay near what
// is in use, unless GOMEMLIMIT and GOGC tell it otherwise.
func limitMemory(cfg *configs.Config, log *slog.Logger) {
	limit, reason := configs.MemoryCap(cfg.MetricStore.MemoryCap)
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	log.Info("memory cap", "bytes", limit, "of_these_for_samples", configs.DataMemory(limit), "reason", reason)
}

// paceGarbage keeps the percentage what it should be, until ctx ends, unless GOGC
// tells the runtime otherwise.
func paceGarbage(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	var rest resting
	for set, share := gcPercent, gcPercent; ; {
		rest.look()
		now, least := garbagePercent()
		if n := max(now, least); n-set >= paceStep || set-n >= paceStep {
			debug.SetGCPercent(n)
			set = n
		}
		if share-now >= growthEnds {
			debug.FreeOSMemory()
		}
		share = now
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// resting collects garbage and gives memory back, once, when the collector has had
// nothing to do for a while.
type resting struct {
	cycles uint64 // of the collector
	looks  int    // since they changed
}

func (r *resting) look() {
	if n := collections(); n != r.cycles {
		r.cycles, r.looks = n, 0
		return
	}
	if r.looks++; r.looks == restAfter {
		debug.FreeOSMemory()
		r.cycles = collections()
	}
}

func collections() uint64 {
	cycles := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(cycles)
	return cycles[0].Value.Uint64()
}

// garbagePercent returns what garbage may grow to by what is in use, and what it may
// grow to in any case. It goes by the collection before.
func garbagePercent() (share, least int) {
	heap := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/heap:bytes"}}
	metrics.Read(heap)
	all, read := max(heap[0].Value.Uint64(), 1<<20), heap[1].Value.Uint64()
	share = garbageOfAll + int(garbageOfRead*min(read, all)/all)
	return share, int(100 * (max(leastHeap, all) - all) / all)
}
