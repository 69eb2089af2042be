package codec_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringstore/ringstore/memstore/codec"
)

// windows divides a column into windows of n slots, as the blocks of a store do.
func windows(columns [][]float64, n int) (pieces [][]float64) {
	for _, column := range columns {
		for piece := range slices.Chunk(column, n) {
			pieces = append(pieces, piece)
		}
	}
	return pieces
}

func slotsOf(columns [][]float64) (slots, samples int) {
	for _, column := range columns {
		slots += len(column)
		for _, v := range column {
			if v == v {
				samples++
			}
		}
	}
	return slots, samples
}

// roundTo24 adds full-precision noise and rounds to 24 significant bits.
func roundTo24(columns [][]float64) [][]float64 {
	r := rand.New(rand.NewPCG(24, 24))
	var rounded [][]float64
	for _, column := range columns {
		values := make([]float64, len(column))
		for i, v := range column {
			values[i] = codec.Round(v+0.01*(r.Float64()-0.5), 24)
		}
		rounded = append(rounded, values)
	}
	return rounded
}

// hwthread returns the ten columns of a hwthread of the synthetic cluster.
func hwthread(r *rand.Rand, n int) [][]float64 {
	var columns [][]float64
	for _, column := range []func(*rand.Rand, int) []float64{
		constant(0), constant(0), constant(2400),
		walk(95, .5, 2), walk(1, .5, 2), walk(2, .5, 2),
		noise(2345.6), noise(1100.3), noise(1.7), noise(5.5),
	} {
		columns = append(columns, column(r, n))
	}
	return columns
}

// classes returns sets of columns by name, in order.
func classes(tb testing.TB) (names []string, sets map[string][][]float64) {
	sets = map[string][][]float64{}
	add := func(name string, columns [][]float64) {
		names = append(names, name)
		sets[name] = columns
	}
	var cluster [][]float64
	for i := range 32 {
		cluster = append(cluster, hwthread(rand.New(rand.NewPCG(uint64(i), 1)), 1440)...)
	}
	for _, k := range kinds {
		var columns [][]float64
		for i := range 8 {
			columns = append(columns, k.column(rand.New(rand.NewPCG(uint64(i), 2)), 1440))
		}
		add("kind/"+k.name, columns)
	}
	add("synthetic", cluster)
	if metrics := emmyIfPresent(tb); metrics != nil {
		var all, rounded [][]float64
		for _, metric := range slices.Sorted(maps.Keys(metrics)) {
			add("emmy/"+metric, metrics[metric])
			all = append(all, metrics[metric]...)
			near := roundTo24(metrics[metric])
			add("emmy24/"+metric, near)
			rounded = append(rounded, near...)
		}
		add("emmy", all)
		add("emmy24", rounded)
	}
	return names, sets
}

func BenchmarkEncode(b *testing.B) {
	names, sets := classes(b)
	for _, name := range names {
		for _, n := range []int{60, 144, 288, 1440} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				columns := windows(sets[name], n)
				slots, samples := slotsOf(columns)
				var e codec.Encoder
				var buffer []byte
				total := 0
				for b.Loop() {
					total = 0
					for _, column := range columns {
						buffer = e.AppendWithStats(buffer[:0], column)
						total += len(buffer)
					}
				}
				perValue(b, slots)
				b.ReportMetric(float64(total)/float64(max(samples, 1)), "B/value")
			})
		}
	}
}

// BenchmarkAppendLike encodes windows, each like the previous window of its column.
func BenchmarkAppendLike(b *testing.B) {
	names, sets := classes(b)
	for _, name := range names {
		for _, n := range []int{60, 144, 288} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				slots, samples := slotsOf(sets[name])
				var e codec.Encoder
				var before, now []byte
				total := 0
				for b.Loop() {
					total = 0
					for _, column := range sets[name] {
						before = before[:0]
						for piece := range slices.Chunk(column, n) {
							now = e.AppendLike(now[:0], piece, before, n)
							total += len(now)
							before, now = now, before
						}
					}
				}
				perValue(b, slots)
				b.ReportMetric(float64(total)/float64(max(samples, 1)), "B/value")
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	names, sets := classes(b)
	for _, name := range names {
		for _, n := range []int{60, 144, 288, 1440} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				columns := windows(sets[name], n)
				slots, _ := slotsOf(columns)
				var e codec.Encoder
				var d codec.Decoder
				var encoded [][]byte
				for _, column := range columns {
					encoded = append(encoded, e.AppendWithStats(nil, column))
				}
				values := make([]float64, n)
				for b.Loop() {
					for i, column := range columns {
						if _, err := d.Decode(values[:len(column)], encoded[i]); err != nil {
							b.Fatal(err)
						}
					}
				}
				perValue(b, slots)
			})
		}
	}
}

func BenchmarkStats(b *testing.B) {
	var e codec.Encoder
	var d codec.Decoder
	var encoded [][]byte
	for _, column := range hwthread(rand.New(rand.NewPCG(1, 1)), 1440) {
		encoded = append(encoded, e.AppendWithStats(nil, column))
	}
	for b.Loop() {
		for _, column := range encoded {
			if _, err := d.Stats(column, 1440); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(encoded)), "ns/column")
}

func BenchmarkRound(b *testing.B) {
	values := noise(5.5)(rand.New(rand.NewPCG(1, 1)), 1440)
	sum := 0.0
	for b.Loop() {
		for _, v := range values {
			sum += codec.Round(v, 24)
		}
	}
	perValue(b, len(values))
	if math.IsNaN(sum) {
		b.Fatal("sum is NaN")
	}
}

func perValue(b *testing.B, values int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(values), "ns/value")
	b.ReportMetric(0, "ns/op")
}
