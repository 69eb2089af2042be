// Package codec turns a column of float64 values into few bytes and back.
//
// A column is a slice of values, one per slot; NaN means that the slot has no
// sample. The package knows nothing else: no series, no time, no block, no
// checksum. What it writes is drawn byte by byte in FORMAT.md.
//
// Encoding is lossless to the bit for every float64 but NaN, whose payload is
// not kept: every NaN is read back as [math.NaN].
//
// A column goes through three rooms. A domain turns its values into integers:
// decimal.go (v*10^e is whole), pattern.go (the bits of the float) or
// dictionary.go (an index into the distinct values). A predictor (predict.go)
// turns the integers into small residuals. A prefix code (ladder.go, prefix.go)
// writes the residuals in about as many bits as they hold information.
// Constant columns and columns that nothing shrinks have their own form.
// The ideas come from ALP (Afroozeh, Kuffo, Boncz: SIGMOD 2024) for the decimal
// domain and its patches, and from JPEG XL's hybrid integers (ISO/IEC 18181-1)
// for the ladder. Coding the XOR of neighbours (Gorilla: VLDB 2015, Chimp: VLDB
// 2022) is not among the forms: of the metrics measured, none got smaller by it.
package codec

import "math"

// MaxSlots is the longest column that [Encoder] and [Decoder] take.
const MaxSlots = 1 << 20

// The tag is the first byte of a column: the form in the low three bits, what
// follows in the others. Forms 6 and 7 are free for later versions.
const (
	formEmpty      = 0 // no slot has a sample
	formConstant   = 1 // every sample is the same
	formDecimal    = 2 // integers over a power of ten
	formPattern    = 3 // bit patterns of the floats
	formDictionary = 4 // indexes into the distinct values
	formRaw        = 5 // 8 bytes a value
	formMask       = 0x07

	tagNulls   = 0x08 // some slots have no sample: presence runs follow
	tagStats   = 0x10 // the head carries statistics
	tagDelta   = 0x20 // residuals are taken from the value before, else from a level
	tagSparse  = 0x40 // most residuals are zero: only the others are coded
	tagPatched = 0x80 // values outside the domain follow as they are
)

// Encoder writes columns. Its zero value is ready for use; it keeps scratch
// memory, so that a reused one allocates nothing but what dst needs. It must
// not be used concurrently.
type Encoder struct {
	compact   []float64 // the samples, where some slots have none
	presence  []int
	ints      []int64
	patches   []patch
	patched   []int // the runs of the patches
	model     model
	residuals residuals
	spare     []int
	distinct  distinct
	entries   *Encoder
}

// Append appends the encoding of values to dst and returns it. It panics if
// values is longer than [MaxSlots]. It does not keep values.
func (e *Encoder) Append(dst []byte, values []float64) []byte {
	return e.append(dst, values, 0, guide{})
}

// AppendLike is [Encoder.Append] for a column that probably goes on as another one
// did, the encoding of n slots: that of the same series, a window ago. Where it
// does it takes a fifth less time and hardly more bytes, else a little more time. like
// may be any bytes, or none.
func (e *Encoder) AppendLike(dst []byte, values []float64, like []byte, n int) []byte {
	return e.append(dst, values, 0, e.guideOf(like, n))
}

// AppendWithStats is [Encoder.Append] with statistics in the column's head, for
// [Decoder.Stats] to read without touching the values. They take no bytes in a
// constant column, about 6 in a decimal one, 10 to 25 in others.
func (e *Encoder) AppendWithStats(dst []byte, values []float64) []byte {
	return e.append(dst, values, tagStats, guide{})
}

func (e *Encoder) append(dst []byte, values []float64, stats byte, g guide) []byte {
	if len(values) > MaxSlots {
		panic("codec: column is longer than MaxSlots")
	}
	samples, common, tag := e.samples(values)
	tag |= stats
	if len(samples) == 0 {
		return append(dst, formEmpty)
	}
	if common.all == common.any {
		return e.appendConstant(dst, samples[0], tag&tagNulls)
	}
	return e.appendVaried(dst, samples, common, tag, g)
}

// appendVaried encodes at least two different samples, in the shape that g tells
// if it is as good as it was, else in the smallest.
func (e *Encoder) appendVaried(dst []byte, samples []float64, common common, tag byte, g guide) []byte {
	s, ok := e.follow(samples, common, g)
	if !ok {
		s = e.choose(samples, common)
	}
	switch {
	case s.bits >= 64*len(samples):
		return e.appendRaw(dst, samples, tag|formRaw)
	case s.form == formDictionary:
		return e.appendDictionary(dst, samples, tag|formDictionary)
	case s.form == formDecimal:
		return e.appendDecimal(dst, samples, s.decimal, tag|formDecimal)
	default:
		return e.appendPattern(dst, samples, s.pattern, tag|formPattern)
	}
}

// common are the bits that all samples of a column have, and those that any has.
type common struct{ all, any uint64 }

func commonBits(samples []float64) common {
	c := common{all: ^uint64(0)}
	for _, v := range samples {
		c.all &= math.Float64bits(v)
		c.any |= math.Float64bits(v)
	}
	return c
}

// samples returns the values that are not NaN, the bits they have in common, and
// tagNulls if they are not all values; the runs of presence are then in e.presence.
func (e *Encoder) samples(values []float64) ([]float64, common, byte) {
	full := 0
	c := common{all: ^uint64(0)}
	for full < len(values) && values[full] == values[full] {
		c.all &= math.Float64bits(values[full])
		c.any |= math.Float64bits(values[full])
		full++
	}
	if full == len(values) {
		return values, c, 0
	}
	e.compact = resize(e.compact, len(values))
	compact := e.compact[:len(values)]
	count := copy(compact, values[:full])
	e.presence = append(e.presence[:0], full)
	start, present := full, false
	for i := full; i < len(values); i++ {
		v := values[i]
		if (v == v) != present {
			if i > start {
				e.presence = append(e.presence, i-start)
				start = i
			}
			present = !present
		}
		compact[count] = v
		if present {
			count++
		}
	}
	e.presence = append(e.presence, len(values)-start)
	return compact[:count], commonBits(compact[:count]), tagNulls
}

// body opens the bit stream that ends a column, and writes the presence of its
// samples and the patches to it.
func (e *Encoder) body(dst []byte, tag byte, samples int) bitWriter {
	w := bitWriter{buf: dst}
	if tag&tagNulls != 0 {
		w.putRuns(e.presence)
	}
	if tag&tagPatched != 0 {
		e.putPatches(&w, samples)
	}
	return w
}
