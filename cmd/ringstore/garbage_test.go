package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

// Garbage may grow by how much the collector has to read: samples are nothing to
// it, pointers all.
func TestGarbageIsPaced(t *testing.T) {
	t.Setenv("GOGC", "")
	f := func(what string, least, most int) {
		t.Helper()
		runtime.GC()
		p, inAnyCase := garbagePercent()
		if p < least || p > most {
			t.Errorf("beside %s: %d %%, want %d to %d", what, p, least, most)
		}
		if inAnyCase != 0 {
			t.Errorf("beside %s: at least %d %%", what, inAnyCase)
		}
	}
	runtime.GC()
	if _, least := garbagePercent(); least < 2*garbageOfAll {
		t.Errorf("beside next to nothing: at least %d %%", least)
	}
	samples := make([]float64, 32<<20)
	f("256 MiB of samples", garbageOfAll, garbageOfAll+12)
	runtime.KeepAlive(samples)
	samples = nil
	pointers := make([]*int, 32<<20)
	f("256 MiB of pointers", garbageOfAll+garbageOfRead*3/4, garbageOfAll+garbageOfRead)

	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); paceGarbage(ctx) }()
	eventually(t, "the percentage is set", func() bool {
		inForce := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(inForce)
		return inForce[0].Value.Uint64() != 100
	})
	runtime.KeepAlive(pointers)
	cancel()
	<-ended
}

// Where nothing is collected for a while, one collection finds what is left, and
// no more follow.
func TestGarbageAtRest(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var rest resting
	rest.look()
	before := collections()
	for range 3 * restAfter {
		rest.look()
	}
	if n := collections() - before; n != 1 {
		t.Errorf("%d collections in a rest, want 1", n)
	}
	runtime.GC() // some work
	before = collections()
	for range restAfter {
		rest.look()
	}
	if n := collections() - before; n != 0 {
		t.Errorf("%d collections so soon after work, want none", n)
	}
	rest.look()
	if n := collections() - before; n != 1 {
		t.Errorf("%d collections in the next rest, want 1", n)
	}
}
