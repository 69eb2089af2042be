// Package block is the unit of the store: a window of a lane, every series of
// it as a column of values, in one immutable run of bytes. The same bytes are
// the memory format and what is written to disk; ../FORMAT.md draws them.
//
// The package knows columns by number and slots by number. It knows no series,
// no host and no clock.
package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync/atomic"

	"github.com/ringstore/ringstore/memstore/codec"
)

// Version is the newest version that is read and the one that is written.
const Version = 1

const (
	magic   = "RSB"
	crcSize = 4

	flagDense   = 1 << 0 // the columns are 0, 1, 2, ...: no ids are written
	flagOffsets = 1 << 1 // the columns' offsets follow
	flagsKnown  = flagDense | flagOffsets

	fixedSize = len(magic) + 3 // and version, flags, generation

	// latest bounds the times of a block's slots, either side of 1970, in
	// milliseconds: arithmetic with them does not overflow.
	latest = 1 << 62
)

// Limits of what a block may say of itself; more is damage.
const (
	MaxSlots   = codec.MaxSlots
	MaxColumns = 1 << 24 // and of their numbers
)

// Header tells what a block is a window of.
type Header struct {
	Frequency  int64 // distance of two slots, milliseconds; a whole number of seconds
	Grid       int64 // slot n is at Grid + n*Frequency, Unix milliseconds; in [0, Frequency)
	First      int64 // slot of the first value of each column
	Slots      int   // values in each column
	Generation uint8 // how often windows were merged to make it
}

// Block is a block that has been checked. It is immutable and may be used by
// many goroutines.
type Block struct {
	Header
	data    []byte // all of it
	columns int
	ends    []byte // 4 bytes a column: where it ends in body
	ids     []byte // 4 bytes a column, ascending; nil if dense
	offsets []byte // varints; nil if all are 0
	body    []byte // the columns, one behind the other

	samples atomic.Int64 // in all columns, and 1; 0 if they were not counted yet
}

