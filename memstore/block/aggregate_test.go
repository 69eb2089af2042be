package block_test

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/memstore/binfmt"
	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// A set survives its encoding; regular sets are short; different sets differ.
func TestSets(t *testing.T) {
	f := func(size int, numbers ...uint32) {
		t.Helper()
		set := block.AppendSet(nil, numbers)
		if len(set) != size || set.Size() != len(numbers) || !slices.Equal(set.Numbers(), numbers) {
			t.Errorf("the set of %v takes %d bytes, want %d, and is %v", numbers, len(set), size, set.Numbers())
		}
	}
	every := func(step uint32) (numbers []uint32) {
		for i := range uint32(64) {
			numbers = append(numbers, 10+step*i)
		}
		return numbers
	}
	f(4, 0, 1)
	f(4, every(1)...)
	f(4, every(10)...)
	f(8, 0, 1, 2, 10, 11)
	f(7, 0, block.MaxColumns-1)
	seen := make(map[string]bool)
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		var numbers []uint32
		for i := range uint32(12) {
			if r.IntN(2) == 0 {
				numbers = append(numbers, i)
			}
		}
		if len(numbers) >= 2 {
			f(len(block.AppendSet(nil, numbers)), numbers...)
			seen[string(block.AppendSet(nil, numbers))] = true
		}
	}
	if want := 1<<12 - 1 - 12; len(seen) > want {
		t.Errorf("%d different encodings of %d sets", len(seen), want)
	}
}

// Random blocks have the aggregates that were added, and no others.
func TestAggregates(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	var b block.Builder
	for range 200 {
		w := window{head: minute(1 + r.IntN(60))}
		w.head.Generation = uint8(r.IntN(2))
		n := uint32(2 + r.IntN(20))
		for i := range n {
			w.columns = append(w.columns, block.Column{ID: 3 * i})
			w.values = append(w.values, randomColumn(r, []int{0, 1, 2}[r.IntN(3)], w.head.Slots))
		}
		for first := range n {
			for last := first + 1; last < n; last++ {
				if r.IntN(10) == 0 {
					var set []uint32
					for i := first; i <= last; i++ {
						set = append(set, 3*i)
					}
					w.sets = append(w.sets, set)
				}
			}
		}
		built := w.build(&b)
		checkBlock(t, built, w)
		if _, ok := built.FindAggregate(block.AppendSet(nil, []uint32{0, 3 * n})); ok {
			t.Error("found an aggregate that was not added")
		}
	}
}

// An aggregate without a value is not written.
func TestEmptyAggregate(t *testing.T) {
	var b block.Builder
	b.Reset(minute(2))
	b.Add(block.Column{}, []float64{1, 2})
	b.AddAggregate(block.AppendSet(nil, []uint32{1, 2}), []float64{nan, nan})
	if n := b.Finish().Aggregates(); n != 0 {
		t.Errorf("%d aggregates", n)
	}
}

// A block that follows another has the same aggregates as one that does not.
func TestAggregatesLikeThoseBefore(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	var b block.Builder
	var before *block.Block
	for range 20 {
		w := window{head: minute(144), sets: [][]uint32{{0, 1, 2, 3}, {2, 3}}}
		for i := range uint32(4) {
			w.columns = append(w.columns, block.Column{ID: i})
			w.values = append(w.values, randomColumn(r, 1+int(i)%2, 144))
		}
		b.Reset(w.head)
		b.Follow(before)
		for i, c := range w.columns {
			b.Add(c, w.values[i])
		}
		for _, numbers := range w.sets {
			b.AddAggregate(block.AppendSet(nil, numbers), w.sum(numbers))
		}
		before = b.Finish()
		checkBlock(t, before, w)
	}
}

