package codec

import (
	"fmt"
	"math"
	"math/bits"
)

// The pattern domain contains the bit patterns of floats as integers. Positive floats have the same
// order as their patterns, so similar values have similar patterns. Trailing bits that are zero in
// all values, for example after rounding, are shifted out. If all values have the same sign, it is
// in the head, otherwise in the lowest bit of each integer. The effect is that of the left and
// right bits of ALP-RD, but without a fixed boundary: the prefix code encodes the left bits, and
// the offsets are the right bits.

// pattern is a pattern domain.
type pattern struct {
	shift uint
	sign  byte
}

const (
	signPlus    = 0
	signMinus   = 1
	signMixed   = 2
	signUnknown = 3

	patternShift      = 0x3f // the shift in the first byte of the head
	patternSign       = 6    // position of the sign in the first byte
	patternCoarse     = 0x3f // the model's coarse in the second byte
	patternFloatStats = 0x40 // the statistics are floats
	patternUnknown    = 0x80

	signBit = 1 << 63
)

// patterns converts samples to the pattern domain: it sets e.ints and e.patches.
func (e *Encoder) patterns(samples []float64, common common) pattern {
	p := patternOf(common)
	e.patches = e.patches[:0]
	if wide := probeShift(samples); wide > p.shift+1 {
		p.shift = e.patchNarrow(samples, wide, p.shift)
	}
	e.takePatterns(samples, p)
	return p
}

// patternOf returns the narrowest domain for samples with these common bits.
func patternOf(common common) pattern {
	p := pattern{sign: signPlus, shift: uint(bits.TrailingZeros64(common.any|signBit)) & patternShift}
	if common.all&signBit != 0 {
		p.sign = signMinus
	} else if common.any&signBit != 0 {
		p.sign = signMixed
	}
	return p
}

// probeShift estimates from a few samples how many trailing zeros most samples have.
func probeShift(samples []float64) uint {
	step := max(len(samples)/16, 1)
	lowest, second := 63, 63
	for i := 0; i < len(samples); i += step {
		u := math.Float64bits(samples[i])
		if u == 0 {
			continue
		}
		zeros := bits.TrailingZeros64(u &^ signBit)
		if zeros < lowest {
			lowest, second = zeros, lowest
		} else if zeros < second {
			second = zeros
		}
	}
	return uint(min(second, 52))
}

// patchNarrow makes patches of the samples with fewer trailing zeros than wide and returns wide. If
// that costs more than it saves, it makes no patches and returns narrow.
func (e *Encoder) patchNarrow(samples []float64, wide, narrow uint) uint {
	limit := len(samples) * int(wide-narrow) / 80
	for i, v := range samples {
		if math.Float64bits(v)&(1<<wide-1) == 0 {
			continue
		}
		if len(e.patches) == limit {
			e.patches = e.patches[:0]
			return narrow
		}
		e.patches = append(e.patches, patch{i, v})
	}
	return wide
}

// takePatterns sets e.ints.
func (e *Encoder) takePatterns(samples []float64, p pattern) {
	e.ints = resize(e.ints, len(samples))
	ints := e.ints[:len(samples)]
	for i, v := range samples {
		ints[i] = p.integer(v)
	}
	for _, q := range e.patches {
		if q.at > 0 {
			ints[q.at] = ints[q.at-1]
		}
	}
	if len(e.patches) > 0 {
		fillLeading(ints, e.patches)
	}
}

// integer returns the integer of v in the domain.
func (p pattern) integer(v float64) int64 {
	u := math.Float64bits(v)
	if p.sign == signMixed {
		return int64(u&^signBit>>(p.shift&63)<<1 | u>>63)
	}
	return int64(u &^ signBit >> (p.shift & 63))
}

func (e *Encoder) appendPattern(dst []byte, samples []float64, p pattern, tag byte) []byte {
	tag |= e.model.tag()
	second := byte(e.model.coarse)
	if len(e.patches) > 0 {
		tag |= tagPatched
		second |= patternFloatStats
	}
	dst = append(dst, tag, byte(p.shift)|p.sign<<patternSign, second)
	dst = e.model.append(dst)
	if tag&tagStats != 0 {
		s := Summarize(samples)
		if second&patternFloatStats != 0 {
			dst = appendFloatStats(dst, s)
		} else {
			dst = p.appendStats(dst, s, e.model.reference())
		}
	}
	w := e.body(dst, tag, len(samples))
	e.putResiduals(&w)
	return w.close()
}

// takePattern reads the head of a pattern column.
func (c *column) takePattern(h *head) {
	first, second := h.byte(), h.byte()
	c.pattern = pattern{shift: uint(first & patternShift), sign: first >> patternSign}
	c.model.coarse = uint(second & patternCoarse)
	if c.pattern.sign == signUnknown || second&patternUnknown != 0 {
		h.fail(fmt.Errorf("%w: pattern: unknown head %#x %#x", ErrCorrupt, first, second))
		return
	}
	c.model.take(h, c.tag)
	switch {
	case c.tag&tagStats == 0:
	case second&patternFloatStats != 0:
		c.stats = takeFloatStats(h)
	default:
		c.stats = c.pattern.takeStats(h, c.model.reference())
	}
}

// floats turns the integers of a pattern column into its values.
func (p *pattern) floats(dst []float64, ints []int64) {
	dst = dst[:len(ints)]
	if p.sign == signMixed {
		for i, x := range ints {
			dst[i] = p.mixed(x)
		}
		return
	}
	sign := uint64(p.sign) << 63
	shift := p.shift & 63
	for i, x := range ints {
		dst[i] = math.Float64frombits(uint64(x)<<shift | sign)
	}
}

func (p *pattern) mixed(x int64) float64 {
	return math.Float64frombits(uint64(x)>>1<<p.shift | uint64(x)<<63)
}

// float returns the value of one integer.
func (p *pattern) float(x int64) float64 {
	var v [1]float64
	p.floats(v[:], []int64{x})
	return v[0]
}
