package memstore

import (
	"cmp"
	"hash/fnv"
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/unixtime"
)

// lane is the grid that all series of one host and frequency share: the time of slot n is grid +
// n*frequency. All times are Unix milliseconds.
//
// The samples lie in segments, each a window of slots. Open segments can be written to; the others
// are blocks or are being sealed. The newest segment is the head. The host's lock guards all
// fields.
type lane struct {
	host      *host
	frequency int64
	grid      int64 // in [0, frequency)
	hasGrid   bool  // the first sample sets the grid

	window int64 // slots of a segment that has not been merged
	shift  int64 // of the windows' boundaries, different for each host

	columns       []*Series // by number; nil where a series was removed
	free          []uint32  // numbers that may be used again, descending
	released      []uint32  // numbers that become free in the epoch after releasedEpoch
	releasedEpoch int64
	segments      []*segment // ascending, without overlap
	current       *segment   // the open one that was written last
	newest        int64      // the last slot that got a sample
	evictedBefore int64      // slots before this one were evicted
	history       *history   // nil: no message of a stream wrote to the lane

	sets    []columnSet    // of whole levels: blocks keep their sums
	levels  map[string]int // their indices by key
	hasSets bool           // sets and levels are known
	learned learnedSets
}

// A window covers a tenth of the retention, within bounds: long enough to compress well and to make
// the directory cheap, short enough to stay uncompressed while it is the head.
const (
	windowsPerRetention = 10
	minWindow           = 8
	maxWindow           = 240
	mergedWindows       = 2 // a merged window covers at most a fifth of the retention
)

// minTime is earlier than any sample; arithmetic with it does not overflow.
const minTime = math.MinInt64 / 2

func (h *host) lane(frequency, retention int64) *lane {
	for _, l := range h.lanes {
		if l.frequency == frequency {
			return l
		}
	}
	l := &lane{
		host:      h,
		frequency: frequency,
		window:    min(max(retention/frequency/windowsPerRetention, minWindow), maxWindow),
		newest:    minTime / frequency,

		evictedBefore: minTime / frequency,
	}
	l.shift = int64(h.hash() % uint32(l.window*mergedWindows))
	h.lanes = append(h.lanes, l)
	return l
}

// bytes returns the memory of the lane without its segments.
func (l *lane) bytes() int64 {
	n := laneBytes + 8*int64(cap(l.columns)+cap(l.segments)) + 4*int64(cap(l.free)+cap(l.released))
	if l.history != nil {
		n += l.history.bytes
	}
	return n
}

// hash staggers the windows of different hosts, so that a thousand hosts do not seal at once.
func (h *host) hash() uint32 {
	sum := fnv.New32a()
	sum.Write([]byte(h.cluster))
	sum.Write([]byte{0})
	sum.Write([]byte(h.name))
	return sum.Sum32()
}

// time returns the time of a slot.
func (l *lane) time(slot int64) int64 { return l.grid + slot*l.frequency }

// nearest returns the slot nearest to t on the grid shifted by offset; it rounds half up.
func (l *lane) nearest(t, offset int64) int64 {
	return unixtime.FloorDiv(t-l.grid-offset+l.frequency/2, l.frequency)
}

// windowOf returns the first slot of the window that contains a slot.
func (l *lane) windowOf(slot int64) int64 {
	return unixtime.FloorDiv(slot-l.shift, l.window)*l.window + l.shift
}

// groupOf returns the first slot of the group of windows that are merged into the one that contains
// a slot.
func (l *lane) groupOf(slot int64) int64 {
	n := l.window * mergedWindows
	return unixtime.FloorDiv(slot-l.shift, n)*n + l.shift
}

// freeColumn returns the column number for a new series, without reserving it.
func (l *lane) freeColumn(epoch int64) uint32 {
	l.recycle(epoch)
	if n := len(l.free); n > 0 {
		return l.free[n-1]
	}
	return uint32(len(l.columns))
}

// has reports whether a series uses a column number.
func (l *lane) has(column uint32) bool {
	return int(column) < len(l.columns) && l.columns[column] != nil
}

// putColumn gives a series a column number that no other series has.
func (l *lane) putColumn(sr *Series, column uint32) {
	isColumn := func(c uint32) bool { return c == column }
	if n := len(l.free); n > 0 && l.free[n-1] == column {
		l.free = l.free[:n-1]
	} else if int(column) < len(l.columns) {
		l.free, l.released = slices.DeleteFunc(l.free, isColumn), slices.DeleteFunc(l.released, isColumn)
	}
	for n := uint32(len(l.columns)); n < column; n++ {
		l.columns, l.free = append(l.columns, nil), append(l.free, n)
	}
	if int(column) == len(l.columns) {
		l.columns = append(l.columns, nil)
	}
	sr.column = column
	l.columns[column] = sr
}

// removeColumn releases the column number of a series that no segment holds. The number is not used
// again in this epoch, because its records may be replayed on top of a later snapshot.
func (l *lane) removeColumn(sr *Series, epoch int64) {
	l.recycle(epoch)
	l.columns[sr.column] = nil
	l.released, l.releasedEpoch = append(l.released, sr.column), epoch
}

// recycle frees the numbers that were released in an earlier epoch. The lowest is used first.
func (l *lane) recycle(epoch int64) {
	if l.releasedEpoch == epoch || len(l.released) == 0 {
		return
	}
	l.free = append(l.free, l.released...)
	l.released = nil
	slices.SortFunc(l.free, func(a, b uint32) int { return cmp.Compare(b, a) })
}

// trim removes the unused numbers after the last series.
func (l *lane) trim(epoch int64) {
	l.recycle(epoch)
	n := len(l.columns)
	for n > 0 && l.columns[n-1] == nil && len(l.released) == 0 {
		n--
	}
	if n < len(l.columns) {
		l.columns = slices.Clone(l.columns[:n])
		l.free = slices.Clone(slices.DeleteFunc(l.free, func(c uint32) bool { return int(c) >= n }))
	}
}

// oldest returns the first slot of the oldest segment, [math.MaxInt64] without segments.
func (l *lane) oldest() int64 {
	if len(l.segments) == 0 {
		return math.MaxInt64
	}
	return l.segments[0].first
}

// find returns the index of the segment that covers a slot, or where to insert one.
func (l *lane) find(slot int64) (int, bool) {
	i, _ := slices.BinarySearchFunc(l.segments, slot, func(s *segment, slot int64) int {
		switch {
		case s.end() <= slot:
			return -1
		case s.first > slot:
			return 1
		}
		return 0
	})
	return i, i < len(l.segments) && l.segments[i].first <= slot
}

// overlapping returns the segments that overlap the slots [first, end).
func (l *lane) overlapping(first, end int64) []*segment {
	i, _ := l.find(first)
	j := i
	for j < len(l.segments) && l.segments[j].first < end {
		j++
	}
	return l.segments[i:j]
}

// remove removes a segment if it is still part of the lane.
func (l *lane) remove(g *segment) {
	if i, ok := l.find(g.first); ok && l.segments[i] == g {
		l.segments = slices.Delete(l.segments, i, i+1)
	}
	if l.current == g {
		l.current = nil
	}
}

func (l *lane) blockHeader(g *segment) block.Header {
	return block.Header{Frequency: l.frequency, Grid: l.grid, First: g.first, Slots: g.slots, Generation: g.generation}
}
