package memstore

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// reader is the state of one query: what its series held in the requested slots while the host was
// locked.
type reader struct {
	ctx     context.Context // of Read, which stops between two series when it ends
	visible Visibility      // nil: all samples
	err     error
	series  []*Series // of the metric, or of a former frequency if there is none of the metric
	former  []formerPart

	unordered bool // the order of series does not matter
	naive     bool // use no aggregates; for tests

	set      columnSet // of the series, if hasSet; in scratch memory or shared
	hasSet   bool
	sums     []sumPiece
	unsummed []span // of the grid: where series are added one by one
	complete bool   // all series have a value in the range
	cuts     []int  // where the segments begin in the grid

	spans   []span
	bounds  []bounds    // of the series
	pieces  []piece     // of the series, one after the other
	copied  []float64   // the values of the pieces of open segments
	part    []float64   // one series, while several are aggregated
	ranges  []slotRange // visible slots of the series, one after the other
	decoder codec.Decoder

	readables []span     // of ranges, by series
	rest      []*segment // without a sum
	columns   []uint32
	sorted    []uint32
	key       block.Set
}

// span is the range of a series' pieces in reader.pieces.
type span struct{ begin, end int }

// bounds are the first and last slot of a series. If only a part of the series is visible (masked),
// they are instead whether visible samples exist before and after the grid.
type bounds struct {
	first, last   int64
	masked        bool
	before, after bool
}

// piece is a range of slots of one series: in a block, or copied from rows.
type piece struct {
	at, n  int          // in the answer's grid
	block  *block.Block // nil: copied from
	column int          // of the block
	from   int          // slot of the block, or index in reader.copied
}

func newReaders() sync.Pool { return sync.Pool{New: func() any { return new(reader) }} }

// reset drops all references to a query's data and keeps the scratch memory.
func (rd *reader) reset() {
	clear(rd.series)
	clear(rd.pieces)
	clear(rd.former)
	clear(rd.sums)
	clear(rd.rest)
	rd.set, rd.hasSet, rd.complete, rd.naive = columnSet{}, false, false, false
	rd.sums, rd.unsummed, rd.cuts, rd.rest = rd.sums[:0], rd.unsummed[:0], rd.cuts[:0], rd.rest[:0]
	rd.ranges, rd.readables = rd.ranges[:0], rd.readables[:0]
	rd.former = rd.former[:0]
	rd.series, rd.spans, rd.bounds = rd.series[:0], rd.spans[:0], rd.bounds[:0]
	rd.pieces, rd.copied = rd.pieces[:0], rd.copied[:0]
	rd.ctx, rd.visible, rd.err, rd.unordered = nil, nil, nil, false
}

// collect finds the series of a selection and their pieces, under the host's lock. The grid belongs
// to the lane of the series.
func (rd *reader) collect(s *Store, h *host, m *metric, sel Selection, from, to int64, shaped bool) (grid, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	rd.find(s, h, m, sel)
	switch {
	case rd.err != nil:
		return grid{}, rd.err
	case len(rd.series) == 0:
		return grid{}, ErrNotFound
	case len(rd.series) > 1 && m.Aggregation == AggregateNone:
		return grid{}, fmt.Errorf("%w %s: it is held by %s", ErrAggregation, m.Name, devicesOf(rd.series))
	}
	if m.former.Load() != nil && rd.anyFormer(m) {
		g := rd.collectFormer(h, m, from, to, shaped)
		return g, rd.err
	}
	g := gridOf(rd.series, from, to)
	segments := g.lane.overlapping(g.first, g.first+int64(g.n))
	for _, sr := range rd.series {
		rd.collectRanges(g, sr, shaped)
	}
	if len(rd.series) > 1 {
		if segments = rd.collectSums(s, g, segments); len(segments) == 0 {
			return g, rd.err
		}
	}
	for i, sr := range rd.series {
		rd.collectPieces(g, i, sr, segments)
	}
	return g, rd.err
}

// collectRanges adds the bounds and the visible slots of a series whose lane has the grid.
func (rd *reader) collectRanges(g grid, sr *Series, shaped bool) {
	begin := len(rd.ranges)
	rd.bounds = append(rd.bounds, rd.readable(g, sr, shaped))
	rd.readables = append(rd.readables, span{begin, len(rd.ranges)})
}

// collectPieces adds the pieces of series i.
func (rd *reader) collectPieces(g grid, i int, sr *Series, segments []*segment) {
	begin := len(rd.pieces)
	for _, in := range rd.ranges[rd.readables[i].begin:rd.readables[i].end] {
		for _, seg := range within(segments, in) {
			rd.add(g, seg, sr.column, in)
		}
	}
	rd.spans = append(rd.spans, span{begin, len(rd.pieces)})
}

