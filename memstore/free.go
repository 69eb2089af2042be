package memstore

import (
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/codec"
)

// maxTime is a time in seconds that is later than any sample.
const maxTime = 1 << 50

// Free deletes the windows of series in a subtree that end at or before to (Unix seconds), and
// returns how many it deleted. The newest window of a series ends with its last sample. A path is a
// cluster, a host, and devices as [Store.Tree] names them; each element may have several names, and
// "*" means all.
func (s *Store) Free(path [][]string, to int64) int {
	n, _, _ := s.FreeRecord(path, to, 0, func(*Record) error { return nil })
	return n
}

// FreeRecord is like [Store.Free] and passes the records of the call to keep before it deletes
// anything; if keep fails, nothing is deleted. It also returns what the call means for files: they
// may hold windows that are not in memory. run is the newest run of these files. No write may run
// during the call.
func (s *Store) FreeRecord(path [][]string, to int64, run uint64, keep func(*Record) error) (n int, t Tombstone, err error) {
	// A window that leaves memory between the plan and the deletion would be missing in both.
	s.memory.evicting.Lock()
	defer s.memory.evicting.Unlock()
	// Extreme times must not overflow below.
	p := freePlan{Tombstone: Tombstone{Run: run, Path: path, To: min(max(to, -maxTime), maxTime), Lanes: make(map[LaneName]TombstoneLane)}}
	for _, h := range s.allHosts() {
		if p.coversHost(h.cluster, h.name) {
			n += p.addHost(h)
		}
	}
	var r Record
	if err := p.record(&r, keep); err != nil {
		return 0, Tombstone{}, err
	}
	for _, l := range p.lanes {
		h := l.host
		h.mu.Lock()
		s.freed.addAll(h, l.lane, s.freeSlots(h, l.lane, l.before))
		h.shrink(s)
		h.mu.Unlock()
		s.removeIfEmpty(h)
	}
	return n, p.Tombstone, nil
}

// freePlan is what a call of Free deletes.
type freePlan struct {
	Tombstone
	lanes []freedLane
}

// freedLane is what a call of Free deletes of a lane in memory: of each series the slots before one of
// them.
type freedLane struct {
	host   *host
	lane   *lane
	before map[uint32]int64 // by column
}

// limit returns the time after the last deleted sample, in Unix milliseconds.
func (t *Tombstone) limit() int64 { return t.To*1000 + 1000 }

// addHost adds what is to be deleted of a host, and returns the number of windows of series.
func (p *freePlan) addHost(h *host) (n int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	before, kept := make(map[*lane]map[uint32]int64), make(map[*lane]map[uint32]int64)
	put := func(all map[*lane]map[uint32]int64, sr *Series, slot int64) {
		if all[sr.lane] == nil {
			all[sr.lane] = make(map[uint32]int64)
		}
		all[sr.lane][sr.column] = slot
	}
	h.tree.visit(p.devices(), func(sr *Series) {
		slot, windows, keep := sr.lane.freeable(sr, p.limit())
		if n += windows; windows > 0 {
			put(before, sr, slot)
		}
		if keep < sr.lane.evictedBefore {
			put(kept, sr, keep)
		}
	})
	for _, l := range h.lanes {
		p.Lanes[LaneName{h.cluster, h.name, l.frequency}] = p.lane(l, before[l], kept[l])
		p.lanes = append(p.lanes, freedLane{h, l, before[l]})
	}
	return n
}

