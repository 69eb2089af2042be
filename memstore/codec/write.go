package codec

import (
	"encoding/binary"
	"slices"
)

// putResiduals writes the residuals of a column: the positions of the nonzero ones if the model is
// sparse, the code, all rungs, all offsets. Rungs and offsets are separate, so that reading a rung
// does not depend on the offset before it.
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
		w.putRungs(&m.code, r)
	}
	w.putOffsets(&m.code, r)
}

// reserve grows the buffer for n more bytes.
func (w *bitWriter) reserve(n int) {
	w.buf = slices.Grow(w.buf, n+16)
}

// field is the part of a residual that is written for its rung: the rung's code, or a mask of the
// bits of the offset.
type field struct {
	bits  uint64
	width uint
}

// putRungs writes the prefix codes of the rungs of r. The caller has reserved the space.
func (w *bitWriter) putRungs(c *code, r *residuals) {
	var short [maxRungs]uint8
	assign(short[:], c.lengths[:c.rungs])
	fields := &r.fields
	for at := c.low; at <= c.top; at++ {
		to := rungAfter(uint(at), c.shift) % maxRungs
		fields[at] = field{uint64(short[to]), uint(c.lengths[to])}
	}
	rungs := r.rungs
	buf := w.buf[:cap(w.buf)]
	end, acc, held := uint(len(w.buf)), w.acc, w.held
	for ; len(rungs) >= 4; rungs = rungs[4:] {
		f0, f1 := &fields[rungs[0]%maxRungs], &fields[rungs[1]%maxRungs]
		f2, f3 := &fields[rungs[2]%maxRungs], &fields[rungs[3]%maxRungs]
		first := f0.bits | f1.bits<<(f0.width&63)
		second := f2.bits | f3.bits<<(f2.width&63)
		acc |= first << (held & 63)
		held += f0.width + f1.width
		acc |= second << (held & 63)
		held += f2.width + f3.width
		binary.LittleEndian.PutUint64(buf[end:end+8], acc)
		end += held >> 3
		acc >>= held &^ 7 & 63
		held &= 7
	}
	w.buf, w.acc, w.held = buf[:end], acc, held
	for _, at := range rungs {
		f := &fields[at%maxRungs]
		w.put(f.bits, f.width)
	}
}

// putOffsets writes the offsets of the residuals of r. The caller has reserved the space.
func (w *bitWriter) putOffsets(c *code, r *residuals) {
	fields := &r.fields // by the rung without a shift
	widest := uint(0)
	for at := c.low; at <= c.top; at++ {
		width := offsetBits(rungAfter(uint(at), c.shift), c.shift)
		fields[at] = field{1<<width - 1, width}
		widest = max(widest, width)
	}
	zigzagged, rungs := r.zigzagged, r.rungs
	if widest > maxField-1 {
		for i, z := range zigzagged {
			f := &fields[rungs[i]%maxRungs]
			w.putWide(z&f.bits, f.width)
		}
		return
	}
	buf := w.buf[:cap(w.buf)]
	end, acc, held := uint(len(w.buf)), w.acc, w.held
	rungs = rungs[:len(zigzagged)]
	if widest <= maxField/4 {
		for ; len(zigzagged) >= 4 && len(rungs) >= 4; zigzagged, rungs = zigzagged[4:], rungs[4:] {
			f0, f1 := &fields[rungs[0]%maxRungs], &fields[rungs[1]%maxRungs]
			f2, f3 := &fields[rungs[2]%maxRungs], &fields[rungs[3]%maxRungs]
			first := zigzagged[0]&f0.bits | zigzagged[1]&f1.bits<<(f0.width&63)
			second := zigzagged[2]&f2.bits | zigzagged[3]&f3.bits<<(f2.width&63)
			acc |= first << (held & 63)
			held += f0.width + f1.width
			acc |= second << (held & 63)
			held += f2.width + f3.width
			binary.LittleEndian.PutUint64(buf[end:end+8], acc)
			end += held >> 3
			acc >>= held &^ 7 & 63
			held &= 7
		}
	}
	for i, z := range zigzagged {
		f := &fields[rungs[i]%maxRungs]
		acc |= z & f.bits << (held & 63)
		held += f.width
		binary.LittleEndian.PutUint64(buf[end:end+8], acc)
		end += held >> 3
		acc >>= held &^ 7 & 63
		held &= 7
	}
	w.buf, w.acc, w.held = buf[:end], acc, held
}
