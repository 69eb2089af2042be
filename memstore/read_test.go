package memstore

import (
	"testing"
	"time"
)

// Old contents of the buffer do not affect the answer.
func TestReadIntoABuffer(t *testing.T) {
	s := newStore(t, clockAt(base+3600))
	for _, id := range []string{"0", "1"} {
		put(t, s, series(t, s, "n1", "power", thread(id)), base, 1, 2, 3)
	}
	put(t, s, series(t, s, "n1", "load", Device{}), base, 7)
	used := []float64{9, 9, 9, 9, 9, 9, 9, 9}
	f := func(metric string, want ...float64) {
		t.Helper()
		d := read(t, s, Selection{Cluster: "alpha", Host: "n1", Metric: metric}, Range{From: base, To: base + 240, Pad: true, Buffer: used})
		if !same(d.Values, want) {
			t.Errorf("%s: %v", metric, d.Values)
		}
		if &d.Values[0] != &used[0] {
			t.Errorf("%s: the buffer was not used", metric)
		}
	}
	f("power", 2, 4, 6, nan)
	f("load", 7, nan, nan, nan)
	f("power", 2, 4, 6, nan)
}

// The tree shows adjacent windows as one.
func TestTreeShowsRuns(t *testing.T) {
	now := int64(base)
	s := newStoreFor(t, func() time.Time { return time.Unix(now, 0) }, 4*time.Hour) // windows of 24 slots
	sr := series(t, s, "n1", "load", Device{})
	for range 100 {
		put(t, s, sr, float64(now), 1)
		now += 60
	}
	now += 3000
	put(t, s, sr, float64(now), 2)
	maintain(t, s)
	if n := len(sr.lane.segments); n < 4 {
		t.Fatalf("%d windows", n)
	}
	tree, err := s.Tree([]string{"alpha", "n1"})
	if err != nil {
		t.Fatal(err)
	}
	got := tree.Metrics["load"]
	if first, last := got[0], got[len(got)-1]; first.Start != base || last.End != now+60 || first.Len < 100 {
		t.Errorf("%v", got)
	}
	for i, w := range got {
		if w.End != w.Start+int64(w.Len)*60 || i > 0 && w.Start <= got[i-1].End {
			t.Errorf("run %d of %v", i, got)
		}
	}
}
