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

// gcPercent is what the two come to with a day of samples.
const gcPercent = 6

// paceEvery is how often the percentage is looked at, and paceStep how far off it
// must be to be set, which stops the world for a moment.
const (
	paceEvery = 250 * time.Millisecond
	paceStep  = 2
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
	for set := gcPercent; ; {
		if want := garbagePercent(); want-set >= paceStep || set-want >= paceStep {
			debug.SetGCPercent(want)
			if set-want >= growthEnds {
				debug.FreeOSMemory()
			}
			set = want
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// garbagePercent goes by the collection before.
func garbagePercent() int {
	heap := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/heap:bytes"}}
	metrics.Read(heap)
	all, read := heap[0].Value.Uint64(), heap[1].Value.Uint64()
	return garbageOfAll + int(garbageOfRead*min(read, all)/max(all, 1))
}
