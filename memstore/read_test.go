package memstore

import (
	"context"
	"errors"
	"strconv"
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
		d := read(t, s, Selection{Cluster: "alpha", Host: "n1", Metric: metric}, Range{From: base, To: base + 240, Pad: PadBoth, Buffer: used})
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

// TestPaddingEndsAtTheNewestSlotOfTheSelection reads two threads: one has stopped, the other has
// not begun.
func TestPaddingEndsAtTheNewestSlotOfTheSelection(t *testing.T) {
	s := newStore(t, func() time.Time { return time.Unix(base+7200, 0) })
	for _, x := range []struct {
		d       Device
		minutes []int64
	}{{thread("0"), []int64{2, 3, 5}}, {thread("1"), []int64{20}}} {
		for _, m := range x.minutes {
			if _, err := s.Write([]Sample{{series(t, s, "n1", "power", x.d), (base + m*60) * 1000, float64(m)}}); err != nil {
				t.Fatal(err)
			}
		}
	}

	for _, c := range []struct {
		ids      []string
		pad      Padding
		from, to int64 // minutes
		begin    int64
		want     []float64
	}{
		{[]string{"0"}, PadNone, 0, 8, 2, []float64{2, 3, nan, 5}},
		{[]string{"0"}, PadFront, 0, 8, 0, []float64{nan, nan, 2, 3, nan, 5}},
		{[]string{"0"}, PadBoth, 0, 8, 0, []float64{nan, nan, 2, 3, nan, 5, nan, nan}},
		{[]string{"0"}, PadFront, 0, 5, 0, []float64{nan, nan, 2, 3, nan}}, // newer samples follow
		{[]string{"0"}, PadFront, 4, 5, 4, []float64{nan}},
		{[]string{"0"}, PadFront, 6, 8, 6, nil},
		{[]string{"1"}, PadFront, 6, 8, 6, []float64{nan, nan}},
		{[]string{"0", "1"}, PadFront, 3, 7, 3, []float64{3, nan, 5, nan}},
		{[]string{"0", "1"}, PadFront, 6, 8, 6, []float64{nan, nan}},
		{[]string{"0", "1"}, PadFront, 19, 25, 19, []float64{nan, 20}},
		{[]string{"0", "1"}, PadFront, 21, 25, 21, nil},
		{[]string{"0", "1"}, PadNone, 21, 25, 21, nil},
	} {
		sel := Selection{Cluster: "alpha", Host: "n1", Metric: "power", Type: "hwthread", TypeIDs: c.ids}
		d := read(t, s, sel, Range{From: base + c.from*60, To: base + c.to*60, Pad: c.pad})
		if !same(d.Values, c.want) || d.From != base+c.begin*60 || d.To != d.From+int64(len(c.want))*60 {
			t.Errorf("%v from %d to %d, padding %d: got %v from %d to %d, want %v from %d",
				c.ids, c.from, c.to, c.pad, d.Values, (d.From-base)/60, (d.To-base)/60, c.want, c.begin)
		}
	}
}

// endsAfter is a context that ends after some looks at it.
type endsAfter struct {
	context.Context
	looks int
}

func (e *endsAfter) Err() error {
	if e.looks--; e.looks < 0 {
		return context.Canceled
	}
	return nil
}

// A read of many series stops between two of them when its context ends.
func TestReadStopsBetweenSeries(t *testing.T) {
	s := newStore(t, clockAt(base+86400))
	for i := range 64 {
		put(t, s, series(t, s, "a", "power", thread(strconv.Itoa(i))), base+3600*float64(i%2), 1, 2, 3) // half of them are left out
	}
	ctx := &endsAfter{t.Context(), 10}
	_, err := s.Read(ctx, Selection{Cluster: "alpha", Host: "a", Metric: "power"}, Range{From: base, To: base + 600})
	if !errors.Is(err, context.Canceled) || ctx.looks != -1 {
		t.Errorf("%v, %d looks left", err, ctx.looks)
	}
}
