package codec

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A constant column has its value in the shortest of these kinds, which two bits of the tag select.
const (
	constantZero    = 0x00 // nothing
	constantInteger = 0x20 // zigzag varint
	constantDecimal = 0x40 // exponent byte, zigzag varint
	constantBits    = 0x60 // 8 bytes, little endian
	constantKind    = 0x60
)

func (e *Encoder) appendConstant(dst []byte, v float64, nulls byte) []byte {
	tag := formConstant | nulls
	exponent, ok := places(v, 0)
	switch x := scaled(v, exponent); {
	case math.Float64bits(v) == 0:
		dst = append(dst, tag|constantZero)
	case ok && exponent == 0:
		dst = append(dst, tag|constantInteger)
		dst = binary.AppendVarint(dst, x)
	case ok && x < 1<<40 && x > -1<<40: // less than 8 bytes
		dst = append(dst, tag|constantDecimal, byte(exponent))
		dst = binary.AppendVarint(dst, x)
	default:
		dst = append(dst, tag|constantBits)
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	w := e.body(dst, nulls, 0)
	return w.close()
}

// takeConstant reads the value of a constant column.
func takeConstant(tag byte, h *head) (float64, error) {
	switch tag & constantKind {
	case constantInteger:
		x := h.varint()
		return float64(x), nil
	case constantDecimal:
		exponent := h.byte()
		if int(exponent) >= len(pow10) {
			return 0, fmt.Errorf("%w: exponent: expected at most %d, got %d", ErrCorrupt, len(pow10)-1, exponent)
		}
		return float64(h.varint()) / pow10[exponent], nil
	case constantBits:
		return math.Float64frombits(h.uint64()), nil
	default:
		return 0, nil
	}
}
