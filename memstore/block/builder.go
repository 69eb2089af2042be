package block

import (
	"encoding/binary"
	"fmt"

	"github.com/ringstore/ringstore/memstore/binfmt"
	"github.com/ringstore/ringstore/memstore/codec"
)

// Column tells whose values a column holds.
type Column struct {
	ID     uint32 // the lane's number of the series
	Offset int64  // of its samples from the slots' times, milliseconds
}

// Builder makes blocks. Its zero value needs a Reset; it keeps scratch memory
// and is for one goroutine at a time.
type Builder struct {
	head    Header
	before  *Block // the columns go on as those of this one did; nil: as nothing
	encoder codec.Encoder
	columns []Column
	ends    []uint32
	body    []byte
	out     []byte
}

// Reset begins a block.
func (w *Builder) Reset(h Header) {
	w.head, w.before = h, nil
	w.columns, w.ends, w.body = w.columns[:0], w.ends[:0], w.body[:0]
}

// Follow tells of the window before the one that is built: with it, columns that
// go on as they were are encoded in less time. Blocks that are merged do not follow:
// there each choice is made anew. b may be nil, and is kept until Finish.
func (w *Builder) Follow(b *Block) { w.before = b }

// Add adds a column, unless all its values are NaN. The columns come in the
// order of their ids, and have as many values as the block has slots. Only
// merged blocks carry statistics: in short ones they are dear.
func (w *Builder) Add(c Column, values []float64) {
	if len(values) != w.head.Slots {
		panic(fmt.Sprintf("block: a column of %d values in a block of %d slots", len(values), w.head.Slots))
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

// like returns the encoded column of a series in the window before, and its slots.
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

// Finish returns the block, in one allocation of its size; nil if it has no
// column. It panics if the header or the columns are not what a block can hold.
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
	w.out = out // the head's scratch; the body is copied once, to where it stays
	data := make([]byte, 0, len(out)+len(w.body)+crcSize)
	data = append(append(data, out...), w.body...)
	data = binary.LittleEndian.AppendUint32(data, binfmt.Checksum(data))
	b, err := parse(data)
	if err != nil {
		panic("block: built a block that cannot be read: " + err.Error())
	}
	if b.Header != w.head {
		panic(fmt.Sprintf("block: a block cannot be of %+v", w.head))
	}
	return b
}
