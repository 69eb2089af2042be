package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// The decimal domain contains the values x / 10^e with an integer x of at most 15 digits, where the
// division as float64 gives the value to the bit, as a parser of short decimal numbers does. A
// common factor of all x, the step, is divided out. If only a few values are not decimal, they
// become patches, which are stored verbatim.

// decimal is a decimal domain.
type decimal struct {
	exponent int
	step     int64 // 1 or more
}

const (
	decimalExponent   = 0x1f // the exponent in the first byte of the head
	decimalStep       = 0x20 // the step follows
	decimalFloatStats = 0x40 // the statistics are floats
	decimalUnknown    = 0x80

	// maxDecimal bounds |x|: 15 digits survive the conversion from text to float64 and back, and
	// the fast rounding in scaled needs less than 2^51.
	maxDecimal = 1e15
)

// pow10 has the powers of ten that are exact in a float64.
var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// scaled returns v * 10^exponent, rounded to an integer. The result is undefined above maxDecimal.
func scaled(v float64, exponent int) int64 {
	const magic = 3 << 51 // a sum with it has no bits for a fraction
	return int64(float64(v*pow10[exponent]) + magic - magic)
}

// isDecimal reports whether v is a decimal with this many places.
func isDecimal(v float64, exponent int) bool {
	if f := v * pow10[exponent]; !(f <= maxDecimal && f >= -maxDecimal) {
		return false
	}
	back := float64(scaled(v, exponent)) / pow10[exponent]
	return math.Float64bits(back) == math.Float64bits(v) // not ==: -0 is not a decimal
}

// places returns the minimum number of decimal places, but at least from, with which v is a
// decimal.
func places(v float64, from int) (int, bool) {
	limit := maxPlaces(v)
	if !isDecimal(v, limit) && (limit == 0 || !isDecimal(v, limit-1)) {
		return 0, false
	}
	for exponent := from; exponent <= limit; exponent++ {
		if isDecimal(v, exponent) {
			return exponent, true
		}
	}
	return 0, false
}

// maxPlaces returns the number of places with which v has 15 digits, or 14.
func maxPlaces(v float64) int {
	exponent := int(math.Float64bits(v)>>52&0x7ff) - 1023
	digits := (exponent+1)*30103/100000 + 1 // log10(2) = 0.30103
	if exponent < 0 {
		digits--
	}
	return min(max(15-digits, 0), len(pow10)-1)
}

// decimals tries the decimal domain on samples. If it fits, e.ints and e.patches are set.
func (e *Encoder) decimals(samples []float64) (decimal, bool) {
	d, ok := probeDecimal(samples)
	if !ok {
		return d, false
	}
	e.takeDecimals(samples, d.exponent)
	if len(e.patches) > 0 {
		if more := morePlaces(e.patches, d.exponent); more > d.exponent {
			d.exponent = more
			e.takeDecimals(samples, d.exponent)
		}
	}
	if 8*len(e.patches) > len(samples) {
		return d, false
	}
	d.step = takeStep(e.ints)
	return d, true
}

// probeDecimal estimates the number of places from a few samples.
func probeDecimal(samples []float64) (decimal, bool) {
	d := decimal{step: 1}
	step := max(len(samples)/16, 1)
	misses := 0
	for i := 0; i < len(samples); i += step {
		exponent, ok := places(samples[i], d.exponent)
		if ok {
			d.exponent = exponent
		} else if misses++; misses > 2 {
			return d, false
		}
	}
	return d, true
}

// takeDecimals sets e.ints and e.patches.
func (e *Encoder) takeDecimals(samples []float64, exponent int) {
	e.ints = resize(e.ints, len(samples))
	e.patches = e.patches[:0]
	ints := e.ints[:len(samples)]
	scale := pow10[exponent]
	last := int64(0)
	for i, v := range samples {
		f := v * scale
		x := scaled(v, exponent)
		if math.Float64bits(float64(x)/scale) != math.Float64bits(v) || !(f <= maxDecimal && f >= -maxDecimal) {
			e.patches = append(e.patches, patch{i, v})
			x = last
		}
		ints[i] = x
		last = x
	}
	if len(e.patches) > 0 {
		fillLeading(ints, e.patches)
	}
}

