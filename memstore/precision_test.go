package memstore

import (
	"math"
	"testing"
	"time"
)

// Samples are rounded once, when they are written: a head, a block and a restored store have the
// same values.
func TestPrecision(t *testing.T) {
	f := func(name string, bits int, v, want float64) {
		t.Run(name, func(t *testing.T) {
			now := int64(base)
			open := func() *Store {
				s, err := New(Options{
					Metrics:   []Metric{{Name: "load", Frequency: time.Minute, Precision: bits}},
					Retention: 10 * time.Hour,
					Now:       func() time.Time { return time.Unix(now, 0) },
				})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			check := func(s *Store, where string) {
				d := read(t, s, Selection{Cluster: "alpha", Host: "n1", Metric: "load"}, Range{From: base, To: base + 60, Pad: PadBoth})
				if !same(d.Values, []float64{want}) {
					t.Errorf("%s: got %x, want %x", where, d.Values, want)
				}
			}
			s := open()
			put(t, s, series(t, s, "n1", "load", Device{}), base, v)
			check(s, "head")
			now += 3 * 3600 // the window is an hour long
			maintain(t, s)
			if s.Size().Blocks != 1 {
				t.Fatalf("not sealed: %+v", s.Size())
			}
			check(s, "block")
			other := open()
			var d memoryDisk
			d.checkpoint(t, s)
			d.restore(t, other)
			check(other, "restored")
		})
	}
	f("off", 0, math.Pi, math.Pi)
	f("24 bits are a float32", 24, math.Pi, float64(float32(math.Pi)))
	f("8 bits", 8, math.Pi, 0x1.92p+1)
	f("52 bits", 52, 0x1.fffffffffffffp-1, 1)
	f("integers are not rounded", 8, 123456789012345, 123456789012345)
	f("short decimals are not rounded", 8, 1234.5678, 1234.5678)
	f("infinity", 24, math.Inf(-1), math.Inf(-1))
	f("the largest", 24, math.MaxFloat64, math.MaxFloat64)
}

func TestPrecisionIsChecked(t *testing.T) {
	for _, bits := range []int{-1, 53} {
		if _, err := New(Options{Metrics: []Metric{{Name: "load", Frequency: time.Minute, Precision: bits}}, Retention: time.Hour}); err == nil {
			t.Errorf("%d bits were taken", bits)
		}
	}
}

// All samples of one time in one batch are rounded.
func TestPrecisionOfBatches(t *testing.T) {
	s, err := New(Options{
		Metrics:   []Metric{{Name: "exact", Frequency: time.Minute}, {Name: "rounded", Frequency: time.Minute, Precision: 24}},
		Retention: time.Hour,
		Now:       clockAt(base + 60),
	})
	if err != nil {
		t.Fatal(err)
	}
	threads := []string{"0", "1", "2", "3"}
	want := map[string]float64{"exact": math.Pi, "rounded": float64(float32(math.Pi))}
	for minute := range int64(2) {
		var batch []Sample
		for _, id := range threads {
			for metric := range want {
				batch = append(batch, Sample{series(t, s, "n1", metric, thread(id)), (base + 60*minute) * 1000, math.Pi})
			}
		}
		if refused, err := s.Write(batch); err != nil || len(refused) > 0 {
			t.Fatal(refused, err)
		}
	}
	for _, id := range threads {
		for metric, v := range want {
			d := read(t, s, Selection{"alpha", "n1", metric, "hwthread", []string{id}, "", nil}, Range{From: base, To: base + 120, Pad: PadBoth})
			if !same(d.Values, []float64{v, v}) {
				t.Errorf("%s of thread %s: %v, want %v", metric, id, d.Values, v)
			}
		}
	}
}
