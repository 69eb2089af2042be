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

// Unused columns take 12 bytes each, and a few bytes of a record can name a very high column. So
// the number of columns that records skip is limited; the more series there are, the more is
// allowed.
const (
	maxGaps       = 1 << 18
	gapsPerSeries = 64
)

// errRecord reports bytes that no [Record] contains.
var errRecord = errors.New("damaged record")

// run is the host, frequency and slot of consecutive samples of a record.
type run struct {
	host      *host // nil: unknown
	frequency int64 // milliseconds
	slot      int64
}

// Record applies one record. Records must be applied in the order in which they were made. The
// error is
// [ErrMemory] or reports damage; the entries before it are applied.
func (r *Restorer) Record(record []byte) error {
	p := parser{Reader: binfmt.NewReader(record, 0)}
	var at run
	r.before, r.spacing = SeriesState{}, spacing{}
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

func (r *Restorer) entry(entry uint64, x uint32, p *parser, at *run) error {
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
		err = r.seriesEntry(r.hosts[x], p)
	case entryPlace:
		err = r.placeEntry(r.hosts[x], p)
	case entryFree:
		path := make([][]string, 0, min(x, 16))
		for ; x > 0 && p.Err() == nil; x-- {
			path = append(path, p.element())
		}
		if to := p.Varint(math.MinInt64, math.MaxInt64, "time"); p.Err() == nil {
			r.applyAllExtents()
			_, t, _ := r.store.FreeRecord(path, to, 0, func(*Record) error { return nil })
			r.Tombstones = append(r.Tombstones, t)
		}
	case entryOther:
		err = r.otherEntry(x, p)
	default:
		return errRecord
	}
	if err = cmp.Or(p.Err(), err); err != nil && !errors.Is(err, ErrMemory) {
		err = fmt.Errorf("%w: %w", errRecord, err)
	}
	return err
}

// otherEntry reads an entry that is neither a sample nor a place.
func (r *Restorer) otherEntry(x uint32, p *parser) error {
	switch {
	case x == otherAfresh:
		r.before, r.spacing = SeriesState{}, spacing{}
	case x == otherFree:
		c := &Tombstone{Lanes: make(map[LaneName]TombstoneLane)}
		for n := p.Count(1, "elements of a path"); n > 0 && p.Err() == nil; n-- {
			c.Path = append(c.Path, p.element())
		}
		c.To = p.Varint(-maxTime, maxTime, "time")
		c.Run = p.Uvarint(0, math.MaxUint64, "run")
		r.freeing = c
	case x == otherFreeLane && r.freeing != nil:
		r.freeing.readLane(p)
	case x == otherFreeEnd && r.freeing != nil:
		c := r.freeing
		r.freeing = nil
		// Without some of its lanes it would delete too much.
		if lanes := p.Uvarint(0, math.MaxInt32, "freed lanes"); p.Err() == nil && int(lanes) != len(c.Lanes) {
			return fmt.Errorf("a call of free: expected %d lanes, got %d", lanes, len(c.Lanes))
		}
		if p.Err() == nil {
			r.freeAgain(c)
		}
	default:
		return errRecord
	}
	return nil
}

// readLane reads a lane of a call of free.
func (t *Tombstone) readLane(p *parser) {
	name := LaneName{Cluster: p.name("cluster"), Host: p.name("host"), Frequency: p.frequency()}
	l := TombstoneLane{Usual: t.limit() + p.Varint(minTime, -minTime, "freed time")}
	n := p.Count(6, "freed series")
	if n > 0 {
		l.Series = make(map[SeriesName]int64)
	}
	for ; n > 0 && p.Err() == nil; n-- {
		sr := SeriesName{Metric: p.name("metric")}
		sr.Device = Device{Type: p.name("type"), TypeID: p.name("type id"), Subtype: p.name("subtype"), SubtypeID: p.name("subtype id")}
		l.Series[sr] = t.limit() + p.Varint(minTime, -minTime, "freed time")
	}
	if p.Err() == nil {
		t.Lanes[name] = l
	}
}

// freeAgain deletes what a call of free deleted.
func (r *Restorer) freeAgain(c *Tombstone) {
	r.Tombstones = append(r.Tombstones, *c)
	for _, h := range r.store.allHosts() {
		if !c.coversHost(h.cluster, h.name) {
			continue
		}
		h.mu.Lock()
		before := make(map[*lane]map[uint32]int64)
		for _, l := range h.lanes {
			r.applyExtents(l)
			before[l] = make(map[uint32]int64)
		}
		h.tree.visit(c.devices(), func(sr *Series) {
			l := sr.lane
			end := c.end(LaneName{h.cluster, h.name, l.frequency}, SeriesName{sr.metric.Name, sr.level.device})
			before[l][sr.column] = slotAt(l.grid, l.frequency, end)
		})
		for _, l := range h.lanes {
			r.store.freeSlots(h, l, before[l])
		}
		h.shrink(r.store)
		h.mu.Unlock()
		r.store.removeIfEmpty(h)
	}
}

