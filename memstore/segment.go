package memstore

import (
	"math"
	"slices"
	"sync/atomic"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// segment is a window of a lane's slots: either a block, or rows. The host's lock guards all
// fields. The bytes of a block and the rows of a closed segment never change.
type segment struct {
	first      int64 // slot
	slots      int
	generation uint8
	sealed     *block.Block // nil while there are rows
	stored     bool         // a committed snapshot holds the block

	// An open segment has a row for each slot that holds a sample: the values of the slot by
	// column, NaN where there is none. Rows are only as long as their last sample requires.
	rows     [][]float64
	closed   bool   // the rows are being sealed
	borrowed []bool // rows that must be copied before a write, because someone else reads them; nil: none
	lent     bool   // someone else reads the rows of this closed segment
	reopened bool   // by late samples: it stays open until it was quiet for a minute
	written  int64  // time of the last write, by the server's clock
	sums     atomic.Pointer[openSums]
	version  int // a seal in progress is discarded if the version has changed
}

func (g *segment) end() int64 { return g.first + int64(g.slots) }

func (g *segment) open() bool { return g.sealed == nil && !g.closed }

// set stores a value in an open segment that covers the slot. columns is the number of columns of
// the lane. It returns by how many bytes the rows grew.
func (g *segment) set(slot int64, column uint32, columns int, v float64, spare *spareRows) (grown int64) {
	g.sums.Load().changed(slot - g.first)
	row := g.rows[slot-g.first]
	if int(column) >= len(row) {
		wider := spare.get(max(g.widthOf(slot, columns), int(column)+1))
		fillNaN(wider[copy(wider, row):])
		grown = allocated(int64(8*len(wider))) - allocated(int64(8*len(row)))
		row = wider
		g.own(slot, row)
	} else if g.borrowed != nil && g.borrowed[slot-g.first] {
		row = slices.Clone(row)
		g.own(slot, row)
	}
	row[column] = v
	return grown
}

// hasSample reports whether a slot of an open segment holds a sample.
func (g *segment) hasSample(slot int64, column uint32) bool {
	row := g.rows[slot-g.first]
	return int(column) < len(row) && row[column] == row[column]
}

// own replaces the row of a slot by one that only the segment uses.
func (g *segment) own(slot int64, row []float64) {
	g.rows[slot-g.first] = row
	if g.borrowed != nil {
		g.borrowed[slot-g.first] = false
	}
}

// widthOf returns the new width of a row that is too short. A new row is as long as the last sample
// of the row before it requires, so that series that are no longer sent take no memory. Another row
// grows to twice its length, or to a little more than all columns.
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

// rowBytes returns the memory of the rows and their sums, including slice headers.
func (g *segment) rowBytes() int64 {
	n := int64(rowBytes*len(g.rows)) + g.sums.Load().bytes()
	for _, row := range g.rows {
		n += allocated(int64(8 * len(row)))
	}
	return n
}

// copyColumn copies the values of a column to dst, starting at slot first.
func (g *segment) copyColumn(dst []float64, column uint32, first int64) {
	for i, row := range g.rows[first-g.first:][:len(dst)] {
		dst[i] = math.NaN()
		if int(column) < len(row) {
			dst[i] = row[column]
		}
	}
}

// ownRows returns the rows that no one else reads.
func (g *segment) ownRows() [][]float64 {
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

// maxOpen is how many segments of a lane may be open: the head, for a short time its predecessor,
// and a few that late samples have reopened.
const maxOpen = 4

// headGrace is how many slots the lane must be past the end of a head before it is sealed, because
// the sources of a host do not send at the same time.
const headGrace = 2

// writable returns the open segment for a slot, which it creates or opens if necessary. If the slot
// lies in a block, it returns a reopening instead: the caller calls reopen without the lock.
func (h *host) writable(s *Store, l *lane, slot, now int64) (*segment, *reopening) {
	if g := l.current; g != nil && slot >= g.first && slot < g.end() && g.open() {
		g.written = now
		return g, nil
	}
	i, ok := l.find(slot)
	if !ok {
		g := l.newSegment(i, slot)
		l.segments = slices.Insert(l.segments, i, g)
		s.account(h, g.bytes())
		h.account(s)
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
	h.closeExcess(l, g)
	return g, nil
}

// newSegment returns an open segment for a slot, to be inserted at index i: a whole window, or the
// part of it that restored segments do not cover. It covers no slot that was evicted either: its block
// would take the place of the one on disk. Windows may have had another length when that was written.
func (l *lane) newSegment(i int, slot int64) *segment {
	first := l.windowOf(slot)
	end := first + l.window
	if i > 0 {
		first = max(first, l.segments[i-1].end())
	}
	if i < len(l.segments) {
		end = min(end, l.segments[i].first)
	}
	if slot >= l.evictedBefore {
		first = max(first, l.evictedBefore)
	}
	return &segment{first: first, slots: int(end - first), rows: make([][]float64, end-first), reopened: slot < l.newest}
}

// share returns the rows as they are now. Later writes copy a row before they change it.
func (g *segment) share() [][]float64 {
	rows := g.rows
	if g.open() {
		g.lend()
	} else {
		g.lent = true
	}
	return rows
}

// lend marks all rows as borrowed. The previous slice of rows does not change any more.
func (g *segment) lend() {
	g.rows = slices.Clone(g.rows)
	g.borrowed = make([]bool, len(g.rows))
	for i, row := range g.rows {
		g.borrowed[i] = row != nil
	}
}

// borrow opens a closed segment again. Its rows are being encoded, so a write copies the row first.
// The result of the encoding is discarded.
func (g *segment) borrow() {
	g.lend()
	g.closed, g.reopened, g.version = false, true, g.version+1
}

// reopening is a block that must become rows again, because late samples belong to its window.
type reopening struct {
	segment *segment
	version int
	block   *block.Block
	columns int // of the lane
}

// reopen decodes a block and makes its segment writable, unless the segment has changed meanwhile.
// The error reports a damaged block.
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
	s.account(h, -g.bytes())
	g.sealed, g.stored, g.rows, g.reopened, g.version = nil, false, rows, true, g.version+1
	g.written = s.now().UnixMilli()
	s.account(h, g.bytes())
	return nil
}

// closeExcess closes the least recently written segment if too many are open, but neither keep nor
// the head.
func (h *host) closeExcess(l *lane, keep *segment) {
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
	if open > maxOpen && oldest != nil {
		h.close(l, oldest)
	}
}

// advance makes a slot the newest of a lane, and closes the former head after its grace period.
func (h *host) advance(l *lane, slot int64) {
	l.newest = slot
	for i := len(l.segments) - 2; i >= 0 && i >= len(l.segments)-3; i-- {
		if g := l.segments[i]; g.open() && !g.reopened && slot >= g.end()+headGrace {
			h.close(l, g)
		}
	}
}

// close queues a segment for sealing, which happens after the host is unlocked.
func (h *host) close(l *lane, g *segment) {
	g.closed = true
	if l.current == g {
		l.current = nil
	}
	h.sealing = append(h.sealing, l.sealing(g, g.rows))
}

// sealing returns the input for the encoding of a segment's rows.
func (l *lane) sealing(g *segment, rows [][]float64) sealing {
	return sealing{lane: l, segment: g, version: g.version, rows: rows, head: l.blockHeader(g), offsets: l.offsets(), before: l.blockBefore(g), sets: l.columnSets()}
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
