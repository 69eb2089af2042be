package codec

import (
	"encoding/binary"
	"math"
)

// appendRaw writes the samples uncompressed.
func (e *Encoder) appendRaw(dst []byte, samples []float64, tag byte) []byte {
	dst = append(dst, tag)
	if tag&tagStats != 0 {
		dst = appendFloatStats(dst, Summarize(samples))
	}
	w := e.body(dst, tag, len(samples))
	dst = w.close()
	for _, v := range samples {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst
}

// raw fills dst with samples of a raw column, starting at sample from.
func (c *column) raw(dst []float64, from int) error {
	c.body.pos = (c.body.pos + 7) &^ 7
	end := c.body.pos + 64*uint(c.samples)
	if end > 8*uint(len(c.body.src)) {
		return ErrTruncated
	}
	src := c.body.src[c.body.pos>>3+8*uint(from):]
	for i := range dst {
		dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
	}
	c.body.pos = end
	return nil
}
