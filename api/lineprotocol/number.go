package lineprotocol

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"time"

	"github.com/ringstore/ringstore/memstore/unixtime"
)

// maxDigits is the number of decimal digits that always fit a uint64.
const maxDigits = 19

// parseNumber reads the field value at the start of b if it has one of the plain forms
//
//	-?digits[.digits][e[+-]digits]   a float
//	-?digits i, digits u             an integer
//
// and returns it with its length in bytes. Floats are bit-identical to those of strconv.ParseFloat.
// If ok is false, the library may still accept the value.
func parseNumber(b []byte) (v float64, n int, ok bool) {
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		n = 1
	}
	mantissa, count := digits(b[n:], 0)
	n += count
	if n < len(b) && (b[n] == 'i' || b[n] == 'u') {
		v, ok = integer(mantissa, count, neg, b[n] == 'i')
		return v, n + 1, ok
	}
	exp := 0
	if n < len(b) && b[n] == '.' {
		var places int
		mantissa, places = digits(b[n+1:], mantissa)
		n += 1 + places
		count += places
		exp = -places
	}
	if count == 0 {
		return 0, 0, false
	}
	if n < len(b) && b[n]|0x20 == 'e' {
		e, length := exponent(b[n+1:])
		if length == 0 {
			return 0, 0, false
		}
		n += 1 + length
		exp += e
	}
	if count <= maxDigits {
		if v, ok = decimal(mantissa, exp); ok {
			if neg {
				v = -v
			}
			return v, n, true
		}
	}
	// The compiler converts a short string without an allocation.
	v, err := strconv.ParseFloat(string(b[:n]), 64)
	return v, n, err == nil
}

// parseTimestamp reads all of b as a Unix time. If ok is false, the library may still accept the
// timestamp.
func parseTimestamp(b []byte) (t int64, ok bool) {
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	m, count := digits(b, 0)
	if count == 0 || count != len(b) || count > maxDigits || m > math.MaxInt64 {
		return 0, false
	}
	t = int64(m)
	if neg {
		t = -t
	}
	return t, true
}

// milliseconds converts a Unix time to milliseconds, rounding finer units down. It returns false if
// the result is out of range.
func (d Dialect) milliseconds(t int64) (ms int64, ok bool) {
	switch {
	case d.Unit == 0:
		return Milliseconds(t), true
	case d.Unit < time.Millisecond:
		return unixtime.FloorDiv(t, int64(time.Millisecond/d.Unit)), true
	}
	factor := int64(d.Unit / time.Millisecond)
	ms = t * factor
	return ms, ms/factor == t
}

// Milliseconds converts a Unix time whose unit follows from its absolute value: below 1e11 it is in
// seconds, below 1e14 in milliseconds, below 1e17 in microseconds, and otherwise in nanoseconds.
// Finer units are rounded down.
func Milliseconds(t int64) int64 {
	switch {
	case -endSeconds < t && t < endSeconds:
		return t * 1e3
	case -endMilliseconds < t && t < endMilliseconds:
		return t
	case -endMicroseconds < t && t < endMicroseconds:
		return unixtime.FloorDiv(t, 1e3)
	default:
		return unixtime.FloorDiv(t, 1e6)
	}
}

// The smallest absolute values of Unix times that are in a finer unit.
const (
	endSeconds      = 1e11
	endMilliseconds = 1e14
	endMicroseconds = 1e17
)

// Timestamp returns the timestamp of an accepted line as it was sent, and the unit that it was read
// in: "seconds", "milliseconds" and so on. It returns false if the line has none.
func (d Dialect) Timestamp(line []byte) (stamp, unit string, ok bool) {
	line = bytes.TrimRight(line, " \r\n")
	digits := line[bytes.LastIndexByte(line, ' ')+1:]
	t, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return "", "", false
	}
	return strconv.FormatInt(t, 10), unitNames[d.unit(t)], true
}

// unit returns the unit that a Unix time is read in.
func (d Dialect) unit(t int64) time.Duration {
	switch {
	case d.Unit != 0:
		return d.Unit
	case -endSeconds < t && t < endSeconds:
		return time.Second
	case -endMilliseconds < t && t < endMilliseconds:
		return time.Millisecond
	case -endMicroseconds < t && t < endMicroseconds:
		return time.Microsecond
	default:
		return time.Nanosecond
	}
}

