package memstore

import "sync"

// openSums are the sums of an open segment's rows, so that queries compute each of them only once:
// those of all sets of whole levels together, because the values of a row are adjacent in memory.
type openSums struct {
	mu     sync.Mutex  // queries share the host's lock
	sets   []columnSet // of the lane
	rows   int         // whose sums are known
	values []float64   // of each set, one per slot
}

func (o *openSums) bytes() int64 {
	if o == nil {
		return 0
	}
	return int64(8 * len(o.values))
}

// sumsOf fills dst with the sums of rows of an open segment, beginning with row from, if the set is
// that of a whole level. The host is locked at least for reading.
func (g *segment) sumsOf(s *Store, l *lane, dst []float64, set *columnSet, from int) bool {
	k, ok := l.levels[string(set.key)]
	if !ok {
		return false
	}
	o := g.sums.Load()
	if o == nil {
		o = &openSums{sets: l.sets, values: make([]float64, len(l.sets)*g.slots)}
		if !g.sums.CompareAndSwap(nil, o) {
			o = g.sums.Load()
		} else {
			s.account(l.host, o.bytes())
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.sets) != len(l.sets) || &o.sets[0] != &l.sets[0] {
		return false
	}
	o.extend(g.rows, from+len(dst))
	copy(dst, o.values[k*g.slots+from:])
	return true
}

// extend adds sums until those of the given number of rows are known.
func (o *openSums) extend(rows [][]float64, n int) {
	for ; o.rows < n; o.rows += min(4, n-o.rows) {
		few := rows[o.rows:min(o.rows+4, n)]
		for k := range o.sets {
			o.sets[k].sum(o.values[k*len(rows)+o.rows:][:len(few)], few)
		}
	}
}

// changed says that a row is going to change; the host is locked.
func (o *openSums) changed(row int64) {
	if o != nil && row < int64(o.rows) {
		o.rows = int(row)
	}
}
