package codec

import "math"

// patch is a value outside of its column's domain, and the index of its sample. The integer of that
// sample is a copy of the previous one.
type patch struct {
	at    int
	value float64
}

// fillLeading sets the integers of the patches at the start of a column, which have no previous
// integer, to the first real one.
func fillLeading(ints []int64, patches []patch) {
	n := 0
	for n < len(patches) && patches[n].at == n {
		n++
	}
	if n == len(ints) {
		return
	}
	for i := range n {
		ints[i] = ints[n]
	}
}

// putPatches writes the positions and the values of e.patches.
func (e *Encoder) putPatches(w *bitWriter, samples int) {
	runs := append(e.patched[:0], 0)
	end := 0
	for _, p := range e.patches {
		if p.at == end && len(runs)&1 == 1 {
			runs[len(runs)-1]++
		} else {
			runs = append(runs, p.at-end, 1)
		}
		end = p.at + 1
	}
	if end < samples {
		runs = append(runs, samples-end)
	}
	e.patched = runs
	w.putRuns(runs)
	for _, p := range e.patches {
		w.putWide(math.Float64bits(p.value), 64)
	}
}

// takePatches reads the positions of the patches and skips their values.
func (c *column) takePatches(d *Decoder) error {
	var count int
	var err error
	if d.patches, count, err = c.body.takeRuns(d.patches[:0], c.samples); err != nil {
		return err
	}
	c.patched = c.body.pos
	c.body.pos += 64 * uint(count)
	return nil
}

// applyPatches writes the patches to dst, which starts with sample from.
func (c *column) applyPatches(d *Decoder, dst []float64, from int) {
	r := bitReader{c.body.src, c.patched}
	at := -from
	for i, n := range d.patches {
		if i&1 == 1 {
			at += n
			continue
		}
		for range n {
			v := math.Float64frombits(r.takeWide(64))
			if at >= 0 && at < len(dst) {
				dst[at] = v
			}
			at++
		}
	}
}