var unitNames = map[time.Duration]string{
	time.Nanosecond: "nanoseconds", time.Microsecond: "microseconds", time.Millisecond: "milliseconds",
	time.Second: "seconds", time.Minute: "minutes", time.Hour: "hours",
}

// integer converts an integer of count digits. It leaves the largest and smallest values to the
// library.
func integer(m uint64, count int, neg, signed bool) (v float64, ok bool) {
	if count == 0 || count > maxDigits {
		return 0, false
	}
	if !signed {
		return float64(m), !neg
	}
	x := int64(m)
	if neg {
		x = -x
	}
	return float64(x), m <= math.MaxInt64
}

// exponent reads [+-]digits at the start of b. It returns a length of 0 if there are none, or more
// than four, which are left to the library.
func exponent(b []byte) (e, length int) {
	sign := 0
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		sign = 1
	}
	m, count := digits(b[sign:], 0)
	if count == 0 || count > 4 {
		return 0, 0
	}
	e = int(m)
	if b[0] == '-' {
		e = -e
	}
	return e, sign + count
}

// digits reads the decimal digits at the start of b, and returns m with them appended and their
// count. With more than maxDigits in all, m has overflowed.
func digits(b []byte, m uint64) (_ uint64, count int) {
	i := 0
	for len(b)-i >= 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		k := leadingDigits(w)
		if k == 8 {
			m = m*1e8 + eightDigits(w)
			i += 8
			continue
		}
		// The shift makes the k digits the last of eight, after zeros.
		w <<= 64 - 8*k
		return m*pow10[k] + eightDigits(w), i + int(k)
	}
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		m = m*10 + uint64(b[i]-'0')
	}
	return m, i
}

// leadingDigits counts the decimal digits before the first other byte of w, a little-endian load of
// eight bytes.
func leadingDigits(w uint64) uint {
	const (
		high  = 0x8080808080808080
		zeros = 0x3030303030303030 // '0'
		above = 0x4646464646464646 // 0x80 - ('9' + 1)
	)
	// The high bit marks bytes above '9' and below '0'. Only a marked byte carries or borrows, so
	// the first marked byte is right.
	other := (w + above | (w - zeros)) & high
	return uint(bits.TrailingZeros64(other)) / 8
}

// eightDigits converts eight ASCII digits (or zero bytes, for '0'). The steps combine neighbours
// into numbers of two, four and eight digits.
func eightDigits(w uint64) uint64 {
	w = w & 0x0f0f0f0f0f0f0f0f * (10<<8 + 1) >> 8
	w = w & 0x00ff00ff00ff00ff * (100<<16 + 1) >> 16
	return w & 0x0000ffff0000ffff * (10000<<32 + 1) >> 32
}

// decimal returns the float64 nearest to m * 10^exp, ties to even, if one operation on exact
// operands computes it: the fast path of Clinger, "How to read floating point numbers accurately",
// PLDI 1990, and quotient.
func decimal(m uint64, exp int) (v float64, ok bool) {
	switch {
	case m < 1<<53 && 0 <= exp && exp < len(floatPow10):
		return float64(m) * floatPow10[exp], true
	case m < 1<<53 && -len(floatPow10) < exp && exp < 0:
		return float64(m) / floatPow10[-exp], true
	case m >= 1<<53 && -len(pow10) < exp && exp <= 0:
		return quotient(m, pow10[-exp]), true
	}
	return 0, false
}

// quotient returns the float64 nearest to m/d, ties to even, for m and d > 0. Values of 17 digits
// need it, as their m exceeds 53 bits. The integer quotient has 62 or 63 bits; its lowest bit is
// also set for a remainder, so that the conversion rounds like that of the exact quotient.
func quotient(m, d uint64) float64 {
	shiftM, shiftD := bits.LeadingZeros64(m), bits.LeadingZeros64(d)
	m <<= shiftM
	q, r := bits.Div64(m>>2, m<<62, d<<shiftD)
	if r != 0 {
		q |= 1
	}
	const bias = 1023
	scale := math.Float64frombits(uint64(bias+shiftD-shiftM-62) << 52)
	return float64(int64(q)) * scale
}

// pow10 has the powers of ten that fit a uint64, floatPow10 those that a float64 represents
// exactly.
var (
	pow10 = [...]uint64{
		1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
		1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
	}
	floatPow10 = [...]float64{
		1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
		1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
	}
)
