package rest

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"strconv"
)

// significant is the number of significant digits of a value in an answer. Every decimal of at most
// that many digits is a distinct float64, so it is returned as it was sent. For other values the
// relative error is below 10^-14. The shortest text that parses to the same bits would take several
// times as long.
const significant = 15

// strconv formats the numbers outside of these sizes, which are rare.
const (
	smallestFixed = 1e-6
	largestFixed  = 1e15
)

// number has space for the text of any number and for the bytes after it: digits are stored eight
// at a time, even if fewer are needed. No text formatted here is longer than lastDigit, so indices
// masked with it need no bounds check.
type number [48]byte

const lastDigit = 31

// appendFloat appends v as a JSON number: whole numbers below 2^53 with all digits, others with up
// to 15 significant ones. NaN and infinities, which JSON lacks, become null.
func appendFloat(dst []byte, v float64) []byte {
	dst = slices.Grow(dst, len(number{}))
	at := len(dst)
	return dst[:at+putFloat((*number)(dst[at:cap(dst)]), v)]
}

// appendValues appends values, multiplied by scale, as elements of a JSON list. separator precedes
// the first one.
func appendValues(dst []byte, values []float64, scale float64, separator byte) []byte {
	if len(values) == 0 {
		return dst
	}
	buf := slices.Grow(dst, len(values)*(1+len(number{})))
	n := len(buf)
	buf = buf[:cap(buf)]
	for part := range slices.Chunk(values, 64) {
		if isConstant(part) { // as many columns are for long
			n = putRepeated(buf, n, part[0]*scale, len(part))
			continue
		}
		for _, v := range part {
			buf[n] = ','
			n += 1 + putFloat((*number)(buf[n+1:]), v*scale)
		}
	}
	buf[len(dst)] = separator
	return buf[:n]
}

// putRepeated writes a comma and v at index n, count times, and returns the index after them.
func putRepeated(buf []byte, n int, v float64, count int) int {
	buf[n] = ','
	size := 1 + putFloat((*number)(buf[n+1:]), v)
	text := [1 + lastDigit]byte(buf[n:])
	for range count {
		*(*[len(text)]byte)(buf[n:]) = text
		n += size
	}
	return n
}

func isConstant(values []float64) bool {
	first := math.Float64bits(values[0])
	for _, v := range values[1:] {
		if math.Float64bits(v) != first {
			return false
		}
	}
	return true
}

// putFloat formats v like appendFloat at the beginning of b, and returns the length of the text.
func putFloat(b *number, v float64) int {
	size := math.Abs(v)
	b[0] = '-'
	at := int(math.Float64bits(v) >> 63)
	// Nearly all values are decimals with few places, which are faster to format.
	if size < 1e4 {
		// What differs from i/1e4 by so little has the same significant digits. Dividing would take
		// longer than all the rest.
		t := size * 1e4
		if i := int64(t + 0.5); math.Abs(t-float64(i)) <= t*0x1p-52 && (i != 0 || at == 0) {
			return putSmall(b, at, uint64(i))
		}
	}
	if i := int64(v); float64(i) == v && uint64(i) < 1e16 && at == 0 {
		return putWhole(b, 0, uint64(i))
	}
	if size >= smallestFixed && size < largestFixed {
		if i := int64(size*1e4 + 0.5); size < 1e11 && float64(i)/1e4 == size {
			return putFourPlaces(b, at, uint64(i))
		}
		return putFixed(b, at, size)
	}
	switch {
	case !(size <= math.MaxFloat64): // NaN and infinities
		return copy(b[:], "null")
	case size >= 1e21 || 0 < size && size < smallestFixed:
		return len(strconv.AppendFloat(b[:0], v, 'e', -1, 64))
	default:
		return len(strconv.AppendFloat(b[:0], v, 'f', -1, 64))
	}
}

// zeros are the ASCII digits of eightDigits(0).
const zeros = 0x3030303030303030

// put stores eight bytes, the lowest first.
func (b *number) put(at int, x uint64) {
	binary.LittleEndian.PutUint64(b[at&lastDigit:], x)
}

// putPair stores the two digits of i, which is below 100.
func (b *number) putPair(at int, i uint64) {
	p := pairs[2*i:][:2]
	b[at&lastDigit], b[at&lastDigit+1] = p[0], p[1]
}

// putWhole writes i, which is below 10^16, at index at, and returns the index after it.
func putWhole(b *number, at int, i uint64) int {
	switch {
	case i < 10:
		b[at&lastDigit] = byte('0' + i)
		return at + 1
	case i < 100:
		b.putPair(at, i)
		return at + 2
	case i < 1000:
		b[at&lastDigit] = byte('0' + i/100)
		b.putPair(at+1, i%100)
		return at + 3
	case i < 10000:
		b.putPair(at, i/100)
		b.putPair(at+2, i%100)
		return at + 4
	case i < 1e8:
		digits := eightDigits(i)
		leading := bits.TrailingZeros64(digits) / 8
		b.put(at, (digits|zeros)>>(8*leading&63))
		return at + 8 - leading
	}
	at = putWhole(b, at, i/1e8)
	b.put(at, eightDigits(i%1e8)|zeros)
	return at + 8
}

