package memstore

import (
	"math"

	"github.com/ringstore/ringstore/memstore/unixtime"
)

// phase is where a series' samples lie between the slots of its lane.
type phase struct {
	offset int64 // milliseconds, in [-frequency/2, frequency/2)
	set    bool  // by the series' first sample
	early  int8  // successive samples more than a quarter of the frequency early
	late   int8  // or late
	untold bool  // where the series is has to be said in the next record of it

	moved uint32 // slot since which the offset is what it is; 0: ever, or since the restore
}

// steady reports that the newest sample lay where it should.
func (p *phase) steady() bool { return p.early|p.late == 0 }

// place returns the slot of a sample. newest says that it is later than all
// before it: only those may move the phase, after two in a row on one side.
func (p *phase) place(l *lane, t int64, newest bool) int64 {
	if !l.set {
		l.set, l.grid = true, t-unixtime.FloorDiv(t, l.frequency)*l.frequency
	}
	if !p.set {
		p.set = true
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
		p.late, p.early = p.late+1, 0
	case off < -quarter:
		p.early, p.late = p.early+1, 0
	default:
		p.early, p.late = 0, 0
	}
	if p.early < 2 && p.late < 2 {
		return slot
	}
	p.early, p.late = 0, 0
	p.offset = t - l.time(l.nearest(t, 0))
	slot = l.nearest(t, p.offset)
	p.moved = uint32(min(max(slot, 0), math.MaxUint32))
	return slot
}
