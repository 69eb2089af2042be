package memstore

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// TestLTTBAsRecorded compares lttb with cc-metric-store's answer to the case "resample-600" of
// ../shared/compat.
func TestLTTBAsRecorded(t *testing.T) {
	var rec struct{ Values, Want []float64 }
	raw, err := os.ReadFile("testdata/lttb.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &rec); err != nil {
		t.Fatal(err)
	}
	got := lttb(rec.Values, len(rec.Want))
	for i := range rec.Want {
		if math.Abs(got[i]-rec.Want[i]) > 0.0015 {
			t.Errorf("point %d is %v, recorded %v", i, got[i], rec.Want[i])
		}
	}
}

func TestResample(t *testing.T) {
	ramp := make([]float64, 1000)
	for i := range ramp {
		ramp[i] = float64(i)
	}
	holes := append([]float64(nil), ramp...)
	for i := range holes {
		if i%10 != 3 || i/100 == 5 {
			holes[i] = nan
		}
	}
	f := func(name string, r Resample, values []float64, step, n int, check func([]float64) bool) {
		t.Run(name, func(t *testing.T) {
			got := r.apply(values, step)
			if len(got) != n || !check(got) {
				t.Errorf("%d points: %v", len(got), got)
			}
		})
	}
	increasing := func(p []float64) bool {
		for i := 1; i < len(p); i++ {
			if !(p[i] > p[i-1]) {
				return false
			}
		}
		return true
	}
	f("a ramp stays a ramp", LTTB, ramp, 10, 100, increasing)
	f("one point", LTTB, ramp, 1000, 1, func(p []float64) bool { return p[0] == 499.5 })
	f("two points", LTTB, ramp, 500, 2, func(p []float64) bool { return p[0] == 0 && p[1] == 999 })
	f("three points", LTTB, ramp, 333, 3, func(p []float64) bool { return p[0] == 0 && p[2] == 999 })
	f("average", ResampleAverage, ramp, 10, 100, func(p []float64) bool { return p[0] == 4.5 && p[99] == 994.5 })
	f("max", ResampleMax, ramp, 10, 100, func(p []float64) bool { return p[0] == 9 && p[99] == 999 })
	f("min", ResampleMin, ramp, 10, 100, func(p []float64) bool { return p[0] == 0 && p[99] == 990 })
	f("a rest is a point too", ResampleMax, ramp[:25], 10, 3, func(p []float64) bool { return p[2] == 24 })
	// A bucket is null only if all its values are: the buckets of 500 to 599, and the first and the
	// last point, which are single values.
	nulls := func(p []float64) bool {
		for i, v := range p {
			if math.IsNaN(v) != (i == 0 || i == 99 || i >= 51 && i <= 59) && i != 50 && i != 60 {
				return false
			}
		}
		return true
	}
	f("nulls are skipped", LTTB, holes, 10, 100, nulls)
	f("nulls do not count in an average", ResampleAverage, holes, 10, 100, func(p []float64) bool {
		return p[0] == 3 && p[49] == 493 && math.IsNaN(p[50]) && math.IsNaN(p[59]) && p[60] == 603
	})
}
