package memstore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/binfmt"
	"github.com/ringstore/ringstore/memstore/block"
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
	r.before, r.spacing, r.origin = SeriesState{}, spacing{}, Origin{}
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
		err = r.otherEntry(x, p, *at)
	default:
		return errRecord
	}
	if err = cmp.Or(p.Err(), err); err != nil && !errors.Is(err, ErrMemory) {
		err = fmt.Errorf("%w: %w", errRecord, err)
	}
	return err
}

// otherEntry reads an entry that is neither a sample nor a place.
func (r *Restorer) otherEntry(x uint32, p *parser, at run) error {
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
	case x == otherOrigin:
		if b := p.Take(8, "stream"); p.Err() == nil {
			r.origin = Origin{binary.LittleEndian.Uint64(b), p.Uvarint(0, math.MaxUint64, "sequence")}
		}
	case x == otherWritten && r.origin.Stream != 0:
		r.written(p, at)
	case x == otherNewer && r.origin.Stream != 0:
		if l := at.lane(); l != nil {
			r.store.noteForgotten(l, r.origin)
		}
	default:
		return errRecord
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
	old := l.time(at.slot)+l.frequency/2 < min(r.retained, h.needed)
	if at.slot < l.evictedBefore && r.Fetch == nil || old && !s.keep {
		r.OldSamples += n
		return nil
	}
	if err := s.ensureMemory(nil); err != nil {
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
	s.account(h, g.set(at.slot, widest, len(l.columns), math.NaN(), &s.spare))
	if r.origin.Stream != 0 {
		l.noteAll(s, r.origin, at.slot, r.columns)
	}
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
	refused, err := r.write(batch, r.movableSince(at.host))
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
