package memstore

import (
	"cmp"
	"hash/fnv"
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/unixtime"
)

// lane is the grid that all series of one host and frequency share: slot n is
// the moment grid + n*frequency. All times are Unix milliseconds.
//
// What its series hold lies in segments, each a window of slots: open ones are
// written to, the others are blocks. The newest is the head.
type lane struct {
	host      *host
	frequency int64
	grid      int64 // in [0, frequency)
	set       bool  // by the first sample

	window int64 // slots of a segment that has not been merged
	shift  int64 // of the windows' edges, another for each host

	columns   []*Series // by number; nil where a series has left
	vacant    []uint32  // numbers that may be used again, descending
	left      []uint32  // numbers that may be in the epoch after leftEpoch
	leftEpoch int64
	segments  []*segment
	current   *segment // the open one that was written last
	newest    int64    // slot that had a sample
	edge      int64    // slot; what was before went for want of memory
}

// Windows are a tenth of the retention long, within bounds: long enough to
// shrink well and to make their directories cheap, short enough for a head.
const (
	windowsPerRetention = 10
	shortestWindow      = 8
	longestWindow       = 240
	mergedWindows       = 2 // become one: a fifth of the retention at the most
)

// beforeAll is a moment before all samples, with which times don't overflow.
const beforeAll = math.MinInt64 / 2

func (h *host) lane(frequency, retention int64) *lane {
	for _, l := range h.lanes {
		if l.frequency == frequency {
			return l
		}
	}
	l := &lane{
		host:      h,
		frequency: frequency,
		window:    min(max(retention/frequency/windowsPerRetention, shortestWindow), longestWindow),
		newest:    beforeAll / frequency,
		edge:      beforeAll / frequency,
	}
	l.shift = int64(h.hash() % uint32(l.window*mergedWindows))
	h.lanes = append(h.lanes, l)
	return l
}

// hash spreads the hosts' windows, so that a thousand hosts don't seal at once.
func (h *host) hash() uint32 {
	sum := fnv.New32a()
	sum.Write([]byte(h.cluster))
	sum.Write([]byte{0})
	sum.Write([]byte(h.name))
	return sum.Sum32()
}

// time returns the moment of a slot.
func (l *lane) time(slot int64) int64 { return l.grid + slot*l.frequency }

// nearest returns the slot nearest to t on a grid moved by offset; half goes up.
func (l *lane) nearest(t, offset int64) int64 {
	return unixtime.FloorDiv(t-l.grid-offset+l.frequency/2, l.frequency)
}

// windowOf returns the first slot of the window that a slot belongs to.
func (l *lane) windowOf(slot int64) int64 {
	return unixtime.FloorDiv(slot-l.shift, l.window)*l.window + l.shift
}

// groupOf returns the first slot of the windows that are merged with a slot's.
func (l *lane) groupOf(slot int64) int64 {
	n := l.window * mergedWindows
	return unixtime.FloorDiv(slot-l.shift, n)*n + l.shift
}

// freeColumn returns a number for a new series.
func (l *lane) freeColumn(epoch int64) uint32 {
	l.recycle(epoch)
	if n := len(l.vacant); n > 0 {
		return l.vacant[n-1]
	}
	return uint32(len(l.columns))
}

// has reports whether a series has a number.
func (l *lane) has(column uint32) bool {
	return int(column) < len(l.columns) && l.columns[column] != nil
}

// putColumn gives a series a number that nobody has.
func (l *lane) putColumn(sr *Series, column uint32) {
	isColumn := func(c uint32) bool { return c == column }
	if n := len(l.vacant); n > 0 && l.vacant[n-1] == column {
		l.vacant = l.vacant[:n-1]
	} else if int(column) < len(l.columns) {
		l.vacant, l.left = slices.DeleteFunc(l.vacant, isColumn), slices.DeleteFunc(l.left, isColumn)
	}
	for n := uint32(len(l.columns)); n < column; n++ {
		l.columns, l.vacant = append(l.columns, nil), append(l.vacant, n)
	}
	if int(column) == len(l.columns) {
		l.columns = append(l.columns, nil)
	}
	sr.column = column
	l.columns[column] = sr
}

// removeColumn takes back the number of a series that no segment holds. It is not
// used again in this epoch: records of it may be read together with a state that
// is taken later.
func (l *lane) removeColumn(sr *Series, epoch int64) {
	l.recycle(epoch)
	l.columns[sr.column] = nil
	l.left, l.leftEpoch = append(l.left, sr.column), epoch
}

// recycle makes the numbers that were given back in an epoch before this one
// vacant, the lowest to be used first.
func (l *lane) recycle(epoch int64) {
	if l.leftEpoch == epoch || len(l.left) == 0 {
		return
	}
	l.vacant = append(l.vacant, l.left...)
	l.left = nil
	slices.SortFunc(l.vacant, func(a, b uint32) int { return cmp.Compare(b, a) })
}

// trim gives back the numbers behind the last series.
func (l *lane) trim(epoch int64) {
	l.recycle(epoch)
	n := len(l.columns)
	for n > 0 && l.columns[n-1] == nil && len(l.left) == 0 {
		n--
	}
	if n < len(l.columns) {
		l.columns = slices.Clone(l.columns[:n])
		l.vacant = slices.Clone(slices.DeleteFunc(l.vacant, func(c uint32) bool { return int(c) >= n }))
	}
}

// oldest returns the first slot that a segment covers.
func (l *lane) oldest() int64 {
	if len(l.segments) == 0 {
		return math.MaxInt64
	}
	return l.segments[0].first
}

// find returns the segment that covers a slot, or where one belongs.
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

// overlapping returns the segments that cover slots of [first, end).
func (l *lane) overlapping(first, end int64) []*segment {
	i, _ := l.find(first)
	j := i
	for j < len(l.segments) && l.segments[j].first < end {
		j++
	}
	return l.segments[i:j]
}

// remove takes a segment out, if it is there.
func (l *lane) remove(g *segment) {
	if i, ok := l.find(g.first); ok && l.segments[i] == g {
		l.segments = slices.Delete(l.segments, i, i+1)
	}
	if l.current == g {
		l.current = nil
	}
}

func (l *lane) head(g *segment) block.Header {
	return block.Header{Frequency: l.frequency, Grid: l.grid, First: g.first, Slots: g.slots, Generation: g.generation}
}
