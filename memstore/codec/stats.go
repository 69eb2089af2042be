package codec

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Stats are the statistics of a column's samples.
//
// Count, Min and Max are the results of comparing the samples with < and > (so Min and Max may be
// either 0 or -0, which are equal). For constant and decimal columns, Sum is the exact sum rounded
// to float64, within two units in the last place; for others it is the float64 sum from left to
// right. Without samples, Min and Max are NaN and Sum is 0.
type Stats struct {
	Count    int
	Sum      float64
	Min, Max float64
}

// Summarize computes the statistics of the values that are not NaN. Sum is the sum from left to
// right.
func Summarize(values []float64) Stats {
	s := Stats{Min: math.Inf(1), Max: math.Inf(-1)}
	for _, v := range values {
		if v != v {
			continue
		}
		s.Count++
		s.Sum += v
		if v < s.Min {
			s.Min = v
		}
		if v > s.Max {
			s.Max = v
		}
	}
	if s.Count == 0 {
		s.Min, s.Max = math.NaN(), math.NaN()
	}
	return s
}

// Stats returns the statistics of the column of n slots at the start of src. It decodes the values
// only if the head has no statistics (see [Encoder.AppendWithStats]).
func (d *Decoder) Stats(src []byte, n int) (Stats, error) {
	c, err := d.open(src, n)
	if err != nil {
		return Stats{}, err
	}
	switch form := c.tag & formMask; {
	case form == formEmpty:
		return Summarize(nil), nil
	case form == formConstant:
		return Stats{c.samples, c.constant * float64(c.samples), c.constant, c.constant}, nil
	case c.tag&tagStats == 0:
		d.values = resize(d.values, c.samples)
		if err := c.samplesFrom(d, d.values, 0); err != nil {
			return Stats{}, err
		}
		return Summarize(d.values), nil
	case c.hasWhole:
		c.stats = c.whole.stats(&c.decimal, c.model.reference(), c.samples)
	}
	c.stats.Count = c.samples
	return c.stats, nil
}

// Count returns the number of samples in a column of n slots. If no sample is missing, it reads
// only the first byte and does not notice damage of the others.
func (d *Decoder) Count(src []byte, n int) (int, error) {
	if len(src) > 0 && n > 0 && n <= MaxSlots {
		form := src[0] & formMask
		if int(form) < len(known) && form != formEmpty && src[0]&tagNulls == 0 {
			return n, nil
		}
	}
	c, err := d.open(src, n)
	if err != nil || c.tag&formMask == formEmpty {
		return 0, err
	}
	return c.samples, nil
}

// wholeStats are the statistics of the integers of a decimal column.
type wholeStats struct {
	min, max int64
	sum      int64
}

// sumWhole computes the statistics of ints. ok reports that sums and products with step fit in 62
// bits.
func sumWhole(ints []int64, step int64) (s wholeStats, ok bool) {
	s = wholeStats{min: ints[0], max: ints[0]}
	for _, x := range ints {
		s.sum += x
		s.min = min(s.min, x)
		s.max = max(s.max, x)
	}
	largest := max(magnitude(s.min), magnitude(s.max))
	high, low := bits.Mul64(largest*uint64(step), uint64(len(ints)))
	return s, high == 0 && low < 1<<62
}

// append writes s relative to the column's reference.
func (s wholeStats) append(dst []byte, reference int64, count int) []byte {
	dst = binary.AppendVarint(dst, reference-s.min)
	dst = binary.AppendUvarint(dst, uint64(s.max-s.min))
	return binary.AppendVarint(dst, s.sum-reference*int64(count))
}

// takeWholeStats reads the encoding of append. The result is relative to the reference.
func takeWholeStats(h *head) wholeStats {
	low := h.varint()
	return wholeStats{low, int64(h.uvarint()), h.varint()}
}

// stats converts s, which is relative to the reference, to statistics of values.
func (s wholeStats) stats(d *decimal, reference int64, count int) Stats {
	low := reference - s.min
	whole := []int64{low, low + s.max, s.sum + reference*int64(count)}
	var v [3]float64
	d.floats(v[:], whole)
	return Stats{count, v[2], v[0], v[1]}
}

// appendStats writes s for a pattern column without patches, where the minimum and the maximum are
// in the domain.
func (p pattern) appendStats(dst []byte, s Stats, reference int64) []byte {
	dst = binary.AppendVarint(dst, reference-p.integer(s.Min))
	dst = binary.AppendVarint(dst, p.integer(s.Max)-reference)
	return appendFloat(dst, s.Sum)
}

func (p pattern) takeStats(h *head, reference int64) Stats {
	low, high := reference-h.varint(), reference+h.varint()
	return Stats{Sum: h.float(), Min: p.float(low), Max: p.float(high)}
}

// appendFloatStats writes s as floats, for statistics outside of the domain.
func appendFloatStats(dst []byte, s Stats) []byte {
	dst = appendFloat(dst, s.Sum)
	dst = appendFloat(dst, s.Min)
	return appendFloat(dst, s.Max)
}

func takeFloatStats(h *head) Stats {
	return Stats{Sum: h.float(), Min: h.float(), Max: h.float()}
}
