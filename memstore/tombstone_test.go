package memstore

import (
	"fmt"
	"math"
	"testing"

	"github.com/ringstore/ringstore/memstore/codec"
)

// Late samples open an old window again, which then stays in memory when newer ones are evicted. A
// call of free deletes the newer ones too, which are only on disk, but nothing of what it keeps.
func TestFreeCoversEvictedWindowsAfterOpenOnes(t *testing.T) {
	for _, c := range []struct {
		to   int64 // after base
		left string
	}{
		{900_000, "[]"},
		{base, "[]"},
		{250 * 60, "[]"},
		{239*60 + 30, "[240 241 242 243 244 245 246 247 248 249]"},
		{100 * 60, "all"}, // within the window that is open
	} {
		s := newStore(t, clockAt(base+86400))
		sr := series(t, s, "n1", "load", Device{})
		first := sr.lane.windowOf(base/60+300)*60 - base // of a window
		put(t, s, sr, float64(base+first), make([]float64, 250)...)
		s.Seal(math.MaxInt64, true)
		states, _ := take(t, s.Snapshot())
		l := s.host("alpha", "n1").lanes[0]
		if n := len(l.segments); n != 2 {
			t.Fatalf("%d windows", n)
		}
		put(t, s, sr, float64(base+first), 1) // late
		end := l.time(l.segments[1].end())
		s.drop(l, l.segments[1])
		s.Skip("alpha", "n1", 60_000, l.grid, end)
		_, tombstone, err := s.FreeRecord([][]string{{"alpha"}}, base+first+c.to, 1, func(*Record) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		state := states[0].Lanes[0]
		if err := tombstone.Cut("alpha", "n1", &state); err != nil {
			t.Fatal(err)
		}
		left := []int64{}
		var d codec.Decoder
		for _, w := range state.Windows {
			values := make([]float64, w.Block.Slots)
			if err := w.Block.Decode(&d, values, 0, 0); err != nil {
				t.Fatal(err)
			}
			for i, v := range values {
				if v == v {
					left = append(left, w.Block.First+int64(i)-(base+first)/60)
				}
			}
		}
		got := fmt.Sprint(left)
		if len(left) == 250 {
			got = "all"
		}
		if got != c.left {
			t.Errorf("up to %d: %s left on disk, want %s", c.to, got, c.left)
		}
	}
}
