package block_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// Decoding the bytes of a block gives the original values, to the bit.
func TestRoundTrip(t *testing.T) {
	var w block.Builder // shared: it must not keep state
	for _, slots := range []int{1, 2, 7, 8, 60, 144, 300} {
		for seed := range uint64(12) {
			t.Run(fmt.Sprintf("%d slots, seed %d", slots, seed), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, uint64(slots)))
				want := randomWindow(r, r.IntN(40), slots, seed&1 == 0, seed&2 == 0)
				checkBlock(t, want.build(&w), want)
			})
		}
	}
}

// The fields of the header can have all allowed values.
func TestHeaderRange(t *testing.T) {
	var w block.Builder
	f := func(name string, h block.Header, offset int64) {
		t.Run(name, func(t *testing.T) {
			one := window{h, []block.Column{{ID: block.MaxColumns - 1, Offset: offset}}, [][]float64{slices.Repeat([]float64{1}, h.Slots)}, nil}
			checkBlock(t, one.build(&w), one)
		})
	}
	f("a second", block.Header{Frequency: 1000, Grid: 999, First: 1_795_200_000, Slots: 240}, -500)
	f("the latest offset", block.Header{Frequency: 1000, Slots: 1}, 499)
	f("before 1970", block.Header{Frequency: 60_000, Grid: 59_999, First: -1 << 40, Slots: 1}, 29_999)
	f("generation 255", block.Header{Frequency: 60_000, Slots: 1, Generation: 255}, 0)
	f("the maximum length", block.Header{Frequency: 60_000, Slots: block.MaxSlots}, 0)
	f("the latest second", block.Header{Frequency: 1000, First: 1<<62/1000 - 2, Slots: 1}, 0)
	f("ten thousand years", block.Header{Frequency: 1000 * 86400 * 365 * 10_000, First: 2, Slots: 3}, 0)
}

// The builder panics for input that the format cannot represent.
func TestBuilderRefuses(t *testing.T) {
	f := func(name string, h block.Header, values []float64, columns ...block.Column) {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			var w block.Builder
			w.Reset(h)
			for _, c := range columns {
				w.Add(c, values)
			}
			w.Finish()
		})
	}
	one := []float64{1}
	f("a value too many", minute(1), []float64{1, 2}, block.Column{})
	f("a value too few", minute(2), one, block.Column{})
	f("numbers that descend", minute(1), one, block.Column{ID: 1}, block.Column{ID: 0})
	f("a number twice", minute(1), one, block.Column{ID: 1}, block.Column{ID: 1})
	f("a number too high", minute(1), one, block.Column{ID: block.MaxColumns})
	f("an offset of half a frequency", minute(1), one, block.Column{Offset: 30_000})
	f("an offset below minus half a frequency", minute(1), one, block.Column{Offset: -30_001})
	f("no frequency", block.Header{Slots: 1}, one, block.Column{})
	f("a frequency of 1.5 s", block.Header{Frequency: 1500, Slots: 1}, one, block.Column{})
	f("a grid of a whole frequency", block.Header{Frequency: 1000, Grid: 1000, Slots: 1}, one, block.Column{})
	f("a grid below 0", block.Header{Frequency: 1000, Grid: -1, Slots: 1}, one, block.Column{})
	f("a time that overflows", block.Header{Frequency: 60_000, First: math.MaxInt64 / 60_000, Slots: 1}, one, block.Column{})
}

// A window without samples makes no block.
func TestEmptyWindow(t *testing.T) {
	var w block.Builder
	for _, columns := range [][]block.Column{nil, {{ID: 0}}, {{ID: 3}, {ID: 4}}} {
		w.Reset(minute(2))
		for _, c := range columns {
			w.Add(c, []float64{nan, nan})
		}
		if b := w.Finish(); b != nil {
			t.Errorf("%d columns without a sample make a block of %d bytes", len(columns), len(b.Bytes()))
		}
	}
}

// Blocks do not share memory with their builder.
func TestBlocksStay(t *testing.T) {
	var w block.Builder
	r := rand.New(rand.NewPCG(5, 5))
	first := randomWindow(r, 20, 60, false, true)
	b := first.build(&w)
	before := slices.Clone(b.Bytes())
	randomWindow(r, 30, 60, true, false).build(&w)
	if !bytes.Equal(b.Bytes(), before) {
		t.Error("a block changed as another was built")
	}
	if cap(b.Bytes()) != len(b.Bytes()) {
		t.Errorf("%d bytes are allocated for a block of %d", cap(b.Bytes()), len(b.Bytes()))
	}
}

