package rest

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A query keeps its turn while no other waits, and passes it on otherwise. Who leaves while waiting
// takes no turn.
func TestTurns(t *testing.T) {
	h := &Handler{turns: make(chan struct{}, 1)}
	a, b := turn{h: h}, turn{h: h}
	if err := errors.Join(a.take(t.Context()), a.take(t.Context())); err != nil {
		t.Fatal(err)
	}
	a.since = time.Now().Add(-time.Hour)
	if err := a.pass(t.Context()); err != nil || time.Since(a.since) < time.Minute {
		t.Errorf("passed on to nobody: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.take(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("taken twice: %v", err)
	}
	b.leave()

	order := make(chan string, 2)
	go func() {
		if err := b.take(t.Context()); err != nil {
			t.Error(err)
		}
		order <- "b"
		b.leave()
	}()
	for h.waiting.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := a.pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	order <- "a"
	if first := <-order; first != "b" {
		t.Errorf("%s is first", first)
	}
	a.leave()
	a.leave()
	if len(h.turns) != 0 || h.waiting.Load() != 0 {
		t.Errorf("%d turns, %d waiting", len(h.turns), h.waiting.Load())
	}
}
