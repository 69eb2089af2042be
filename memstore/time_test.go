package memstore

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Samples are written as seconds after base; the answer is [0, 300), padded.
func TestSlots(t *testing.T) {
	type sample struct{ at, value float64 }
	f := func(name string, written []sample, from int64, want []float64, wantFrom int64) {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, clockAt(base+3600))
			sr := series(t, s, "n1", "load", Device{})
			for _, x := range written {
				put(t, s, sr, base+x.at, x.value)
			}
			d := read(t, s, Selection{Cluster: "alpha", Host: "n1", Metric: "load"}, Range{From: base + from, To: base + from + 300, Pad: PadBoth})
			if !same(d.Values, want) || d.From != base+wantFrom {
				t.Errorf("got %v from %d, want %v from %d", d.Values, d.From-base, want, wantFrom)
			}
		})
	}
	f("on the grid", []sample{{0, 1}, {60, 2}, {120, 3}}, 0, []float64{1, 2, 3, nan, nan}, 0)
	f("a gap is null", []sample{{0, 1}, {180, 4}}, 0, []float64{1, nan, nan, 4, nan}, 0)
	f("any phase", []sample{{17, 1}, {77, 2}, {137, 3}}, 17, []float64{1, 2, 3, nan, nan}, 17)
	f("the first slot is the nearest to from", []sample{{0, 1}, {60, 2}, {120, 3}}, 17, []float64{1, 2, 3, nan, nan}, 0)
	f("half goes up", []sample{{0, 1}, {60, 2}, {120, 3}}, 30, []float64{2, 3, nan, nan, nan}, 60)
	f("the last of two samples for one slot stays", []sample{{0, 1}, {1, 2}}, 0, []float64{2, nan, nan, nan, nan}, 0)
	f("older than the series' first", []sample{{120, 3}, {0, 1}}, 0, []float64{1, nan, 3, nan, nan}, 0)
	f("jitter below a quarter loses nothing", []sample{{0, 1}, {74, 2}, {106, 3}, {194, 4}, {226, 5}}, 0, []float64{1, 2, 3, 4, 5}, 0)
	f("two samples off the same way move the phase", []sample{{0, 1}, {80, 2}, {140, 3}, {200, 4}, {260, 5}}, 20, []float64{1, 2, 3, 4, 5}, 20)
	f("milliseconds count", []sample{{0.9, 1}, {60.9, 2}, {120.9, 3}}, 0, []float64{1, 2, 3, nan, nan}, 0)
}

func TestRefusals(t *testing.T) {
	f := func(name string, at int64, v float64, want RefusalReason) {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, clockAt(base))
			sr := series(t, s, "n1", "load", Device{})
			var got RefusalReason
			if refused, err := s.Write([]Sample{{sr, at * 1000, v}}); err != nil {
				t.Fatal(err)
			} else if len(refused) > 0 {
				got = refused[0].Reason
			}
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	f("now", base, 1, "")
	f("two frequencies and a minute ahead", base+180, 1, "")
	f("more than that", base+181, 1, RefusedFuture)
	f("the end of time", 1<<53, 1, RefusedFuture)
	f("as old as the retention", base-48*3600, 1, "")
	f("older", base-48*3600-1, 1, RefusedOld)
	f("1970", 0, 1, RefusedOld)
	f("before 1970", -1<<53, 1, RefusedOld)
	f("not a number", base, nan, RefusedValue)
}

// Refusals have the indexes of the samples; the other samples of the batch are stored.
func TestRefusalsLeaveTheRest(t *testing.T) {
	s := newStore(t, clockAt(base))
	a, b := series(t, s, "n1", "load", Device{}), series(t, s, "n2", "load", Device{})
	refused, err := s.Write([]Sample{{a, base * 1000, 1}, {a, 0, 2}, {b, base * 1000, 3}, {b, 1 << 60, 4}})
	if err != nil || len(refused) != 2 || refused[0] != (Refusal{1, RefusedOld}) || refused[1] != (Refusal{3, RefusedFuture}) {
		t.Errorf("refused %v", refused)
	}
	d := read(t, s, Selection{Cluster: "alpha", Host: "n2", Metric: "load"}, Range{From: base, To: base + 60})
	if !same(d.Values, []float64{3}) {
		t.Errorf("n2 has %v", d.Values)
	}
}

// With any phases of a host's sources, jitter below a quarter of the frequency loses no sample, and
// sums align.
func TestJitterLosesNothing(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := newStore(t, clockAt(base+100*60))
		devices := []Device{thread("0"), thread("1"), thread("2")}
		stored := 0
		for _, d := range devices {
			sr := series(t, s, "n1", "power", d)
			phase := r.Float64() * 60
			for i := range 90 {
				jitter := (r.Float64() - 0.5) * 0.24 * 2 * 60
				if i == 0 {
					jitter = 0
				}
				put(t, s, sr, base+phase+float64(i)*60+jitter, 1)
				stored++
			}
			d := read(t, s, Selection{Cluster: "alpha", Host: "n1", Metric: "power", Type: "hwthread", TypeIDs: []string{d.TypeID}}, Range{From: base - 120, To: base + 95*60})
			if n := count(d.Values); n != 90 {
				t.Fatalf("seed %d: %d slots for 90 samples", seed, n)
			}
		}
		if s.Size().Series != len(devices) {
			t.Fatalf("seed %d: %+v", seed, s.Size())
		}
		d := read(t, s, Selection{Cluster: "alpha", Host: "n1", Metric: "power"}, Range{From: base - 60, To: base + 95*60})
		full := 0
		for _, v := range d.Values {
			if v == 3 {
				full++
			}
		}
		if full < 88 {
			t.Errorf("seed %d: only %d of 90 slots have all three", seed, full)
		}
	}
}

func TestRetention(t *testing.T) {
	now := int64(base)
	s := newStore(t, func() time.Time { return time.Unix(now, 0) })
	old := series(t, s, "old", "load", Device{})
	put(t, s, old, base-3600, 1, 2)
	now += 46 * 3600
	young := series(t, s, "young", "load", thread("3"))
	put(t, s, young, float64(now), 5)
	maintain(t, s)
	if got := s.Size(); got.Hosts != 2 || got.Series != 2 {
		t.Errorf("a sample was dropped too early: %+v", got)
	}
	now += 7 * 3600 // a window of the old host ends at most four hours after its last sample
	maintain(t, s)
	if got := s.Hosts("alpha"); len(got) != 1 || got[0] != "young" {
		t.Errorf("hosts after the retention of the old one: %v", got)
	}
	if !old.Gone() || young.Gone() {
		t.Errorf("gone: old %t, young %t", old.Gone(), young.Gone())
	}
	// A series of a removed host can still be written to.
	put(t, s, old, float64(now), 7)
	d := read(t, s, Selection{Cluster: "alpha", Host: "old", Metric: "load"}, Range{From: now, To: now + 60})
	if !same(d.Values, []float64{7}) {
		t.Errorf("after it was added again, the host has %v", d.Values)
	}
}
