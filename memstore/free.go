package memstore

import (
	"math"
	"slices"
)

// maxTime is a time in seconds that is later than any sample.
const maxTime = 1 << 50

// Free deletes the windows of series in a subtree that end at or before to (Unix seconds), and
// returns how many it deleted. The newest window of a series ends with its last sample. A path is a
// cluster, a host, and devices as [Store.Tree] names them; each element may have several names, and
// "*" means all.
func (s *Store) Free(path [][]string, to int64) int {
	var n int
	// Extreme times must not overflow below.
	to = min(max(to, -maxTime), maxTime)
	sets := make([]nameSet, len(path))
	for i, element := range path {
		sets[i] = newNameSet(element)
	}
	for _, h := range s.allHosts() {
		if len(sets) > 0 && !sets[0].has(h.cluster) || len(sets) > 1 && !sets[1].has(h.name) {
			continue
		}
		h.mu.Lock()
		chosen := make(map[*lane]map[uint32]*Series)
		h.tree.visit(sets[min(2, len(sets)):], func(sr *Series) {
			if chosen[sr.lane] == nil {
				chosen[sr.lane] = make(map[uint32]*Series)
			}
			chosen[sr.lane][sr.column] = sr
		})
		for l, columns := range chosen {
			n += s.freeColumns(h, l, columns, to*1000+999)
		}
		h.shrink(s)
		h.mu.Unlock()
		s.removeIfEmpty(h)
	}
	return n
}

// freeColumns deletes columns from those windows of a lane in which they end at or before to, in
// Unix milliseconds; the host is locked. It returns how many columns of windows it deleted.
func (s *Store) freeColumns(h *host, l *lane, columns map[uint32]*Series, to int64) (n int) {
	ended := make(map[uint32]*Series, len(columns))
	for _, g := range slices.Clone(l.segments) {
		clear(ended)
		for id, sr := range columns {
			if last, ok := g.lastOf(sr); ok && l.time(last)+sr.phase.offset <= to {
				ended[id] = sr
			}
		}
		if len(ended) == 0 {
			continue
		}
		n += len(ended)
		s.memory.add(-g.bytes())
		g.free(ended)
		s.memory.add(g.bytes())
		if g.sealed == nil && g.rows == nil {
			s.freed.add(h, l, g)
			s.drop(l, g)
		}
	}
	for _, sr := range columns {
		sr.recount()
	}
	return n
}

// lastOf returns the last slot of a segment in which a series may have a sample, and whether the
// segment holds the series at all.
func (g *segment) lastOf(sr *Series) (slot int64, ok bool) {
	if !g.holds(sr.column) {
		return 0, false
	}
	if g.sealed != nil {
		return min(g.end()-1, sr.last), true
	}
	for i, row := range slices.Backward(g.rows) {
		if int(sr.column) < len(row) && row[sr.column] == row[sr.column] {
			return g.first + int64(i), true
		}
	}
	return 0, false
}

// free deletes columns of a segment. Without columns it has neither a block nor rows.
func (g *segment) free(columns map[uint32]*Series) {
	g.version++ // a seal in progress would restore the columns
	if g.sealed != nil {
		g.sealed, g.stored = g.sealed.Without(func(id uint32) bool { return columns[id] != nil }), false
		return
	}
	rows, left := make([][]float64, len(g.rows)), false
	for i, row := range g.rows {
		rows[i] = slices.Clone(row) // a seal in progress may read the old one
		for id := range rows[i] {
			if columns[uint32(id)] != nil {
				rows[i][id] = math.NaN()
			}
			left = left || rows[i][id] == rows[i][id]
		}
	}
	g.rows, g.borrowed, g.closed, g.reopened = rows, nil, false, g.reopened || g.closed
	if !left {
		g.rows = nil
	}
}

// recount recomputes the first and last slot of a series from the segments that still hold it.
func (sr *Series) recount() {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, g := range sr.lane.segments {
		if slot, ok := g.lastOf(sr); ok {
			first, last = min(first, max(g.first, sr.first)), slot
		}
	}
	sr.first, sr.last = first, last
}

func (s *Store) removeIfEmpty(h *host) {
	h.mu.RLock()
	empty := len(h.tree.series) == 0 && len(h.tree.children) == 0
	h.mu.RUnlock()
	if empty {
		s.remove(h)
	}
}

// visit calls f for each series at and below the levels that match a path.
func (l *level) visit(path []nameSet, f func(*Series)) {
	if len(path) == 0 {
		for sr := range l.all() {
			f(sr)
		}
		return
	}
	for _, c := range l.children {
		if path[0].has(c.device.last()) {
			c.visit(path[1:], f)
		}
	}
}

// nameSet is a set of names; "*" matches every name.
type nameSet map[string]struct{}

func newNameSet(list []string) nameSet {
	set := make(nameSet, len(list))
	for _, name := range list {
		set[name] = struct{}{}
	}
	return set
}

func (n nameSet) has(name string) bool {
	if _, all := n["*"]; all {
		return true
	}
	_, ok := n[name]
	return ok
}