// morePlaces returns the number of places that the patches need, or exponent if more places do not
// pay off for so few patches.
func morePlaces(patches []patch, exponent int) int {
	if len(patches) < 4 {
		return exponent
	}
	needed, fit := exponent, 0
	for _, p := range patches {
		if more, ok := places(p.value, exponent); ok {
			needed = max(needed, more)
			fit++
		}
	}
	if 2*fit < len(patches) {
		return exponent
	}
	return needed
}

// takeStep divides ints by their greatest common divisor, which it returns.
func takeStep(ints []int64) int64 {
	step := uint64(0)
	for _, x := range ints {
		if step = gcd(step, magnitude(x)); step == 1 {
			return 1
		}
	}
	if step == 0 {
		return 1
	}
	for i := range ints {
		ints[i] /= int64(step)
	}
	return int64(step)
}

func magnitude(x int64) uint64 { return uint64(max(x, -x)) }

// gcd is Stein's binary algorithm, with a fast path for the case that b is a multiple of a.
func gcd(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return a | b
	}
	if b%a == 0 {
		return a
	}
	twos := bits.TrailingZeros64(a | b)
	a >>= bits.TrailingZeros64(a)
	for b != 0 {
		b >>= bits.TrailingZeros64(b)
		a, b = min(a, b), max(a, b)-min(a, b)
	}
	return a << twos
}

func (e *Encoder) appendDecimal(dst []byte, samples []float64, d decimal, tag byte) []byte {
	tag |= e.model.tag()
	first := byte(d.exponent)
	if d.step > 1 {
		first |= decimalStep
	}
	var s Stats
	var whole wholeStats
	if tag&tagStats != 0 {
		var fits bool
		if whole, fits = sumWhole(e.ints, d.step); !fits || len(e.patches) > 0 {
			first |= decimalFloatStats
			s = Summarize(samples)
		}
	}
	if len(e.patches) > 0 {
		tag |= tagPatched
	}
	dst = append(dst, tag, first)
	if d.step > 1 {
		dst = binary.AppendUvarint(dst, uint64(d.step))
	}
	dst = e.model.append(dst)
	switch {
	case tag&tagStats == 0:
	case first&decimalFloatStats != 0:
		dst = appendFloatStats(dst, s)
	default:
		dst = whole.append(dst, e.model.reference(), len(e.ints))
	}
	w := e.body(dst, tag, len(samples))
	e.putResiduals(&w)
	return w.close()
}

// takeDecimal reads the head of a decimal column.
func (c *column) takeDecimal(h *head) {
	first := h.byte()
	c.decimal = decimal{exponent: int(first & decimalExponent), step: 1}
	if c.decimal.exponent >= len(pow10) || first&decimalUnknown != 0 {
		h.fail(fmt.Errorf("%w: decimal: unknown head %#x", ErrCorrupt, first))
		return
	}
	if first&decimalStep != 0 {
		c.decimal.step = int64(h.uvarint())
	}
	c.model.take(h, c.tag)
	switch {
	case c.tag&tagStats == 0:
	case first&decimalFloatStats != 0:
		c.stats = takeFloatStats(h)
	default:
		c.whole = takeWholeStats(h)
		c.hasWhole = true
	}
}

// floats turns the integers of a decimal column into its values.
func (d *decimal) floats(dst []float64, ints []int64) {
	scale := pow10[d.exponent]
	dst = dst[:len(ints)]
	switch {
	case d.step != 1:
		for i, x := range ints {
			dst[i] = float64(x*d.step) / scale
		}
	case d.exponent == 0:
		for i, x := range ints {
			dst[i] = float64(x)
		}
	default:
		for i, x := range ints {
			dst[i] = float64(x) / scale
		}
	}
}
