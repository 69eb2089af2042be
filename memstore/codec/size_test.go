package codec_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ringstore/ringstore/memstore/codec"
)

// bytesPerValue encodes columns in windows of n slots with statistics.
func bytesPerValue(columns [][]float64, n int) float64 {
	var e codec.Encoder
	size := 0
	for _, piece := range windows(columns, n) {
		size += len(e.AppendWithStats(nil, piece))
	}
	_, samples := slotsOf(columns)
	return float64(size) / float64(samples)
}

// The size of constant columns, to the byte.
func TestSizeOfConstants(t *testing.T) {
	var e codec.Encoder
	f := func(want int, values ...float64) {
		t.Helper()
		if got := len(e.AppendWithStats(nil, values)); got != want {
			t.Errorf("%v takes %d bytes, want %d", values, got, want)
		}
	}
	nan := math.NaN()
	f(1)
	f(1, nan, nan)
	f(1, 0, 0, 0)
	f(2, 1, 1, 1)
	f(3, 2400, 2400, 2400)
	f(5, 95.01, 95.01)
	f(9, math.Pi, math.Pi)
	f(9, math.Copysign(0, -1))
	f(3, nan, 0, 0)
	f(3, 0, 0, nan)
}

// The size of typical columns in blocks of different lengths, in bytes per value. Their entropy is
// 0.96 bytes per value for the walks and 6.37 to 6.43 for the noise.
func TestSizeOfTypicalColumns(t *testing.T) {
	f := func(name string, short, long float64, column func(*rand.Rand, int) []float64) {
		t.Helper()
		var columns [][]float64
		for seed := range uint64(8) {
			columns = append(columns, column(rand.New(rand.NewPCG(seed, 19)), 1440))
		}
		for _, c := range []struct {
			n     int
			limit float64
		}{{60, short}, {1440, long}} {
			if got := bytesPerValue(columns, c.n); got > c.limit {
				t.Errorf("%s in blocks of %d takes %.3f bytes per value, the limit is %.3f", name, c.n, got, c.limit)
			}
		}
	}
	f("walk of two decimals", 1.21, 0.99, walk(95, .5, 2))
	f("walk of integers", 1.75, 1.53, walk(1e5, 1000, 0))
	f("noise around 2345.6", 6.95, 6.43, noise(2345.6))
	f("noise around 1100.3", 6.96, 6.45, noise(1100.3))
	f("noise around 1.7", 7.01, 6.48, noise(1.7))
	f("noise around 5.5", 6.96, 6.45, noise(5.5))
	f("float32 noise", 3.20, 2.84, each(func(r *rand.Rand, _ int) float64 { return float64(float32(100 + 10*r.NormFloat64())) }))
	f("one of four values", 0.67, 0.30, pick(1200, 2400, 2401.5, 3600))
	f("zero or one", 0.29, 0.14, pick(0, 1))
	f("zero but one in 40", 0.30, 0.04, each(func(r *rand.Rand, _ int) float64 {
		if r.IntN(40) > 0 {
			return 0
		}
		return float64(r.IntN(4)) / 100
	}))
	f("gaps of one in 25", 1.27, 1.05, gaps(walk(95, .5, 2), scattered(.04)))
	f("any bits", 8.47, 8.03, each(anyBits))
}

// The hwthreads of the synthetic cluster. The limit for the store is 3.2.
func TestSizeOfSyntheticCluster(t *testing.T) {
	var columns [][]float64
	for seed := range uint64(16) {
		columns = append(columns, hwthread(rand.New(rand.NewPCG(seed, 1)), 1440)...)
	}
	f := func(n int, limit float64) {
		t.Helper()
		if got := bytesPerValue(columns, n); got > limit {
			t.Errorf("in blocks of %d: %.3f bytes per value, the limit is %.3f", n, got, limit)
		}
	}
	f(60, 3.16)
	f(288, 2.93)
	f(1440, 2.88)
}

// The Emmy job. The limits for the store are 1.6 lossless, and 3.2 with noise and 24 bits.
func TestSizeOfEmmy(t *testing.T) {
	var lossless, rounded [][]float64
	for _, columns := range emmy(t) {
		lossless = append(lossless, columns...)
		rounded = append(rounded, roundTo24(columns)...)
	}
	f := func(name string, columns [][]float64, n int, limit float64) {
		t.Helper()
		if got := bytesPerValue(columns, n); got > limit {
			t.Errorf("%s in blocks of %d: %.3f bytes per value, the limit is %.3f", name, n, got, limit)
		}
	}
	f("lossless", lossless, 60, 1.75)
	f("lossless", lossless, 288, 1.34)
	f("lossless", lossless, 1441, 1.22)
	f("24 bits", rounded, 60, 3.20)
	f("24 bits", rounded, 288, 2.87)
	f("24 bits", rounded, 1441, 2.80)
}

// A column encoded like its predecessor is hardly larger than one with a new choice, even if the
// series has changed in between.
func TestSizeOfAppendLike(t *testing.T) {
	const n = 144
	var e codec.Encoder
	for i, before := range kinds {
		like := e.Append(nil, before.column(rand.New(rand.NewPCG(uint64(i), 29)), n))
		for k, now := range kinds {
			values := now.column(rand.New(rand.NewPCG(uint64(k), 31)), n)
			chosen, followed := len(e.Append(nil, values)), len(e.AppendLike(nil, values, like, n))
			if followed > chosen+chosen/8+8 {
				t.Errorf("%s after %s takes %d bytes, %d with a new choice", now.name, before.name, followed, chosen)
			}
		}
	}
}
