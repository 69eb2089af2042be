package memstore

import (
	"cmp"
	"hash/fnv"
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/block"
)

// lane is the grid that all series of one host and frequency share: slot n is
// the moment grid + n*frequency. All times are Unix milliseconds.
//
// What its series hold lies in segments, each a window of slots: open ones are
// written to, the others are blocks. The newest is the head.
type lane struct {
	frequency int64
	grid      int64 // in [0, frequency)
	set       bool  // by the first sample

	window int64 // slots of a segment that has not been merged
	shift  int64 // of the windows' edges, another for each host

	columns  []*Series // by number; nil where a series has left
	vacant   []uint32  // numbers that may be used again
	segments []*segment
	current  *segment // the open one that was written last
	newest   int64    // slot that had a sample
}

// Windows are a tenth of the retention long, within bounds: long enough to
// shrink well and to make their directories cheap, short enough for a head.
const (
	windowsPerRetention = 10
	shortestWindow      = 8
	longestWindow       = 240
	mergedWindows       = 2 // become one: a fifth of the retention at the most
)

func (h *host) lane(frequency, retention int64) *lane {
	for _, l := range h.lanes {
		if l.frequency == frequency {
			return l
		}
	}
	l := &lane{
		frequency: frequency,
		window:    min(max(retention/frequency/windowsPerRetention, shortestWindow), longestWindow),
		newest:    math.MinInt64 / 2 / frequency, // before all samples, and its time does not overflow
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

// setGrid gives a lane its grid back, unless a sample has set it already.
func (h *host) setGrid(l *lane, grid int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !l.set && 0 <= grid && grid < l.frequency {
		l.set, l.grid = true, grid
	}
}

// time returns the moment of a slot.
func (l *lane) time(slot int64) int64 { return l.grid + slot*l.frequency }

// nearest returns the slot nearest to t on a grid moved by offset; half goes up.
func (l *lane) nearest(t, offset int64) int64 {
	return floorDiv(t-l.grid-offset+l.frequency/2, l.frequency)
}

// windowOf returns the first slot of the window that a slot belongs to.
func (l *lane) windowOf(slot int64) int64 {
	return floorDiv(slot-l.shift, l.window)*l.window + l.shift
}

// groupOf returns the first slot of the windows that are merged with a slot's.
func (l *lane) groupOf(slot int64) int64 {
	n := l.window * mergedWindows
	return floorDiv(slot-l.shift, n)*n + l.shift
}

// addColumn gives a series its number.
func (l *lane) addColumn(sr *Series) {
	if n := len(l.vacant); n > 0 {
		sr.column = l.vacant[n-1]
		l.vacant = l.vacant[:n-1]
		l.columns[sr.column] = sr
		return
	}
	sr.column = uint32(len(l.columns))
	l.columns = append(l.columns, sr)
}

// removeColumn takes back the number of a series that no segment holds.
func (l *lane) removeColumn(sr *Series) {
	l.columns[sr.column] = nil
	l.vacant = append(l.vacant, sr.column)
}

// trim gives back the numbers behind the last series, and lets the lowest of the
// others be used first.
func (l *lane) trim() {
	n := len(l.columns)
	for n > 0 && l.columns[n-1] == nil {
		n--
	}
	if n < len(l.columns) {
		l.columns = slices.Clone(l.columns[:n])
		l.vacant = slices.Clone(slices.DeleteFunc(l.vacant, func(c uint32) bool { return int(c) >= n }))
	}
	slices.SortFunc(l.vacant, func(a, b uint32) int { return cmp.Compare(b, a) })
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

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