func (r *Restorer) hostEntry(number uint32, p *parser) error {
	cluster, name := p.name("cluster"), p.name("host")
	if p.Err() != nil {
		return nil
	}
	if err := r.store.checkNames(Key{Cluster: cluster, Host: name}); err != nil {
		return err
	}
	if err := r.store.ensureMemory(); err != nil {
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
	if err := errors.Join(r.store.checkNames(key), checkMetric(ss.Metric), r.store.ensureMemory()); err != nil {
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

// checkMetric refuses names that no configured metric can have.
func checkMetric(name string) error {
	if err := checkName(name, math.MaxUint16); err != nil {
		return fmt.Errorf("%w: metric %s", ErrName, err)
	}
	return nil
}

// flush stores the samples of a run.
func (r *Restorer) flush(at run) error {
	defer func() { r.columns, r.values = r.columns[:0], r.values[:0] }()
	n := len(r.columns)
	if n == 0 {
		return nil
	}
	s, h, l := r.store, at.host, at.lane()
	if l == nil || !at.inRange() {
		r.Lost += n
		return nil
	}
	// A sample may be up to half a slot later than its slot.
	old := l.time(at.slot)+l.frequency/2 < min(r.now-s.retention, h.needed)
	if at.slot < l.evictedBefore && r.Fetch == nil || old && !s.keep {
		r.OldSamples += n
		return nil
	}
	if err := s.ensureMemory(); err != nil {
		return err
	}
	var displaced []recordedSample
	kept := 0
	for i, c := range r.columns {
		if l.has(c) && !r.provisional[l.columns[c]] {
			r.columns[kept], r.values[kept] = c, r.values[i]
			kept++
		} else {
			displaced = append(displaced, recordedSample{c, r.values[i]})
		}
	}
	r.columns, r.values = r.columns[:kept], r.values[:kept]
	if kept > 0 {
		r.assign(at, l)
	}
	return r.storeDisplaced(at, displaced)
}

// recordedSample is a sample of a run.
type recordedSample struct {
	column uint32
	value  float64
}

// assign stores the samples of the run.
func (r *Restorer) assign(at run, l *lane) {
	s, h := r.store, at.host
	r.fetch(h, l, at.slot)
	g, err := s.lockWritable(h, l, at.slot, r.now)
	if err != nil { // a damaged block
		r.Lost += len(r.columns)
		return
	}
	widest := slices.Max(r.columns)
	s.memory.add(g.set(at.slot, widest, len(l.columns), math.NaN(), &s.spare))
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

// extent is the range of a column's slots that received samples.
type extent struct{ first, last int64 }

var noExtent = extent{math.MaxInt64, math.MinInt64}

// extentsOf returns the extents of a lane's columns. They are collected here and applied to the
// series later, because the series are far apart in memory.
func (r *Restorer) extentsOf(l *lane) []extent {
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

// applyExtents applies the collected extents to the series of a lane; the host is locked.
func (r *Restorer) applyExtents(l *lane) {
	for c, e := range r.extents[l] {
		if sr := l.columns[c]; sr != nil && e.first <= e.last {
			sr.first, sr.last = min(sr.first, e.first), max(sr.last, e.last)
		}
		r.extents[l][c] = noExtent
	}
}

// applyHostExtents applies the collected extents to the series of a host.
func (r *Restorer) applyHostExtents(h *host) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lanes {
		r.applyExtents(l)
	}
}

func (r *Restorer) applyAllExtents() {
	for _, h := range r.store.allHosts() {
		r.applyHostExtents(h)
	}
}

// sealJobs are closed segments of a host. Another goroutine encodes them during the replay.
type sealJobs struct {
	host *host
	jobs []sealing
}

// lockWritable locks a host and returns the open segment for a slot. The error reports a damaged
// block; then the host is not locked.
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

// storeDisplaced stores the samples of a run whose columns are displaced or unknown.
func (r *Restorer) storeDisplaced(at run, samples []recordedSample) error {
	if len(samples) == 0 {
		return nil
	}
	r.applyHostExtents(at.host)
	var batch []Sample
	for _, x := range samples {
		to, ok := r.displaced[column{at.host, at.frequency, x.column}]
		if !ok {
			r.Lost++
			continue
		}
		sr, err := r.provisionalSeries(to.key, at.frequency)
		if errors.Is(err, ErrMemory) {
			return err
		}
		if err != nil {
			r.Lost++
			continue
		}
		batch = append(batch, Sample{Series: sr, Time: to.grid + at.slot*at.frequency + to.offset, Value: x.value})
	}
	refused, err := r.write(batch, min(r.now-r.store.retention, at.host.needed))
	r.Moved += len(batch) - len(refused)
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

// inRange reports whether the time of the slot does not overflow.
func (at run) inRange() bool {
	return at.slot > minTime/at.frequency && at.slot < -minTime/at.frequency
}

// clearLane deletes everything in a lane; the host is locked.
func (s *Store) clearLane(h *host, l *lane) {
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

// removeSeries removes series and their samples; the host is locked.
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
	_, err := r.write(samples, min(r.now-r.store.retention, h.needed))
	return err
}

// forget removes a series that no segment holds; the host is locked.
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
	h.mayBeEmpty = true
	s.memory.add(-seriesBytes)
}
