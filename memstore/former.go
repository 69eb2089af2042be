package memstore

import (
	"slices"

	"github.com/ringstore/ringstore/memstore/unixtime"
)

// Blocks keep the frequency that they were written with. After a metric's frequency has changed, its
// older samples are in series of their own, of the same metric at the former frequency. A query
// answers on the grid of the configured frequency: a former sample goes to the nearest slot, unless
// that has a sample of the configured frequency, or had one before it was evicted; of several for one
// slot the last one counts.

// formerPart is a series of a former frequency in an answer.
type formerPart struct {
	index  int   // in reader.series
	grid   grid  // of the former series
	offset int64 // of its samples
	to     int64 // offset of the answer's samples of this series
	first  int64 // slot of the answer; earlier ones were evicted
	span   span  // of reader.pieces
}

// hadFrequency reports whether a metric has a frequency or had it before.
func (m *metric) hadFrequency(frequency int64) bool {
	return m.frequency == frequency ||
		slices.ContainsFunc(m.formerly(), func(f *metric) bool { return f.frequency == frequency })
}

// holder returns a series of a metric at a level that holds a visible sample: that of the configured
// frequency or else one of a former frequency; nil if there is none.
func (rd *reader) holder(l *level, m *metric) *Series {
	if sr := l.get(m); sr != nil && rd.holds(sr) {
		return sr
	}
	for _, f := range m.formerly() {
		if sr := l.get(f); sr != nil && rd.holds(sr) {
			return sr
		}
	}
	return nil
}

// anyFormer reports whether one of the reader's levels has a series of a former frequency.
func (rd *reader) anyFormer(m *metric) bool {
	return slices.ContainsFunc(rd.series, func(sr *Series) bool {
		return slices.ContainsFunc(m.formerly(), func(f *metric) bool { return sr.level.get(f) != nil })
	})
}

// collectFormer is the part of collect for metrics whose frequency has changed; the host is locked.
func (rd *reader) collectFormer(h *host, m *metric, from, to int64, shaped bool) grid {
	i := slices.IndexFunc(h.lanes, func(l *lane) bool { return l.frequency == m.frequency && l.hasGrid })
	var l *lane
	if i >= 0 {
		l = h.lanes[i]
	} else {
		l = &lane{host: h, frequency: m.frequency, grid: rd.series[0].lane.grid % m.frequency}
	}
	offsets := make([]int64, len(rd.series))
	for i, sr := range rd.series {
		offsets[i] = sr.phase.offset
		if sr.metric != m {
			t := sr.lane.grid + sr.phase.offset
			offsets[i] = t - l.time(l.nearest(t, 0))
		}
	}
	g := grid{lane: l, offset: offsets[0], n: int(slots(from, to, l.frequency))}
	if slices.ContainsFunc(offsets, func(o int64) bool { return o != g.offset }) {
		g.offset = 0
	}
	g.first = l.nearest(from, g.offset)
	rd.unsummed = append(rd.unsummed, span{0, g.n})
	segments := l.overlapping(g.first, g.first+int64(g.n))
	for i, sr := range rd.series {
		if sr.metric == m {
			rd.collectSeries(g, sr, segments, shaped)
		} else {
			rd.bounds = append(rd.bounds, bounds{first: -minTime, last: minTime})
			rd.spans = append(rd.spans, span{len(rd.pieces), len(rd.pieces)})
		}
		for _, f := range m.formerly() {
			if old := sr.level.get(f); old != nil && !old.empty() {
				rd.collectPart(g, i, old, offsets[i], shaped)
			}
		}
	}
	return g
}

// collectPart adds the pieces of a former series to those of series i.
func (rd *reader) collectPart(g grid, i int, old *Series, to int64, shaped bool) {
	l := old.lane
	half := g.lane.frequency / 2
	begin, end := g.lane.time(g.first)+to-half, g.lane.time(g.first+int64(g.n))+to-half
	// All slots whose samples go to slots of the answer.
	first, last := slotAt(l.grid+old.phase.offset, l.frequency, begin), slotAt(l.grid+old.phase.offset, l.frequency, end)
	part := formerPart{index: i, offset: old.phase.offset, to: to, first: g.lane.evictedBefore}
	part.grid = grid{lane: l, offset: old.phase.offset, first: first, n: int(max(last-first, 0))}
	rd.collectSeries(part.grid, old, l.overlapping(first, max(last, first)), shaped)
	b, n := rd.bounds[len(rd.bounds)-1], len(rd.spans)-1
	part.span = rd.spans[n]
	rd.bounds, rd.spans = rd.bounds[:len(rd.bounds)-1], rd.spans[:n]
	rd.former = append(rd.former, part)
	all := &rd.bounds[i]
	if b.masked {
		all.masked, all.before, all.after = true, all.before || b.before, all.after || b.after
		return
	}
	all.first = min(all.first, part.slot(g, b.first))
	all.last = max(all.last, part.slot(g, b.last))
}

// slot returns the slot of the answer to which a sample of the former series goes.
func (p *formerPart) slot(g grid, slot int64) int64 {
	return unixtime.FloorDiv(p.grid.lane.time(slot)+p.offset-g.lane.grid-p.to+g.lane.frequency/2, g.lane.frequency)
}

// fillFormer adds the samples of a former series to those of the answer.
func (rd *reader) fillFormer(g grid, dst []float64, p *formerPart) error {
	old := make([]float64, p.grid.n)
	if err := rd.fill(old, p.span); err != nil {
		return err
	}
	filled := -1 // the slot that the previous sample was for
	for i, v := range old {
		if v != v {
			continue
		}
		slot := p.slot(g, p.grid.first+int64(i))
		k := int(slot - g.first)
		if k < 0 || k >= len(dst) || slot < p.first || k != filled && isValue(dst[k]) {
			continue
		}
		dst[k], filled = v, k
	}
	return nil
}
