package codec

import "math"

// roundPlaces is the number of decimals up to which [Round] keeps a value as it is.
const roundPlaces = 4

// Round rounds v to the given number of significant bits, the leading one
// included: 24 is the precision of a float32, and 53 or more keeps v. It rounds
// to nearest, halves to even (IEEE 754), and so is off by at most |v| * 2^-bits.
//
// It keeps what needs no rounding to be stored in few bytes: whole numbers below
// 2^53 and decimals of at most four places below 1e11. It keeps infinities, NaN
// and zeros of either sign. Subnormals are rounded at the place where a normal
// number with the least exponent is, and a value that rounds beyond the largest
// float64 is kept. Round(Round(v, bits), bits) is Round(v, bits). bits below 1
// are taken as 1.
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

// isShortDecimal says whether v is a decimal of at most roundPlaces places.
func isShortDecimal(v float64) bool { return isDecimal(v, roundPlaces) }