// lane returns what is deleted of a lane: before has the first slot that stays of those series that
// lose samples in memory. All series lose what is not in memory and lies before the limit. Evicted
// windows may be newer than those in memory, which late samples have opened again; kept has the first
// slot of such windows of series that stay.
func (p *freePlan) lane(l *lane, before, kept map[uint32]int64) TombstoneLane {
	other := p.limit()
	if len(l.segments) > 0 {
		other = min(other, l.time(max(l.oldest(), l.evictedBefore)))
	}
	ends := make(map[uint32]int64)
	for id, slot := range kept {
		ends[id] = min(other, l.time(slot))
	}
	for id, slot := range before {
		end, ok := ends[id]
		if !ok {
			end = other
		}
		ends[id] = max(end, l.time(slot))
	}
	// Most series have the same end.
	counts := make(map[int64]int)
	usual, most := other, 0
	for id := range before {
		end := ends[id]
		counts[end]++
		if n := counts[end]; n > most || n == most && end < usual {
			usual, most = end, n
		}
	}
	t := TombstoneLane{Usual: usual}
	for _, sr := range l.columns {
		if sr == nil || !p.CoversDevice(sr.level.device) {
			continue
		}
		end, ok := ends[sr.column]
		if !ok {
			end = other
		}
		if end == usual {
			continue
		}
		if t.Series == nil {
			t.Series = make(map[SeriesName]int64)
		}
		t.Series[SeriesName{sr.metric.Name, sr.level.device}] = end
	}
	return t
}

// freeable returns the end of those windows of a series that end before a time (Unix milliseconds),
// their number, and where the first of the others begins, [math.MaxInt64] if there is none.
func (l *lane) freeable(sr *Series, limit int64) (slot int64, windows int, kept int64) {
	for _, g := range l.segments {
		last, ok := g.lastOf(sr)
		if !ok {
			continue
		}
		if l.time(last)+sr.phase.offset >= limit {
			return slot, windows, g.first
		}
		slot, windows = g.end(), windows+1
	}
	return slot, windows, math.MaxInt64
}

// freeSlots deletes the slots of columns of a lane that lie before a slot, and returns the segments
// that are empty then, which it removes; the host is locked.
func (s *Store) freeSlots(h *host, l *lane, before map[uint32]int64) (emptied []*segment) {
	if len(before) == 0 {
		return nil
	}
	for _, g := range slices.Clone(l.segments) {
		if !g.holdsBefore(before) {
			continue
		}
		s.account(h, -g.bytes())
		g.free(before)
		s.account(h, g.bytes())
		if g.sealed == nil && g.rows == nil {
			emptied = append(emptied, g)
			s.drop(l, g)
		}
	}
	for id, slot := range before {
		if l.has(id) {
			l.columns[id].recount(slot)
		}
	}
	return emptied
}

// holdsBefore reports whether a segment may have samples of columns before their slots.
func (g *segment) holdsBefore(before map[uint32]int64) bool {
	for id, slot := range before {
		if g.first < slot && g.holds(id) {
			return true
		}
	}
	return false
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

// free deletes slots of columns of a segment that lie before a slot. Without samples it has neither
// a block nor rows.
func (g *segment) free(before map[uint32]int64) {
	g.version++ // a seal in progress would restore the columns
	g.sums.Store(nil)
	if g.sealed != nil {
		var d codec.Decoder
		// A damaged column that is deleted only in part stays as it is.
		g.sealed, _ = g.sealed.Cut(&d, func(id uint32) int64 { return slotBefore(before, id) })
		g.stored = false
		return
	}
	rows, left := make([][]float64, len(g.rows)), false
	for i, row := range g.rows {
		rows[i] = slices.Clone(row) // a seal in progress may read the old one
		for id := range rows[i] {
			if g.first+int64(i) < slotBefore(before, uint32(id)) {
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

func slotBefore(before map[uint32]int64, id uint32) int64 {
	if slot, ok := before[id]; ok {
		return slot
	}
	return math.MinInt64
}

// recount recomputes the first and last slot of a series, whose slots before the given one were
// deleted, from the segments that still hold it.
func (sr *Series) recount(begin int64) {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, g := range sr.lane.segments {
		if slot, ok := g.lastOf(sr); ok {
			first, last = min(first, max(g.first, sr.first, begin)), slot
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
