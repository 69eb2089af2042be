package memstore

// lane is the grid that all series of one host and frequency share: slot n is
// the moment grid + n*frequency. All times are Unix milliseconds.
type lane struct {
	frequency int64
	grid      int64 // in [0, frequency)
	set       bool  // by the first sample
}

func (h *host) lane(frequency int64) *lane {
	for _, l := range h.lanes {
		if l.frequency == frequency {
			return l
		}
	}
	l := &lane{frequency: frequency}
	h.lanes = append(h.lanes, l)
	return l
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

// phase is where a series' samples lie between the slots of its lane.
type phase struct {
	offset int64 // in [-frequency/2, frequency/2)
	set    bool  // by the series' first sample
	early  int8  // successive samples more than a quarter of the frequency early
	late   int8  // or late
}

// place returns the slot of a sample. newest says that it is later than all
// before it: only those may move the phase, after two in a row on one side.
func (p *phase) place(l *lane, t int64, newest bool) int64 {
	if !l.set {
		l.set, l.grid = true, t-floorDiv(t, l.frequency)*l.frequency
	}
	if !p.set {
		p.set = true
		p.offset = t - l.time(l.nearest(t, 0))
	}
	slot := l.nearest(t, p.offset)
	if !newest {
		return slot
	}
	off := t - p.offset - l.time(slot)
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
	return l.nearest(t, p.offset)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
