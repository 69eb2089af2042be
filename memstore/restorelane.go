package memstore

import (
	"slices"

	"github.com/ringstore/ringstore/memstore/block"
)

// laneRestorer restores one lane of a state.
type laneRestorer struct {
	*Restorer
	host     *host
	lane     *lane
	state    LaneState
	recorded bool
	fetched  bool
	oldest   int64
}

func (p *laneRestorer) restore() error {
	p.host.mu.Lock()
	p.lane = p.host.lane(p.state.Frequency, p.store.retention)
	if !p.lane.hasGrid {
		p.lane.hasGrid, p.lane.grid = true, p.state.Grid
	}
	if p.recorded {
		for _, ss := range p.state.Series {
			if p.series(ss) == nil {
				p.displaced[column{p.host, p.state.Frequency, ss.Column}] = place{p.key(ss), p.state.Grid, ss.Offset}
			}
		}
	}
	p.host.mayBeEmpty = true
	p.host.account(p.store)
	p.host.mu.Unlock()
	for _, w := range slices.Backward(p.state.Windows) {
		if err := p.window(w); err != nil {
			return err
		}
	}
	return nil
}

func (p *laneRestorer) key(ss SeriesState) Key {
	return Key{Cluster: p.host.cluster, Host: p.host.name, Metric: ss.Metric, Device: ss.Device}
}

// series returns the series of a place, which it adds if necessary. It returns nil if the series
// cannot have the same column, frequency and grid as in the state. The host is locked.
func (p *laneRestorer) series(ss SeriesState) *Series {
	l := p.lane
	if l.grid != p.state.Grid {
		return nil
	}
	m := p.store.metricAt(ss.Metric, l.frequency)
	if level := p.host.level(ss.Device); level != nil {
		if sr := level.get(m); sr != nil {
			if sr.column != ss.Column {
				return nil
			}
			if !sr.phase.hasOffset {
				sr.phase = ss.phase()
			}
			return sr
		}
	}
	if l.has(ss.Column) {
		return nil
	}
	sr := p.host.addSeries(p.store, m, ss.Device, l, ss.Column)
	p.placed++
	sr.phase = ss.phase()
	if !p.recorded {
		p.provisional[sr] = true
	}
	if p.recorded && ss.First <= ss.Last {
		sr.first, sr.last = ss.First, ss.Last
		l.newest = max(l.newest, ss.Last)
	}
	return sr
}

// phase returns the phase of a place. A series that had no sample has none yet: older samples of it,
// which left memory before, may have another offset.
func (ss *SeriesState) phase() phase {
	return phase{offset: ss.Offset, hasOffset: ss.First <= ss.Last || ss.Offset != 0}
}

// window adds a block without its displaced columns, whose samples are stored one by one after all
// states.
func (p *laneRestorer) window(w WindowState) error {
	s, b := p.store, w.Block
	old := b.Grid+(b.First+int64(b.Slots))*b.Frequency < p.oldest
	if old && !(w.Open && s.keep) && !p.fetched {
		p.Old++
		s.SkipExpired(b.Grid + (b.First+int64(b.Slots))*b.Frequency)
		return nil
	}
	if s.Full() && !p.fetched && !(w.Open && s.memory.stored.Load()) {
		return ErrMemory
	}
	displaced, overlap := p.insert(w)
	switch {
	case overlap == covered:
		p.Overlap++
		return nil
	case overlap == partly:
		displaced = p.state.Series
	case len(displaced) < b.Columns():
		p.Blocks++
	}
	if len(displaced) > 0 {
		p.unplaced = append(p.unplaced, unplacedBlock{p.host, b, displaced, p.movableSince(p.host)})
		s.memory.add(int64(len(b.Bytes())))
	}
	return nil
}

// overlap says how much of a block's time the store has already.
type overlap int

const (
	none overlap = iota
	partly
	covered
)

// overlap says how much of the slots [first, end) the segments of a lane cover.
func (l *lane) overlap(first, end int64) overlap {
	all := l.overlapping(first, end)
	if len(all) == 0 {
		return none
	}
	for _, g := range all {
		if g.first > first {
			return partly
		}
		first = g.end()
	}
	if first < end {
		return partly
	}
	return covered
}

// insert makes a segment of a block, and returns the places of its displaced columns.
func (p *laneRestorer) insert(w WindowState) (displaced []SeriesState, over overlap) {
	s, b, l := p.store, w.Block, p.lane
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if b.Grid == l.grid {
		if over = l.overlap(b.First, b.First+int64(b.Slots)); over != none {
			return nil, over
		}
	}
	placed := make(map[uint32]bool, b.Columns())
	for i, k := 0, 0; i < b.Columns(); i++ {
		id := b.ID(i)
		for k < len(p.state.Series) && p.state.Series[k].Column < id {
			k++
		}
		if k == len(p.state.Series) || p.state.Series[k].Column != id {
			continue
		}
		ss := p.state.Series[k]
		if sr := p.series(ss); sr != nil {
			placed[id] = true
			p.extend(sr, ss, b)
		} else {
			displaced = append(displaced, ss)
		}
	}
	kept := b.Without(func(id uint32) bool { return !placed[id] })
	if kept == nil { // the block stays on disk until blocks with the samples that were moved replace it
		return displaced, none
	}
	i, _ := l.find(b.First)
	g := &segment{first: b.First, slots: b.Slots, generation: b.Generation, sealed: kept, stored: kept == b && !w.Open}
	l.segments = slices.Insert(l.segments, i, g)
	s.account(p.host, g.bytes())
	p.host.account(s)
	return displaced, none
}

// extend extends the first and last slot of a series, and the lane, by those of a block.
func (p *laneRestorer) extend(sr *Series, ss SeriesState, b *block.Block) {
	sr.first = min(sr.first, max(ss.First, b.First))
	sr.last = max(sr.last, min(ss.Last, b.First+int64(b.Slots)-1))
	p.lane.newest = max(p.lane.newest, sr.last)
}
