package codec

import "math/bits"

// The ladder divides the natural numbers into rungs, two per octave, so that a number is the index
// of its rung and an offset on it:
//
//	rung   0  1  2  3  4    5    6     7      8      9
//	holds  0  1  2  3  4-5  6-7  8-11  12-15  16-23  24-31 ...
//
// On a ladder with a shift k, n is on the rung of n>>k, and the offset has k more bits. Rungs have
// a prefix code, offsets are written verbatim: two rungs per octave follow the distribution within
// 0.05 bit, and the shift keeps the number of rungs small.

// maxRungs is the number of rungs of 64-bit numbers.
const maxRungs = 128

// rung returns the rung of n on the ladder without a shift.
func rung(n uint64) uint {
	below := uint(bits.Len64(n|2)) - 2 // the bits after the first two
	return 2*below + uint(n>>(below&63))
}

// rungAfter converts a rung of the ladder without a shift to the one with shift k.
func rungAfter(rung, k uint) uint {
	switch {
	case rung < 2*k:
		return 0
	case rung < 2*k+2 && k > 0:
		return 1
	default:
		return rung - 2*k
	}
}

// offsetBits returns the width of the offset on a rung of the ladder with shift k.
func offsetBits(rung, k uint) uint {
	if rung < 4 {
		return k
	}
	return k + rung/2 - 1
}

// rungStart returns the first number on a rung of the ladder with shift k.
func rungStart(rung, k uint) uint64 {
	if rung < 2 {
		return uint64(rung) << k
	}
	return uint64(2|rung&1) << (rung/2 - 1 + k)
}
