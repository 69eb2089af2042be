package codec_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ringstore/ringstore/memstore/codec"
)

// sumIsClose reports whether got is the sum of values within the promised error: two units in the
// last place of the exact sum, or the error of adding from left to right.
func sumIsClose(got float64, values []float64) bool {
	want := codec.Summarize(values).Sum
	if same(got, want) {
		return true
	}
	size := 0.0
	for _, v := range values {
		if v == v {
			size += math.Abs(v)
		}
	}
	return math.Abs(got-want) <= size*float64(len(values)+2)*0x1p-53
}

func TestStats(t *testing.T) {
	var e codec.Encoder
	var d codec.Decoder
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			for seed, n := range lengths {
				values := k.column(rand.New(rand.NewPCG(uint64(seed), 9)), n)
				want := codec.Summarize(values)
				for _, encoded := range [][]byte{e.AppendWithStats(nil, values), e.Append(nil, values)} {
					got, err := d.Stats(encoded, n)
					if err != nil {
						t.Fatal(err)
					}
					if count, err := d.Count(encoded, n); err != nil || count != want.Count {
						t.Errorf("%d values: %d samples, want %d; %v", n, count, want.Count, err)
					}
					equal := func(a, b float64) bool { return a == b || a != a && b != b }
					if got.Count != want.Count || !equal(got.Min, want.Min) || !equal(got.Max, want.Max) {
						t.Errorf("%d values: %+v, want %+v", n, got, want)
					}
					if !sumIsClose(got.Sum, values) {
						t.Errorf("%d values: sum %v, want %v", n, got.Sum, want.Sum)
					}
				}
			}
		})
	}
}

func TestSummarize(t *testing.T) {
	f := func(want codec.Stats, values ...float64) {
		t.Helper()
		got := codec.Summarize(values)
		if got.Count != want.Count || !same(got.Sum, want.Sum) || !same(got.Min, want.Min) || !same(got.Max, want.Max) {
			t.Errorf("%v: %+v, want %+v", values, got, want)
		}
	}
	nan, inf := math.NaN(), math.Inf(1)
	f(codec.Stats{Min: nan, Max: nan})
	f(codec.Stats{Min: nan, Max: nan}, nan, nan)
	f(codec.Stats{Count: 1, Sum: 3, Min: 3, Max: 3}, nan, 3)
	f(codec.Stats{Count: 3, Sum: 6, Min: 1, Max: 3}, 2, nan, 3, 1)
	f(codec.Stats{Count: 2, Sum: -inf, Min: -inf, Max: 1}, 1, -inf)
	f(codec.Stats{Count: 1, Sum: inf, Min: inf, Max: inf}, inf)
}

// The sum of a decimal column has no accumulated rounding errors.
func TestDecimalSumIsExact(t *testing.T) {
	var e codec.Encoder
	var d codec.Decoder
	values := make([]float64, 1000)
	for i := range values {
		values[i] = 0.1
	}
	values[500] = 0.2
	got, err := d.Stats(e.AppendWithStats(nil, values), len(values))
	if err != nil || got.Sum != 100.1 {
		t.Errorf("sum is %v, want 100.1; %v", got.Sum, err)
	}
}
