package codec

import "fmt"

// step is a rung of the ladder, prepared for decoding.
type step struct {
	start uint64
	mask  uint64
	width uint
}

// takeResiduals reads the residuals of all integers but the first skip, and returns a slice for the
// first want integers, of which the first skip are undefined. The slice is valid until the next
// call.
func (d *Decoder) takeResiduals(c *column, want, skip int) ([]int64, error) {
	r := &c.body
	n := c.samples - skip
	coded := n
	if c.model.sparse {
		var err error
		if d.spare, coded, err = r.takeRuns(d.spare[:0], n); err != nil {
			return nil, fmt.Errorf("residuals: %w", err)
		}
	}
	if err := r.takeCode(&d.code); err != nil {
		return nil, err
	}
	// Without bits for rungs or offsets, the length of src does not bound coded; the number of
	// slots does.
	d.rungs = resize(d.rungs, coded)
	if d.code.single() {
		fillRungs(d.rungs, d.code.rungs-1)
	} else {
		d.takeRungs(r)
	}
	if err := d.overrun(r); err != nil {
		return nil, err
	}
	d.ints = resize(d.ints, c.samples)
	residuals := d.ints[skip:]
	if c.model.sparse {
		d.takeOffsets(r, residuals[:coded], false)
		spreadZeros(residuals, d.spare, coded)
	} else {
		d.takeOffsets(r, residuals[:max(want-skip, 0)], want < c.samples)
	}
	return d.ints[:want], d.overrun(r)
}

func (d *Decoder) overrun(r *bitReader) error {
	if r.overrun() {
		return fmt.Errorf("%w: expected %d bits, got %d", ErrTruncated, r.pos, 8*len(r.src))
	}
	return nil
}

// takeRungs reads d.rungs.
func (d *Decoder) takeRungs(r *bitReader) {
	table := &geometricTable
	if !d.code.geometric {
		table = &d.table
		table.fill(d.code.lengths[:d.code.rungs])
	}
	rungs, pos, src := d.rungs, r.pos, r.src
	for len(rungs) >= 7 { // a peek has at least 7 codes of maxCode bits
		window := peek(src, pos)
		group := rungs[:7]
		for i := range group {
			entry := table[uint8(window)]
			group[i] = uint8(entry >> 4)
			window >>= entry & 15
			pos += uint(entry & 15)
		}
		rungs = rungs[7:]
	}
	for i := range rungs {
		entry := table[uint8(peek(src, pos))]
		rungs[i] = uint8(entry >> 4)
		pos += uint(entry & 15)
	}
	r.pos = pos
}

// takeOffsets reads the residuals of the first rungs of d.rungs, and skips the offsets of the
// others if skip is set.
func (d *Decoder) takeOffsets(r *bitReader, residuals []int64, skip bool) {
	var widest uint
	for at := range d.code.rungs {
		width := offsetBits(uint(at), d.code.shift)
		d.steps[at] = step{rungStart(uint(at), d.code.shift), 1<<width - 1, width}
		widest = max(widest, width)
	}
	if widest > maxField {
		d.takeWideOffsets(r, residuals)
	} else {
		steps, pos, src := &d.steps, r.pos, r.src
		rungs := d.rungs[:len(residuals)]
		for i, at := range rungs {
			s := &steps[at%maxRungs]
			residuals[i] = unzigzag(s.start + peek(src, pos)&s.mask)
			pos += s.width
		}
		r.pos = pos
	}
	if skip {
		for _, at := range d.rungs[len(residuals):] {
			r.pos += d.steps[at%maxRungs].width
		}
	}
}

// takeWideOffsets is takeOffsets for offsets that may exceed one load.
func (d *Decoder) takeWideOffsets(r *bitReader, residuals []int64) {
	for i, at := range d.rungs[:len(residuals)] {
		s := &d.steps[at%maxRungs]
		residuals[i] = unzigzag(s.start + r.takeWide(s.width))
	}
}

// spreadZeros moves the first coded of ints to the positions that runs describe, and sets the
// others to zero. It moves the last one first.
func spreadZeros(ints []int64, runs []int, coded int) {
	end := len(ints)
	for i := len(runs) - 1; i >= 0; i-- {
		start := end - runs[i]
		if i&1 == 0 {
			copy(ints[start:end], ints[coded-runs[i]:coded])
			coded -= runs[i]
		} else {
			clear(ints[start:end])
		}
		end = start
	}
}

func fillRungs(rungs []uint8, at int) {
	for i := range rungs {
		rungs[i] = uint8(at)
	}
}
