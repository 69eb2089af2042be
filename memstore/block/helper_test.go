package block_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringstore/ringstore/memstore/binfmt"
	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

var nan = math.NaN()

// minute is the header of most blocks here.
func minute(slots int) block.Header {
	return block.Header{Frequency: 60_000, Grid: 17_000, First: 29_750_000, Slots: slots}
}

// window is the input of a builder.
type window struct {
	head    block.Header
	columns []block.Column
	values  [][]float64
	sets    [][]uint32 // of the aggregates: column numbers, ascending
}

func (w window) build(b *block.Builder) *block.Block {
	b.Reset(w.head)
	for i, c := range w.columns {
		b.Add(c, w.values[i])
	}
	for _, numbers := range w.sets {
		b.AddAggregate(block.AppendSet(nil, numbers), w.sum(numbers))
	}
	return b.Finish()
}

// sum returns the values of an aggregate.
func (w window) sum(numbers []uint32) []float64 {
	sum := make([]float64, w.head.Slots)
	for i, c := range w.columns {
		if slices.Contains(numbers, c.ID) {
			for k, v := range w.values[i] {
				sum[k] += v
			}
		}
	}
	return sum
}

// kept returns the window without the columns that have no sample.
func (w window) kept() window {
	k := window{head: w.head, sets: w.sets}
	for i, c := range w.columns {
		if codec.Summarize(w.values[i]).Count > 0 {
			k.columns, k.values = append(k.columns, c), append(k.values, w.values[i])
		}
	}
	return k
}

// randomWindow returns a window of n columns.
func randomWindow(r *rand.Rand, n, slots int, dense, offsets bool) window {
	w := window{head: minute(slots)}
	w.head.First = r.Int64N(1<<40) - 1<<39
	w.head.Generation = uint8(r.IntN(3))
	id := uint32(0)
	for i := range n {
		if !dense {
			id += uint32(r.IntN(50))
		}
		c := block.Column{ID: id}
		if offsets {
			c.Offset = r.Int64N(60_000) - 30_000
		}
		w.columns = append(w.columns, c)
		w.values = append(w.values, randomColumn(r, i, slots))
		id++
	}
	return w
}

// randomColumn returns values of one of several typical kinds of metrics.
func randomColumn(r *rand.Rand, kind, slots int) []float64 {
	values := make([]float64, slots)
	walk := float64(r.IntN(5000))
	for i := range values {
		walk += math.Round(r.NormFloat64()*50) / 100
		switch kind % 6 {
		case 0:
			values[i] = 2400
		case 1:
			values[i] = math.Round(walk*100) / 100
		case 2:
			values[i] = 1100.3 * (1 + 0.1*r.NormFloat64())
		case 3:
			if values[i] = walk; r.IntN(3) == 0 {
				values[i] = nan
			}
		case 4:
			values[i] = []float64{math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 5e-324, 0}[r.IntN(5)]
		case 5:
			values[i] = nan
		}
	}
	return values
}

// checkBlock compares a block, and the block opened from its bytes, with a window.
func checkBlock(t *testing.T, b *block.Block, want window) {
	t.Helper()
	want = want.kept()
	if b == nil {
		if len(want.columns) > 0 {
			t.Fatalf("no block of %d columns", len(want.columns))
		}
		return
	}
	checkWindow(t, b, want)
	again, err := block.Open(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	checkWindow(t, again, want)
}

func checkWindow(t *testing.T, b *block.Block, want window) {
	t.Helper()
	if b.Header != want.head || b.Columns() != len(want.columns) {
		t.Fatalf("header %+v of %d columns, want %+v of %d", b.Header, b.Columns(), want.head, len(want.columns))
	}
	var d codec.Decoder
	offsets := b.Offsets()
	for i, c := range want.columns {
		if b.ID(i) != c.ID {
			t.Fatalf("column %d has the number %d, want %d", i, b.ID(i), c.ID)
		}
		if offset := at(offsets, i); offset != c.Offset {
			t.Fatalf("column %d has the offset %d, want %d", i, offset, c.Offset)
		}
		checkSame(t, decode(t, &d, b, i, 0, b.Slots), want.values[i])
	}
	checkAggregates(t, b, want)
}

func checkAggregates(t *testing.T, b *block.Block, want window) {
	t.Helper()
	if b.Aggregates() != len(want.sets) {
		t.Fatalf("%d aggregates, want %d", b.Aggregates(), len(want.sets))
	}
	var d codec.Decoder
	for _, numbers := range want.sets {
		a, ok := b.FindAggregate(block.AppendSet(nil, numbers))
		if !ok || !slices.Equal(a.Set.Numbers(), numbers) || a.Set.Size() != len(numbers) {
			t.Fatalf("the aggregate of %v is %v, %t", numbers, a.Set.Numbers(), ok)
		}
		sum := want.sum(numbers)
		for _, from := range []int{0, b.Slots / 3} {
			got := make([]float64, b.Slots-from)
			if err := b.DecodeAggregate(&d, got, a, from); err != nil {
				t.Fatal(err)
			}
			checkSame(t, got, sum[from:])
		}
		s, means := codec.Summarize(sum), 0.0
		for _, v := range sum {
			if v == v {
				means += v / float64(len(numbers))
			}
		}
		got := []float64{float64(a.Totals.Count), a.Totals.Sum, a.Totals.Means, a.Totals.Min, a.Totals.Max}
		checkSame(t, got, []float64{float64(s.Count), s.Sum, means, s.Min, s.Max})
	}
}

// at returns the offset of a column.
func at(offsets []int64, i int) int64 {
	if offsets == nil {
		return 0
	}
	return offsets[i]
}

func decode(t *testing.T, d *codec.Decoder, b *block.Block, column, from, n int) []float64 {
	t.Helper()
	values := make([]float64, n)
	if err := b.Decode(d, values, column, from); err != nil {
		t.Fatalf("column %d from %d: %v", column, from, err)
	}
	return values
}

func checkSame(t *testing.T, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	for i := range want {
		if math.Float64bits(got[i]) != math.Float64bits(want[i]) && !(got[i] != got[i] && want[i] != want[i]) {
			t.Fatalf("value %d is %v, want %v", i, got[i], want[i])
		}
	}
}

// sealed appends the correct checksum to content, which need not be a valid block.
func sealed(content []byte) []byte {
	return binary.LittleEndian.AppendUint32(content[:len(content):len(content)], binfmt.Checksum(content))
}
