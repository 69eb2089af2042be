package codec

import (
	"fmt"
	"math/bits"
)

// residuals has the zigzagged residuals of one column and their rungs.
type residuals struct {
	zigzagged []uint64
	rungs     []uint8
	counts    [maxRungs]uint32
	fields    [maxRungs]field // scratch of the writer
}

// take sets r to the residuals of ints.
func (r *residuals) take(ints []int64, delta bool, center int64) {
	base := int64(0)
	if delta {
		base, ints = ints[0], ints[1:]
	}
	r.zigzagged = resize(r.zigzagged, len(ints))
	r.rungs = resize(r.rungs, len(ints))
	clear(r.counts[:])
	rungs := r.rungs[:len(ints)]
	zigzagged := r.zigzagged[:len(ints)]
	for i, v := range ints {
		z := zigzag(v - base - center)
		if delta {
			base = v
		}
		at := rung(z)
		zigzagged[i] = z
		rungs[i] = uint8(at)
		r.counts[at%maxRungs]++
	}
}

// firstRung counts the residuals on the first rung of a ladder with a shift.
func (r *residuals) firstRung(shift uint) (n int) {
	for _, count := range r.counts[:min(max(2*shift, 1), maxRungs)] {
		n += int(count)
	}
	return n
}

// resize returns a slice of n undefined elements, which reuses the memory of s if possible.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}

// nonzeroRuns appends the runs of the residuals that are not zero.
func (r *residuals) nonzeroRuns(runs []int) []int {
	zero := false
	start := 0
	for i, z := range r.zigzagged {
		if (z == 0) != zero {
			runs = append(runs, i-start)
			start = i
			zero = !zero
		}
	}
	return append(runs, len(r.zigzagged)-start)
}

// dropZeros removes the zero residuals.
func (r *residuals) dropZeros() {
	n := 0
	for i, z := range r.zigzagged {
		if z != 0 {
			r.zigzagged[n] = z
			r.rungs[n] = r.rungs[i]
			n++
		}
	}
	r.zigzagged = r.zigzagged[:n]
	r.rungs = r.rungs[:n]
}

// code is the encoding of residuals: a ladder and the prefix code of its rungs.
type code struct {
	shift     uint
	rungs     int // in use: 0 to rungs-1
	low, top  int // the rungs in use on the ladder without a shift; encoder only
	geometric bool
	lengths   [maxRungs]uint8
	bits      int // size of code and residuals
}

// single reports whether all residuals are on the last rung, so that rungs take no bits.
func (c *code) single() bool { return c.lengths[c.rungs-1] == 0 }

const (
	shiftBits = 6
	countBits = 7
	// maxGeometricShift is the shift with which the last rung of the fixed lengths reaches 64 bits.
	maxGeometricShift = 59
)

// choose chooses the best code for n residuals with these counts per rung.
func (c *code) choose(counts *[maxRungs]uint32, n int) {
	c.shift, c.rungs, c.geometric, c.low, c.top = 0, 1, false, 0, 0
	c.lengths[0] = 0
	if n == 0 {
		c.bits = shiftBits + 1 + countBits
		return
	}
	c.low, c.top = span(counts)
	c.tryGeometric(counts)
	shift, estimate := bestShift(counts, n, c.low, c.top)
	if c.geometric && c.bits < estimate {
		return
	}
	c.tryOwn(counts, shift)
}

// span returns the first and the last rung with residuals.
func span(counts *[maxRungs]uint32) (low, top int) {
	top = maxRungs - 1
	for counts[low] == 0 {
		low++
	}
	for counts[top] == 0 {
		top--
	}
	return low, top
}

// follow finds a code for counts, of which some are not zero, with a given shift and kind of
// lengths.
func (c *code) follow(counts *[maxRungs]uint32, shift uint, fixed bool) {
	c.low, c.top = span(counts)
	c.geometric = false
	if fixed && shift <= maxGeometricShift && c.top < 2*int(shift)+len(geometric) {
		var buffer [maxRungs]uint32
		c.geometric, c.shift = true, shift
		c.rungs = copy(c.lengths[:], geometric[:])
		c.bits = c.cost(c.shiftCounts(&buffer, counts), geometric[:])
		return
	}
	c.tryOwn(counts, shift)
}

// tryGeometric uses the fixed lengths with the best shift, if they are long enough for all rungs.
func (c *code) tryGeometric(counts *[maxRungs]uint32) {
	fixed := code{low: c.low, top: c.top, geometric: true}
	from := max((c.top-len(geometric)+2)/2, 0)
	var buffer [maxRungs]uint32
	for shift := from; shift <= min(from+2, c.top/2, maxGeometricShift); shift++ {
		fixed.shift = uint(shift)
		shifted := fixed.shiftCounts(&buffer, counts)
		fixed.bits = fixed.cost(shifted, geometric[:])
		if !c.geometric || fixed.bits < c.bits {
			c.geometric, c.shift, c.bits = true, fixed.shift, fixed.bits
		}
	}
	if c.geometric {
		c.rungs = copy(c.lengths[:], geometric[:])
	}
}

