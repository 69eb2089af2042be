package codec

import "math/bits"

// The ladder cuts the natural numbers into rungs, two to an octave, so that a
// number is the index of its rung and an offset on it:
//
//	rung   0  1  2  3  4    5    6     7      8      9
//	holds  0  1  2  3  4-5  6-7  8-11  12-15  16-23  24-31 ...
//
// A ladder with a shift k holds n where n>>k is on the rung, and the offset has
// k bits more. Rungs get a prefix code and offsets are written as they are: what
// a distribution looks like is in the rungs, two to an octave are enough to
// follow it within 0.05 bit, and the shift keeps them few.

// maxRungs is the number of rungs of 64-bit numbers.
const maxRungs = 128

// rung returns the rung of n on the ladder without a shift.
func rung(n uint64) uint {
	below := uint(bits.Len64(n|2)) - 2 // the bits after the first two
	return 2*below + uint(n>>(below&63))
}

// rungAfter moves a rung of the ladder without a shift to the one with shift k.
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
