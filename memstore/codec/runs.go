package codec

import (
	"fmt"
	"math/bits"
)

// Runs describe a set of positions as the lengths of alternating ranges, inside first: runs[0]
// positions are in the set, runs[1] are not, and so on. Only runs[0] may be zero. They encode which
// slots have samples, which residuals are not zero and which values are patched. The lengths are
// Golomb-Rice coded (Rice 1979), with one parameter for the ranges inside and one for those
// outside. A half empty window takes three bytes, scattered gaps about their entropy, and the worst
// case, random positions, one bit per position like a bitmap.

// putRuns writes runs. The reader must know their sum.
func (w *bitWriter) putRuns(runs []int) {
	first := uint64(0)
	if runs[0] == 0 {
		first, runs = 1, runs[1:]
	}
	k, next := riceParameters(runs)
	w.put(first, 1)
	w.put(uint64(k), 4)
	w.put(uint64(next), 4)
	for _, n := range runs {
		w.putUnary((n - 1) >> k)
		w.put(uint64(n-1)&(1<<k-1), k)
		k, next = next, k
	}
}

// riceParameters returns the parameters for the runs with even and with odd indexes.
func riceParameters(runs []int) (even, odd uint) {
	var sum [2]int
	for i, n := range runs {
		sum[i&1] += n
	}
	return riceParameter(sum[0], (len(runs)+1)/2), riceParameter(sum[1], len(runs)/2)
}

// riceParameter returns the parameter for count lengths with this sum: about log2 of the mean times
// ln 2.
func riceParameter(sum, count int) uint {
	if count == 0 {
		return 0
	}
	scaled := uint(sum-count) * 7 / uint(10*count)
	return min(uint(bits.Len(scaled)), 15)
}

// runBits returns the size of the encoding of putRuns.
func runBits(runs []int) int {
	if runs[0] == 0 {
		runs = runs[1:]
	}
	k, next := riceParameters(runs)
	total := 9
	for _, n := range runs {
		total += (n-1)>>k + 1 + int(k)
		k, next = next, k
	}
	return total
}

// takeRuns appends the runs of total positions to runs and returns them with the number of
// positions in the set.
func (r *bitReader) takeRuns(runs []int, total int) ([]int, int, error) {
	isIn := r.take(1) == 0
	k, next := uint(r.take(4)), uint(r.take(4))
	if !isIn {
		runs = append(runs, 0)
	}
	count := 0
	for left := total; left > 0; {
		n := r.takeRice(k, left)
		if n > left || r.overrun() {
			return runs, 0, fmt.Errorf("%w: the runs do not add up to %d", ErrCorrupt, total)
		}
		runs = append(runs, n)
		left -= n
		if isIn {
			count += n
		}
		isIn = !isIn
		k, next = next, k
	}
	return runs, count, nil
}

// takeRice reads a Golomb-Rice coded length, which is at least 1. It may stop reading beyond limit.
func (r *bitReader) takeRice(k uint, limit int) int {
	window := peek(r.src, r.pos)
	ones := uint(bits.TrailingZeros64(^window))
	if ones+1+k <= maxField {
		r.pos += ones + 1 + k
		return int(ones<<k) + int(window>>(ones+1)&(1<<k-1)) + 1
	}
	quotient := r.takeUnary(limit >> k)
	return quotient<<k + int(r.take(k)) + 1
}
