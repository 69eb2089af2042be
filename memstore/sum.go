package memstore

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// A query for several series reads the aggregates of blocks where it can. The sums of open segments
// are computed row by row. What remains is decoded series by series, which gives the same bits.

// seriesSet is the series of a selection that a host remembers.
type seriesSet struct {
	series []*Series // in the order in which they are added
	columnSet
}

// sumPiece is a range of slots of the sum of all series: in an aggregate of a block, or copied.
type sumPiece struct {
	at, n     int          // in the answer's grid
	block     *block.Block // nil: copied from
	aggregate block.Aggregate
	from      int // slot of the block, or index in reader.copied
}

// find sets rd.series to the series of a selection in the order in which they are added. The host is
// locked.
func (rd *reader) find(s *Store, h *host, m *metric, sel Selection) {
	whole := rd.visible == nil && sel.Subtype == "" && (sel.Type == "" || sel.Type == "node")
	if whole {
		if set := h.whole.get(m); set != nil {
			rd.series, rd.set, rd.hasSet = append(rd.series, set.series...), set.columnSet, set.key != nil
			return
		}
	}
	rd.match(&h.tree, m, sel)
	if rd.err != nil || rd.unordered {
		return
	}
	sortByDevice(rd.series)
	switch {
	case len(rd.series) == 0 || m.Aggregation == AggregateNone && len(rd.series) > 1:
	case whole && !s.restoring.Load():
		set := &seriesSet{series: slices.Clone(rd.series)}
		if len(rd.series) > 1 {
			set.columnSet = newColumnSet(rd.series)
		}
		s.account(h, h.whole.put(m, set))
		rd.set, rd.hasSet = set.columnSet, set.key != nil
	default:
		rd.setOf(rd.series)
	}
}

// setOf sets rd.set to the set of some series, using scratch memory.
func (rd *reader) setOf(series []*Series) {
	rd.columns, rd.sorted = rd.columns[:0], rd.sorted[:0]
	for _, sr := range series {
		if sr.lane != series[0].lane { // some have a former frequency
			return
		}
		rd.columns = append(rd.columns, sr.column)
	}
	rd.sorted = append(rd.sorted, rd.columns...)
	rd.key, rd.hasSet = setOf(rd.key[:0], rd.sorted)
	if rd.hasSet {
		rd.set = columnSet{rd.key, rd.columns, rd.sorted[len(rd.sorted)-1]}
	}
}

// collectSums adds the sums that segments have of all series, and returns the other segments.
func (rd *reader) collectSums(s *Store, g grid, segments []*segment) (rest []*segment) {
	if rd.hasSet && !rd.naive {
		g.lane.remember(s, &rd.set, rd.series)
	}
	rd.rest = rd.rest[:0]
	for _, seg := range segments {
		first, end := max(seg.first, g.first), min(seg.end(), g.first+int64(g.n))
		p := sumPiece{at: int(first - g.first), n: int(end - first), from: int(first - seg.first)}
		rd.cuts = append(rd.cuts, p.at)
		if rd.hasSet && !rd.naive && rd.seesAll(slotRange{first, end}) && rd.sumOf(s, g.lane, seg, &p) {
			rd.sums = append(rd.sums, p)
		} else {
			rd.rest = append(rd.rest, seg)
			rd.unsummed = append(rd.unsummed, span{p.at, p.at + p.n})
		}
	}
	return rd.rest
}

// seesAll reports whether all slots of a range are visible for all series.
func (rd *reader) seesAll(in slotRange) bool {
	if rd.visible == nil {
		return true
	}
	for _, s := range rd.readables {
		if !slices.ContainsFunc(rd.ranges[s.begin:s.end], func(r slotRange) bool { return r.first <= in.first && in.end <= r.end }) {
			return false
		}
	}
	return true
}