// tryOwn uses lengths made for the counts, unless those of c are better.
func (c *code) tryOwn(counts *[maxRungs]uint32, shift uint) {
	own := code{low: c.low, top: c.top, shift: shift}
	var buffer [maxRungs]uint32
	shifted := own.shiftCounts(&buffer, counts)
	own.rungs = len(shifted)
	huffman(own.lengths[:own.rungs], shifted)
	own.bits = own.cost(shifted, own.lengths[:])
	if !c.geometric || own.bits < c.bits {
		*c = own
	}
}

// bestShift returns the shift with the minimum entropy of rungs and offsets, and an estimate of the
// size of code and residuals. It skips shifts so small that hardly a residual is on the first rung:
// they gain nothing and need more rungs.
func bestShift(counts *[maxRungs]uint32, n, low, top int) (uint, int) {
	shift := low / 2
	below := 0 // residuals on rungs below 2*shift
	for 2*shift+2 <= top {
		next := below + int(counts[2*shift]+counts[2*shift+1])
		if 64*next >= n {
			break
		}
		below = next
		shift++
	}
	// The cost of the rungs above first and second: in total, and per octave of shift.
	above, each := 0, 0
	for at := 2*shift + 2; at <= top; at++ {
		above += rungBits16(counts[at], at)
		each += 16 * int(counts[at])
	}
	best, lowest := shift, int(^uint(0)>>1)
	for ; 2*shift <= top; shift++ {
		first, second := uint32(below), counts[2*shift]+counts[2*shift+1]
		if shift == 0 {
			first, second = counts[0], counts[1]
		}
		cost := 16*shift*n + rungCost*(top-2*shift) - int(xlog(first)+xlog(second)) + above - each*shift
		if cost < lowest {
			best, lowest = shift, cost
		}
		below += int(counts[2*shift] + counts[2*shift+1])
		if 4*below > 3*n {
			break
		}
		for at := 2*shift + 2; at <= min(2*shift+3, top); at++ {
			above -= rungBits16(counts[at], at)
			each -= 16 * int(counts[at])
		}
	}
	return uint(best), (lowest+int(xlog(uint32(n))))/16 + shiftBits + 1 + countBits
}

// rungBits16 is the size of count residuals on a rung of the ladder without a shift in 1/16 bit,
// without the part that all residuals share.
func rungBits16(count uint32, at int) int {
	return 16*int(count)*(at/2-1) - int(xlog(count))
}

// rungCost is about the size of the length of a rung's code, in 1/16 bit.
const rungCost = 40

// shiftCounts converts counts of the ladder without a shift to those of c's ladder. The result may
// use the memory of buffer.
func (c *code) shiftCounts(buffer, counts *[maxRungs]uint32) []uint32 {
	if c.shift == 0 {
		return counts[:c.top+1]
	}
	from := 2 * int(c.shift)
	below := uint32(0)
	for _, count := range counts[c.low:max(from, c.low)] {
		below += count
	}
	buffer[0] = below
	if from > c.top {
		return buffer[:1]
	}
	buffer[1] = counts[from] + counts[from+1]
	return buffer[:2+copy(buffer[2:], counts[from+2:max(c.top+1, from+2)])]
}

// cost returns the size of code and residuals in bits with these code lengths.
func (c *code) cost(shifted []uint32, lengths []uint8) int {
	total := shiftBits + 1
	for at, count := range shifted {
		total += int(count) * (int(lengths[at]) + int(offsetBits(uint(at), c.shift)))
	}
	if c.geometric {
		return total
	}
	total += countBits
	if len(shifted) > 1 {
		before := uint8(2)
		for _, l := range lengths[:len(shifted)] {
			total += lengthBits(before, l)
			before = l
		}
	}
	return total
}

// putCode writes c.
func (w *bitWriter) putCode(c *code) {
	w.put(uint64(c.shift), shiftBits)
	if c.geometric {
		w.put(1, 1)
		return
	}
	w.put(0, 1)
	w.put(uint64(c.rungs-1), countBits)
	if c.rungs > 1 {
		w.putLengths(c.lengths[:c.rungs])
	}
}

// takeCode reads the encoding of putCode.
func (r *bitReader) takeCode(c *code) error {
	c.shift = uint(r.take(shiftBits))
	if c.geometric = r.take(1) == 1; c.geometric {
		c.rungs = copy(c.lengths[:], geometric[:])
	} else {
		c.rungs = int(r.take(countBits)) + 1
		if c.rungs > 1 {
			if err := r.takeLengths(c.lengths[:c.rungs]); err != nil {
				return err
			}
		} else {
			c.lengths[0] = 0
		}
	}
	if top := uint(c.rungs - 1); bits.Len64(rungStart(top, 0))+int(c.shift) > 64 {
		return fmt.Errorf("%w: rung %d with shift %d exceeds 64 bits", ErrCorrupt, top, c.shift)
	}
	return nil
}