// collectSeries adds what collectRanges and collectPieces add, to the end of all.
func (rd *reader) collectSeries(g grid, sr *Series, segments []*segment, shaped bool) {
	rd.collectRanges(g, sr, shaped)
	rd.collectPieces(g, len(rd.readables)-1, sr, segments)
}

// within returns those of the given segments, which are in order, that overlap a range of slots.
func within(segments []*segment, in slotRange) []*segment {
	first, last := 0, len(segments)
	for first < last && segments[first].end() <= in.first {
		first++
	}
	for first < last && segments[last-1].first >= in.end {
		last--
	}
	return segments[first:last]
}

// add adds the piece that a segment holds of a column in a range of slots that it overlaps.
func (rd *reader) add(g grid, seg *segment, column uint32, in slotRange) {
	first, end := max(seg.first, in.first), min(seg.end(), in.end)
	p := piece{at: int(first - g.first), n: int(end - first)}
	if seg.sealed != nil {
		i, ok := seg.sealed.Find(column)
		if !ok {
			return
		}
		p.block, p.column, p.from = seg.sealed, i, int(first-seg.first)
	} else {
		p.from = len(rd.copied)
		rd.copied = slices.Grow(rd.copied, p.n)[:p.from+p.n]
		seg.copyColumn(rd.copied[p.from:], column, first)
	}
	rd.pieces = append(rd.pieces, p)
}

// gather aggregates the series into one value per slot. lo and hi are the bounds of the selection
// within the grid: from the first sample of a series with values there, to the last of any series.
func (rd *reader) gather(g grid, values []float64, a Aggregation) (lo, hi int, err error) {
	if len(rd.series) == 1 {
		_, err := rd.decode(g, values, 0)
		lo, hi = rd.extent(g, 0, values)
		return lo, hi, err
	}
	return rd.aggregate(g, values, a)
}

// decode fills dst with series i, and reports whether it has a value there.
func (rd *reader) decode(g grid, dst []float64, i int) (hasValue bool, err error) {
	if err := rd.fill(dst, rd.spans[i]); err != nil {
		return false, err
	}
	for k := range rd.former {
		if rd.former[k].index == i {
			if err := rd.fillFormer(g, dst, &rd.former[k]); err != nil {
				return false, err
			}
		}
	}
	return slices.ContainsFunc(dst, isValue), nil
}

// fill fills dst with the pieces of a span.
func (rd *reader) fill(dst []float64, s span) error {
	if err := rd.ctx.Err(); err != nil {
		return err
	}
	done := 0
	for _, p := range rd.pieces[s.begin:s.end] {
		fillNaN(dst[done:p.at])
		done = p.at + p.n
		if err := rd.piece(dst[p.at:done], p); err != nil {
			return err
		}
	}
	fillNaN(dst[done:])
	return nil
}

func (rd *reader) piece(dst []float64, p piece) error {
	if p.block == nil {
		copy(dst, rd.copied[p.from:])
		return nil
	}
	return p.block.Decode(&rd.decoder, dst, p.column, p.from)
}

// statsOnly answers with the statistics of one series. For a block that lies entirely in the range,
// they are computed from the column without decoding its values.
func (rd *reader) statsOnly(g grid, r Range) (Data, error) {
	total := codec.Summarize(nil)
	for _, p := range rd.pieces {
		var part codec.Stats
		var err error
		if p.block != nil && p.n == p.block.Slots {
			part, err = p.block.Stats(&rd.decoder, p.column)
		} else {
			rd.part = slices.Grow(rd.part[:0], p.n)[:p.n]
			err = rd.piece(rd.part, p)
			part = codec.Summarize(rd.part)
		}
		if err != nil {
			return Data{}, err
		}
		total = sum(total, part)
	}
	lo, hi := g.extent(rd.bounds[0].first, rd.bounds[0].last)
	lo, hi = r.Pad.bounds(lo, hi, g.n)
	d := g.times(lo, hi-lo, 1)
	d.Series, d.Read = 1, g.n
	d.stats = new(statsOf(total))
	return d, nil
}

func sum(a, b codec.Stats) codec.Stats {
	switch {
	case a.Count == 0:
		return b
	case b.Count == 0:
		return a
	}
	return codec.Stats{Count: a.Count + b.Count, Sum: a.Sum + b.Sum, Min: min(a.Min, b.Min), Max: max(a.Max, b.Max)}
}

func fillNaN(dst []float64) {
	for i := range dst {
		dst[i] = math.NaN()
	}
}
