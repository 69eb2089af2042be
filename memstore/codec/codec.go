// Package codec compresses columns of float64 values.
//
// A column is a slice of values, one per slot; NaN means that the slot has no sample. The package
// knows no series, time, block or checksum. FORMAT.md describes the encoding byte by byte.
//
// The encoding is lossless to the bit for every float64 except NaN: every NaN is decoded as
// [math.NaN].
//
// Encoding has three steps. A domain turns the values into integers: decimal.go (v*10^e is an
// integer), pattern.go (the bits of the float) or dictionary.go (an index into the distinct
// values). A predictor (predict.go) turns the integers into small residuals. A prefix code
// (ladder.go, prefix.go) writes the residuals in about as many bits as their entropy. Constant and
// incompressible columns have forms of their own.
//
// The decimal domain and its patches come from ALP (Afroozeh, Kuffo, Boncz: SIGMOD 2024), the
// ladder from the hybrid integers of JPEG XL (ISO/IEC 18181-1). There is no form that codes the XOR
// of neighbours (Gorilla: VLDB 2015, Chimp: VLDB 2022), because it made none of the measured
// metrics smaller.
package codec

import "math"

// MaxSlots is the maximum length of a column.
const MaxSlots = 1 << 20

// The tag is the first byte of a column: the form in the low three bits, flags in the others. Forms
// 6 and 7 are reserved.
const (
	formEmpty      = 0 // no slot has a sample
	formConstant   = 1 // every sample is the same
	formDecimal    = 2 // integers over a power of ten
	formPattern    = 3 // bit patterns of the floats
	formDictionary = 4 // indexes into the distinct values
	formRaw        = 5 // 8 bytes per value
	formMask       = 0x07

	tagNulls   = 0x08 // some slots have no sample: presence runs follow
	tagStats   = 0x10 // the head contains statistics
	tagDelta   = 0x20 // residuals are relative to the previous value, else to a level
	tagSparse  = 0x40 // only nonzero residuals are coded
	tagPatched = 0x80 // values outside the domain follow verbatim
)

// Encoder encodes columns. The zero value is ready to use. An Encoder reuses its scratch memory, so
// that only dst needs allocations. It must not be used concurrently.
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

// Append appends the encoding of values to dst and returns it. It panics if values is longer than
// [MaxSlots]. It does not retain values.
func (e *Encoder) Append(dst []byte, values []float64) []byte {
	return e.append(dst, values, 0, guide{})
}

// AppendLike is like [Encoder.Append] for a column that is probably similar to another: like is the
// encoding of n slots, usually the previous window of the same series. If the columns are similar,
// it takes a fifth less time than Append and hardly more bytes; otherwise a little more time. like
// may be empty or any other bytes.
func (e *Encoder) AppendLike(dst []byte, values []float64, like []byte, n int) []byte {
	return e.append(dst, values, 0, e.guideOf(like, n))
}

// AppendWithStats is like [Encoder.Append] and adds statistics to the column's head, so that
// [Decoder.Stats] need not decode the values. They take no bytes in a constant column, about 6 in a
// decimal one, 10 to 25 in others.
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

// appendVaried encodes at least two different samples, in the shape of g if that still fits well,
// else in the smallest shape.
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

// common has the bits that are set in all samples of a column, and those set in any.
type common struct{ all, any uint64 }

func commonBits(samples []float64) common {
	c := common{all: ^uint64(0)}
	for _, v := range samples {
		c.all &= math.Float64bits(v)
		c.any |= math.Float64bits(v)
	}
	return c
}

// samples returns the values that are not NaN and their common bits. If there are NaN, it also
// returns tagNulls and sets e.presence to the runs of presence.
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

// body starts the bit stream at the end of a column, with the presence of the samples and the
// patches.
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
