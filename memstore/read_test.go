package memstore

import "testing"

// A buffer that held something else has no part in the answer.
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
