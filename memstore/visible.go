package memstore

import (
	"slices"

	"github.com/ringstore/ringstore/memstore/unixtime"
)

// Span is the time [From, To) in Unix milliseconds.
type Span struct{ From, To int64 }

// Visibility returns the times of a device that the caller may read, ascending and without overlap:
// a slot is visible if its time lies in one of them. For searches, aggregates, resampling and
// statistics all other samples do not exist. The returned slices are not modified.
type Visibility func(Device) []Span

// Holds reports whether the store has a visible sample of a host. The error reports a damaged
// block.
func (s *Store) Holds(cluster, host string, visible Visibility) (bool, error) {
	h := s.host(cluster, host)
	if h == nil {
		return false, nil
	}
	rd := s.readers.Get().(*reader)
	defer s.readers.Put(rd)
	defer rd.reset()
	h.mu.RLock()
	defer h.mu.RUnlock()
	rd.visible = visible
	for sr := range h.tree.all() {
		if rd.holds(sr) {
			return true, rd.err
		}
	}
	return false, rd.err
}

// holds reports whether a series has a visible sample.
func (rd *reader) holds(sr *Series) bool {
	if sr.empty() {
		return false
	}
	if rd.visible == nil {
		return true
	}
	spans := rd.visible(sr.level.device)
	for _, s := range slices.Backward(spans) {
		older, newer := sr.slots(s)
		if rd.holdsIn(sr, newer) || rd.holdsIn(sr, older) {
			return true
		}
	}
	return false
}

// slotRange is the slots [first, end).
type slotRange struct{ first, end int64 }

func (r slotRange) within(o slotRange) slotRange {
	first := max(r.first, o.first)
	return slotRange{first, max(first, min(r.end, o.end))}
}

// slots returns the slots whose time lies in a span. newer are those since the series' phase last
// moved. The phase of the older ones is unknown, so older has only those that lie in the span
// whatever their phase was.
func (sr *Series) slots(s Span) (older, newer slotRange) {
	l, moved := sr.lane, int64(sr.phase.movedAt)
	at := func(t, offset int64) int64 {
		t = min(max(t, minTime), -minTime) // avoids overflow below
		return -unixtime.FloorDiv(l.grid+offset-t, l.frequency)
	}
	newer = slotRange{at(s.From, sr.phase.offset), at(s.To, sr.phase.offset)}
	if moved == 0 {
		return older, newer
	}
	half := l.frequency / 2
	older = slotRange{at(s.From+half, 0), at(s.To-half+1, 0)}
	return older.within(slotRange{older.first, moved}), newer.within(slotRange{moved, newer.end})
}

// holdsIn reports whether a series has a sample in a range of slots. It sets rd.err and returns
// true if a block cannot be read.
func (rd *reader) holdsIn(sr *Series, in slotRange) bool {
	in = in.within(slotRange{sr.first, sr.last + 1})
	if in.first == in.end {
		return false
	}
	if _, ok := sr.lane.find(sr.last); ok && sr.last < in.end {
		return true
	}
	for _, seg := range slices.Backward(sr.lane.overlapping(in.first, in.end)) {
		if rd.segmentHolds(seg, sr.column, in.within(slotRange{seg.first, seg.end()})) {
			return true
		}
	}
	return false
}

func (rd *reader) segmentHolds(seg *segment, column uint32, in slotRange) bool {
	n := int(in.end - in.first)
	rd.part = slices.Grow(rd.part[:0], n)[:n]
	if seg.sealed == nil {
		seg.copyColumn(rd.part, column, in.first)
		return slices.ContainsFunc(rd.part, isValue)
	}
	i, ok := seg.sealed.Find(column)
	if !ok {
		return false
	}
	stats, err := seg.sealed.Stats(&rd.decoder, i)
	if err == nil && stats.Count > 0 && n < seg.slots {
		err = seg.sealed.Decode(&rd.decoder, rd.part, i, int(in.first-seg.first))
		if err == nil && !slices.ContainsFunc(rd.part, isValue) {
			return false
		}
	}
	if err != nil {
		rd.err = err
		return true // so that the caller sees the error
	}
	return stats.Count > 0
}

func isValue(v float64) bool { return v == v }

// readable appends to rd.ranges the visible slots of a series within the grid, and returns the bounds
// of the series among them. Only shaped answers need to know about visible samples before and after
// the grid.
func (rd *reader) readable(g grid, sr *Series, shaped bool) bounds {
	all := slotRange{g.first, g.first + int64(g.n)}
	begin := len(rd.ranges)
	if rd.visible == nil {
		rd.ranges = append(rd.ranges, all)
		return bounds{first: sr.first, last: sr.last}
	}
	b := bounds{masked: true}
	spans := rd.visible(sr.level.device)
	for _, s := range spans {
		older, newer := sr.slots(s)
		if newer.first <= sr.first && sr.last < newer.end {
			rd.ranges = append(rd.ranges[:begin], all)
			return bounds{first: sr.first, last: sr.last}
		}
		for _, in := range [...]slotRange{older, newer} {
			if part := in.within(all); part.first < part.end {
				rd.ranges = append(rd.ranges, part)
			}
			if shaped {
				b.before = b.before || rd.holdsIn(sr, slotRange{in.first, min(in.end, all.first)})
				b.after = b.after || rd.holdsIn(sr, slotRange{max(in.first, all.end), in.end})
			}
		}
	}
	return b
}

// extent returns where series i begins and ends within the grid. values are its values there.
func (rd *reader) extent(g grid, i int, values []float64) (lo, hi int) {
	b := rd.bounds[i]
	if !b.masked {
		return g.extent(b.first, b.last)
	}
	lo, hi = 0, g.n
	if !b.before {
		if lo = slices.IndexFunc(values, isValue); lo < 0 {
			lo = g.n
		}
	}
	for !b.after && hi > lo && !isValue(values[hi-1]) {
		hi--
	}
	return lo, hi
}