// sumOf completes p if the segment has the sum of all series in its slots.
func (rd *reader) sumOf(s *Store, l *lane, seg *segment, p *sumPiece) (ok bool) {
	if seg.sealed != nil {
		p.block = seg.sealed
		p.aggregate, ok = seg.sealed.FindAggregate(rd.set.key)
		return ok
	}
	from, rows := p.from, seg.rows[p.from:][:p.n]
	p.from = len(rd.copied)
	rd.copied = slices.Grow(rd.copied, p.n)[:p.from+p.n]
	dst := rd.copied[p.from:]
	known := int(min(max(l.newest+1-seg.first-int64(from), 0), int64(p.n))) // later rows are empty
	if !seg.sumsOf(s, l, dst[:known], &rd.set, from) {
		known = 0
	}
	rd.set.sumAll(dst[known:], rows[known:])
	all, some := rd.set.held(dst, rows)
	if some && (!all || rd.anyMasked()) {
		rd.copied = rd.copied[:p.from]
		return false
	}
	// Where some series lack a value the sum is NaN, which is correct if all series have values in the
	// range.
	rd.complete = rd.complete || all
	return true
}

// sumAll sets dst to the sums of rows.
func (c *columnSet) sumAll(dst []float64, rows [][]float64) {
	for i := 0; i < len(rows); i += 4 {
		n := min(4, len(rows)-i)
		c.sum(dst[i:i+n], rows[i:i+n])
	}
}

// held reports whether there is a row with all of the set's columns, and whether there is one with
// only some of them, given the sums of the rows.
func (c *columnSet) held(sums []float64, rows [][]float64) (all, some bool) {
	for i, v := range sums {
		if v == v {
			all = true
			continue
		}
		switch presentIn(rows[i], c.columns) {
		case 0:
		case len(c.columns): // infinities
			all = true
			some = true // for its bounds, a masked series is read by itself
		default:
			some = true
		}
	}
	return all, some
}

func (rd *reader) anyMasked() bool {
	return slices.ContainsFunc(rd.bounds, func(b bounds) bool { return b.masked })
}

// sumPieces fills values with the sums, and the rest with NaN or, where series are to be added, 0.
func (rd *reader) sumPieces(values []float64) error {
	fillNaN(values)
	for _, u := range rd.unsummed {
		clear(values[u.begin:u.end])
	}
	for _, p := range rd.sums {
		dst := values[p.at : p.at+p.n]
		if err := rd.sum(dst, p); err != nil {
			return err
		}
		rd.complete = rd.complete || slices.ContainsFunc(dst, isValue)
	}
	return nil
}

func (rd *reader) sum(dst []float64, p sumPiece) error {
	if p.block == nil {
		copy(dst, rd.copied[p.from:])
		return nil
	}
	return p.block.DecodeAggregate(&rd.decoder, dst, p.aggregate, p.from)
}

// aggregate aggregates several series into one value per slot. lo and hi are as in gather.
func (rd *reader) aggregate(g grid, values []float64, a Aggregation) (lo, hi int, err error) {
	if err := rd.sumPieces(values); err != nil {
		return 0, 0, err
	}
	lo = g.n
	rd.part = slices.Grow(rd.part[:0], g.n)[:g.n]
	if len(rd.unsummed) == 0 {
		copy(rd.part, values) // all series have values in the same slots
	}
	parts := 0
	for i := range rd.series {
		hasValue := rd.complete
		if len(rd.unsummed) > 0 {
			has, err := rd.decode(g, rd.part, i)
			if err != nil {
				return 0, 0, err
			}
			hasValue = hasValue || has
			for _, p := range rd.sums {
				copy(rd.part[p.at:p.at+p.n], values[p.at:])
			}
		}
		l, h := rd.extent(g, i, rd.part)
		hi = max(hi, h)
		if !hasValue {
			continue
		}
		lo = min(lo, l)
		parts++
		for _, u := range rd.unsummed {
			dst := values[u.begin:u.end]
			for k, v := range rd.part[u.begin:u.end] {
				dst[k] += v
			}
		}
	}
	switch {
	case parts == 0:
		fillNaN(values)
		return hi, hi, nil
	case a == AggregateAvg:
		mean(values, parts)
	}
	return lo, hi, nil
}

