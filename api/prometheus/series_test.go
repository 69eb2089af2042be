package prometheus

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/ringstore/ringstore/memstore"
)

// TestNewestSlotsGetNoMarker: the sample of a slot that has just begun may still come, so a query
// looks back over it; an older empty slot ends the series.
func TestNewestSlotsGetNoMarker(t *testing.T) {
	for _, c := range []struct {
		every time.Duration
		age   int64 // of the last sample, in milliseconds
		stale bool
	}{
		{time.Second, 1_500, false},
		{time.Second, 9_000, false},
		{time.Second, 12_500, true},
		{time.Minute, 59_000, false},
		{time.Minute, 119_000, false},
		{time.Minute, 121_000, true},
	} {
		metrics := []Metric{{Metric: memstore.Metric{Name: "m", Frequency: c.every}}}
		store, err := memstore.New(memstore.Options{Metrics: []memstore.Metric{metrics[0].Metric}, Retention: time.Hour, Now: clock})
		if err != nil {
			t.Fatal(err)
		}
		a, err := New(Options{Metrics: metrics, Now: clock})
		if err != nil {
			t.Fatal(err)
		}
		write(t, store, memstore.Key{Cluster: "c", Host: "h", Metric: "m"}, sample{now*1000 - c.age, 1})
		q := &querier{queryable{a, Caller{Reader: everything(t, store)}.reading()}, (now - 600) * 1000, now * 1000}
		set := q.Select(t.Context(), false, nil)
		if !set.Next() {
			t.Fatal("no series")
		}
		it := set.At().Iterator(nil)
		var last float64
		for it.Next() != chunkenc.ValNone {
			_, last = it.At()
		}
		if stale := value.IsStaleNaN(last); stale != c.stale || !stale && math.IsNaN(last) {
			t.Errorf("every %v, %d ms after the last sample: got %v, want stale %v", c.every, c.age, last, c.stale)
		}
	}
}

// TestSeek moves forward only, also onto a marker and beyond the end.
func TestSeek(t *testing.T) {
	nan := math.NaN()
	it := &iterator{values: []float64{1, nan, nan, 4, 5}, start: 1000, step: 10, last: 4, open: 5, at: -1}
	for _, c := range []struct {
		to, at int64
		v      float64
	}{{0, 1000, 1}, {1000, 1000, 1}, {1001, 1010, nan}, {1005, 1010, nan}, {1011, 1030, 4}, {1000, 1030, 4}, {1040, 1040, 5}} {
		if it.Seek(c.to) == chunkenc.ValNone {
			t.Fatalf("%d: nothing", c.to)
		}
		if at, v := it.At(); at != c.at || v != c.v && !(value.IsStaleNaN(v) && math.IsNaN(c.v)) {
			t.Errorf("to %d: got %v at %d, want %v at %d", c.to, v, at, c.v, c.at)
		}
	}
	if it.Seek(1041) != chunkenc.ValNone || it.Next() != chunkenc.ValNone {
		t.Error("a sample after the end")
	}
}
