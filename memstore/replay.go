package memstore

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/binfmt"
	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// Columns of lanes that no series has take 12 bytes each, and a few bytes of a
// record can name the last one: so many are allowed, and more where more series are
// known.
const (
	mostGaps      = 1 << 18
	gapsPerSeries = 64
)

// errRecord tells of bytes that no [Record] has.
var errRecord = errors.New("not a record of the store")

// run is where the samples of a record go.
type run struct {
	host      *host // nil: nothing told of it
	frequency int64 // milliseconds
	slot      int64
}

// Record does again what one record tells; they come in their order. The error
// is [ErrMemory], or says that these bytes are no record; what comes before that
// in it is done.
func (r *Restoring) Record(record []byte) error {
	p := parser{Reader: binfmt.NewReader(record, 0)}
	var at run
	for len(p.Rest) > 0 {
		tag := p.tag()
		x, entry := tag>>entryBits, tag&entryMask
		if entry <= entryValue {
			v := p.value(int(entry))
			if x >= block.MaxColumns || p.cut || p.Err() != nil {
				return errors.Join(r.flush(at), errRecord)
			}
			r.columns, r.values = append(r.columns, uint32(x)), append(r.values, v)
			continue
		}
		if err := r.flush(at); err != nil {
			return err
		}
		if x > math.MaxUint32 {
			return errRecord
		}
		if err := r.entry(entry, uint32(x), &p, &at); err != nil {
			return err
		}
	}
	return r.flush(at)
}

func (r *Restoring) entry(entry uint64, x uint32, p *parser, at *run) error {
	var err error
	switch entry {
	case entryRun:
		at.frequency = p.frequency()
		at.slot += p.Varint(math.MinInt64, math.MaxInt64, "slot")
		at.host = r.hosts[x]
	case entrySame:
		at.host = r.hosts[x]
	case entryHost:
		err = r.hostEntry(x, p)
	case entrySeries:
		err = r.series(r.hosts[x], p)
	case entryFree:
		path := make([][]string, 0, min(x, 16))
		for ; x > 0 && p.Err() == nil; x-- {
			path = append(path, p.element())
		}
		if to := p.Varint(math.MinInt64, math.MaxInt64, "time"); p.Err() == nil {
			r.settleAll()
			r.store.Free(path, to)
		}
	default:
		return errRecord
	}
	if err = cmp.Or(p.Err(), err); err != nil && !errors.Is(err, ErrMemory) {
		err = fmt.Errorf("%w: %w", errRecord, err)
	}
	return err
}

func (r *Restoring) hostEntry(number uint32, p *parser) error {
	cluster, name := p.name("cluster"), p.name("host")
	if p.Err() != nil {
		return nil
	}
	if err := r.store.checkNames(Key{Cluster: cluster, Host: name}); err != nil {
		return err
	}
	if err := r.store.makeRoom(); err != nil {
		return err
	}
	r.host(cluster, name, number, true).setNeeded(r.store.needed(cluster, name))
	return nil
}

// series puts a series in the place that a record tells of, and forgets what was
// there before, as it had left the store when the record was made.
func (r *Restoring) series(h *host, p *parser) (err error) {
	ss := SeriesState{Column: uint32(p.Uvarint(0, block.MaxColumns-1, "column")), First: 0, Last: -1}
	frequency := p.frequency()
	grid := int64(p.Uvarint(0, uint64(frequency-1), "grid"))
	ss.Offset = p.Varint(-frequency/2, frequency/2-1, "offset")
	ss.Metric = p.name("metric")
	ss.Device = Device{Type: p.name("type"), TypeID: p.name("type id"), Subtype: p.name("subtype"), SubtypeID: p.name("subtype id")}
	if p.Err() != nil || h == nil {
		return p.Err()
	}
	key := Key{Cluster: h.cluster, Host: h.name, Metric: ss.Metric, Device: ss.Device}
	if err := errors.Join(r.store.checkNames(key), checkMetric(ss.Metric), r.store.makeRoom()); err != nil {
		return err
	}
	var moved []Sample
	defer func() { err = errors.Join(err, r.rewrite(h, moved)) }()
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.lane(frequency, r.store.retention)
	if !l.set {
		l.set, l.grid = true, grid
	}
	if l.grid != grid {
		r.settle(l)
		moved = r.take(l.columns)
		r.store.clear(h, l)
		l.grid = grid
	}
	if gap := int(ss.Column) - len(l.columns); gap > 0 {
		if r.gaps += gap; r.gaps > mostGaps+gapsPerSeries*r.placed {
			return errors.New("too many columns are left out")
		}
	}
	q := placing{Restoring: r, host: h, lane: l, state: LaneState{Frequency: frequency, Grid: grid}, settled: true}
	at := column{h, frequency, ss.Column}
	delete(r.foreign, at)
	sr := q.series(ss)
	if sr == nil {
		r.settle(l)
		there := l.inTheWay(ss)
		moved = append(moved, r.take(there)...)
		r.store.vacate(h, l, there)
		sr = q.series(ss)
	}
	if sr == nil {
		r.foreign[at] = place{key, grid, ss.Offset}
		return nil
	}
	delete(r.guessed, sr)
	sr.phase = phase{offset: ss.Offset, set: true, untold: sr.phase.untold}
	return nil
}

