package codec

import "math"

// roundPlaces is the number of decimals up to which [Round] does not round.
const roundPlaces = 4

// Round rounds v to the given number of significant bits, including the leading one: 24 is the
// precision of a float32, and 53 or more returns v. It rounds to nearest, halves to even (IEEE
// 754), so the error is at most |v| * 2^-bits. Fewer than 1 bits count as 1.
//
// Values that compress well without rounding stay as they are: integers below 2^53, and decimals of
// at most four places below 1e11. So do infinities, NaN, zeros of either sign, and values that
// would round to infinity. Subnormals are rounded at the same bit as the smallest normal numbers.
// Round(Round(v, bits), bits) equals Round(v, bits).
func Round(v float64, bits int) float64 {
	if bits >= 53 || v == math.Trunc(v) && math.Abs(v) < 1<<53 || isShortDecimal(v) {
		return v
	}
	drop := uint(53 - max(bits, 1))
	pattern := math.Float64bits(v)
	if pattern>>52&0x7ff == 0x7ff {
		return v // infinity or NaN
	}
	half := uint64(1) << (drop - 1)
	odd := pattern >> drop & 1
	rounded := math.Float64frombits((pattern + half - 1 + odd) &^ (1<<drop - 1))
	if math.IsInf(rounded, 0) {
		return v
	}
	return rounded
}

// isShortDecimal reports whether v is a decimal of at most roundPlaces places.
func isShortDecimal(v float64) bool { return isDecimal(v, roundPlaces) }
