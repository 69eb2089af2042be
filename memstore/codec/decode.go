package codec

import (
	"fmt"
	"math"
)

// Decoder decodes columns. The zero value is ready to use. A Decoder reuses its scratch memory, so
// that decoding allocates nothing. It must not be used concurrently.
//
// It is safe on any bytes: it never panics, and its errors wrap one of this package's. Time and
// memory depend on the number of requested slots only (20 bytes per slot, never more than 200), not
// on numbers in the bytes.
type Decoder struct {
	presence []int
	spare    []int
	patches  []int
	code     code
	table    codeTable
	steps    [maxRungs]step
	rungs    []uint8
	ints     []int64
	values   []float64
	entries  []float64
	nested   *Decoder
}

// column is a column whose head has been read.
type column struct {
	tag      byte
	slots    int
	samples  int
	constant float64
	decimal  decimal
	pattern  pattern
	model    model
	stats    Stats
	whole    wholeStats
	hasWhole bool
	body     bitReader
	patched  uint // position of the values of the patches in body
}

// Decode decodes the column of len(dst) slots at the start of src into dst and returns the bytes
// after it. Slots without a sample are set to NaN. After an error the contents of dst are
// undefined.
func (d *Decoder) Decode(dst []float64, src []byte) (tail []byte, err error) {
	c, err := d.open(src, len(dst))
	if err != nil {
		return nil, err
	}
	if err := c.window(d, dst, 0); err != nil {
		return nil, err
	}
	return c.body.tail(), nil
}

// DecodeRange decodes the slots [from, from+len(dst)) of the column of n slots at the start of src
// into dst. Slots outside of the range take less time than those inside, but some.
func (d *Decoder) DecodeRange(dst []float64, src []byte, n, from int) error {
	if from < 0 || from > n || len(dst) > n-from {
		return fmt.Errorf("%w: expected slots of [0, %d), got [%d, %d)", ErrRange, n, from, from+len(dst))
	}
	c, err := d.open(src, n)
	if err != nil {
		return err
	}
	return c.window(d, dst, from)
}

// open reads the head of a column of n slots and the presence of its samples.
func (d *Decoder) open(src []byte, n int) (c column, err error) {
	if n < 0 || n > MaxSlots {
		return c, fmt.Errorf("%w: %d slots", ErrRange, n)
	}
	if len(src) == 0 {
		return c, ErrTruncated
	}
	h := head{src: src[1:]}
	c.tag, c.slots, c.samples = src[0], n, n
	if err := c.takeHead(d, &h); err != nil {
		return c, err
	}
	if h.err != nil {
		return c, h.err
	}
	c.body.src = h.src
	if c.tag&tagNulls != 0 {
		if d.presence, c.samples, err = c.body.takeRuns(d.presence[:0], n); err != nil {
			return c, fmt.Errorf("presence: %w", err)
		}
	}
	if c.tag&formMask != formConstant && c.tag&tagPatched != 0 {
		if err := c.takePatches(d); err != nil {
			return c, fmt.Errorf("patches: %w", err)
		}
	}
	if c.samples == 0 && c.tag&formMask != formEmpty {
		return c, fmt.Errorf("%w: no samples", ErrCorrupt)
	}
	return c, d.overrun(&c.body)
}

// known has the tag bits that a form allows in addition to the form itself.
var known = [...]byte{
	formEmpty:      0,
	formConstant:   tagNulls | constantKind,
	formDecimal:    0xff,
	formPattern:    0xff,
	formDictionary: 0xff &^ tagPatched,
	formRaw:        tagNulls | tagStats,
}

// takeHead reads the fields between the tag and the bit stream.
func (c *column) takeHead(d *Decoder, h *head) (err error) {
	form := c.tag & formMask
	if int(form) >= len(known) || c.tag&^formMask&^known[form] != 0 {
		return fmt.Errorf("%w: tag %#x", ErrForm, c.tag)
	}
	switch form {
	case formEmpty:
		c.samples = 0
	case formConstant:
		c.constant, err = takeConstant(c.tag, h)
	case formDecimal:
		c.takeDecimal(h)
	case formPattern:
		c.takePattern(h)
	case formDictionary:
		c.takeDictionary(d, h)
	case formRaw:
		if c.tag&tagStats != 0 {
			c.stats = takeFloatStats(h)
		}
	}
	return err
}

// window fills dst with slots, starting at slot from.
func (c *column) window(d *Decoder, dst []float64, from int) error {
	if c.tag&tagNulls == 0 || c.tag&formMask == formEmpty {
		return c.samplesFrom(d, dst, from)
	}
	before := countIn(d.presence, from)
	inside := countIn(d.presence, from+len(dst)) - before
	if err := c.samplesFrom(d, dst[:inside], before); err != nil {
		return err
	}
	spreadNulls(dst, d.presence, from, c.slots, inside)
	return nil
}

// countIn returns how many of the first positions are in the set.
func countIn(runs []int, positions int) int {
	count := 0
	for i, n := range runs {
		n = min(n, positions)
		if i&1 == 0 {
			count += n
		}
		if positions -= n; positions == 0 {
			break
		}
	}
	return count
}

// spreadNulls moves the samples at the start of dst to their slots and sets the other slots to NaN.
// runs are the lengths of alternating runs: samples, nulls, samples, and so on. It moves the last sample first. dst starts with slot from.
func spreadNulls(dst []float64, runs []int, from, slots, samples int) {
	end := slots - from
	for i := len(runs) - 1; i >= 0 && end > 0; i-- {
		start := end - runs[i]
		lo, hi := max(start, 0), min(end, len(dst))
		if lo < hi {
			if i&1 == 0 {
				samples -= hi - lo
				move(dst[lo:hi], dst[samples:])
			} else {
				fill(dst[lo:hi], math.NaN())
			}
		}
		end = start
	}
}

// move copies len(to) values. to must not start before from in memory.
func move(to, from []float64) {
	if len(to) > 16 {
		copy(to, from)
		return
	}
	from = from[:len(to)]
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = from[i]
	}
}

func fill(dst []float64, v float64) {
	for i := range dst {
		dst[i] = v
	}
}

// samplesFrom fills dst with samples, starting at sample from.
func (c *column) samplesFrom(d *Decoder, dst []float64, from int) error {
	if len(dst) == 0 {
		return nil
	}
	switch c.tag & formMask {
	case formEmpty:
		fill(dst, math.NaN())
		return nil
	case formConstant:
		fill(dst, c.constant)
		return nil
	case formRaw:
		return c.raw(dst, from)
	}
	ints, err := c.integers(d, from+len(dst))
	if err != nil {
		return err
	}
	ints = ints[from:]
	switch c.tag & formMask {
	case formDecimal:
		c.decimal.floats(dst, ints)
	case formPattern:
		c.pattern.floats(dst, ints)
	default:
		return lookup(dst, ints, d.entries)
	}
	if c.tag&tagPatched != 0 {
		c.applyPatches(d, dst, from)
	}
	return nil
}

// integers decodes the first want integers of the column.
func (c *column) integers(d *Decoder, want int) ([]int64, error) {
	skip := 0
	if c.model.delta {
		skip = 1 // the base has no residual
	}
	ints, err := d.takeResiduals(c, want, skip)
	if err != nil {
		return nil, err
	}
	c.model.integrate(ints)
	return ints, nil
}