// checkMetric refuses the name of a metric that no configuration has.
func checkMetric(name string) error {
	if err := checkName(name, math.MaxUint16); err != nil {
		return fmt.Errorf("%w: metric %s", ErrName, err)
	}
	return nil
}

// flush stores the samples of a run.
func (r *Restoring) flush(at run) error {
	defer func() { r.columns, r.values = r.columns[:0], r.values[:0] }()
	n := len(r.columns)
	if n == 0 {
		return nil
	}
	s, h, l := r.store, at.host, at.lane()
	if l == nil || !at.possible() {
		r.Lost += n
		return nil
	}
	// A sample lies up to half a slot behind its slot's moment.
	old := l.time(at.slot)+l.frequency/2 < min(r.now-s.retention, h.needed)
	if at.slot < l.edge || old && !s.keep {
		r.OldOnes += n
		return nil
	}
	if err := s.makeRoom(); err != nil {
		return err
	}
	var foreign []told
	kept := 0
	for i, c := range r.columns {
		if l.has(c) && !r.guessed[l.columns[c]] {
			r.columns[kept], r.values[kept] = c, r.values[i]
			kept++
		} else {
			foreign = append(foreign, told{c, r.values[i]})
		}
	}
	r.columns, r.values = r.columns[:kept], r.values[:kept]
	if kept > 0 {
		r.assign(at, l)
	}
	return r.storeForeign(at, foreign)
}

// told is a sample of a run.
type told struct {
	column uint32
	value  float64
}

// assign stores the samples of the run.
func (r *Restoring) assign(at run, l *lane) {
	s, h := r.store, at.host
	g, err := s.lockWritable(h, l, at.slot, r.now)
	if err != nil { // a block that cannot be read
		r.Lost += len(r.columns)
		return
	}
	widest := slices.Max(r.columns)
	s.books.add(g.set(at.slot, widest, len(l.columns), math.NaN(), &s.spare))
	row, e := g.rows[at.slot-g.first], r.extentsOf(l)
	for i, c := range r.columns {
		row[c] = r.values[i]
		e[c] = extent{min(e[c].first, at.slot), max(e[c].last, at.slot)}
	}
	r.Samples += len(r.columns)
	if at.slot > l.newest {
		h.advance(l, at.slot)
	}
	jobs := h.takeSealing()
	h.mu.Unlock()
	if len(jobs) > 0 {
		r.jobs <- sealJobs{h, jobs}
	}
}

// extent is the first and the last slot of a column that samples went to.
type extent struct{ first, last int64 }

var noExtent = extent{math.MaxInt64, math.MinInt64}

// extentsOf returns the extents of a lane's columns. They stand here until they
// are needed: the series lie far from each other in memory.
func (r *Restoring) extentsOf(l *lane) []extent {
	e := r.extents[l]
	if len(e) < len(l.columns) {
		e = slices.Grow(e, len(l.columns)-len(e))
		for len(e) < len(l.columns) {
			e = append(e, noExtent)
		}
		r.extents[l] = e
	}
	return e
}

// settle tells the series of a lane their extents; the host is locked.
func (r *Restoring) settle(l *lane) {
	for c, e := range r.extents[l] {
		if sr := l.columns[c]; sr != nil && e.first <= e.last {
			sr.first, sr.last = min(sr.first, e.first), max(sr.last, e.last)
		}
		r.extents[l][c] = noExtent
	}
}

// settleHost tells the series of a host their extents.
func (r *Restoring) settleHost(h *host) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lanes {
		r.settle(l)
	}
}