func mean(values []float64, parts int) {
	for i := range values {
		values[i] /= float64(parts)
	}
}

// summedOnly reports whether sums make up the whole answer.
func (rd *reader) summedOnly() bool { return rd.hasSet && len(rd.unsummed) == 0 && len(rd.former) == 0 }

// sumStats answers with the statistics of a selection that consists of sums.
func (rd *reader) sumStats(g grid, a Aggregation, r Range) (Data, error) {
	total := codec.Summarize(nil)
	for _, p := range rd.sums {
		part, err := rd.statsOfSum(p, a)
		if err != nil {
			return Data{}, err
		}
		rd.complete = rd.complete || part.Count > 0
		total = sum(total, part)
	}
	lo, hi := g.n, 0
	for _, b := range rd.bounds {
		l, h := g.extent(b.first, b.last)
		lo, hi = min(lo, l), max(hi, h)
	}
	if !rd.complete {
		lo = hi
	}
	lo, hi = r.Pad.bounds(lo, hi, g.n)
	d := g.times(lo, hi-lo, 1)
	d.Series, d.Read = len(rd.series), len(rd.series)*g.n
	d.stats = new(statsOf(total))
	return d, nil
}

// statsOfSum returns the statistics of a sum, or of the mean. For a block that lies entirely in the
// range nothing is decoded.
func (rd *reader) statsOfSum(p sumPiece, a Aggregation) (codec.Stats, error) {
	if p.block != nil && p.n == p.block.Slots {
		t := p.aggregate.Totals
		if a != AggregateAvg {
			return codec.Stats{Count: t.Count, Sum: t.Sum, Min: t.Min, Max: t.Max}, nil
		}
		n := float64(len(rd.series))
		s := codec.Stats{Count: t.Count, Sum: t.Means, Min: t.Min / n, Max: t.Max / n}
		if (s.Min != 0 || t.Min == 0) && (s.Max != 0 || t.Max == 0) { // else there may be a 0 beside a -0
			return s, nil
		}
	}
	rd.part = slices.Grow(rd.part[:0], p.n)[:p.n]
	if err := rd.sum(rd.part, p); err != nil {
		return codec.Stats{}, err
	}
	if a == AggregateAvg {
		mean(rd.part, len(rd.series))
	}
	return codec.Summarize(rd.part), nil
}

// summarizePieces computes the statistics of values as sumStats does: the sums of the segments are
// added.
func (rd *reader) summarizePieces(values []float64) Stats {
	total := codec.Summarize(nil)
	for i, begin := range rd.cuts {
		end := len(values)
		if i+1 < len(rd.cuts) {
			end = rd.cuts[i+1]
		}
		total = sum(total, codec.Summarize(values[begin:end]))
	}
	return statsOf(total)
}

// wholeSets remembers the series that queries for a whole host read, by metric. The host's lock guards
// it; queries, which share the lock, may add to it.
type wholeSets struct {
	all   atomic.Pointer[map[*metric]*seriesSet]
	bytes atomic.Int64
}

func (w *wholeSets) get(m *metric) *seriesSet {
	if all := w.all.Load(); all != nil {
		return (*all)[m]
	}
	return nil
}

// put adds a set, and returns how much memory it takes. Of concurrent calls, one may have no effect.
func (w *wholeSets) put(m *metric, set *seriesSet) (bytes int64) {
	before, more := w.all.Load(), make(map[*metric]*seriesSet)
	if before != nil {
		maps.Copy(more, *before)
	}
	more[m] = set
	if w.all.CompareAndSwap(before, &more) {
		bytes = setBytes + int64(8*len(set.series)+4*len(set.columns)+len(set.key))
		w.bytes.Add(bytes)
	}
	return bytes
}

// drop drops all sets, and returns how much memory they took.
func (w *wholeSets) drop() (bytes int64) {
	if w.all.Load() != nil {
		w.all.Store(nil)
	}
	return w.bytes.Swap(0)
}
