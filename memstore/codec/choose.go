package codec

import "math"

// shape is the form chosen for a column.
type shape struct {
	form    byte
	decimal decimal
	pattern pattern
	bits    int // estimated size
}

// patchBits is about the size of a patch.
const patchBits = 72

// choose chooses the form of a column and prepares it: e.ints has the integers, and e.model is
// fitted to them. It chooses the domain by a few samples and fits one model, or two if a dictionary
// may be smaller.
func (e *Encoder) choose(samples []float64, common common) shape {
	var s shape
	if d, ok := e.decimals(samples); ok {
		s.form, s.decimal = formDecimal, d
		e.fit(e.ints, false)
	} else {
		s.form, s.pattern = formPattern, e.patterns(samples, common)
		e.fit(e.ints, true)
	}
	s.bits = e.model.bits + patchBits*len(e.patches)
	if e.findDistinct(samples, s.bits) {
		e.patches = e.patches[:0]
		e.takeIndexes()
		e.fit(e.ints, false)
		s.form = formDictionary
		s.bits = e.distinct.bits + e.model.bits
	}
	return s
}

// xlog returns 16*n*log2(n), rounded.
func xlog(n uint32) uint64 {
	if n < uint32(len(xlogx)) {
		return uint64(xlogx[n])
	}
	return xlogLarge(n)
}

func xlogLarge(n uint32) uint64 { return uint64(16*nlog2n(int(n)) + 0.5) }

func nlog2n(n int) float64 {
	if n == 0 {
		return 0
	}
	return float64(n) * math.Log2(float64(n))
}
