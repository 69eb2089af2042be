package codec

import (
	"encoding/binary"
	"math/bits"
)

// A predictor predicts each integer of a column; the difference is the residual. There are two
// predictors. Level: every integer is near the center. Delta: each integer is the previous one plus
// a drift, which is called center, too; the first integer is the base and has no residual. All
// arithmetic wraps around, so that any 64-bit integers are valid.

// zigzag maps small integers of either sign to small natural numbers (Protocol Buffers): 0, -1, 1,
// -2, 2 to 0, 1, 2, 3, 4.
func zigzag(n int64) uint64 { return uint64(n)<<1 ^ uint64(n>>63) }

func unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }

// model is a predictor fitted to a column, and the code of the residuals.
type model struct {
	delta  bool
	sparse bool  // zero residuals are omitted; runs encode their positions
	base   int64 // the first integer; delta only
	center int64
	coarse uint // number of low bits of center that are zero and not written
	kinds  int  // number of distinct integers in the sample
	code   code
	bits   int // estimated size, including the head
}

// tag returns the tag bits of the model.
func (m *model) tag() byte {
	tag := byte(0)
	if m.delta {
		tag |= tagDelta
	}
	if m.sparse {
		tag |= tagSparse
	}
	return tag
}

// fit fits e.model to ints, of which there are at least two, and sets e.residuals. coarse allows a
// center that is rounded to fewer bits.
func (e *Encoder) fit(ints []int64, coarse bool) {
	level, drift := sampleCenter(ints, false), sampleCenter(ints, true)
	e.model.kinds = level.kinds
	levelBits, deltaBits, looked := residualBits(ints, level.center, drift.center)
	if min(levelBits, deltaBits) > 3*looked {
		if deltaBits+looked/8 < levelBits { // the estimate is from a sample; in doubt, the level is safer
			e.fitPredictor(ints, drift, true, coarse)
		} else {
			e.fitPredictor(ints, level, false, coarse)
		}
		return
	}
	// The estimate is too coarse for such small residuals: try both.
	e.fitPredictor(ints, level, false, coarse)
	levelSize := e.model.bits
	e.fitPredictor(ints, drift, true, coarse)
	if levelSize <= e.model.bits {
		e.fitPredictor(ints, level, false, coarse)
	}
}

// fitPredictor fits e.model with one of the predictors.
func (e *Encoder) fitPredictor(ints []int64, s sample, delta, coarse bool) {
	e.predict(ints, s, delta, coarse)
	e.fitCode()
}

// predict sets e.residuals to the residuals of one of the predictors.
func (e *Encoder) predict(ints []int64, s sample, delta, coarse bool) {
	m := &e.model
	m.delta, m.base, m.coarse = delta, 0, 0
	if delta {
		m.base = ints[0]
	}
	s.refine(ints, delta)
	if coarse {
		m.coarse = uint(max(bits.Len64(s.spread)-4, 0))
		s.center = (s.center + 1<<m.coarse>>1) &^ (1<<m.coarse - 1)
	}
	m.center = s.center
	e.residuals.take(ints, delta, m.center)
}

// fitCode chooses the code for the residuals, with or without the zeros.
func (e *Encoder) fitCode() {
	m, r := &e.model, &e.residuals
	n := len(r.zigzagged)
	zeros := int(r.counts[0])
	m.sparse = false
	m.code.choose(&r.counts, n)
	m.bits = m.code.bits + 64
	if zeros <= n/2 {
		return
	}
	e.spare = r.nonzeroRuns(e.spare[:0])
	spread := runBits(e.spare)
	var without code
	r.counts[0] = 0
	without.choose(&r.counts, n-zeros)
	if spread+without.bits+n/16 < m.code.bits { // short runs are slow to read
		m.sparse, m.code, m.bits = true, without, spread+without.bits+64
		r.dropZeros()
	}
	r.counts[0] = uint32(zeros)
}

// sample has statistics of a few of a column's integers or deltas.
type sample struct {
	center int64
	spread uint64 // between the quartiles
	atom   bool   // the center is a frequent value
	kinds  int    // number of distinct values
}

// sampled is the size of a sample.
const sampled = 9

// sampleCenter samples a few integers, or deltas, from all parts of the column.
func sampleCenter(ints []int64, delta bool) sample {
	var sorted [sampled]int64
	n := 0
	step := max(len(ints)/sampled, 1)
	for i := len(ints) - 1; i > 0 && n < sampled; i -= step {
		v := ints[i]
		if delta {
			v -= ints[i-1]
		}
		for at, w := range sorted[:n] { // no unpredictable branch
			sorted[at], v = min(v, w), max(v, w)
		}
		sorted[n] = v
		n++
	}
	s := sample{center: sorted[n/2], spread: uint64(sorted[n*3/4] - sorted[n/4])}
	same := 0
	for i, v := range sorted[:n] {
		if v == s.center {
			same++
		}
		if i == 0 || v != sorted[i-1] {
			s.kinds++
		}
	}
	s.atom = same > n/6+1
	return s
}

// refine moves the center to the mean of the values near it.
func (s *sample) refine(ints []int64, delta bool) {
	reach := 2*s.spread + 2
	if s.atom || reach>>61 != 0 {
		return
	}
	sum, count := 0.0, 0
	step := stride(ints)
	for i := 1; i < len(ints); i += step {
		off := ints[i] - s.center
		if delta {
			off -= ints[i-1]
		}
		if uint64(off)+reach <= 2*reach {
			sum += float64(off)
			count++
		}
	}
	if count > 0 {
		s.center += int64(sum / float64(count))
	}
}

// residualBits returns the total number of bits of the residuals by level and by delta, for looked
// of the integers.
func residualBits(ints []int64, level, drift int64) (levelBits, deltaBits, looked int) {
	step := stride(ints)
	for i := 1; i < len(ints); i += step {
		v := ints[i]
		levelBits += bits.Len64(zigzag(v - level))
		deltaBits += bits.Len64(zigzag(v - ints[i-1] - drift))
		looked++
	}
	return levelBits, deltaBits, looked
}

// stride is the distance between the integers of a long column that estimates use.
func stride(ints []int64) int { return 1 + len(ints)/64 }

// integrate converts residuals in place to integers. In delta mode, ints[0] is not a residual and
// is set to the base.
func (m *model) integrate(ints []int64) {
	if !m.delta {
		for i := range ints {
			ints[i] += m.center
		}
		return
	}
	last := m.base
	ints[0] = last
	for i := 1; i < len(ints); i++ {
		last += ints[i] + m.center
		ints[i] = last
	}
}

// reference returns the integer to which the column's statistics are relative.
func (m *model) reference() int64 {
	if m.delta {
		return m.base
	}
	return m.center
}

// append writes the predictor to a column's head.
func (m *model) append(dst []byte) []byte {
	if m.delta {
		dst = binary.AppendVarint(dst, m.base)
	}
	return binary.AppendVarint(dst, m.center>>m.coarse)
}

// take reads the encoding of append. m.coarse must be set.
func (m *model) take(h *head, tag byte) {
	m.delta, m.sparse = tag&tagDelta != 0, tag&tagSparse != 0
	m.base = 0
	if m.delta {
		m.base = h.varint()
	}
	m.center = h.varint() << m.coarse
}
