package codec

import (
	"encoding/binary"
	"slices"
)

// putResiduals writes the residuals of a column: the places of those that are
// not zero if the rest is left out, the code, all rungs, all offsets. Rungs and
// offsets are apart, so that a reader's next rung does not wait for an offset.
func (e *Encoder) putResiduals(w *bitWriter) {
	m, r := &e.model, &e.residuals
	if m.sparse {
		w.putRuns(e.spare)
	}
	w.putCode(&m.code)
	if len(r.zigzagged) == 0 {
		return
	}
	w.reserve(len(r.zigzagged) + m.bits/8)
	if !m.code.single() {
		w.putRungs(&m.code, r.rungs)
	}
	w.putOffsets(&m.code, r)
}

// reserve makes room for n bytes.
func (w *bitWriter) reserve(n int) {
	w.buf = slices.Grow(w.buf, n+16)
}

// putRungs writes the prefix codes of rungs, which are those of the ladder
// without a shift. There must be room.
func (w *bitWriter) putRungs(c *code, rungs []uint8) {
	var short [maxRungs]uint8
	assign(short[:], c.lengths[:c.rungs])
	var codes [maxRungs]uint16 // length<<8 | code, by the rung without a shift
	for at := c.low; at <= c.top; at++ {
		to := rungAfter(uint(at), c.shift) % maxRungs
		codes[at] = uint16(c.lengths[to])<<8 | uint16(short[to])
	}
	buf := w.buf[:cap(w.buf)]
	end, acc, held := len(w.buf), w.acc, w.held
	for len(rungs) >= 4 {
		for _, at := range rungs[:4] {
			code := codes[at%maxRungs]
			acc |= uint64(code&0xff) << (held & 63)
			held += uint(code >> 8)
		}
		rungs = rungs[4:]
		binary.LittleEndian.PutUint64(buf[end:], acc)
		end += int(held >> 3)
		acc >>= held &^ 7 & 63
		held &= 7
	}
	w.buf, w.acc, w.held = buf[:end], acc, held
	for _, at := range rungs {
		code := codes[at%maxRungs]
		w.put(uint64(code&0xff), uint(code>>8))
	}
}

// putOffsets writes the offsets of residuals on their rungs. There must be room.
func (w *bitWriter) putOffsets(c *code, r *residuals) {
	var widths [maxRungs]uint8 // by the rung without a shift
	for at := c.low; at <= c.top; at++ {
		widths[at] = uint8(offsetBits(rungAfter(uint(at), c.shift), c.shift))
	}
	buf := w.buf[:cap(w.buf)]
	end, acc, held := len(w.buf), w.acc, w.held
	rungs := r.rungs[:len(r.zigzagged)]
	for i, z := range r.zigzagged {
		width := uint(widths[rungs[i]%maxRungs]) // at most 63
		z &= 1<<(width&63) - 1
		spill := z >> 1 >> (^held & 63) // what is beyond 64 bits
		acc |= z << (held & 63)
		binary.LittleEndian.PutUint64(buf[end:], acc)
		held += width
		if held >= 64 { // a conditional move
			acc = spill
		}
		end += int(held>>6) * 8
		held &= 63
	}
	binary.LittleEndian.PutUint64(buf[end:], acc)
	w.buf, w.acc, w.held = buf[:end+int(held>>3)], acc>>(held&^7&63), held&7
}
