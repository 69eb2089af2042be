package pacing

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// TestGarbageIsPaced: more garbage is allowed beside pointers, which the collector scans, than
// beside samples, which it does not. In a large store the headroom is a small part.
func TestGarbageIsPaced(t *testing.T) {
	t.Setenv("GOGC", "")
	f := func(what string, minPercent, maxPercent int) {
		t.Helper()
		runtime.GC()
		p, floor := garbagePercent()
		if p < minPercent || p > maxPercent {
			t.Errorf("next to %s: %d %%, want %d to %d", what, p, minPercent, maxPercent)
		}
		if floor > 100*headroom/(256<<20) {
			t.Errorf("next to %s: minimum %d %% is more than the headroom", what, floor)
		}
	}
	runtime.GC()
	if _, minPercent := garbagePercent(); minPercent < 2*percentOfLive {
		t.Errorf("with a small heap: minimum %d %%", minPercent)
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
		current := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(current)
		return current[0].Value.Uint64() != 100
	})
	runtime.KeepAlive(pointers)
	cancel()
	<-ended
}

// TestGarbageAtRest: after a while without collections there is exactly one more.
func TestGarbageAtRest(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var idle idleCollector
	idle.look()
	before := collections()
	for range 3 * idleLooks {
		idle.look()
	}
	if n := collections() - before; n != 1 {
		t.Errorf("%d collections while idle, want 1", n)
	}
	runtime.GC() // a collection as after work
	before = collections()
	for range idleLooks {
		idle.look()
	}
	if n := collections() - before; n != 0 {
		t.Errorf("%d collections soon after work, want none", n)
	}
	idle.look()
	if n := collections() - before; n != 1 {
		t.Errorf("%d collections while idle again, want 1", n)
	}
}
