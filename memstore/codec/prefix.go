package codec

import (
	"fmt"
	"math/bits"
)

// maxCode is the maximum length of a prefix code in bits, so that a table of 256 entries decodes
// it.
const maxCode = 8

// geometric has the code lengths for a distribution that halves from rung to rung. Short columns
// use them if their own lengths would cost more than they save.
var geometric = [...]uint8{1, 2, 3, 4, 5, 6, 8, 8, 8, 8}

// xlogx[n] is 16*n*log2(n).
var xlogx = makeXlogx()

func makeXlogx() (table [2048]uint32) {
	for n := range table {
		table[n] = uint32(16*nlog2n(n) + 0.5)
	}
	return table
}

// huffman sets lengths to those of a complete prefix code for counts: the optimal code (Huffman
// 1952), limited to maxCode bits. A count of zero gets the length zero, and so does a single
// symbol.
func huffman(lengths []uint8, counts []uint32) {
	clear(lengths)
	var order [maxRungs]uint8 // the symbols by ascending count
	n := 0
	for s, c := range counts {
		if c == 0 {
			continue
		}
		at := n
		for at > 0 && counts[order[at-1]] > c {
			order[at] = order[at-1]
			at--
		}
		order[at] = uint8(s)
		n++
	}
	if n < 2 {
		return
	}
	depths(lengths, counts, order[:n])
	limit(lengths, order[:n])
}

// depths sets lengths to the depths of the symbols in the Huffman tree. It builds the tree with two
// queues, the symbols by ascending count and the inner nodes in order of creation.
func depths(lengths []uint8, counts []uint32, order []uint8) {
	var weight [maxRungs]uint32
	var parent [2 * maxRungs]uint8 // of the leaves, then of the inner nodes
	n := len(order)
	leaf, inner := 0, 0
	for made := range n - 1 {
		for range 2 {
			var child int
			if leaf < n && (inner == made || counts[order[leaf]] <= weight[inner]) {
				weight[made] += counts[order[leaf]]
				child = leaf
				leaf++
			} else {
				weight[made] += weight[inner]
				child = n + inner
				inner++
			}
			parent[child] = uint8(made)
		}
	}
	var depth [maxRungs]uint8 // of the inner nodes; the last one is the root
	for i := n - 3; i >= 0; i-- {
		depth[i] = depth[parent[n+i]] + 1
	}
	for i, s := range order {
		lengths[s] = depth[parent[i]] + 1
	}
}

// limit limits lengths to maxCode and makes the code complete again: it first lengthens the codes
// of the rarest symbols until the code is valid, and then shortens those of the most frequent ones.
func limit(lengths []uint8, order []uint8) {
	const whole = 1 << maxCode
	spent := 0
	for _, s := range order {
		lengths[s] = min(lengths[s], maxCode)
		spent += whole >> lengths[s]
	}
	for spent > whole {
		for _, s := range order {
			if lengths[s] < maxCode {
				lengths[s]++
				spent -= whole >> lengths[s]
				break
			}
		}
	}
	for i := len(order) - 1; i >= 0 && spent < whole; i-- {
		for s := order[i]; lengths[s] > 1 && spent+whole>>lengths[s] <= whole; {
			spent += whole >> lengths[s]
			lengths[s]--
		}
	}
}

// valid reports whether lengths are those of a complete prefix code that uses its last symbol, or
// are all zero, which means that only the last symbol occurs.
func valid(lengths []uint8) bool {
	spent := 0
	for _, l := range lengths {
		if l > 0 {
			spent += 1 << (maxCode - l)
		}
	}
	if lengths[len(lengths)-1] == 0 {
		return spent == 0
	}
	return spent == 1<<maxCode
}

// assign sets codes to the canonical codes of lengths (RFC 1951, 3.2.2). The first bit of a code is
// its lowest bit, as in bitWriter and bitReader.
func assign(codes []uint8, lengths []uint8) {
	var count, next [maxCode + 2]int
	for _, l := range lengths {
		count[l]++
	}
	count[0] = 0
	for l := range maxCode {
		next[l+1] = (next[l] + count[l]) << 1
	}
	for s, l := range lengths {
		codes[s] = bits.Reverse8(uint8(next[l] << (maxCode - l)))
		next[l]++
	}
}

// codeTable decodes a prefix code. Indexed by the next maxCode bits, it has the symbol and, in the
// low four bits, the length of its code.
type codeTable [1 << maxCode]uint16

// fill sets the table to a complete code.
func (t *codeTable) fill(lengths []uint8) {
	var codes [maxRungs]uint8
	assign(codes[:], lengths)
	for s, l := range lengths {
		if l == 0 {
			continue
		}
		entry := uint16(s)<<4 | uint16(l)
		for i := int(codes[s]); i < len(t); i += 1 << (l & 15) {
			t[i] = entry
		}
	}
}

// geometricTable is the table for the lengths in geometric.
var geometricTable = makeGeometricTable()

func makeGeometricTable() (t codeTable) {
	t.fill(geometric[:])
	return t
}

// putLengths writes code lengths, each relative to the previous one.
func (w *bitWriter) putLengths(lengths []uint8) {
	before := uint8(2)
	for _, l := range lengths {
		switch l {
		case before:
			w.put(0b0, 1)
		case before + 1:
			w.put(0b001, 3)
		case before - 1:
			w.put(0b101, 3)
		default:
			w.put(0b11|uint64(l)<<2, 6)
		}
		before = l
	}
}

// lengthBits is the size of l in putLengths after a length before.
func lengthBits(before, l uint8) int {
	switch l {
	case before:
		return 1
	case before + 1, before - 1:
		return 3
	default:
		return 6
	}
}

// takeLengths reads the encoding of putLengths.
func (r *bitReader) takeLengths(lengths []uint8) error {
	before := uint8(2)
	for i := range lengths {
		switch {
		case r.take(1) == 0:
		case r.take(1) == 1:
			before = uint8(r.take(4))
		case r.take(1) == 0:
			before++
		default:
			before--
		}
		if before > maxCode {
			return fmt.Errorf("%w: prefix code: expected at most %d bits, got %d", ErrCorrupt, maxCode, before)
		}
		lengths[i] = before
	}
	if !valid(lengths) {
		return fmt.Errorf("%w: incomplete prefix code", ErrCorrupt)
	}
	return nil
}
