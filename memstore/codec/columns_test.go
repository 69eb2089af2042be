package codec_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// kind generates columns of one kind, as collectors send them.
type kind struct {
	name   string
	column func(r *rand.Rand, n int) []float64
}

// each makes a column by calling a function for each slot.
func each(value func(r *rand.Rand, i int) float64) func(*rand.Rand, int) []float64 {
	return func(r *rand.Rand, n int) []float64 {
		column := make([]float64, n)
		for i := range column {
			column[i] = value(r, i)
		}
		return column
	}
}

func constant(v float64) func(*rand.Rand, int) []float64 {
	return each(func(*rand.Rand, int) float64 { return v })
}

// walk is a random walk with normal steps, rounded to some decimals.
func walk(start, step float64, decimals int) func(*rand.Rand, int) []float64 {
	return func(r *rand.Rand, n int) []float64 {
		scale := math.Pow10(decimals)
		column := make([]float64, n)
		for i, at := 0, start; i < n; i, at = i+1, at+step*r.NormFloat64() {
			column[i] = math.Round(at*scale) / scale
		}
		return column
	}
}

// noise is a base with normal noise of a tenth, with 17 digits.
func noise(base float64) func(*rand.Rand, int) []float64 {
	return each(func(r *rand.Rand, _ int) float64 { return base * (1 + 0.1*r.NormFloat64()) })
}

func decimals(places int) func(*rand.Rand, int) []float64 {
	return each(func(r *rand.Rand, _ int) float64 {
		return math.Round(r.Float64()*1e6) / math.Pow10(places)
	})
}

// gaps replaces the values for which missing returns true by NaN.
func gaps(column func(*rand.Rand, int) []float64, missing func(r *rand.Rand, i, n int) bool) func(*rand.Rand, int) []float64 {
	return func(r *rand.Rand, n int) []float64 {
		values := column(r, n)
		for i := range values {
			if missing(r, i, n) {
				values[i] = math.NaN()
			}
		}
		return values
	}
}

func scattered(p float64) func(*rand.Rand, int, int) bool {
	return func(r *rand.Rand, _, _ int) bool { return r.Float64() < p }
}

func pick(values ...float64) func(*rand.Rand, int) []float64 {
	return each(func(r *rand.Rand, _ int) float64 { return values[r.IntN(len(values))] })
}

func anyBits(r *rand.Rand, _ int) float64 { return math.Float64frombits(r.Uint64()) }

