package memstore

import "math"

// Free forgets, in the subtree that a path names, the samples of all slots at
// or before to (Unix seconds), and returns how many series lost some. A path
// is a cluster, a host, and devices as [Store.Tree] names them; each element
// may name several, and "*" names all.
func (s *Store) Free(path [][]string, to int64) int {
	const forever = math.MaxInt64 / 2000 // seconds that are milliseconds, too
	to = min(max(to, -forever), forever)
	var n int
	for _, h := range s.allHosts() {
		if len(path) > 0 && !named(path[0], h.cluster) || len(path) > 1 && !named(path[1], h.name) {
			continue
		}
		var below [][]string
		if len(path) > 2 {
			below = path[2:]
		}
		h.mu.Lock()
		h.tree.visit(below, func(sr *Series) {
			// A slot is freed by the time of its samples, which lies at its phase.
			first := floorDiv(to*1000-sr.lane.grid-sr.phase.offset, sr.lane.frequency) + 1
			if sr.ring.dropBefore(first) {
				n++
			}
		})
		h.shrink()
		h.mu.Unlock()
		s.removeIfEmpty(h)
	}
	return n
}

// Expire forgets what is older than the retention.
func (s *Store) Expire() {
	oldest := s.now().UnixMilli() - s.retention
	for _, h := range s.allHosts() {
		h.mu.Lock()
		for sr := range h.tree.all() {
			sr.ring.dropBefore(sr.lane.nearest(oldest, sr.phase.offset))
		}
		h.shrink()
		h.mu.Unlock()
		s.removeIfEmpty(h)
	}
}

// shrink takes out what holds no sample any more; the host is locked.
func (h *host) shrink() { h.devices -= h.tree.prune() }

func (s *Store) removeIfEmpty(h *host) {
	h.mu.RLock()
	empty := len(h.tree.series) == 0 && len(h.tree.children) == 0
	h.mu.RUnlock()
	if empty {
		s.remove(h)
	}
}

// visit calls f for each series at and below the levels that a path names.
func (l *level) visit(path [][]string, f func(*Series)) {
	if len(path) == 0 {
		for sr := range l.all() {
			f(sr)
		}
		return
	}
	for _, c := range l.children {
		if named(path[0], c.device.last()) {
			c.visit(path[1:], f)
		}
	}
}

func named(names []string, name string) bool {
	for _, n := range names {
		if n == name || n == "*" {
			return true
		}
	}
	return false
}