func (r *Restoring) settleAll() {
	for _, h := range r.store.allHosts() {
		r.settleHost(h)
	}
}

// sealJobs are closed segments of a host. They are encoded beside the replay.
type sealJobs struct {
	host *host
	jobs []sealing
}

// lockWritable locks a host and returns the open segment for a slot. The error
// tells of a block that cannot be read; then the host is not locked.
func (s *Store) lockWritable(h *host, l *lane, slot, now int64) (*segment, error) {
	for {
		h.mu.Lock()
		g, late := h.writable(s, l, slot, now)
		if late == nil {
			return g, nil
		}
		h.mu.Unlock()
		if err := s.reopen(h, late); err != nil {
			return nil, err
		}
	}
}

// storeForeign stores samples of the run whose columns are not in their lane.
func (r *Restoring) storeForeign(at run, samples []told) error {
	if len(samples) == 0 {
		return nil
	}
	r.settleHost(at.host)
	var batch []Sample
	for _, x := range samples {
		to, ok := r.foreign[column{at.host, at.frequency, x.column}]
		if !ok {
			r.Lost++
			continue
		}
		sr, err := r.guess(to.key)
		if errors.Is(err, ErrMemory) {
			return err
		}
		if err != nil {
			r.Lost++
			continue
		}
		batch = append(batch, Sample{Series: sr, Time: to.grid + at.slot*at.frequency + to.offset, Value: x.value})
	}
	refused, err := r.store.write(batch, period{min(r.now-r.store.retention, at.host.needed), r.now}, nil)
	r.Converted += len(batch) - len(refused)
	return err
}

func (at run) lane() *lane {
	if at.host == nil {
		return nil
	}
	for _, l := range at.host.lanes {
		if l.frequency == at.frequency {
			return l
		}
	}
	return nil
}

// possible reports whether a slot has a time.
func (at run) possible() bool {
	return at.slot > beforeAll/at.frequency && at.slot < -beforeAll/at.frequency
}

// clear forgets all that a lane holds; the host is locked.
func (s *Store) clear(h *host, l *lane) {
	for len(l.segments) > 0 {
		s.freed.add(h, l, l.segments[0])
		s.drop(l, l.segments[0])
	}
	for _, sr := range l.columns {
		if sr != nil {
			h.forget(s, sr)
		}
	}
}

// inTheWay returns who has a place, and who should have it and has another.
func (l *lane) inTheWay(ss SeriesState) (there []*Series) {
	for _, sr := range l.columns {
		if sr != nil && (sr.column == ss.Column || sr.metric.Name == ss.Metric && sr.level.device == ss.Device) {
			there = append(there, sr)
		}
	}
	return there
}

// vacate takes out series and all that they hold; the host is locked.
func (s *Store) vacate(h *host, l *lane, there []*Series) {
	for _, sr := range there {
		s.freeColumns(h, l, map[uint32]*Series{sr.column: sr}, math.MaxInt64)
		h.forget(s, sr)
	}
}

// take returns the samples of those series whose place was guessed, which is
// therefore no reason to forget them; the host is locked.
func (r *Restoring) take(all []*Series) (samples []Sample) {
	var d codec.Decoder
	for _, sr := range all {
		if sr == nil || !r.guessed[sr] {
			continue
		}
		delete(r.guessed, sr)
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

// decode writes the values of a column to dst, which is as long as the segment.
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

// rewrite stores samples again whose series were moved out of the way.
func (r *Restoring) rewrite(h *host, samples []Sample) error {
	if len(samples) == 0 {
		return nil
	}
	r.settleHost(h)
	for i := range samples {
		sr, err := r.guess(samples[i].Series.Key())
		if err != nil {
			return err
		}
		samples[i].Series = sr
	}
	_, err := r.store.write(samples, period{min(r.now-r.store.retention, h.needed), r.now}, nil)
	return err
}

// forget takes out a series that no segment holds; the host is locked.
func (h *host) forget(s *Store, sr *Series) {
	if !sr.gone.CompareAndSwap(false, true) {
		return
	}
	sr.noSamples()
	sr.lane.removeColumn(sr, s.epoch.Load())
	at := sr.level
	at.series = slices.DeleteFunc(at.series, func(o *Series) bool { return o == sr })
	if len(at.series) == 0 {
		h.devices--
	}
	h.loose = true
	s.books.add(-seriesBytes)
}
