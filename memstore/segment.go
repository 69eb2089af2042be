package memstore

import (
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/block"
)

// segment is a window of a lane's slots: a block, or open and made of rows. All
// is guarded by the host's lock, but a block's bytes and a closed segment's rows
// never change.
type segment struct {
	first      int64 // slot
	slots      int
	generation uint8
	sealed     *block.Block // nil while there are rows

	// An open segment has a row for each slot that holds a sample: the values of
	// the slot by column, as many as were needed, NaN where there is none.
	rows     [][]float64
	closed   bool  // the rows are being sealed
	reopened bool  // by late samples: it stays open for a quiet minute
	written  int64 // by the server's clock
	version  int   // counts what makes a seal in progress worthless
}

func (g *segment) end() int64 { return g.first + int64(g.slots) }

func (g *segment) open() bool { return g.sealed == nil && !g.closed }

// set stores a value; the segment is open and covers the slot. It returns by
// how many bytes the rows grew.
func (g *segment) set(slot int64, column uint32, columns int, v float64) (grown int64) {
	row := g.rows[slot-g.first]
	if int(column) >= len(row) {
		wider := make([]float64, max(columns, int(column)+1))
		for i := copy(wider, row); i < len(wider); i++ {
			wider[i] = math.NaN()
		}
		grown = int64(8 * (len(wider) - len(row)))
		g.rows[slot-g.first] = wider
		row = wider
	}
	row[column] = v
	return grown
}

// rowBytes returns the memory of the rows.
func (g *segment) rowBytes() int64 {
	n := int64(24 * len(g.rows))
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

// mostOpen is how many segments of a lane may be open: the head, the one before
// it for a moment, and a few that late samples have reopened.
const mostOpen = 4

// headGrace is how many slots the head's successor must be ahead before the
// head is sealed, as not all sources of a host send at the same time.
const headGrace = 2

// writable returns the open segment for a slot: the current one, one that is
// opened, or reopened.
func (h *host) writable(s *Store, l *lane, slot, now int64) (*segment, error) {
	if g := l.current; g != nil && slot >= g.first && slot < g.end() && g.open() {
		g.written = now
		return g, nil
	}
	i, ok := l.find(slot)
	if !ok {
		first := l.windowOf(slot)
		g := &segment{first: first, slots: int(l.window), rows: make([][]float64, l.window)}
		g.reopened = slot < l.newest
		l.segments = slices.Insert(l.segments, i, g)
		s.books.add(g.bytes())
	}
	g := l.segments[i]
	if !g.open() {
		if err := h.reopen(s, l, g); err != nil {
			return nil, err
		}
	}
	g.written = now
	l.current = g
	h.closeOne(l, g)
	return g, nil
}

// reopen makes a segment writable again.
func (h *host) reopen(s *Store, l *lane, g *segment) error {
	rows := make([][]float64, g.slots)
	if g.sealed == nil {
		// It is being sealed: what that makes of it is out of date now.
		for i, row := range g.rows {
			rows[i] = slices.Clone(row)
		}
		g.rows, g.closed, g.reopened, g.version = rows, false, true, g.version+1
		return nil
	}
	b := g.sealed
	if err := decodeRows(rows, b, len(l.columns)); err != nil {
		return err
	}
	s.books.add(-int64(len(b.Bytes())))
	g.sealed, g.rows, g.reopened, g.version = nil, rows, true, g.version+1
	s.books.add(g.rowBytes())
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
	h.sealing = append(h.sealing, sealing{lane: l, segment: g, version: g.version, rows: g.rows, head: l.head(g), offsets: l.offsets()})
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
