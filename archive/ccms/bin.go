package ccms

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// A binary checkpoint is little endian: magic number, from (int64), to (int64), level. A level is
// the number of metrics (uint32), the metrics, the number of levels below (uint32), and each of
// these with its name. A metric is its name, frequency (int64), start (int64), number of values
// (uint32) and the values (float32). A name is its length (uint16) and its bytes.
//
// There is no checksum, so metrics are checked for plausibility: see [reader.column]. A slightly
// wrong number of values makes the reader take the following bytes for values, which shows only
// behind them. A metric is therefore accepted only when another good one, or the regular end of the
// file, follows.
const (
	binMagic = 0xCC5B0001
	binHead  = 4 + 8 + 8
)

type binReader struct {
	*reader
	cursor
	span span
	good int // accepted columns
}

func (r *reader) readBin(c cursor) error {
	head, err := c.next(binHead, "the header")
	if err != nil {
		return err
	}
	if magic := binary.LittleEndian.Uint32(head); magic != binMagic {
		return &atOffset{0, fmt.Errorf("expected the magic number %#08x of a checkpoint, got %#08x", uint32(binMagic), magic)}
	}
	s := span{int64(binary.LittleEndian.Uint64(head[4:])), int64(binary.LittleEndian.Uint64(head[12:]))}
	if s.before(r.o.Since) {
		return errOlder
	}
	b := binReader{reader: r, cursor: c, span: s}
	err = b.level(nil)
	if err == nil && b.left() > 0 {
		err = b.fail("%d bytes after the end of the checkpoint", b.left())
	}
	if err != nil {
		r.columns = r.columns[:b.good]
	}
	return err
}

func (b *binReader) level(levels []string) error {
	n, err := b.uint32("the number of metrics")
	if err != nil {
		return err
	}
	for range n {
		if err := b.metric(levels); err != nil {
			return err
		}
	}
	if n, err = b.uint32("the number of levels"); err != nil {
		return err
	}
	if n > 0 && len(levels) == maxLevels {
		return b.fail("expected no levels below a subtype")
	}
	for range n {
		name, err := b.name()
		if err != nil {
			return err
		}
		if err := b.level(append(levels, name)); err != nil {
			return err
		}
	}
	return nil
}

func (b *binReader) metric(levels []string) error {
	offset := b.offset
	name, err := b.name()
	if err != nil {
		return err
	}
	head, err := b.next(8+8, "a metric's head")
	if err != nil {
		return err
	}
	frequency := int64(binary.LittleEndian.Uint64(head))
	start := int64(binary.LittleEndian.Uint64(head[8:]))
	n, err := b.uint32("the number of values")
	if err != nil {
		return err
	}
	c, wrong := b.column(levels, name, b.span, frequency, start, int(n))
	if wrong == nil {
		b.good = len(b.columns)
	}
	if 4*int64(n) > b.left() {
		return b.fail("values: expected %d bytes, got %d", 4*int64(n), b.left())
	}
	begin := len(b.values)
	if err := b.readValues(int(n)); err != nil {
		return err
	}
	if wrong != nil {
		b.values = b.values[:begin]
		b.fileDamage(offset, "%v", wrong)
		return nil
	}
	c.begin, c.end = begin, len(b.values)
	b.columns = append(b.columns, c)
	return nil
}

func (b *binReader) readValues(n int) error {
	b.values = slices.Grow(b.values, n)
	for n > 0 {
		part := min(n, 4096)
		raw, err := b.next(4*part, "values")
		if err != nil {
			return err
		}
		n -= part
		for ; len(raw) > 0; raw = raw[4:] {
			b.values = append(b.values, widen(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
		}
	}
	return nil
}

func (b *binReader) uint32(what string) (uint32, error) {
	raw, err := b.next(4, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(raw), nil
}

func (b *binReader) name() (string, error) {
	raw, err := b.next(2, "the length of a name")
	if err != nil {
		return "", err
	}
	raw, err = b.next(int(binary.LittleEndian.Uint16(raw)), "a name")
	return string(raw), err
}
