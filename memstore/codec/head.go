package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// head reads the fields between the tag and the bit stream, which are whole bytes. After an error
// it returns zeros. It does not use binfmt.Reader, which reports offsets: a column does not know
// where it lies in its block.
type head struct {
	src []byte
	err error
}

func (h *head) fail(err error) {
	if h.err == nil {
		h.err = err
	}
	h.src = nil
}

func (h *head) byte() byte {
	if len(h.src) < 1 {
		h.fail(ErrTruncated)
		return 0
	}
	b := h.src[0]
	h.src = h.src[1:]
	return b
}

func (h *head) uvarint() uint64 {
	v, n := binary.Uvarint(h.src)
	if n <= 0 {
		h.failVarint(n)
		return 0
	}
	h.src = h.src[n:]
	return v
}

func (h *head) varint() int64 {
	v, n := binary.Varint(h.src)
	if n <= 0 {
		h.failVarint(n)
		return 0
	}
	h.src = h.src[n:]
	return v
}

func (h *head) failVarint(n int) {
	if n == 0 {
		h.fail(ErrTruncated)
		return
	}
	h.fail(fmt.Errorf("%w: expected a number of at most 64 bits", ErrCorrupt))
}

func (h *head) uint64() uint64 {
	if len(h.src) < 8 {
		h.fail(ErrTruncated)
		return 0
	}
	v := binary.LittleEndian.Uint64(h.src)
	h.src = h.src[8:]
	return v
}

// float reads the encoding of appendFloat.
func (h *head) float() float64 {
	n := int(h.byte())
	if n > 8 {
		h.fail(fmt.Errorf("%w: float: expected at most 8 bytes, got %d", ErrCorrupt, n))
		return 0
	}
	if len(h.src) < n {
		h.fail(ErrTruncated)
		return 0
	}
	var b [8]byte
	copy(b[:], h.src[:n])
	h.src = h.src[n:]
	return math.Float64frombits(binary.BigEndian.Uint64(b[:]))
}

// appendFloat appends v without its trailing zero bytes, in big-endian order after their number.
func appendFloat(dst []byte, v float64) []byte {
	pattern := math.Float64bits(v)
	n := 8 - bits.TrailingZeros64(pattern)/8
	dst = append(dst, byte(n))
	for i := range n {
		dst = append(dst, byte(pattern>>(56-8*i)))
	}
	return dst
}
