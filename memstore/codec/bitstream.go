package codec

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// maxField is the maximum width of a field that fits in one load of 64 bits for every position of
// the field in its first byte.
const maxField = 57

// bitWriter appends fields to buf, the low bit of a byte first.
type bitWriter struct {
	buf  []byte
	acc  uint64 // the bits not yet in buf
	held uint   // number of bits in acc, below 8 between calls
}

// put appends the low width bits of v, whose other bits must be zero. width is at most 56.
func (w *bitWriter) put(v uint64, width uint) {
	acc := w.acc | v<<(w.held&63)
	held := w.held + width
	if cap(w.buf)-len(w.buf) < 8 {
		w.buf = slices.Grow(w.buf, 64)
	}
	end := len(w.buf)
	binary.LittleEndian.PutUint64(w.buf[end:end+8], acc)
	w.buf = w.buf[:end+int(held>>3)]
	w.acc = acc >> (held &^ 7 & 63)
	w.held = held & 7
}

// putWide is put for a width of at most 64.
func (w *bitWriter) putWide(v uint64, width uint) {
	if width <= 32 {
		w.put(v, width)
		return
	}
	w.put(v&(1<<32-1), 32)
	w.put(v>>32, width-32)
}

// putUnary appends n ones and a zero.
func (w *bitWriter) putUnary(n int) {
	for ; n >= 32; n -= 32 {
		w.put(1<<32-1, 32)
	}
	w.put(1<<uint(n)-1, uint(n)+1)
}

// close pads the last byte with zeros and returns buf.
func (w *bitWriter) close() []byte {
	if w.held > 0 {
		w.put(0, 8-w.held)
	}
	return w.buf
}

// bitReader reads the output of a bitWriter. Past the end it reads zeros: the caller must check
// [bitReader.overrun] at the end, and before it trusts a length.
type bitReader struct {
	src []byte
	pos uint // in bits
}

// peek returns at least the next maxField bits, the next one lowest.
func peek(src []byte, pos uint) uint64 {
	at := pos >> 3
	if at+8 <= uint(len(src)) {
		return binary.LittleEndian.Uint64(src[at:at+8]) >> (pos & 7)
	}
	return peekEnd(src, pos)
}

// peekEnd is peek for the last bytes, fewer than 8.
func peekEnd(src []byte, pos uint) uint64 {
	var last [8]byte
	if at := pos >> 3; at < uint(len(src)) {
		copy(last[:], src[at:])
	}
	return binary.LittleEndian.Uint64(last[:]) >> (pos & 7)
}

// take reads a field of at most maxField bits.
func (r *bitReader) take(width uint) uint64 {
	v := peek(r.src, r.pos) & (1<<width - 1)
	r.pos += width
	return v
}

// takeWide reads a field of up to 64 bits.
func (r *bitReader) takeWide(width uint) uint64 {
	if width <= 32 {
		return r.take(width)
	}
	low := r.take(32)
	return low | r.take(width-32)<<32
}

// takeUnary counts the ones before the next zero and skips both. It stops counting beyond limit.
func (r *bitReader) takeUnary(limit int) int {
	n := 0
	for {
		ones := min(bits.TrailingZeros64(^peek(r.src, r.pos)), maxField-1)
		n += ones
		r.pos += uint(ones)
		if ones < maxField-1 || n > limit {
			r.pos++
			return n
		}
	}
}

// overrun reports whether more bits were read than there are.
func (r *bitReader) overrun() bool { return r.pos > 8*uint(len(r.src)) }

// tail returns the bytes after the last one read from.
func (r *bitReader) tail() []byte { return r.src[(r.pos+7)>>3:] }