// putSmall writes i / 10^4, which is below 10^4, at index at, and returns the index after it. It has
// no branches, which would be mispredicted: the numbers of digits and of zeros at the end vary.
func putSmall(b *number, at int, i uint64) int {
	digits := eightDigits(i)
	leading := bits.TrailingZeros64(digits|1<<24) / 8 // zeros before the first digit, at most 3
	trailing := bits.LeadingZeros64(digits|1<<31) / 8 // zeros after the last place, at most 4
	digits |= zeros
	b.put(at, digits>>(8*leading&63))
	at += 4 - leading
	b[at&lastDigit] = '.'
	binary.LittleEndian.PutUint32(b[at&lastDigit+1:], uint32(digits>>32))
	return at + 5 - trailing - trailing/4 // without the point if there are no places
}

// putFourPlaces writes i / 10^4 at index at, and returns the index after it.
func putFourPlaces(b *number, at int, i uint64) int {
	at = putWhole(b, at, i/10000)
	i %= 10000
	b[at&lastDigit] = '.'
	b.putPair(at+1, i/100)
	switch low := i % 100; {
	case i == 0:
		return at
	case low != 0:
		b.putPair(at+3, low)
		if low%10 != 0 {
			return at + 5
		}
		return at + 4
	case i%1000 != 0:
		return at + 3
	default:
		return at + 2
	}
}

// putFixed writes a number from smallestFixed to below largestFixed with 15 significant digits and
// without trailing zeros, and returns the index after it.
func putFixed(b *number, at int, size float64) int {
	n := binades[(math.Float64bits(size)>>52-binadesFrom)%uint64(len(binades))]
	d := &decades[n%uint8(len(decades))]
	if size >= d.end {
		d = &decades[(n+1)%uint8(len(decades))]
	}
	i := uint64(int64(size*d.scale + 0.5))
	if i >= 1e15 { // rounded up to the next decade
		return putPower(b, at, d)
	}
	high, low := eightDigits(i/1e8), eightDigits(i%1e8) // the first digit of high is 0
	trailing := bits.LeadingZeros64(low) / 8
	if low == 0 {
		trailing += bits.LeadingZeros64(high) / 8
	}
	high, low = (high|zeros)>>8, low|zeros
	switch k := d.digits; {
	case k <= 0:
		b.put(at, zeroPoint)
		at += 2 - k
		b.put(at, high)
		b.put(at+7, low)
		return at + significant - trailing
	case k < 8:
		b.put(at, high)
		b[(at+k)&lastDigit] = '.'
		b.put(at+k+1, high>>(8*k&63)|low<<(8*(7-k)&63))
		b.put(at+k+9, low>>(8*(k+1)&63))
		at += k
	default:
		b.put(at, high)
		b.put(at+7, low)
		b[(at+k)&lastDigit] = '.'
		b.put(at+k+1, low>>(8*(k-7)&63))
		at += k
	}
	if places := significant - d.digits - trailing; places > 0 {
		return at + 1 + places
	}
	return at
}

// putPower writes the power of ten that ends a decade, and returns the index after it.
func putPower(b *number, at int, d *decade) int {
	if d.digits >= 0 {
		return putWhole(b, at, uint64(d.end))
	}
	b.put(at, zeroPoint)
	at += 2 - d.digits
	b[(at-1)&lastDigit] = '1'
	return at
}

// zeroPoint is the text "0.000000".
const zeroPoint = zeros ^ ('0'^'.')<<8

// decade is the format of all numbers from one power of ten to the next.
type decade struct {
	end    float64 // the power of ten that ends it
	scale  float64 // turns its numbers into those of significant digits
	digits int     // before the point; the number of zeros after it, negated, if there are none
}

// decades hold the formats of all sizes from smallestFixed to largestFixed. The last entry of the
// array is never used: it lets an index be one too high without a check.
var decades = newDecades()

// binades give for each power of two, from binadesFrom on, the decade of that power.
var binades = newBinades()

// binadesFrom is the biased exponent (as in a float64) of a power of two below smallestFixed.
const binadesFrom = 1023 - 32

func newDecades() (ds [32]decade) {
	first := -5 // the digits before the point of smallestFixed, counting from 0 for 0.1
	for i := range ds {
		digits := first + i
		ds[i] = decade{end: math.Pow10(digits), scale: math.Pow10(max(significant-digits, 0)), digits: digits}
	}
	return ds
}

func newBinades() (bs [128]uint8) {
	for i := range bs {
		size := math.Float64frombits(uint64(binadesFrom+i) << 52)
		bs[i] = uint8(max(0, slices.IndexFunc(decades[:], func(d decade) bool { return size < d.end })))
	}
	return bs
}

// eightDigits returns the digits of i, which is below 10^8, one per byte, the first digit lowest.
// It splits numbers into four, two and one digits in parallel, and divides by multiplication
// (Granlund and Montgomery, "Division by invariant integers using multiplication", PLDI 1994).
func eightDigits(i uint64) uint64 {
	q := i * 109951163 >> 40 // i/10000 for all i below 10^8
	x := q | (i-q*10000)<<32
	q = x * 5243 >> 19 & 0x0000007f0000007f
	x = q | (x-q*100)<<16
	q = x * 103 >> 10 & 0x000f000f000f000f
	return q | (x-q*10)<<8
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
