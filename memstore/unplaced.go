package memstore

import (
	"errors"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// unplacedBlock is a block with columns that have another place in the store, or whose time other
// segments cover in part.
type unplacedBlock struct {
	host   *host
	block  *block.Block
	series []SeriesState // of those columns
	oldest int64
}

// storeUnplaced stores the samples of unplaced blocks, the newest first, in slots that are empty.
func (r *Restorer) storeUnplaced() error {
	all := r.unplaced
	r.unplaced = nil
	var errs []error
	for _, u := range all {
		errs = append(errs, r.storeBlock(u))
		r.store.memory.add(-int64(len(u.block.Bytes())))
	}
	return errors.Join(errs...)
}

func (r *Restorer) storeBlock(u unplacedBlock) error {
	r.applyHostExtents(u.host)
	var d codec.Decoder
	b := u.block
	values := make([]float64, b.Slots)
	var errs []error
	for _, ss := range u.series {
		i, ok := b.Find(ss.Column)
		if !ok {
			continue
		}
		if err := b.Decode(&d, values, i, 0); err != nil {
			errs = append(errs, err)
			continue
		}
		sr, err := r.provisionalSeries(Key{Cluster: u.host.cluster, Host: u.host.name, Metric: ss.Metric, Device: ss.Device}, b.Frequency)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		batch := sr.missing(values, b.Grid+b.First*b.Frequency+ss.Offset, b.Frequency)
		refused, err := r.write(batch, u.oldest)
		if err != nil {
			errs = append(errs, err)
			r.Dropped += len(batch)
			continue
		}
		r.Moved += len(batch) - len(refused)
		for _, x := range refused {
			if x.Reason != RefusedOld {
				r.Dropped++
			}
		}
	}
	return errors.Join(errs...)
}

// provisionalSeries returns the series of a key at a frequency. A new one gets a provisional column,
// which it loses if a record gives that column to another series.
func (r *Restorer) provisionalSeries(key Key, frequency int64) (*Series, error) {
	s := r.store
	if err := s.ensureMemory(nil); err != nil {
		return nil, err
	}
	h, err := s.hostOrNew(key.Cluster, key.Host)
	if err != nil {
		return nil, err
	}
	m := s.metricAt(key.Metric, frequency)
	h.mu.Lock()
	defer h.mu.Unlock()
	if level := h.level(key.Device); level != nil {
		if sr := level.get(m); sr != nil {
			return sr, nil
		}
	}
	lane := h.lane(frequency, s.retention)
	sr := h.addSeries(s, m, key.Device, lane, lane.freeColumn(s.epoch.Load()))
	r.provisional[sr] = true
	return sr, nil
}

// movableSince returns the time (Unix milliseconds) since which samples of a host are kept when they
// move to another place. The new block replaces the former one on disk: with Options.KeepUnstored it
// has everything that may not be archived yet.
func (r *Restorer) movableSince(h *host) int64 {
	if r.store.keep {
		return minTime
	}
	return min(r.retained, h.needed)
}

// write stores samples in windows that may be on disk.
func (r *Restorer) write(batch []Sample, oldest int64) ([]Refusal, error) {
	for _, x := range batch {
		l := x.Series.lane
		l.host.mu.RLock()
		hasGrid, slot := l.hasGrid, l.nearest(x.Time, x.Series.phase.offset)
		l.host.mu.RUnlock()
		if hasGrid && x.Time >= oldest {
			r.fetch(l.host, l, slot)
		}
	}
	return r.store.write(batch, r.restorable(oldest), nil)
}

// missing returns those values as samples whose slots are empty.
func (sr *Series) missing(values []float64, start, step int64) []Sample {
	l := sr.lane
	l.host.mu.RLock()
	defer l.host.mu.RUnlock()
	var batch []Sample
	var part [1]float64
	var d codec.Decoder
	for i, v := range values {
		if v != v {
			continue
		}
		t := start + int64(i)*step
		if l.hasGrid && sr.phase.hasOffset {
			slot := l.nearest(t, sr.phase.offset)
			if k, ok := l.find(slot); ok && l.segments[k].holdsSlot(&d, part[:], sr.column, slot) {
				continue
			}
		}
		batch = append(batch, Sample{Series: sr, Time: t, Value: v})
	}
	return batch
}

// holdsSlot reports whether a column has a sample in a slot of the segment, or a value that cannot
// be read.
func (g *segment) holdsSlot(d *codec.Decoder, part []float64, column uint32, slot int64) bool {
	if g.sealed == nil {
		g.copyColumn(part, column, slot)
		return isValue(part[0])
	}
	i, ok := g.sealed.Find(column)
	return ok && (g.sealed.Decode(d, part, i, int(slot-g.first)) != nil || isValue(part[0]))
}
