package rest

import (
	"math"
	"strconv"
)

// significant is how many digits an answer gives of a value. Every decimal of up
// to that many digits is a float64 of its own, so it comes out as it went in; of
// others the error is below one in 10^14. The shortest text that reads back as
// the same bits would take several times the time.
const significant = 15

// Outside of these sizes, which are rare, numbers are written by strconv.
const (
	smallestFixed = 1e-6
	largestFixed  = 1e15
)

// appendFloat appends v as a JSON number: whole numbers below 2^53 with all of
// their digits, others with up to 15 significant ones; null where JSON has none.
func appendFloat(dst []byte, v float64) []byte {
	const exact = 1 << 53
	if i := int64(v); float64(i) == v && -exact < i && i < exact && (i != 0 || !math.Signbit(v)) {
		if i < 0 {
			return strconv.AppendInt(dst, i, 10)
		}
		return appendWhole(dst, uint64(i))
	}
	size := math.Abs(v)
	switch {
	case !(size <= math.MaxFloat64): // NaN and infinities
		return append(dst, "null"...)
	case size >= 1e21 || 0 < size && size < smallestFixed:
		return strconv.AppendFloat(dst, v, 'e', -1, 64)
	case size >= largestFixed || size == 0:
		return strconv.AppendFloat(dst, v, 'f', -1, 64)
	}
	if v < 0 {
		dst = append(dst, '-')
	}
	// Nearly all are decimals of a few places, which are found out faster.
	if size < 1e11 {
		if i := int64(size*1e4 + 0.5); float64(i)/1e4 == size {
			return appendFourPlaces(dst, uint64(i))
		}
	}
	places := significant - wholeDigits(size)
	return appendFixed(dst, uint64(int64(size*powers[places]+0.5)), places)
}

// appendFourPlaces appends i / 10^4, which is no whole number.
func appendFourPlaces(dst []byte, i uint64) []byte {
	dst = appendWhole(dst, i/10000)
	first, second := 2*(i%10000/100), 2*(i%100)
	switch {
	case second == 0 && pairs[first+1] == '0':
		return append(dst, '.', pairs[first])
	case second == 0:
		return append(dst, '.', pairs[first], pairs[first+1])
	case pairs[second+1] == '0':
		return append(dst, '.', pairs[first], pairs[first+1], pairs[second])
	default:
		return append(dst, '.', pairs[first], pairs[first+1], pairs[second], pairs[second+1])
	}
}

// appendWhole appends i, which is small in most cases.
func appendWhole(dst []byte, i uint64) []byte {
	switch low := 2 * (i % 100); {
	case i < 10:
		return append(dst, byte('0'+i))
	case i < 100:
		return append(dst, pairs[low], pairs[low+1])
	case i < 1000:
		return append(dst, byte('0'+i/100), pairs[low], pairs[low+1])
	case i < 10000:
		high := 2 * (i / 100)
		return append(dst, pairs[high], pairs[high+1], pairs[low], pairs[low+1])
	default:
		return strconv.AppendUint(dst, i, 10)
	}
}

// wholeDigits returns how many digits a number has before the point; of a number
// below 0.1, minus the zeros that follow the point.
func wholeDigits(size float64) int {
	exponent := int(math.Float64bits(size)>>52) - 1023
	digits := (exponent*1233)>>12 + 1 // 1233/4096 is just above log10(2)
	if digits >= 0 && size >= powers[digits] || digits < 0 && size*powers[-digits] >= 1 {
		digits++
	}
	return digits
}

// powers are those of ten that are exact.
var powers = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10,
	1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// appendFixed appends i / 10^places, i below 10^16, without needless zeros.
func appendFixed(dst []byte, i uint64, places int) []byte {
	var digits [16]byte
	eightDigits(digits[:8], uint32(i/1e8))
	eightDigits(digits[8:], uint32(i%1e8))
	end := len(digits)
	for end > 0 && end > len(digits)-places && digits[end-1] == '0' {
		end--
	}
	point := len(digits) - places
	if point <= 0 {
		const zeros = "0.00000000"
		return append(append(dst, zeros[:2-point]...), digits[:end]...)
	}
	begin := 0
	for begin < point-1 && digits[begin] == '0' {
		begin++
	}
	dst = append(dst, digits[begin:point]...)
	if end <= point {
		return dst
	}
	return append(append(dst, '.'), digits[point:end]...)
}

// eightDigits writes i, which is below 10^8, with leading zeros.
func eightDigits(dst []byte, i uint32) {
	_ = dst[7]
	high, low := i/10000, i%10000
	a, b, c, d := 2*(high/100), 2*(high%100), 2*(low/100), 2*(low%100)
	dst[0], dst[1] = pairs[a], pairs[a+1]
	dst[2], dst[3] = pairs[b], pairs[b+1]
	dst[4], dst[5] = pairs[c], pairs[c+1]
	dst[6], dst[7] = pairs[d], pairs[d+1]
}

// pairs are the digits of 00 to 99.
const pairs = "00010203040506070809" +
	"10111213141516171819" +
	"20212223242526272829" +
	"30313233343536373839" +
	"40414243444546474849" +
	"50515253545556575859" +
	"60616263646566676869" +
	"70717273747576777879" +
	"80818283848586878889" +
	"90919293949596979899"
