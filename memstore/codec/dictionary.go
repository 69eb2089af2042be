package codec

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// The dictionary domain stores the distinct values of a column in ascending order, as a nested
// column, and for each sample the index of its value.

// maxDistinct is the maximum length of a dictionary that the encoder makes.
const maxDistinct = 512

// distinct are the distinct values of a column.
type distinct struct {
	values  []float64 // in order of first occurrence
	counts  []uint32  // samples per value
	indexes []uint16  // into values, per sample
	slots   [4 * maxDistinct]uint16
	order   []uint16
	sorted  []float64 // the values in ascending order
	ranks   []uint16  // the index of each value in sorted
	encoded []byte    // the column of sorted
	bits    int       // size of encoded
}

// findDistinct looks for a dictionary that takes less than budget bits, including the indexes. It
// gives up early where success is unlikely: if residuals are short, the sampled integers must
// repeat often; otherwise the first samples must repeat at all.
func (e *Encoder) findDistinct(samples []float64, budget int) bool {
	n := len(samples)
	each := budget / n
	if n < 8 || each < 3 || each < 16 && e.model.kinds > sampled/2 {
		return false
	}
	s := &e.distinct
	entry := max(each*3/4, 4) // about the size of a dictionary entry
	if !s.collect(samples, min(maxDistinct, budget/entry)) {
		return false
	}
	indexes := int(xlog(uint32(n)))
	for _, count := range s.counts {
		indexes -= int(xlog(count))
	}
	indexes = indexes/16 + n/16 + 64
	if indexes+entry*len(s.values)/2 > budget {
		return false
	}
	s.sort()
	if e.entries == nil {
		e.entries = new(Encoder)
	}
	s.encoded = e.entries.appendEntries(s.encoded[:0], s.sorted)
	s.bits = 8*len(s.encoded) + 16
	return indexes+s.bits < budget
}

// collect fills s unless there are more than limit distinct values.
func (s *distinct) collect(samples []float64, limit int) bool {
	s.values = s.values[:0]
	s.counts = s.counts[:0]
	s.indexes = resize(s.indexes, len(samples))
	early := min(max(24, len(samples)/6), 48) - 1 // a value must repeat until here
	width := bits.Len(uint(2 * limit))
	slots := s.slots[:1<<width]
	clear(slots)
	for i, v := range samples {
		u := math.Float64bits(v)
		at := u * 0x9e3779b97f4a7c15 >> (64 - width) // Fibonacci hashing (Knuth, 6.4)
		for slots[at] != 0 && math.Float64bits(s.values[slots[at]-1]) != u {
			at = (at + 1) % uint64(len(slots))
		}
		if slots[at] == 0 {
			if len(s.values) == limit {
				return false
			}
			s.values = append(s.values, v)
			s.counts = append(s.counts, 0)
			slots[at] = uint16(len(s.values))
		}
		index := slots[at] - 1
		s.counts[index]++
		s.indexes[i] = index
		if i == early && len(s.values) == early+1 {
			return false
		}
	}
	return true
}

// sort sets sorted to the values in ascending order, and ranks to their indexes in sorted.
func (s *distinct) sort() {
	s.order = resize(s.order, len(s.values))
	for i := range s.order {
		s.order[i] = uint16(i)
	}
	slices.SortFunc(s.order, func(a, b uint16) int {
		return cmp.Compare(ascending(s.values[a]), ascending(s.values[b]))
	})
	s.sorted = resize(s.sorted, len(s.values))
	s.ranks = resize(s.ranks, len(s.values))
	for rank, i := range s.order {
		s.sorted[rank] = s.values[i]
		s.ranks[i] = uint16(rank)
	}
}

// ascending maps floats to integers of the same order, with -0 before 0.
func ascending(v float64) int64 {
	u := int64(math.Float64bits(v))
	return u ^ int64(uint64(u>>63)>>1)
}

// appendEntries encodes the values of a dictionary.
func (e *Encoder) appendEntries(dst []byte, values []float64) []byte {
	if d, ok := e.decimals(values); ok {
		e.fit(e.ints, false)
		return e.appendDecimal(dst, values, d, formDecimal)
	}
	p := e.patterns(values, commonBits(values))
	e.fit(e.ints, true)
	return e.appendPattern(dst, values, p, formPattern)
}

// takeIndexes sets e.ints to the indexes of the samples.
func (e *Encoder) takeIndexes() {
	s := &e.distinct
	for i, index := range s.indexes {
		e.ints[i] = int64(s.ranks[index])
	}
}

func (e *Encoder) appendDictionary(dst []byte, samples []float64, tag byte) []byte {
	dst = append(dst, tag|e.model.tag())
	dst = binary.AppendUvarint(dst, uint64(len(e.distinct.sorted)))
	dst = append(dst, e.distinct.encoded...)
	dst = e.model.append(dst)
	if tag&tagStats != 0 {
		dst = appendFloat(dst, Summarize(samples).Sum)
	}
	w := e.body(dst, tag, len(samples))
	e.putResiduals(&w)
	return w.close()
}

// takeDictionary reads the head of a dictionary column.
func (c *column) takeDictionary(d *Decoder, h *head) {
	n := h.uvarint()
	if n < 2 || n > uint64(c.slots) {
		h.fail(fmt.Errorf("%w: dictionary: expected 2 to %d values, got %d", ErrCorrupt, c.slots, n))
		return
	}
	if len(h.src) == 0 || h.src[0]&formMask == formDictionary {
		h.fail(fmt.Errorf("%w: dictionary in a dictionary", ErrCorrupt))
		return
	}
	d.entries = resize(d.entries, int(n))
	if d.nested == nil {
		d.nested = new(Decoder)
	}
	tail, err := d.nested.Decode(d.entries, h.src)
	if err != nil {
		h.fail(fmt.Errorf("dictionary: %w", err))
		return
	}
	h.src = tail
	c.model.take(h, c.tag)
	if c.tag&tagStats != 0 {
		c.stats = Stats{Sum: h.float(), Min: d.entries[0], Max: d.entries[n-1]}
	}
}

// lookup turns indexes into values.
func lookup(dst []float64, ints []int64, entries []float64) error {
	dst = dst[:len(ints)]
	for i, x := range ints {
		if uint64(x) >= uint64(len(entries)) {
			return fmt.Errorf("%w: index %d is beyond the dictionary of %d values", ErrCorrupt, x, len(entries))
		}
		dst[i] = entries[x]
	}
	return nil
}
