package pacing

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// Garbage may grow by how much the collector has to read: samples are nothing to it, pointers all.
func TestGarbageIsPaced(t *testing.T) {
	t.Setenv("GOGC", "")
	f := func(what string, minPercent, maxPercent int) {
		t.Helper()
		runtime.GC()
		p, floor := garbagePercent()
		if p < minPercent || p > maxPercent {
			t.Errorf("beside %s: %d %%, want %d to %d", what, p, minPercent, maxPercent)
		}
		if floor != 0 {
			t.Errorf("beside %s: at least %d %%", what, floor)
		}
	}
	runtime.GC()
	if _, least := garbagePercent(); least < 2*percentOfLive {
		t.Errorf("beside next to nothing: at least %d %%", least)
	}
	samples := make([]float64, 32<<20)
	f("256 MiB of samples", percentOfLive, percentOfLive+12)
	runtime.KeepAlive(samples)
	samples = nil
	pointers := make([]*int, 32<<20)
	f("256 MiB of pointers", percentOfLive+percentOfScanned*3/4, percentOfLive+percentOfScanned)

	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); Garbage(ctx) }()
	cmdtest.Eventually(t, "the percentage is set", func() bool {
		inForce := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(inForce)
		return inForce[0].Value.Uint64() != 100
	})
	runtime.KeepAlive(pointers)
	cancel()
	<-ended
}

// Where nothing is collected for a while, one collection finds what is left, and no more follow.
func TestGarbageAtRest(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var idle idleCollector
	idle.look()
	before := collections()
	for range 3 * idleLooks {
		idle.look()
	}
	if n := collections() - before; n != 1 {
		t.Errorf("%d collections in a rest, want 1", n)
	}
	runtime.GC() // some work
	before = collections()
	for range idleLooks {
		idle.look()
	}
	if n := collections() - before; n != 0 {
		t.Errorf("%d collections so soon after work, want none", n)
	}
	idle.look()
	if n := collections() - before; n != 1 {
		t.Errorf("%d collections in the next rest, want 1", n)
	}
}
