package ticks_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/auth/internal/ticks"
)

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var at []time.Duration
		for now := range ticks.Every(ctx, time.Second) {
			at = append(at, now.Sub(begin))
			if len(at) == 2 {
				time.Sleep(3500 * time.Millisecond)
			}
			if len(at) == 4 {
				cancel()
			}
		}
		if len(at) != 4 || at[0] != 0 || at[1] != time.Second || at[3] != 5*time.Second {
			t.Error(at)
		}
		for range ticks.Every(ctx, time.Second) {
			t.Error("a tick after the end")
		}
		for range ticks.Every(t.Context(), time.Hour) {
			break
		}
	})
}
