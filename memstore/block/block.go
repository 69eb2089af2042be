// Package block encodes and decodes blocks. A block is a window of a lane: each of its series is a
// column of values, all in one immutable byte slice. The same bytes are the memory format and the
// disk format; ../FORMAT.md describes them.
//
// Columns and slots have numbers. The package knows no series, no host and no clock.
package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/ringstore/ringstore/memstore/binfmt"
	"github.com/ringstore/ringstore/memstore/codec"
)

// Version is the version of the format that the package reads and writes.
const Version = 1

const (
	magic   = "RSB"
	crcSize = 4

	flagDense      = 1 << 0 // the columns are 0, 1, 2, ...: their numbers are omitted
	flagOffsets    = 1 << 1 // the offsets of the columns follow
	flagAggregates = 1 << 2 // aggregates follow the columns
	flagsKnown     = flagDense | flagOffsets | flagAggregates

	fixedSize = len(magic) + 3 // plus version, flags, generation

	// maxTime bounds the times of a block's slots before and after 1970, in milliseconds, so that
	// arithmetic with them does not overflow.
	maxTime = 1 << 62
)

// Limits of a block. Blocks that exceed them are damaged.
const (
	MaxSlots   = codec.MaxSlots
	MaxColumns = 1 << 24 // also the limit of their numbers
)

// Header describes the window of a block.
type Header struct {
	Frequency  int64 // time between two slots, milliseconds; a whole number of seconds
	Grid       int64 // the time of slot n is Grid + n*Frequency, Unix milliseconds; in [0, Frequency)
	First      int64 // slot of the first value of each column
	Slots      int   // values in each column
	Generation uint8 // 0 as sealed from a head; a merged block has one more than the blocks it is made of
}

// Block is a checked block. It is immutable and safe for concurrent use.
type Block struct {
	Header
	data    []byte // the whole block
	columns int
	ends    []byte // 4 bytes per column: its end in body
	ids     []byte // 4 bytes per column, ascending; nil if dense
	offsets []byte // varints; nil if all are 0
	body    []byte // the columns, concatenated
	bodyAt  int    // of body in data
	sums    aggregates

	samples atomic.Int64 // number of samples plus 1; 0: not counted yet
}