// Removing columns, or a part of one, removes their aggregates and no others.
func TestAggregatesOfChangedColumns(t *testing.T) {
	w := window{head: minute(4), sets: [][]uint32{{0, 1}, {0, 1, 2}, {1, 3}, {2, 3}}}
	for i := range uint32(4) {
		w.columns = append(w.columns, block.Column{ID: i})
		w.values = append(w.values, []float64{1, float64(i), 2.5, 1})
	}
	b := w.build(new(block.Builder))

	less := b.Without(func(id uint32) bool { return id == 2 })
	want := window{w.head, slices.Delete(slices.Clone(w.columns), 2, 3), slices.Delete(slices.Clone(w.values), 2, 3), [][]uint32{{0, 1}, {1, 3}}}
	checkBlock(t, less, want)

	var d codec.Decoder
	cut := func(before map[uint32]int64) *block.Block {
		c, err := b.Cut(&d, func(id uint32) int64 { return before[id] })
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	checkBlock(t, cut(map[uint32]int64{2: w.head.First + 4}), want)
	want = w
	want.values = slices.Clone(w.values)
	want.values[2] = []float64{nan, 2, 2.5, 1}
	want.sets = [][]uint32{{0, 1}, {1, 3}}
	checkBlock(t, cut(map[uint32]int64{2: w.head.First + 1}), want)
	if cut(nil) != b {
		t.Error("a block that stays was copied")
	}
}

// summed is a sound draft with two aggregates, of the columns 1 and 4, and 4 and 5.
func summed() draft {
	d := sound()
	d.flags |= 4
	d.sums = []draftAggregate{
		{set: block.AppendSet(nil, []uint32{1, 4}), samples: 2, column: []byte{0x21, 2}},
		{set: block.AppendSet(nil, []uint32{4, 5}), samples: 2, column: []byte{0x21, 2}},
	}
	slices.SortFunc(d.sums, func(a, b draftAggregate) int {
		return int(int64(binfmt.Checksum(a.set)) - int64(binfmt.Checksum(b.set)))
	})
	return d
}

// draftAggregate is an aggregate with arbitrary fields.
type draftAggregate struct {
	key     uint32 // 0: of the set
	end     uint32 // 0: of the entry
	set     []byte
	samples uint64
	totals  []byte // nil: four floats
	column  []byte
}

func appendDraftAggregates(out []byte, count uint64, sums []draftAggregate) []byte {
	var entries []byte
	out = binary.AppendUvarint(out, count)
	for _, a := range sums {
		if a.key == 0 {
			a.key = binfmt.Checksum(a.set)
		}
		out = binary.LittleEndian.AppendUint32(out, a.key)
	}
	for _, a := range sums {
		entries = append(entries, a.set...)
		entries = binary.AppendUvarint(entries, a.samples)
		if a.totals == nil {
			a.totals = make([]byte, 32)
		}
		entries = append(append(entries, a.totals...), a.column...)
		if a.end == 0 {
			a.end = uint32(len(entries))
		}
		out = binary.LittleEndian.AppendUint32(out, a.end)
	}
	return append(out, entries...)
}

const (
	sumsAt    = bodyAt + 4 // in a summed draft
	keysAt    = sumsAt + 1
	sumEndsAt = keysAt + 8
	entriesAt = sumEndsAt + 8
	entrySize = 4 + 1 + 32 + 2
)

func TestSummedDraft(t *testing.T) {
	data := summed().bytes()
	b, err := block.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != entriesAt+2*entrySize+4 || b.Aggregates() != 2 || b.AggregateBytes() != len(data)-sumsAt-4 {
		t.Errorf("%d bytes, %d aggregates of %d bytes", len(data), b.Aggregates(), b.AggregateBytes())
	}
	var d codec.Decoder
	for _, numbers := range [][]uint32{{1, 4}, {4, 5}} {
		a, ok := b.FindAggregate(block.AppendSet(nil, numbers))
		values := make([]float64, 2)
		if err := b.DecodeAggregate(&d, values, a, 0); !ok || err != nil || values[0] != 1 || values[1] != 1 || a.Totals.Count != 2 {
			t.Errorf("%v: %v, %v, %+v", numbers, values, err, a)
		}
	}
}

// A damaged directory of aggregates under a correct checksum is an error.
func TestDamagedAggregates(t *testing.T) {
	f := func(name string, offset int, reason string, change func(d *draft)) {
		t.Run(name, func(t *testing.T) {
			d := summed()
			change(&d)
			_, err := block.Open(d.bytes())
			corrupt, ok := errors.AsType[*binfmt.DamageError](err)
			if !ok || corrupt.Offset != int64(offset) || !strings.Contains(corrupt.Reason, reason) {
				t.Errorf("got %v, want %q at byte %d", err, reason, offset)
			}
		})
	}
	f("without the flag", sumsAt, "after the last column", func(d *draft) { d.flags &^= 4 })
	f("nothing after the columns", sumsAt, "aggregates", func(d *draft) { d.sums, d.noSums = nil, true })
	f("no aggregates", sumsAt, "aggregates", func(d *draft) { d.sums = nil })
	f("an aggregate too many", sumsAt, "aggregates", func(d *draft) { d.sumCount = 1<<16 + 1 })
	f("2^63 aggregates", sumsAt, "aggregates", func(d *draft) { d.sumCount = 1 << 63 })
	f("the maximum number", sumsAt+3, "keys", func(d *draft) { d.sumCount = 1 << 16 })
	f("the keys end early", keysAt, "keys", func(d *draft) { d.sums, d.sumCount = nil, 1 })
	f("keys that descend", keysAt+4, "out of order", func(d *draft) { d.sums[0].key, d.sums[1].key = 2, 1 })
	f("an aggregate that ends at its begin", sumEndsAt+4, "aggregate 1 of 2 ends", func(d *draft) { d.sums[1].end = entrySize })
	f("an end that descends", sumEndsAt+4, "aggregate 1 of 2 ends", func(d *draft) { d.sums[1].end = 1 })
	f("an end beyond the block", sumEndsAt+4, "aggregate 1 of 2 ends", func(d *draft) { d.sums[1].end = 2*entrySize + 1 })
	f("an end at 2^32-1", sumEndsAt, "aggregate 0 of 2 ends", func(d *draft) { d.sums[0].end = math.MaxUint32 })
	f("bytes after the aggregates", entriesAt+2*entrySize-1, "after the last aggregate", func(d *draft) { d.sums[1].end = 2*entrySize - 1 })
}

// A damaged entry is an error when it is read and as good as missing for a query. The columns and
// the other aggregates are not affected.
func TestDamagedAggregate(t *testing.T) {
	f := func(name, reason string, change func(a *draftAggregate)) {
		t.Run(name, func(t *testing.T) {
			d := summed()
			set := block.Set(slices.Clone(d.sums[0].set))
			d.sums[0].key = binfmt.Checksum(set)
			change(&d.sums[0])
			b, err := block.Open(d.bytes())
			if err != nil {
				t.Fatal(err)
			}
			var dec codec.Decoder
			a, err := b.Aggregate(0)
			if err == nil {
				err = b.DecodeAggregate(&dec, make([]float64, 2), a, 0)
			}
			corrupt, ok := errors.AsType[*binfmt.DamageError](err)
			if !ok || corrupt.Offset < entriesAt || corrupt.Offset > entriesAt+entrySize+10 || !strings.Contains(corrupt.Reason, reason) {
				t.Errorf("got %v, want %q", err, reason)
			}
			if a, ok := b.FindAggregate(set); ok && b.DecodeAggregate(&dec, make([]float64, 2), a, 0) == nil {
				t.Errorf("found %+v", a)
			}
			if _, ok := b.FindAggregate(d.sums[1].set); !ok {
				t.Error("the other aggregate is missing")
			}
			checkSame(t, decode(t, &dec, b, 1, 0, 2), []float64{1, 1})
		})
	}
	f("a set of one column", "columns of a set", func(a *draftAggregate) { a.set = []byte{1, 0} })
	f("a set of more columns than the block has", "columns of a set", func(a *draftAggregate) { a.set = []byte{4, 0, 1, 3} })
	f("a set of 2^64-1 columns", "columns of a set", func(a *draftAggregate) { a.set = binary.AppendUvarint(nil, math.MaxUint64) })
	f("a column number that is too high", "column number", func(a *draftAggregate) {
		a.set = binary.AppendUvarint([]byte{2}, block.MaxColumns)
	})
	f("a step of 0", "step of a set", func(a *draftAggregate) { a.set = []byte{2, 0, 0, 1} })
	f("a step of 2^64-1", "step of a set", func(a *draftAggregate) { a.set = binary.AppendUvarint([]byte{2, 0}, math.MaxUint64) })
	f("a step to a number that is too high", "too high", func(a *draftAggregate) {
		a.set = append(binary.AppendUvarint([]byte{2, 1}, block.MaxColumns-1), 1)
	})
	f("more steps than columns", "steps of a set", func(a *draftAggregate) { a.set = []byte{2, 0, 1, 2} })
	f("no samples", "samples of an aggregate", func(a *draftAggregate) { a.samples = 0 })
	f("more samples than slots", "samples of an aggregate", func(a *draftAggregate) { a.samples = 3 })
	f("totals that end early", "totals of an aggregate", func(a *draftAggregate) { a.totals, a.column = make([]byte, 31), nil })
	f("no column", "aggregate", func(a *draftAggregate) { a.column = nil })
	f("a column of an unknown form", "aggregate", func(a *draftAggregate) { a.column = []byte{7} })
	f("bytes after the column's values", "bytes after its values", func(a *draftAggregate) { a.column = []byte{0x21, 2, 0} })
}

// FuzzAggregates opens a block whose part of aggregates is hostile. The result is an error or a
// block, never a panic; memory is bounded by the number of columns; an aggregate that Aggregate
// returns is found by its set if that is encoded as AppendSet does.
func FuzzAggregates(f *testing.F) {
	for _, d := range []draft{summed(), sound()} {
		f.Add(appendDraftAggregates(nil, uint64(len(d.sums)), d.sums))
	}
	f.Add([]byte{1, 0, 0, 0, 0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, part []byte) {
		d := sound()
		d.flags, d.noSums = d.flags|4, true
		d.body = append(d.body, part...)
		data := d.bytes()
		b, err := block.Open(data)
		checkCorrupt(t, err, len(data))
		if err != nil {
			return
		}
		var dec codec.Decoder
		for i := range b.Aggregates() {
			a, err := b.Aggregate(i)
			checkCorrupt(t, err, len(data))
			if err != nil {
				continue
			}
			numbers := a.Set.Numbers()
			if !slices.IsSorted(numbers) || len(numbers) != a.Set.Size() || len(numbers) > b.Columns() {
				t.Fatalf("aggregate %d has the columns %v", i, numbers)
			}
			values := make([]float64, b.Slots)
			if err := b.DecodeAggregate(&dec, values, a, 0); err == nil {
				part := make([]float64, 1)
				if err := b.DecodeAggregate(&dec, part, a, 1); err != nil {
					t.Fatal(err)
				}
				checkSame(t, part, values[1:])
			}
			if a, ok := b.FindAggregate(block.AppendSet(nil, numbers)); ok && !slices.Equal(a.Set.Numbers(), numbers) {
				t.Fatalf("the aggregate of %v is that of %v", numbers, a.Set.Numbers())
			}
		}
		if less := b.Without(func(id uint32) bool { return id == 4 }); less.Aggregates() > b.Aggregates() {
			t.Fatalf("%d aggregates of %d", less.Aggregates(), b.Aggregates())
		}
	})
}
