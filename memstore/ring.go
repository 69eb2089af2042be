package memstore

import "math"

// ring holds the values of a series from slot first on: a deque over one
// allocation, NaN where no sample came.
type ring struct {
	first int64 // slot of the oldest value, if n > 0
	n     int   // slots held
	head  int   // index of the oldest value in buf
	buf   []float64
}

// last returns the newest slot that is held.
func (r *ring) last() int64 { return r.first + int64(r.n) - 1 }

// at returns the value of a slot, NaN outside of what is held.
func (r *ring) at(slot int64) float64 {
	if slot < r.first || slot >= r.first+int64(r.n) {
		return math.NaN()
	}
	return r.buf[r.index(int(slot-r.first))]
}

// set stores a value and widens the ring to its slot. The caller has seen to
// it that the ring stays within the retention.
func (r *ring) set(slot int64, v float64) {
	switch {
	case r.n == 0:
		r.first = slot
		r.grow(1)
		r.n = 1
	case slot < r.first:
		r.widenFront(int(r.first - slot))
	case slot > r.last():
		r.widenBack(int(slot - r.last()))
	}
	r.buf[r.index(int(slot-r.first))] = v
}

// dropBefore forgets the slots before slot.
func (r *ring) dropBefore(slot int64) (dropped bool) {
	if r.n == 0 || slot <= r.first {
		return false
	}
	if slot > r.last() {
		*r = ring{}
		return true
	}
	k := int(slot - r.first)
	r.head = r.index(k)
	r.first, r.n = slot, r.n-k
	// Slots without a sample at the front say nothing.
	for math.IsNaN(r.buf[r.head]) {
		r.head = r.index(1)
		r.first, r.n = r.first+1, r.n-1
	}
	return true
}

// copyRange writes the values of slots from, from+1, ... to dst.
func (r *ring) copyRange(dst []float64, from int64) {
	for i := range dst {
		dst[i] = r.at(from + int64(i))
	}
}

func (r *ring) index(i int) int {
	i += r.head
	if i >= len(r.buf) {
		i -= len(r.buf)
	}
	return i
}

func (r *ring) widenBack(k int) {
	r.grow(r.n + k)
	for range k {
		r.n++
		r.buf[r.index(r.n-1)] = math.NaN()
	}
}

func (r *ring) widenFront(k int) {
	r.grow(r.n + k)
	for range k {
		r.head--
		if r.head < 0 {
			r.head = len(r.buf) - 1
		}
		r.buf[r.head] = math.NaN()
	}
	r.first, r.n = r.first-int64(k), r.n+k
}

// grow makes room for n values.
func (r *ring) grow(n int) {
	if n <= len(r.buf) {
		return
	}
	buf := make([]float64, max(n, 2*len(r.buf), 4))
	for i := range r.n {
		buf[i] = r.buf[r.index(i)]
	}
	r.buf, r.head = buf, 0
}
