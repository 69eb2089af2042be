package memstore

import (
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// segment is a window of a lane's slots: a block, or open and made of rows. All
// is guarded by the host's lock, but a block's bytes and a closed segment's rows
// never change.
type segment struct {
	first      int64 // slot
	slots      int
	generation uint8
	sealed     *block.Block // nil while there are rows
	stored     bool         // the block is in a state that was taken

	// An open segment has a row for each slot that holds a sample: the values of
	// the slot by column, as many as were needed, NaN where there is none.
	rows     [][]float64
	closed   bool   // the rows are being sealed
	borrowed []bool // rows that somebody else reads, although the segment is open; nil: none
	lent     bool   // all rows, of a closed segment
	reopened bool   // by late samples: it stays open for a quiet minute
	written  int64  // by the server's clock
	version  int    // counts what makes a seal in progress worthless
}

func (g *segment) end() int64 { return g.first + int64(g.slots) }

func (g *segment) open() bool { return g.sealed == nil && !g.closed }

// set stores a value; the segment is open and covers the slot. columns is how
// many there are. It returns by how many bytes the rows grew.
func (g *segment) set(slot int64, column uint32, columns int, v float64, spare *spareRows) (grown int64) {
	row := g.rows[slot-g.first]
	if int(column) >= len(row) {
		wider := spare.get(max(g.widthOf(slot, columns), int(column)+1))
		fillNaN(wider[copy(wider, row):])
		grown = int64(8 * (len(wider) - len(row)))
		row = wider
		g.own(slot, row)
	} else if g.borrowed != nil && g.borrowed[slot-g.first] {
		row = slices.Clone(row)
		g.own(slot, row)
	}
	row[column] = v
	return grown
}

// own puts a row of the segment's own in its place.
func (g *segment) own(slot int64, row []float64) {
	g.rows[slot-g.first] = row
	if g.borrowed != nil {
		g.borrowed[slot-g.first] = false
	}
}

// widthOf returns how wide to make a row that is too narrow: a new one as the
// one before it needs to be, so that series which are not sent any more take
// nothing; another twice as wide as it was, or a little wider than all columns.
func (g *segment) widthOf(slot int64, columns int) int {
	i := slot - g.first
	if n := len(g.rows[i]); n > 0 {
		return min(2*n, columns+columns/8)
	}
	if i == 0 || g.rows[i-1] == nil {
		return columns
	}
	before := g.rows[i-1]
	n := len(before)
	for n > 0 && before[n-1] != before[n-1] {
		n--
	}
	return n
}

// rowBytes returns the memory of the rows, their slices included.
func (g *segment) rowBytes() int64 {
	n := int64(rowBytes * len(g.rows))
	for _, row := range g.rows {
		n += int64(8 * len(row))
	}
	return n
}

// copyColumn writes the values of a column from slot first on to dst.
func (g *segment) copyColumn(dst []float64, column uint32, first int64) {
	for i, row := range g.rows[first-g.first:][:len(dst)] {
		dst[i] = math.NaN()
		if int(column) < len(row) {
			dst[i] = row[column]
		}
	}
}

// spares returns the rows that nobody else reads.
func (g *segment) spares() [][]float64 {
	if g.lent {
		return nil
	}
	if g.borrowed == nil {
		return g.rows
	}
	var own [][]float64
	for i, row := range g.rows {
		if !g.borrowed[i] {
			own = append(own, row)
		}
	}
	return own
}

// holds reports whether a column has a sample.
func (g *segment) holds(column uint32) bool {
	if g.sealed != nil {
		_, ok := g.sealed.Find(column)
		return ok
	}
	return slices.ContainsFunc(g.rows, func(row []float64) bool {
		return int(column) < len(row) && row[column] == row[column]
	})
}

// values counts the samples.
func (g *segment) values(d *codec.Decoder) (n int64, err error) {
	for _, row := range g.rows {
		n += int64(codec.Summarize(row).Count)
	}
	if g.sealed == nil {
		return n, nil
	}
	sealed, err := g.sealed.Values(d)
	return n + sealed, err
}

// mostOpen is how many segments of a lane may be open: the head, the one before
// it for a moment, and a few that late samples have reopened.
const mostOpen = 4

// headGrace is how many slots the head's successor must be ahead before the
// head is sealed, as not all sources of a host send at the same time.
const headGrace = 2

// writable returns the open segment for a slot: the current one, or one that is
// opened. If that is a block it returns what it takes to reopen it, which is
// done without the lock.
func (h *host) writable(s *Store, l *lane, slot, now int64) (*segment, *reopening) {
	if g := l.current; g != nil && slot >= g.first && slot < g.end() && g.open() {
		g.written = now
		return g, nil
	}
	i, ok := l.find(slot)
	if !ok {
		g := l.newSegment(i, slot)
		l.segments = slices.Insert(l.segments, i, g)
		s.books.add(g.bytes())
	}
	g := l.segments[i]
	switch {
	case g.sealed != nil:
		return nil, &reopening{segment: g, version: g.version, block: g.sealed, columns: len(l.columns)}
	case g.closed:
		g.borrow()
	}
	g.written = now
	l.current = g
	h.closeOne(l, g)
	return g, nil
}

// newSegment returns an open segment for a slot, to stand at i among the others:
// a window, or what those that were restored leave of it.
func (l *lane) newSegment(i int, slot int64) *segment {
	first := l.windowOf(slot)
	end := first + l.window
	if i > 0 {
		first = max(first, l.segments[i-1].end())
	}
	if i < len(l.segments) {
		end = min(end, l.segments[i].first)
	}
	return &segment{first: first, slots: int(end - first), rows: make([][]float64, end-first), reopened: slot < l.newest}
}

// share returns the rows as they are, which will not change: each is copied
// before it is written to.
func (g *segment) share() [][]float64 {
	rows := g.rows
	if g.open() {
		g.lend()
	} else {
		g.lent = true
	}
	return rows
}

// lend replaces the rows by borrowed ones.
func (g *segment) lend() {
	g.rows = slices.Clone(g.rows)
	g.borrowed = make([]bool, len(g.rows))
	for i, row := range g.rows {
		g.borrowed[i] = row != nil
	}
}

// borrow opens a closed segment again. Its rows are being encoded, so each is
// copied before it is written to; what comes of encoding them is out of date.
func (g *segment) borrow() {
	g.lend()
	g.closed, g.reopened, g.version = false, true, g.version+1
}

// reopening is a block that late samples fall in, on its way to become rows.
type reopening struct {
	segment *segment
	version int
	block   *block.Block
	columns int // of the lane
}

// reopen decodes a block, and makes its segment writable if it is still the same.
// The error tells that the block cannot be read.
func (s *Store) reopen(h *host, r *reopening) error {
	rows := make([][]float64, r.block.Slots)
	if err := decodeRows(rows, r.block, r.columns); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	g := r.segment
	if g.version != r.version || g.sealed != r.block {
		return nil
	}
	s.books.add(-g.bytes())
	g.sealed, g.stored, g.rows, g.reopened, g.version = nil, false, rows, true, g.version+1
	g.written = s.now().UnixMilli()
	s.books.add(g.bytes())
	return nil
}

// closeOne closes the segment that was not written for the longest time, if
// too many are open; not keep, and not the head.
func (h *host) closeOne(l *lane, keep *segment) {
	var oldest *segment
	open := 0
	for _, g := range l.segments {
		if !g.open() {
			continue
		}
		open++
		if g != keep && l.newest >= g.end() && (oldest == nil || g.written < oldest.written) {
			oldest = g
		}
	}
	if open > mostOpen && oldest != nil {
		h.close(l, oldest)
	}
}

// advance notes that a slot is the newest of a lane, and closes what was the
// head before.
func (h *host) advance(l *lane, slot int64) {
	l.newest = slot
	for i := len(l.segments) - 2; i >= 0 && i >= len(l.segments)-3; i-- {
		if g := l.segments[i]; g.open() && !g.reopened && slot >= g.end()+headGrace {
			h.close(l, g)
		}
	}
}

// close hands a segment over to be sealed.
func (h *host) close(l *lane, g *segment) {
	g.closed = true
	if l.current == g {
		l.current = nil
	}
	h.sealing = append(h.sealing, l.sealing(g, g.rows))
}

// sealing is what it takes to make a block of a segment's rows.
func (l *lane) sealing(g *segment, rows [][]float64) sealing {
	return sealing{lane: l, segment: g, version: g.version, rows: rows, head: l.head(g), offsets: l.offsets(), before: l.before(g)}
}

// offsets returns the columns' offsets, nil if all are 0.
func (l *lane) offsets() []int64 {
	if !slices.ContainsFunc(l.columns, func(sr *Series) bool { return sr != nil && sr.phase.offset != 0 }) {
		return nil
	}
	offsets := make([]int64, len(l.columns))
	for i, sr := range l.columns {
		if sr != nil {
			offsets[i] = sr.phase.offset
		}
	}
	return offsets
}
