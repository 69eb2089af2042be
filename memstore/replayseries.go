package memstore

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

func (r *Restorer) hostEntry(number uint32, p *parser) error {
	cluster, name := p.name("cluster"), p.name("host")
	if p.Err() != nil {
		return nil
	}
	if err := checkNames(Key{Cluster: cluster, Host: name}, maxStoredName); err != nil {
		return err
	}
	if err := r.store.ensureMemory(nil); err != nil {
		return err
	}
	r.host(cluster, name, number, true).setNeeded(r.store.needed(cluster, name))
	return nil
}

// seriesEntry reads a place as records of the journal's version 1 contain it.
func (r *Restorer) seriesEntry(h *host, p *parser) error {
	ss := SeriesState{Column: uint32(p.Uvarint(0, block.MaxColumns-1, "column"))}
	at := spacing{frequency: p.frequency()}
	at.grid = int64(p.Uvarint(0, uint64(at.frequency-1), "grid"))
	ss.Offset = p.Varint(-at.frequency/2, at.frequency/2-1, "offset")
	for _, name := range ss.names() {
		*name = p.name("name")
	}
	if p.Err() != nil || h == nil {
		return p.Err()
	}
	return r.series(h, ss, at)
}

// placeEntry reads a place, which is encoded as the differences from the place before.
func (r *Restorer) placeEntry(h *host, p *parser) error {
	flags := p.Byte("flags of a place")
	ss, at := r.before, r.spacing
	if at != (spacing{}) {
		ss.Column++
	}
	if flags&placeColumn != 0 {
		ss.Column = uint32(p.Uvarint(0, block.MaxColumns-1, "column"))
	}
	if flags&placeSpacing != 0 {
		at.frequency = p.frequency()
		at.grid = int64(p.Uvarint(0, uint64(at.frequency-1), "grid"))
	}
	if flags&placeOffset != 0 {
		ss.Offset = p.Varint(math.MinInt64, math.MaxInt64, "offset")
	}
	known := h.seriesAt(at.frequency, ss.Column)
	for i, name := range ss.names() {
		if flags&(placeMetric<<i) != 0 {
			*name = p.knownName(*known.names()[i])
		}
	}
	switch {
	case p.Err() != nil:
		return p.Err()
	case at.frequency == 0 || ss.Column >= block.MaxColumns || ss.Offset < -at.frequency/2 || ss.Offset >= at.frequency/2:
		return errors.New("a place without a valid column, frequency or offset")
	}
	r.before, r.spacing = ss, at
	if h == nil {
		return nil
	}
	return r.series(h, ss, at)
}

// seriesAt returns the names of the series in a column, which are empty if there is none.
func (h *host) seriesAt(frequency int64, column uint32) (ss SeriesState) {
	if l := (run{host: h, frequency: frequency}).lane(); l != nil && l.has(column) {
		sr := l.columns[column]
		ss.Metric, ss.Device = sr.metric.Name, sr.level.device
	}
	return ss
}

// series puts a series in the place that a record gives it. It removes the series that was there
// before, which had left the store when the record was made.
func (r *Restorer) series(h *host, ss SeriesState, at spacing) (err error) {
	ss.First, ss.Last = 0, -1
	frequency, grid := at.frequency, at.grid
	key := Key{Cluster: h.cluster, Host: h.name, Metric: ss.Metric, Device: ss.Device}
	if err := errors.Join(checkNames(key, maxStoredName), checkMetric(ss.Metric), r.store.ensureMemory(nil)); err != nil {
		return err
	}
	var moved []Sample
	defer func() { err = errors.Join(err, r.storeAgain(h, moved)) }()
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.lane(frequency, r.store.retention)
	if !l.hasGrid {
		l.hasGrid, l.grid = true, grid
	}
	if l.grid != grid {
		r.applyExtents(l)
		moved = r.takeSamples(l.columns)
		r.store.clearLane(h, l)
		l.grid = grid
	}
	if gap := int(ss.Column) - len(l.columns); gap > 0 {
		if r.gaps += gap; r.gaps > maxGaps+gapsPerSeries*r.placed {
			return errors.New("too many unused columns")
		}
	}
	q := laneRestorer{Restorer: r, host: h, lane: l, state: LaneState{Frequency: frequency, Grid: grid}, recorded: true}
	col := column{h, frequency, ss.Column}
	delete(r.displaced, col)
	sr := q.series(ss)
	if sr == nil {
		r.applyExtents(l)
		conflicts := l.conflicting(ss)
		moved = append(moved, r.takeSamples(conflicts)...)
		r.store.removeSeries(h, l, conflicts)
		sr = q.series(ss)
	}
	if sr == nil {
		r.displaced[col] = place{key, grid, ss.Offset}
		return nil
	}
	delete(r.provisional, sr)
	sr.phase = phase{offset: ss.Offset, hasOffset: true, logged: sr.phase.logged}
	return nil
}

