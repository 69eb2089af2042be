package block

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/binfmt"
	"github.com/ringstore/ringstore/memstore/codec"
)

// maxAggregates is the maximum number of aggregates of a block.
const maxAggregates = 1 << 16

// Set is the encoding of a set of column numbers. Equal sets have equal encodings.
type Set []byte

// AppendSet appends the set of some numbers, which must be ascending and at least two, to dst. An
// arithmetic progression takes a few bytes.
func AppendSet(dst Set, numbers []uint32) Set {
	dst = binary.AppendUvarint(dst, uint64(len(numbers)))
	dst = binary.AppendUvarint(dst, uint64(numbers[0]))
	for i := 1; i < len(numbers); {
		step, n := numbers[i]-numbers[i-1], 1
		for i+n < len(numbers) && numbers[i+n]-numbers[i+n-1] == step {
			n++
		}
		dst = binary.AppendUvarint(dst, uint64(step))
		dst = binary.AppendUvarint(dst, uint64(n))
		i += n
	}
	return dst
}

// Size returns how many columns the set has.
func (s Set) Size() int {
	n, _ := binary.Uvarint(s)
	return int(n)
}

// Numbers returns the column numbers of a set, ascending.
func (s Set) Numbers() []uint32 {
	r := binfmt.NewReader(s, 0)
	return takeSet(&r, MaxColumns)
}

// takeSet reads a set of at most so many columns.
func takeSet(r *binfmt.Reader, columns int) []uint32 {
	n := int(r.Uvarint(2, uint64(columns), "columns of a set"))
	last := r.Uvarint(0, MaxColumns-1, "column number")
	numbers := []uint32{uint32(last)}
	for len(numbers) < n && r.Err() == nil {
		step := r.Uvarint(1, MaxColumns, "step of a set")
		repeat := r.Uvarint(1, uint64(n-len(numbers)), "steps of a set")
		if last+step*repeat >= MaxColumns {
			r.Fail("column number %d is too high", last+step*repeat)
			break
		}
		for range repeat {
			last += step
			numbers = append(numbers, uint32(last))
		}
	}
	return numbers
}

// Aggregate describes an aggregate: the sum of a set of columns, slot by slot. All columns of the set
// have values in the same slots, so that the aggregate is correct for every part of the block.
type Aggregate struct {
	Set    Set
	Totals Totals
	column []byte
	at     int // of the column in the block
}

// Totals are the statistics of an aggregate's values. Sums are from left to right.
type Totals struct {
	Count    int
	Sum      float64
	Means    float64 // sum of the values after each was divided by the number of columns
	Min, Max float64 // 0 without values
}

func totalsOf(values []float64, columns int) Totals {
	s := codec.Summarize(values)
	t := Totals{Count: s.Count, Sum: s.Sum, Min: s.Min, Max: s.Max}
	for _, v := range values {
		if v == v {
			t.Means += v / float64(columns)
		}
	}
	return t
}

func (t Totals) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(t.Count))
	for _, v := range [...]float64{t.Sum, t.Means, t.Min, t.Max} {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst
}

func takeTotals(r *binfmt.Reader, slots int) Totals {
	t := Totals{Count: int(r.Uvarint(1, uint64(slots), "samples of an aggregate"))}
	for _, v := range [...]*float64{&t.Sum, &t.Means, &t.Min, &t.Max} {
		if b := r.Take(8, "totals of an aggregate"); b != nil {
			*v = math.Float64frombits(binary.LittleEndian.Uint64(b))
		}
	}
	return t
}

// key is the part of an aggregate in the directory of aggregates.
func (s Set) key() uint32 { return binfmt.Checksum(s) }

// aggregates are the aggregates of a block: a directory, ordered by key, and an entry for each.
type aggregates struct {
	count   int
	keys    []byte // 4 bytes each
	ends    []byte // 4 bytes each: the end of the entry in entries
	entries []byte
	at      int // of the entries in the block
}

// parseAggregates checks the directory; an entry is checked when it is read.
func parseAggregates(part []byte, at int) (a aggregates, err error) {
	r := binfmt.NewReader(part, int64(at))
	a.count = int(r.Uvarint(1, maxAggregates, "aggregates"))
	keysAt := int(r.Offset())
	a.keys = r.Take(4*a.count, "keys of aggregates")
	a.ends = r.Take(4*a.count, "ends of aggregates")
	if err := r.Err(); err != nil {
		return a, err
	}
	a.at, a.entries = int(r.Offset()), r.Rest
	begin, before := 0, uint32(0)
	for i := range a.count {
		if key := a.key(i); key < before {
			return a, binfmt.Damagef(int64(keysAt+4*i), "aggregate %d of %d has a key that is out of order", i, a.count)
		}
		end := int64(binary.LittleEndian.Uint32(a.ends[4*i:]))
		if end <= int64(begin) || end > int64(len(a.entries)) {
			return a, binfmt.Damagef(int64(keysAt+len(a.keys)+4*i), "aggregate %d of %d ends at %d, expected %d to %d", i, a.count, end, begin+1, len(a.entries))
		}
		begin, before = int(end), a.key(i)
	}
	if begin != len(a.entries) {
		return a, binfmt.Damagef(int64(a.at+begin), "%d bytes after the last aggregate", len(a.entries)-begin)
	}
	return a, nil
}