// kinds has all kinds of columns, typical and unusual ones.
var kinds = []kind{
	{"zero", constant(0)},
	{"minus zero", constant(math.Copysign(0, -1))},
	{"2400", constant(2400)},
	{"0.1", constant(0.1)},
	{"pi", constant(math.Pi)},
	{"infinity", constant(math.Inf(1))},
	{"nothing", constant(math.NaN())},
	{"walk95", walk(95, .5, 2)},
	{"walk1", walk(1, .5, 2)},
	{"walk2", walk(2, .5, 2)},
	{"intwalk", walk(1e5, 1000, 0)},
	{"noise2345.6", noise(2345.6)},
	{"noise1100.3", noise(1100.3)},
	{"noise1.7", noise(1.7)},
	{"noise5.5", noise(5.5)},
	{"noise of both signs", each(func(r *rand.Rand, _ int) float64 { return r.NormFloat64() })},
	{"noise below zero", each(func(r *rand.Rand, _ int) float64 { return -5 - r.Float64() })},
	{"float32", each(func(r *rand.Rand, _ int) float64 { return float64(float32(100 + 10*r.NormFloat64())) })},
	{"float32 with odd ones", each(func(r *rand.Rand, i int) float64 {
		if i%50 == 7 {
			return 0.1
		}
		return float64(float32(100 + 10*r.NormFloat64()))
	})},
	{"counter", func(r *rand.Rand, n int) []float64 {
		column, at := make([]float64, n), 1e9
		for i := range column {
			at += float64(1e6 + r.IntN(1000))
			column[i] = at
		}
		return column
	}},
	{"bytes", each(func(r *rand.Rand, _ int) float64 { return 4096 * float64(1e6+r.IntN(1e5)) })},
	{"half steps", each(func(r *rand.Rand, _ int) float64 { return float64(r.IntN(100)) / 2 })},
	{"decimals 1", decimals(1)},
	{"decimals 2", decimals(2)},
	{"decimals 3", decimals(3)},
	{"decimals 4", decimals(4)},
	{"decimals 5", decimals(5)},
	{"decimals 6", decimals(6)},
	{"decimals 15", decimals(15)},
	{"decimals 20", decimals(20)},
	{"decimals with odd ones", each(func(r *rand.Rand, i int) float64 {
		if i%40 == 3 {
			return []float64{math.Pi, math.Copysign(0, -1), math.Inf(-1), 5e-324}[r.IntN(4)]
		}
		return float64(r.IntN(10000)) / 100
	})},
	{"odd one first", each(func(r *rand.Rand, i int) float64 {
		if i < 2 {
			return math.Pi
		}
		return float64(r.IntN(10000)) / 100
	})},
	{"mostly zero", each(func(r *rand.Rand, _ int) float64 {
		if r.IntN(40) > 0 {
			return 0
		}
		return float64(r.IntN(4)) / 100
	})},
	{"mostly zero, then noise", each(func(r *rand.Rand, _ int) float64 {
		if r.IntN(40) > 0 {
			return 0
		}
		return r.Float64()
	})},
	{"steps", func(r *rand.Rand, n int) []float64 {
		column, at := make([]float64, n), 1234.56
		for i := range column {
			if r.IntN(50) == 0 {
				at = math.Round(r.Float64()*1e6) / 100
			}
			column[i] = at
		}
		return column
	}},
	{"few values", pick(1200, 2400, 2401.5, 3600)},
	{"few odd values", pick(math.Pi, math.E, math.Sqrt2, math.Inf(1), 0)},
	{"reciprocals", each(func(r *rand.Rand, _ int) float64 { return 1 / (0.5 + float64(r.IntN(60))/100) })},
	{"two", pick(0, 1)},
	{"zeros of both signs", pick(0, math.Copysign(0, -1))},
	{"subnormal", each(func(r *rand.Rand, _ int) float64 { return math.Float64frombits(r.Uint64N(1 << 40)) })},
	{"specials", pick(math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 5e-324, math.MaxFloat64, 1, math.NaN())},
	{"huge", each(func(r *rand.Rand, _ int) float64 { return 1e300 * r.NormFloat64() })},
	{"big integers", each(func(r *rand.Rand, _ int) float64 { return float64(r.Int64()) })},
	{"near 1e15", each(func(r *rand.Rand, _ int) float64 { return 1e15 + float64(r.IntN(100)-50) })},
	{"any bits", each(anyBits)},
	{"any bits, one sign", each(func(r *rand.Rand, i int) float64 { return math.Abs(anyBits(r, i)) })},
	{"walk, 4 % missing", gaps(walk(95, .5, 2), scattered(.04))},
	{"walk, half missing", gaps(walk(95, .5, 2), scattered(.5))},
	{"walk, most missing", gaps(walk(95, .5, 2), scattered(.97))},
	{"walk from the middle", gaps(walk(95, .5, 2), func(_ *rand.Rand, i, n int) bool { return i < n/2 })},
	{"walk to the middle", gaps(walk(95, .5, 2), func(_ *rand.Rand, i, n int) bool { return i > n/2 })},
	{"every other", gaps(noise(5.5), func(_ *rand.Rand, i, _ int) bool { return i&1 == 1 })},
	{"constant, gaps", gaps(constant(95.5), scattered(.1))},
	{"bits, gaps", gaps(each(anyBits), scattered(.1))},
	{"steps, gaps", gaps(pick(0, 0, 0, 0, 0, 0, 0, 0, 0, 1.5), scattered(.1))},
}

// emmy returns the columns of the Emmy job by metric. It skips the test if the data is missing.
func emmy(tb testing.TB) map[string][][]float64 {
	tb.Helper()
	metrics := emmyIfPresent(tb)
	if metrics == nil {
		tb.Skip("no Emmy data")
	}
	return metrics
}

// emmyIfPresent is like emmy, but returns nil if the data is missing.
func emmyIfPresent(tb testing.TB) map[string][][]float64 {
	tb.Helper()
	dir := os.Getenv("RINGSTORE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	file, err := os.Open(filepath.Join(dir, "emmy", "1403244.json.gz"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		tb.Fatal(err)
	}
	var job map[string]map[string]struct {
		Series []struct{ Data []*float64 }
	}
	if err := json.NewDecoder(unzipped).Decode(&job); err != nil {
		tb.Fatal(err)
	}
	metrics := map[string][][]float64{}
	for metric, scopes := range job {
		for _, scope := range scopes {
			for _, series := range scope.Series {
				column := make([]float64, len(series.Data))
				for i, v := range series.Data {
					column[i] = math.NaN()
					if v != nil {
						column[i] = *v
					}
				}
				metrics[metric] = append(metrics[metric], column)
			}
		}
	}
	return metrics
}