// CorruptError tells that bytes are not a sound block.
type CorruptError struct {
	Offset int // in bytes, of the part that is wrong
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("block is damaged at byte %d: %s", e.Offset, e.Reason)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Open checks data, which must be one block to its last byte, and keeps it.
// The columns' values are checked as they are decoded. The error is a
// *CorruptError. Whatever the bytes say, what is allocated does not depend on
// them.
func Open(data []byte) (*Block, error) {
	if len(data) < fixedSize+crcSize || string(data[:len(magic)]) != magic {
		return nil, &CorruptError{0, "no block begins here"}
	}
	if v := data[len(magic)]; v != Version {
		return nil, &CorruptError{len(magic), fmt.Sprintf("version %d is not known", v)}
	}
	sum := binary.LittleEndian.Uint32(data[len(data)-crcSize:])
	content := data[:len(data)-crcSize]
	if crc32.Checksum(content, castagnoli) != sum {
		return nil, &CorruptError{len(content), "the checksum is wrong"}
	}
	return parse(data, content)
}

func parse(data, content []byte) (*Block, error) {
	flags := content[len(magic)+1]
	if flags&^flagsKnown != 0 {
		return nil, &CorruptError{len(magic) + 1, fmt.Sprintf("flags %#x are not known", flags&^flagsKnown)}
	}
	b := &Block{data: data}
	b.Generation = content[len(magic)+2]
	r := reader{rest: content[fixedSize:], size: len(content)}
	b.Slots = int(r.uvarint(1, MaxSlots, "slots"))
	b.columns = int(r.uvarint(1, MaxColumns, "columns"))
	b.Frequency = int64(r.uvarint(1, latest/1000, "frequency")) * 1000
	b.Grid = int64(r.uvarint(0, uint64(b.Frequency-1), "grid"))
	most := latest/b.Frequency - 1 // a slot; the grid and an offset are less than one more
	b.First = r.varint(-most, most-int64(b.Slots), "first slot")
	b.ends = r.take(4*b.columns, "directory")
	if flags&flagDense == 0 {
		b.ids = r.take(4*b.columns, "column numbers")
	}
	if flags&flagOffsets != 0 {
		b.offsets = r.varints(b.columns, -b.Frequency/2, b.Frequency/2-1, "offset")
	}
	b.body = r.rest
	if r.err == nil {
		r.err = b.checkDirectory()
	}
	if r.err != nil {
		return nil, r.err
	}
	return b, nil
}

func (b *Block) checkDirectory() error {
	endsAt := b.bodyAt() - len(b.offsets) - len(b.ids) - len(b.ends)
	idsAt := endsAt + len(b.ends)
	last, next := uint32(0), uint32(0)
	for i := range b.columns {
		end, id := b.end(i), b.ID(i)
		if end <= last || int64(end) > int64(len(b.body)) {
			return &CorruptError{endsAt + 4*i, fmt.Sprintf("column %d of %d ends where it cannot", i, b.columns)}
		}
		if id < next || id >= MaxColumns {
			return &CorruptError{idsAt + 4*i, fmt.Sprintf("column %d of %d has a number that it cannot have", i, b.columns)}
		}
		last, next = end, id+1
	}
	if int(last) != len(b.body) {
		return &CorruptError{b.bodyAt() + int(last), "bytes behind the last column"}
	}
	return nil
}

// bodyAt returns where the columns begin.
func (b *Block) bodyAt() int { return len(b.data) - crcSize - len(b.body) }

// Bytes returns all of the block. It is not to be written to.
func (b *Block) Bytes() []byte { return b.data }

// Columns returns how many columns the block has.
func (b *Block) Columns() int { return b.columns }

// ID returns the number of column i.
func (b *Block) ID(i int) uint32 {
	if b.ids == nil {
		return uint32(i)
	}
	return binary.LittleEndian.Uint32(b.ids[4*i:])
}

// Size returns how many bytes column i takes, without its part of the directory.
func (b *Block) Size(i int) int { return len(b.column(i)) }

// Find returns where the column with a number is.
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

// Offsets returns the offset of each column from the slots' times, in
// milliseconds; nil if all are 0.
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

// Decode writes the values of column i from the block's slot number from on to
// dst, which must not go beyond the last.
func (b *Block) Decode(d *codec.Decoder, dst []float64, i, from int) error {
	var err error
	if from == 0 && len(dst) == b.Slots {
		var tail []byte
		if tail, err = d.Decode(dst, b.column(i)); err == nil && len(tail) > 0 {
			err = errors.New("bytes behind its values")
		}
	} else {
		err = d.DecodeRange(dst, b.column(i), b.Slots, from)
	}
	if err != nil {
		return b.corrupt(i, err)
	}
	return nil
}

// Stats returns the statistics of column i without decoding its values.
func (b *Block) Stats(d *codec.Decoder, i int) (codec.Stats, error) {
	s, err := d.Stats(b.column(i), b.Slots)
	if err != nil {
		return s, b.corrupt(i, err)
	}
	return s, nil
}

// Values counts the samples of all columns. They are counted once, and the next
// call costs nothing. The error tells of the first column that is damaged.
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
	at := b.bodyAt()
	if i > 0 {
		at += int(b.end(i - 1))
	}
	return &CorruptError{at, fmt.Sprintf("column %d: %v", b.ID(i), err)}
}

// Without returns the block without some columns, nil if none is left, and b
// itself if all stay.
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
	return w.Finish()
}

// reader takes fields off the front of a block's head. After an error it takes
// nothing, and what it returns is the least that could be.
type reader struct {
	rest []byte
	size int
	err  error
}

func (r *reader) fail(problem, what string) {
	if r.err == nil {
		r.err = &CorruptError{r.size - len(r.rest), problem + " " + what}
	}
}

func (r *reader) uvarint(least, most uint64, what string) uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.err != nil || n <= 0 || v < least || v > most {
		r.fail("bad", what)
		return least
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint(least, most int64, what string) int64 {
	v, n := binary.Varint(r.rest)
	if r.err != nil || n <= 0 || v < least || v > most {
		r.fail("bad", what)
		return least
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) take(n int, what string) []byte {
	if r.err != nil || n > len(r.rest) {
		r.fail("no room for the", what)
		return nil
	}
	field := r.rest[:n:n]
	r.rest = r.rest[n:]
	return field
}

// varints passes over n varints and returns their bytes.
func (r *reader) varints(n int, least, most int64, what string) []byte {
	all := r.rest
	for i := 0; i < n && r.err == nil; i++ {
		r.varint(least, most, what)
	}
	return slices.Clip(all[:len(all)-len(r.rest)])
}