// maxStoredName is the greatest limit of names that a configuration can have, in bytes. A lower limit
// keeps what exists.
const maxStoredName = math.MaxUint16

// checkMetric refuses names that no configured metric can have.
func checkMetric(name string) error {
	if err := checkName(name, maxStoredName); err != nil {
		return fmt.Errorf("%w: metric %s", ErrName, err)
	}
	return nil
}

// clearLane removes everything in a lane. Its blocks stay on disk until blocks with the samples that
// were moved replace them; the host is locked.
func (s *Store) clearLane(h *host, l *lane) {
	for len(l.segments) > 0 {
		s.drop(l, l.segments[0])
	}
	for _, sr := range l.columns {
		if sr != nil {
			h.forget(s, sr)
		}
	}
}

// conflicting returns the series that has the column of a place, and the series that belongs there
// but has another column.
func (l *lane) conflicting(ss SeriesState) (series []*Series) {
	for _, sr := range l.columns {
		if sr != nil && (sr.column == ss.Column || sr.metric.Name == ss.Metric && sr.level.device == ss.Device) {
			series = append(series, sr)
		}
	}
	return series
}

// removeSeries removes series and their samples, in memory only; the host is locked.
func (s *Store) removeSeries(h *host, l *lane, series []*Series) {
	for _, sr := range series {
		s.freeSlots(h, l, map[uint32]int64{sr.column: math.MaxInt64})
		h.forget(s, sr)
	}
}

// takeSamples returns the samples of series that move to another column: they had left memory, but not
// the disk, when their columns were given away. The host is locked.
func (r *Restorer) takeSamples(all []*Series) (samples []Sample) {
	var d codec.Decoder
	for _, sr := range all {
		if sr == nil {
			continue
		}
		delete(r.provisional, sr)
		for _, g := range sr.lane.segments {
			values := make([]float64, g.slots)
			if err := g.decode(&d, values, sr.column); err != nil {
				continue
			}
			for i, v := range values {
				if v == v {
					samples = append(samples, Sample{sr, sr.lane.time(g.first+int64(i)) + sr.phase.offset, v})
				}
			}
		}
	}
	return samples
}

// decode fills dst, which is as long as the segment, with the values of a column.
func (g *segment) decode(d *codec.Decoder, dst []float64, column uint32) error {
	if g.sealed == nil {
		g.copyColumn(dst, column, g.first)
		return nil
	}
	if i, ok := g.sealed.Find(column); ok {
		return g.sealed.Decode(d, dst, i, 0)
	}
	for i := range dst {
		dst[i] = math.NaN()
	}
	return nil
}

// storeAgain stores the samples that takeSamples returned.
func (r *Restorer) storeAgain(h *host, samples []Sample) error {
	if len(samples) == 0 {
		return nil
	}
	r.applyHostExtents(h)
	for i := range samples {
		sr, err := r.provisionalSeries(samples[i].Series.Key(), samples[i].Series.lane.frequency)
		if err != nil {
			return err
		}
		samples[i].Series = sr
	}
	_, err := r.write(samples, r.movableSince(h))
	return err
}

// forget removes a series that no segment holds; the host is locked.
func (h *host) forget(s *Store, sr *Series) {
	if !sr.gone.CompareAndSwap(false, true) {
		return
	}
	s.departed.Add(1)
	sr.noSamples()
	sr.lane.removeColumn(sr, s.epoch.Load())
	at := sr.level
	at.series = slices.DeleteFunc(at.series, func(o *Series) bool { return o == sr })
	if len(at.series) == 0 {
		h.devices--
	}
	h.mayBeEmpty = true
	h.countSeries(-1)
	h.account(s)
}
