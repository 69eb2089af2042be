package codec

// The next window of a series is usually similar to the previous one, so the choices for the
// previous column are usually right for the next. Choosing is half of the work of encoding.

// guide has the choices that were made for a similar column. Without a form it is empty.
type guide struct {
	form      byte // decimal or pattern
	exponent  int  // of the decimal domain
	shift     uint // of the pattern domain
	delta     bool
	codeShift uint
	geometric bool
	bits      int // of the column
	samples   int
}

// guideOf reads the choices from the head of a column of n slots. For rare shapes and damaged
// columns the guide is empty.
func (e *Encoder) guideOf(src []byte, n int) guide {
	if len(src) == 0 || n < 0 || n > MaxSlots || src[0]&(tagSparse|tagPatched) != 0 {
		return guide{}
	}
	c := column{tag: src[0], samples: n}
	h := head{src: src[1:]}
	switch c.tag & formMask {
	case formDecimal:
		c.takeDecimal(&h)
	case formPattern:
		c.takePattern(&h)
	default:
		return guide{}
	}
	if h.err != nil {
		return guide{}
	}
	body := bitReader{src: h.src}
	if c.tag&tagNulls != 0 {
		e.spare, c.samples, _ = body.takeRuns(e.spare[:0], n) // an error leaves no samples
	}
	if c.samples == 0 {
		return guide{}
	}
	return guide{
		form: c.tag & formMask, exponent: c.decimal.exponent, shift: c.pattern.shift, delta: c.model.delta,
		codeShift: uint(body.take(shiftBits)), geometric: body.take(1) == 1,
		bits: 8 * len(src), samples: c.samples,
	}
}

// follow prepares a column with the choices of g. It returns false if they do not fit, or if the
// size differs notably from that of the similar column: then the caller must choose. The prepared
// column is valid for any g.
func (e *Encoder) follow(samples []float64, common common, g guide) (s shape, ok bool) {
	s.form = g.form
	e.patches = e.patches[:0]
	switch g.form {
	case formDecimal:
		e.takeDecimals(samples, g.exponent)
		if len(e.patches) > 0 {
			return s, false
		}
		s.decimal = decimal{g.exponent, takeStep(e.ints)}
	case formPattern:
		if s.pattern = patternOf(common); s.pattern.shift != g.shift {
			return s, false
		}
		if _, ok := probeDecimal(samples); ok {
			return s, false
		}
		e.takePatterns(samples, s.pattern)
	default:
		return s, false
	}
	near := sampleCenter(e.ints, g.delta)
	e.predict(e.ints, near, g.delta, g.form == formPattern)
	if g.delta {
		near = sampleCenter(e.ints, false)
	}
	m, r := &e.model, &e.residuals
	m.kinds = near.kinds
	n := len(r.zigzagged)
	if 2*int(r.counts[0]) > n || 4*r.firstRung(g.codeShift) > 3*n {
		return s, false // a sparse model or another shift may be better
	}
	m.sparse = false
	m.code.follow(&r.counts, g.codeShift, g.geometric)
	m.bits = m.code.bits + 64
	s.bits = m.bits
	expected := g.bits * len(samples) / g.samples
	more := s.bits - expected
	return s, more <= expected/32+32 && -more <= expected/8+64 && !e.findDistinct(samples, s.bits)
}
