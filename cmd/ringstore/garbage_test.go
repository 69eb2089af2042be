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
		if p := garbagePercent(); p < least || p > most {
			t.Errorf("beside %s: %d %%, want %d to %d", what, p, least, most)
		}
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