// Open checks data, which must be exactly one block, and keeps a reference to it. The values of a
// column are checked when they are decoded. The error wraps a [*binfmt.DamageError]. What Open
// allocates does not depend on what data claims.
func Open(data []byte) (*Block, error) {
	err := checkEnvelope(data)
	if err == nil {
		var b *Block
		if b, err = parse(data); err == nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("block %w", err)
}

// checkEnvelope checks the magic, the version and the checksum.
func checkEnvelope(data []byte) error {
	if len(data) < fixedSize+crcSize || string(data[:len(magic)]) != magic {
		return binfmt.Damagef(0, "expected the start of a block, %q", magic)
	}
	if v := data[len(magic)]; v != Version {
		return binfmt.Damagef(int64(len(magic)), "expected version %d, got version %d", Version, v)
	}
	end := len(data) - crcSize
	want, got := binary.LittleEndian.Uint32(data[end:]), binfmt.Checksum(data[:end])
	if got != want {
		return binfmt.Damagef(int64(end), "checksum: expected %#08x, got %#08x", want, got)
	}
	return nil
}

func parse(data []byte) (*Block, error) {
	content := data[:len(data)-crcSize]
	flags := content[len(magic)+1]
	if flags&^flagsKnown != 0 {
		return nil, binfmt.Damagef(int64(len(magic)+1), "unknown flags %#x", flags&^flagsKnown)
	}
	b := &Block{data: data}
	b.Generation = content[len(magic)+2]
	r := binfmt.NewReader(content[fixedSize:], int64(fixedSize))
	b.Slots = int(r.Uvarint(1, MaxSlots, "slots"))
	b.columns = int(r.Uvarint(1, MaxColumns, "columns"))
	b.Frequency = int64(r.Uvarint(1, maxTime/1000, "frequency")) * 1000
	b.Grid = int64(r.Uvarint(0, uint64(b.Frequency-1), "grid"))
	maxSlot := maxTime/b.Frequency - 1 // the grid and an offset add less than one slot
	b.First = r.Varint(-maxSlot, maxSlot-int64(b.Slots), "first slot")
	b.ends = r.Take(4*b.columns, "directory")
	if flags&flagDense == 0 {
		b.ids = r.Take(4*b.columns, "column numbers")
	}
	if flags&flagOffsets != 0 {
		b.offsets = r.Varints(b.columns, -b.Frequency/2, b.Frequency/2-1, "offset")
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	b.bodyAt, b.body = int(r.Offset()), r.Rest
	if err := b.checkDirectory(); err != nil {
		return nil, err
	}
	if flags&flagAggregates == 0 {
		if n := b.end(b.columns - 1); int(n) != len(b.body) {
			return nil, binfmt.Damagef(int64(b.bodyAt+int(n)), "%d bytes after the last column", len(b.body)-int(n))
		}
		return b, nil
	}
	part := b.body[b.end(b.columns-1):]
	b.body = b.body[:len(b.body)-len(part)]
	var err error
	b.sums, err = parseAggregates(part, b.columnsEnd())
	return b, err
}

func (b *Block) checkDirectory() error {
	endsAt := b.bodyAt - len(b.offsets) - len(b.ids) - len(b.ends)
	idsAt := endsAt + len(b.ends)
	last, next := uint32(0), uint32(0)
	for i := range b.columns {
		end, id := b.end(i), b.ID(i)
		if end <= last || int64(end) > int64(len(b.body)) {
			return binfmt.Damagef(int64(endsAt+4*i), "column %d of %d ends at %d, expected %d to %d", i, b.columns, end, int64(last)+1, len(b.body))
		}
		if id < next || id >= MaxColumns {
			return binfmt.Damagef(int64(idsAt+4*i), "column %d of %d has a number that is out of order or too high: %d", i, b.columns, id)
		}
		last, next = end, id+1
	}
	return nil
}

// columnsEnd returns the offset of the end of the columns in the block.
func (b *Block) columnsEnd() int { return b.bodyAt + len(b.body) }

// Bytes returns the whole block. The caller must not modify it.
func (b *Block) Bytes() []byte { return b.data }

// Columns returns the number of columns.
func (b *Block) Columns() int { return b.columns }

// ID returns the number of column i.
func (b *Block) ID(i int) uint32 {
	if b.ids == nil {
		return uint32(i)
	}
	return binary.LittleEndian.Uint32(b.ids[4*i:])
}

// Size returns the size of column i in bytes, without its part of the directory.
func (b *Block) Size(i int) int { return len(b.column(i)) }

// Find returns the index of the column with a number.
func (b *Block) Find(id uint32) (i int, ok bool) {
	if b.ids == nil {
		return int(id), int(id) < b.columns
	}
	lo, hi := 0, b.columns
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if b.ID(mid) < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < b.columns && b.ID(lo) == id
}

// Offsets returns the offset of each column from the slot times, in milliseconds; nil if all are 0.
func (b *Block) Offsets() []int64 {
	if b.offsets == nil {
		return nil
	}
	offsets := make([]int64, b.columns)
	rest := b.offsets
	for i := range offsets {
		v, n := binary.Varint(rest)
		offsets[i], rest = v, rest[n:]
	}
	return offsets
}

func (b *Block) end(i int) uint32 { return binary.LittleEndian.Uint32(b.ends[4*i:]) }

func (b *Block) column(i int) []byte {
	begin := uint32(0)
	if i > 0 {
		begin = b.end(i - 1)
	}
	return b.body[begin:b.end(i)]
}

// Decode fills dst with values of column i. from is the index of the first one; from+len(dst) must
// not exceed Slots. The error wraps a [*binfmt.DamageError].
func (b *Block) Decode(d *codec.Decoder, dst []float64, i, from int) error {
	if err := b.decode(d, dst, b.column(i), from); err != nil {
		return b.corrupt(i, err)
	}
	return nil
}

func (b *Block) decode(d *codec.Decoder, dst []float64, column []byte, from int) error {
	if from != 0 || len(dst) != b.Slots {
		return d.DecodeRange(dst, column, b.Slots, from)
	}
	tail, err := d.Decode(dst, column)
	if err == nil && len(tail) > 0 {
		err = errors.New("bytes after its values")
	}
	return err
}

// Stats returns the statistics of column i without decoding its values.
func (b *Block) Stats(d *codec.Decoder, i int) (codec.Stats, error) {
	s, err := d.Stats(b.column(i), b.Slots)
	if err != nil {
		return s, b.corrupt(i, err)
	}
	return s, nil
}

// Values returns the number of samples in all columns. Only the first call counts them. The error
// reports the first damaged column.
func (b *Block) Values(d *codec.Decoder) (int64, error) {
	if n := b.samples.Load(); n > 0 {
		return n - 1, nil
	}
	var all int64
	for i := range b.columns {
		n, err := d.Count(b.column(i), b.Slots)
		if err != nil {
			return all, b.corrupt(i, err)
		}
		all += int64(n)
	}
	b.samples.Store(all + 1)
	return all, nil
}

func (b *Block) corrupt(i int, err error) error {
	at := b.bodyAt
	if i > 0 {
		at += int(b.end(i - 1))
	}
	return fmt.Errorf("block %w", binfmt.Damagef(int64(at), "column %d: %v", b.ID(i), err))
}

// Without returns the block without some columns and their aggregates: b itself if all stay, nil if
// none does.
func (b *Block) Without(drop func(id uint32) bool) *Block {
	var keep []int
	for i := range b.columns {
		if !drop(b.ID(i)) {
			keep = append(keep, i)
		}
	}
	switch len(keep) {
	case b.columns:
		return b
	case 0:
		return nil
	}
	var w Builder
	w.Reset(b.Header)
	offsets := b.Offsets()
	for _, i := range keep {
		c := Column{ID: b.ID(i)}
		if offsets != nil {
			c.Offset = offsets[i]
		}
		w.add(c, func(dst []byte) []byte { return append(dst, b.column(i)...) })
	}
	w.keepAggregates(b, drop)
	return w.Finish()
}

// Cut returns the block without the values before a slot of each column, and without the aggregates
// of changed columns: b itself if all stay, nil if none does. The error wraps a
// [*binfmt.DamageError]; the damaged columns are unchanged then.
func (b *Block) Cut(d *codec.Decoder, before func(id uint32) int64) (*Block, error) {
	var w Builder
	var errs []error
	var values []float64
	w.Reset(b.Header)
	offsets := b.Offsets()
	changed := make(map[uint32]bool)
	for i := range b.columns {
		c := Column{ID: b.ID(i)}
		if offsets != nil {
			c.Offset = offsets[i]
		}
		n := before(c.ID) - b.First // may overflow if all stay
		switch {
		case before(c.ID) <= b.First:
		case n >= int64(b.Slots):
			changed[c.ID] = true
			continue
		default:
			if values == nil {
				values = make([]float64, b.Slots)
			}
			if err := b.Decode(d, values, i, 0); err != nil {
				errs = append(errs, err)
				break
			}
			if !slices.ContainsFunc(values[:n], func(v float64) bool { return v == v }) {
				break
			}
			for k := range values[:n] {
				values[k] = math.NaN()
			}
			w.Add(c, values)
			changed[c.ID] = true
			continue
		}
		w.add(c, func(dst []byte) []byte { return append(dst, b.column(i)...) })
	}
	if len(changed) == 0 {
		return b, errors.Join(errs...)
	}
	w.keepAggregates(b, func(number uint32) bool { return changed[number] })
	return w.Finish(), errors.Join(errs...)
}
