package memstore

import (
	"slices"
	"testing"
	"time"
)

// After a metric's frequency has changed, its newer windows may leave memory while an older one of the
// former frequency, which is longer, stays. Its samples do not replace those that are only on disk.
func TestFormerSamplesDoNotReplaceEvictedOnes(t *testing.T) {
	withFrequency := func(seconds int) *Store {
		s, err := New(Options{
			Metrics: []Metric{{Name: "m", Frequency: time.Duration(seconds) * time.Second}}, Retention: time.Hour, Now: clockAt(base + 600),
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := withFrequency(30)
	put(t, before, series(t, before, "n1", "m", Device{}), base, 1, 2, 3, 4, 5, 6)
	before.Seal(base*1000+3_600_000, true)
	states, _ := take(t, before.Snapshot())

	s := withFrequency(60)
	r := s.Restore()
	if err := r.State(states[0], false); err != nil {
		t.Fatal(err)
	}
	r.Done()
	put(t, s, series(t, s, "n1", "m", Device{}), base, 10)
	s.Skip("alpha", "n1", 60_000, 0, (base+60)*1000) // evicts the sample that was just written
	sel := Selection{Cluster: "alpha", Host: "n1", Metric: "m"}
	d := read(t, s, sel, Range{From: base + 60, To: base + 180, Pad: PadBoth})
	if want := []float64{3, 5}; !slices.Equal(d.Values, want) {
		t.Errorf("where nothing was evicted: %v, want %v", d.Values, want)
	}
	l := s.host("alpha", "n1").lanes[1]
	s.drop(l, l.segments[0])
	d = read(t, s, sel, Range{From: base, To: base + 180, Pad: PadBoth})
	if want := []float64{nan, 3, 5}; !same(d.Values, want) {
		t.Errorf("%v, want %v", d.Values, want)
	}
}
