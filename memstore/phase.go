package memstore

import (
	"math"

	"github.com/ringstore/ringstore/memstore/unixtime"
)

// phase is the distance of a series' samples from the slot times of its lane.
type phase struct {
	offset    int64 // milliseconds, in [-frequency/2, frequency/2)
	hasOffset bool  // the first sample sets the offset
	drift     int8  // successive samples more than a quarter of the frequency late; negative: early
	logged    era   // of the last stored record that contains the series' place

	movedAt uint32 // the slot in which the offset changed last; 0: never since the start
}

// steady reports whether the newest sample was on time.
func (p *phase) steady() bool { return p.drift == 0 }

// place returns the slot of a sample. newest says that the sample is later than all before it: only
// such samples can move the phase, after two in a row on the same side.
func (p *phase) place(l *lane, t int64, newest bool) int64 {
	if !l.hasGrid {
		l.hasGrid, l.grid = true, t-unixtime.FloorDiv(t, l.frequency)*l.frequency
	}
	if !p.hasOffset {
		p.hasOffset = true
		p.offset = t - l.time(l.nearest(t, 0))
	}
	slot, off := l.newest, t-p.offset-l.time(l.newest)
	if off < -l.frequency/2 || off >= l.frequency/2 { // most samples belong to the newest slot
		slot = l.nearest(t, p.offset)
		off = t - p.offset - l.time(slot)
	}
	if !newest {
		return slot
	}
	switch quarter := l.frequency / 4; {
	case off > quarter:
		p.drift = max(p.drift, 0) + 1
	case off < -quarter:
		p.drift = min(p.drift, 0) - 1
	default:
		p.drift = 0
	}
	if -2 < p.drift && p.drift < 2 {
		return slot
	}
	p.drift = 0
	p.offset = t - l.time(l.nearest(t, 0))
	slot = l.nearest(t, p.offset)
	p.movedAt = uint32(min(max(slot, 0), math.MaxUint32))
	return slot
}