func (a *aggregates) key(i int) uint32 { return binary.LittleEndian.Uint32(a.keys[4*i:]) }

// entry returns an entry and its offset in the block.
func (a *aggregates) entry(i int) (entry []byte, at int) {
	begin := uint32(0)
	if i > 0 {
		begin = binary.LittleEndian.Uint32(a.ends[4*(i-1):])
	}
	return a.entries[begin:binary.LittleEndian.Uint32(a.ends[4*i:])], a.at + int(begin)
}

// Aggregates returns the number of aggregates.
func (b *Block) Aggregates() int { return b.sums.count }

// AggregateBytes returns the size of all aggregates.
func (b *Block) AggregateBytes() int {
	if b.sums.count == 0 {
		return 0
	}
	return len(b.data) - crcSize - b.columnsEnd()
}

// Aggregate returns aggregate i. The error wraps a [*binfmt.DamageError].
func (b *Block) Aggregate(i int) (Aggregate, error) {
	entry, at := b.sums.entry(i)
	r := binfmt.NewReader(entry, int64(at))
	takeSet(&r, b.columns)
	a := Aggregate{Set: Set(entry[:len(entry)-len(r.Rest)])}
	if err := b.takeEntry(&a, &r); err != nil {
		return Aggregate{}, err
	}
	return a, nil
}

// takeEntry reads the part of an entry after its set.
func (b *Block) takeEntry(a *Aggregate, r *binfmt.Reader) error {
	a.Totals = takeTotals(r, b.Slots)
	a.at, a.column = int(r.Offset()), r.Rest
	if err := r.Err(); err != nil {
		return fmt.Errorf("block %w", err)
	}
	return nil
}

// FindAggregate returns the aggregate of a set; ok is false if the block has none.
func (b *Block) FindAggregate(set Set) (a Aggregate, ok bool) {
	if b.sums.count == 0 {
		return a, false
	}
	key := set.key()
	lo, hi := 0, b.sums.count
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if b.sums.key(mid) < key {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for ; lo < b.sums.count && b.sums.key(lo) == key; lo++ {
		entry, at := b.sums.entry(lo)
		if !bytes.HasPrefix(entry, set) {
			continue
		}
		a.Set = Set(entry[:len(set)])
		r := binfmt.NewReader(entry[len(set):], int64(at+len(set)))
		return a, b.takeEntry(&a, &r) == nil
	}
	return a, false
}

// DecodeAggregate fills dst with values of an aggregate of the block. from is the index of the first
// one; from+len(dst) must not exceed Slots. The error wraps a [*binfmt.DamageError].
func (b *Block) DecodeAggregate(d *codec.Decoder, dst []float64, a Aggregate, from int) error {
	if err := b.decode(d, dst, a.column, from); err != nil {
		return fmt.Errorf("block %w", binfmt.Damagef(int64(a.at), "aggregate: %v", err))
	}
	return nil
}

// encodedAggregate is an aggregate that a builder adds: a range of its scratch memory.
type encodedAggregate struct {
	key        uint32
	begin, end int
}

// AddAggregate adds the aggregate of a set of columns, unless it has no value. The caller ensures
// that the columns of the set have values in exactly the slots where values has them. Sets must not
// be added twice.
func (w *Builder) AddAggregate(set Set, values []float64) {
	if len(values) != w.head.Slots {
		panic(fmt.Sprintf("block: aggregate: expected %d values, got %d", w.head.Slots, len(values)))
	}
	totals := totalsOf(values, set.Size())
	if totals.Count == 0 {
		return
	}
	w.addAggregate(set, totals, func(dst []byte) []byte {
		if w.before != nil {
			if a, ok := w.before.FindAggregate(set); ok {
				return w.encoder.AppendLike(dst, values, a.column, w.before.Slots)
			}
		}
		return w.encoder.Append(dst, values)
	})
}

func (w *Builder) addAggregate(set Set, t Totals, appendTo func([]byte) []byte) {
	if len(w.sums) == maxAggregates {
		return
	}
	begin := len(w.entries)
	w.entries = append(w.entries, set...)
	w.entries = appendTo(t.append(w.entries))
	w.sums = append(w.sums, encodedAggregate{set.key(), begin, len(w.entries)})
}

// keepAggregates adds those aggregates of a block whose columns are all unchanged.
func (w *Builder) keepAggregates(b *Block, changed func(number uint32) bool) {
	for i := range b.Aggregates() {
		a, err := b.Aggregate(i)
		if err == nil && !slices.ContainsFunc(a.Set.Numbers(), changed) {
			w.addAggregate(a.Set, a.Totals, func(dst []byte) []byte { return append(dst, a.column...) })
		}
	}
}

// appendAggregates appends the aggregates as they are in a block.
func (w *Builder) appendAggregates(dst []byte) []byte {
	slices.SortFunc(w.sums, func(a, b encodedAggregate) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.begin, b.begin))
	})
	dst = binary.AppendUvarint(dst, uint64(len(w.sums)))
	for _, a := range w.sums {
		dst = binary.LittleEndian.AppendUint32(dst, a.key)
	}
	end := uint32(0)
	for _, a := range w.sums {
		end += uint32(a.end - a.begin)
		dst = binary.LittleEndian.AppendUint32(dst, end)
	}
	for _, a := range w.sums {
		dst = append(dst, w.entries[a.begin:a.end]...)
	}
	return dst
}
