package block

import (
	"encoding/binary"
	"fmt"

	"github.com/ringstore/ringstore/memstore/binfmt"
	"github.com/ringstore/ringstore/memstore/codec"
)

// Column identifies a column of a block.
type Column struct {
	ID     uint32 // the number of the series in its lane
	Offset int64  // of its samples from the slot times, milliseconds
}

// Builder makes blocks. Call Reset before the first use. A Builder reuses its scratch memory; only
// one goroutine may use it at a time.
type Builder struct {
	head    Header
	before  *Block // the block of the preceding window, or nil
	encoder codec.Encoder
	columns []Column
	ends    []uint32
	body    []byte
	sums    []encodedAggregate
	entries []byte // of sums
	out     []byte
	tail    []byte
}

// Reset starts a new block.
func (w *Builder) Reset(h Header) {
	w.head, w.before = h, nil
	w.columns, w.ends, w.body = w.columns[:0], w.ends[:0], w.body[:0]
	w.sums, w.entries = w.sums[:0], w.entries[:0]
}

// Follow sets the block of the preceding window, which may be nil. Columns similar to those of b
// are then encoded faster. Merged blocks do not use it: for them, the encoder makes every choice
// again. The builder refers to b until Finish.
func (w *Builder) Follow(b *Block) { w.before = b }

// Add adds a column unless all its values are NaN. Columns must be added in ascending order of
// their numbers. A column has one value per slot. Only merged blocks contain statistics, which
// would be a large part of a short block.
func (w *Builder) Add(c Column, values []float64) {
	if len(values) != w.head.Slots {
		panic(fmt.Sprintf("block: column: expected %d values, got %d", w.head.Slots, len(values)))
	}
	for _, v := range values {
		if v == v {
			w.add(c, func(dst []byte) []byte {
				if w.head.Generation > 0 {
					return w.encoder.AppendWithStats(dst, values)
				}
				like, slots := w.like(c.ID)
				return w.encoder.AppendLike(dst, values, like, slots)
			})
			return
		}
	}
}

// like returns the column of a series in the preceding block, and its number of slots.
func (w *Builder) like(id uint32) (column []byte, slots int) {
	if w.before == nil {
		return nil, 0
	}
	i, ok := w.before.Find(id)
	if !ok {
		return nil, 0
	}
	return w.before.column(i), w.before.Slots
}

func (w *Builder) add(c Column, appendTo func([]byte) []byte) {
	w.body = appendTo(w.body)
	w.columns = append(w.columns, c)
	w.ends = append(w.ends, uint32(len(w.body)))
}

// Finish returns the block, in one allocation of its exact size, or nil if it has no column. It
// panics if the header or the columns violate the format.
func (w *Builder) Finish() *Block {
	w.before = nil
	if len(w.columns) == 0 {
		return nil
	}
	dense, offsets := true, false
	for i, c := range w.columns {
		dense = dense && c.ID == uint32(i)
		offsets = offsets || c.Offset != 0
	}
	var flags byte
	if dense {
		flags |= flagDense
	}
	if offsets {
		flags |= flagOffsets
	}
	tail := w.tail[:0]
	if len(w.sums) > 0 {
		flags |= flagAggregates
		tail = w.appendAggregates(tail)
	}
	out := append(w.out[:0], magic...)
	out = append(out, Version, flags, w.head.Generation)
	out = binary.AppendUvarint(out, uint64(w.head.Slots))
	out = binary.AppendUvarint(out, uint64(len(w.columns)))
	out = binary.AppendUvarint(out, uint64(w.head.Frequency/1000))
	out = binary.AppendUvarint(out, uint64(w.head.Grid))
	out = binary.AppendVarint(out, w.head.First)
	for _, end := range w.ends {
		out = binary.LittleEndian.AppendUint32(out, end)
	}
	if !dense {
		for _, c := range w.columns {
			out = binary.LittleEndian.AppendUint32(out, c.ID)
		}
	}
	if offsets {
		for _, c := range w.columns {
			out = binary.AppendVarint(out, c.Offset)
		}
	}
	w.out, w.tail = out, tail // keeps the scratch memory
	data := make([]byte, 0, len(out)+len(w.body)+len(tail)+crcSize)
	data = append(append(append(data, out...), w.body...), tail...)
	data = binary.LittleEndian.AppendUint32(data, binfmt.Checksum(data))
	b, err := parse(data)
	if err != nil {
		panic("block: built an unreadable block: " + err.Error())
	}
	if b.Header != w.head {
		panic(fmt.Sprintf("block: invalid header %+v", w.head))
	}
	return b
}
