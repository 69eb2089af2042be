package block_test

import (
	"math/rand/v2"
	"testing"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// benchmarked is the window of a host with 700 series, of which a seventh is noise.
func benchmarked(dense bool) window {
	r := rand.New(rand.NewPCG(1, 1))
	w := window{head: minute(144)}
	for i := range 700 {
		c := block.Column{ID: uint32(i)}
		if !dense {
			c.ID *= 3
		}
		w.columns, w.values = append(w.columns, c), append(w.values, randomColumn(r, []int{0, 1, 1, 1, 2, 3, 0}[i%7], 144))
	}
	return w
}

func BenchmarkOpen(b *testing.B) {
	data := benchmarked(false).build(new(block.Builder)).Bytes()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := block.Open(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	for name, dense := range map[string]bool{"dense": true, "sparse": false} {
		b.Run(name, func(b *testing.B) {
			w := benchmarked(dense)
			built := w.build(new(block.Builder))
			i := 0
			for b.Loop() {
				i = (i + 331) % len(w.columns)
				if at, ok := built.Find(w.columns[i].ID); !ok || at != i {
					b.Fatal(at, ok)
				}
			}
		})
	}
}

// BenchmarkBuilder seals a window and reports the time per value.
func BenchmarkBuilder(b *testing.B) {
	for name, generation := range map[string]uint8{"sealed": 0, "merged": 1} {
		b.Run(name, func(b *testing.B) {
			w := benchmarked(true)
			w.head.Generation = generation
			var builder block.Builder
			b.ReportAllocs()
			for b.Loop() {
				w.build(&builder)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(w.columns)*w.head.Slots), "ns/value")
		})
	}
}

// BenchmarkDecode decodes the columns of a block one by one.
func BenchmarkDecode(b *testing.B) {
	built := benchmarked(true).build(new(block.Builder))
	values := make([]float64, built.Slots)
	var d codec.Decoder
	i := 0
	for b.Loop() {
		i = (i + 331) % built.Columns()
		if err := built.Decode(&d, values, i, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*built.Slots), "ns/value")
}

// BenchmarkWithout drops a tenth of the columns.
func BenchmarkWithout(b *testing.B) {
	built := benchmarked(true).build(new(block.Builder))
	for b.Loop() {
		built.Without(func(id uint32) bool { return id%10 == 0 })
	}
}