func TestFind(t *testing.T) {
	f := func(name string, ids []uint32, id uint32, want int) {
		t.Run(name, func(t *testing.T) {
			w := window{head: minute(1)}
			for _, id := range ids {
				w.columns, w.values = append(w.columns, block.Column{ID: id}), append(w.values, []float64{1})
			}
			i, ok := w.build(new(block.Builder)).Find(id)
			if ok != (want >= 0) || ok && i != want {
				t.Errorf("%d of %v is at %d, %t; want %d", id, ids, i, ok, want)
			}
		})
	}
	const none = -1
	dense, sparse := []uint32{0, 1, 2}, []uint32{2, 3, 7, 1000}
	f("first of dense", dense, 0, 0)
	f("last of dense", dense, 2, 2)
	f("after dense", dense, 3, none)
	f("far behind dense", dense, math.MaxUint32, none)
	f("first of sparse", sparse, 2, 0)
	f("inside of sparse", sparse, 7, 2)
	f("last of sparse", sparse, 1000, 3)
	f("before sparse", sparse, 1, none)
	f("a gap of sparse", sparse, 5, none)
	f("behind sparse", sparse, 1001, none)
	f("far behind sparse", sparse, math.MaxUint32, none)
}

// Decoding any range of slots gives the same values as decoding the whole column.
func TestDecodeRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	var d codec.Decoder
	for _, slots := range []int{1, 9, 144} {
		w := randomWindow(r, 12, slots, false, false)
		b := w.build(new(block.Builder))
		if b == nil {
			t.Fatal("no block")
		}
		for i, want := range w.kept().values {
			for range 40 {
				from := r.IntN(slots + 1)
				n := r.IntN(slots - from + 1)
				checkSame(t, decode(t, &d, b, i, from, n), want[from:from+n])
			}
		}
		for _, c := range []struct{ from, n int }{{slots, 1}, {0, slots + 1}, {-1, 1}, {slots + 1, 0}} {
			if err := b.Decode(&d, make([]float64, c.n), 0, c.from); err == nil {
				t.Errorf("%d slots decode from %d, the block has %d", c.n, c.from, slots)
			}
		}
	}
}

// All blocks have statistics of their columns, but only those of merged blocks are in the columns'
// heads.
func TestStats(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	var d codec.Decoder
	size := map[uint8]int{}
	w := randomWindow(r, 30, 144, false, false)
	for _, generation := range []uint8{0, 1, 2} {
		w.head.Generation = generation
		b := w.build(new(block.Builder))
		size[generation] = len(b.Bytes())
		samples := int64(0)
		for i, values := range w.kept().values {
			want := codec.Summarize(values)
			samples += int64(want.Count)
			got, err := b.Stats(&d, i)
			if err != nil {
				t.Fatal(err)
			}
			if got.Count != want.Count || got.Min != want.Min || got.Max != want.Max || !close(got.Sum, want.Sum) {
				t.Errorf("generation %d column %d: %+v, want %+v", generation, i, got, want)
			}
		}
		for range 2 { // the second call uses the stored count
			if got, err := b.Values(&d); err != nil || got != samples {
				t.Errorf("generation %d: %d samples, want %d; %v", generation, got, samples, err)
			}
		}
	}
	if size[0] >= size[1] || size[1] != size[2] {
		t.Errorf("a block of generation 0, 1 and 2 has %d, %d and %d bytes", size[0], size[1], size[2])
	}
}

// close compares sums. The sum of a decimal column is exact, that of others is not.
func close(a, b float64) bool {
	return a == b || a != a && b != b || math.Abs(a-b) <= 1e-12*math.Abs(b)
}

func TestWithout(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for seed := range 40 {
		w := randomWindow(r, 1+r.IntN(20), 30, seed&1 == 0, seed&2 == 0)
		b := w.build(new(block.Builder))
		if b == nil {
			continue
		}
		want := window{head: w.head}
		dropped := map[uint32]bool{}
		for i, c := range w.columns {
			if dropped[c.ID] = r.IntN(2) == 0; !dropped[c.ID] {
				want.columns, want.values = append(want.columns, c), append(want.values, w.values[i])
			}
		}
		before := slices.Clone(b.Bytes())
		less := b.Without(func(id uint32) bool { return dropped[id] })
		checkBlock(t, less, want)
		if !bytes.Equal(b.Bytes(), before) {
			t.Fatal("the block that columns were dropped from has changed")
		}
		// The result has the same bytes as a block made of the remaining columns only.
		if alone := want.build(new(block.Builder)); (less == nil) != (alone == nil) || less != nil && !bytes.Equal(less.Bytes(), alone.Bytes()) {
			t.Fatalf("seed %d: the remaining columns have changed", seed)
		}
	}
}

func TestWithoutAllOrNone(t *testing.T) {
	w := randomWindow(rand.New(rand.NewPCG(9, 9)), 8, 30, true, true)
	b := w.build(new(block.Builder))
	if got := b.Without(func(uint32) bool { return true }); got != nil {
		t.Errorf("a block of %d columns remains, want none", got.Columns())
	}
	if got := b.Without(func(uint32) bool { return false }); got != b {
		t.Error("a block that keeps all columns is built again")
	}
}
