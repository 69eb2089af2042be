package memstore

import (
	"errors"
	"math"

	"github.com/ringstore/ringstore/memstore/codec"
)

// Sample is one value of one series at one time.
type Sample struct {
	Series *Series
	Time   int64 // Unix milliseconds
	Value  float64
}

// Refusal reports a sample that was not stored.
type Refusal struct {
	Index  int // in the batch
	Reason RefusalReason
}

// RefusalReason is why a sample was not stored. Its text is for clients.
type RefusalReason string

// The reasons of [Store.Write].
const (
	RefusedFuture RefusalReason = "the timestamp is too far in the future"
	RefusedOld    RefusalReason = "the timestamp is older than the retention"
	RefusedValue  RefusalReason = "the value is not a number"
	RefusedLimit  RefusalReason = "the limit of hosts or devices is reached"

	RefusedEvicted    RefusalReason = "the timestamp is older than the samples that fit in memory"
	RefusedHeld       RefusalReason = "the store holds another value of that time"
	RefusedUnreadable RefusalReason = "the stored samples of that time are damaged"
)

// Write stores a batch and returns the refused samples, in the order of the batch. Of several
// samples for one slot the last one counts. Consecutive samples of one host share one acquisition
// of its lock; completed windows are sealed after it is released. The error is [ErrMemory]: then a
// prefix of the batch was stored, possibly nothing.
func (s *Store) Write(batch []Sample) ([]Refusal, error) {
	return s.write(batch, s.acceptable(), nil)
}

// WriteRecord is like [Store.Write] and makes r the record of the stored samples, also of those
// stored before an error. Then it calls add, unless the record is empty. Of two batches for a host, the one whose
// samples are stored first is added first.
func (s *Store) WriteRecord(batch []Sample, r *Record, add func(*Record) error) ([]Refusal, error) {
	if r.era == 0 {
		r.era = eraOf(0)
	}
	set := stripesOf(batch)
	s.stripes.lock(&set)
	defer s.stripes.unlock(&set)
	refused, err := s.write(batch, s.acceptable(), r)
	if len(r.bytes) > 0 {
		err = errors.Join(err, add(r))
	}
	return refused, err
}

func (s *Store) write(batch []Sample, p period, r *Record) ([]Refusal, error) {
	held := int64(sampleBytes * len(batch))
	s.memory.add(held)
	defer s.memory.add(-held)
	var refused []Refusal
	for done := 0; done < len(batch); {
		h := batch[done].Series.lane.host
		if err := s.ensureMemory(h.owner); err != nil {
			return nil, err
		}
		run := done
		h.mu.Lock()
		var c cursor
		var late *reopening
		for h.memoryFull = false; run < len(batch); run++ {
			x := &batch[run]
			if c.store(x, r) {
				continue
			}
			if x.Series.lane.host != h || x.Series.Gone() || h.memoryFull {
				break
			}
			var reason RefusalReason
			if reason, late = s.store(h, *x, p, r, &c); late != nil {
				break
			}
			if reason != "" {
				refused = append(refused, Refusal{run, reason})
			}
		}
		jobs := h.takeSealing()
		h.mu.Unlock()
		s.seal(h, jobs)
		switch {
		case late != nil: // the next pass stores the sample, in the reopened window
			if err := s.reopen(h, late); err != nil {
				refused = append(refused, Refusal{run, RefusedUnreadable})
				run++
			}
		case run == done: // the series was removed from the store
			reason, err := s.writeAgain(&batch[run], p, r)
			if err != nil {
				return nil, err
			}
			if reason != "" {
				refused = append(refused, Refusal{run, reason})
			}
			run++
		}
		done = run
	}
	return refused, nil
}

// writeAgain stores a sample whose series was removed from the store after its lookup, and sets its
// series to the present one.
func (s *Store) writeAgain(x *Sample, p period, r *Record) (RefusalReason, error) {
	for {
		sr, err := s.Series(x.Series.Key())
		switch {
		case errors.Is(err, ErrMemory):
			return "", err
		case err != nil:
			return RefusedLimit, nil
		}
		x.Series = sr
		h := sr.lane.host
		h.mu.Lock()
		if sr.Gone() {
			h.mu.Unlock()
			continue
		}
		reason, late := s.store(h, *x, p, r, new(cursor))
		jobs := h.takeSealing()
		h.mu.Unlock()
		s.seal(h, jobs)
		if late == nil {
			return reason, nil
		}
		if err := s.reopen(h, late); err != nil {
			return RefusedUnreadable, nil
		}
	}
}

// store stores and records one sample, and sets c for the samples that follow; the host is locked.
// If the slot lies in a block, store changes nothing and returns the reopening that must come
// first.
func (s *Store) store(h *host, x Sample, p period, r *Record, c *cursor) (RefusalReason, *reopening) {
	*c = cursor{}
	sr := x.Series
	l := sr.lane
	if reason := p.refuses(x.Time, x.Value, l.frequency); reason != "" {
		return reason, nil
	}
	if x.Time < h.skipped && !s.restoring.Load() {
		return RefusedEvicted, nil
	}
	newest := sr.empty() || x.Time > sr.newestTime()
	before := sr.phase
	slot := sr.phase.place(l, x.Time, newest)
	if slot < l.evictedBefore && !s.restoring.Load() {
		sr.phase = before
		return RefusedEvicted, nil
	}
	if held, ok := p.held.at(slot); ok {
		sr.phase = before
		if math.Float64bits(held) == math.Float64bits(sr.metric.round(x.Value)) {
			return "", nil
		}
		return RefusedHeld, nil
	}
	g, late := h.writable(s, l, slot, p.now)
	if late != nil {
		sr.phase = before // store is called again for this sample
		return "", late
	}
	if sr.phase.offset != before.offset {
		sr.phase.logged = 0
	}
	var noted *history
	if r != nil && r.origin.Stream != 0 {
		if g.hasSample(slot, sr.column) && l.history.supersedes(&s.settled, r.origin, slot, sr.column) {
			sr.phase = before
			return "", nil
		}
		noted = l.note(s, r.origin, slot, sr.column)
	}
	v := sr.metric.round(x.Value)
	s.assign(g, sr, slot, v)
	if r != nil {
		r.begin(sr, slot)
		r.sample(sr.column, v)
	}
	if newest && sr.phase.steady() && g.open() {
		*c = cursor{lane: l, time: x.Time, offset: sr.phase.offset, slot: slot, row: g.rows[slot-g.first], noted: noted}
	}
	return "", nil
}

// assign stores a value in a slot of an open segment that covers it; the host is locked.
func (s *Store) assign(g *segment, sr *Series, slot int64, v float64) {
	h, l := sr.lane.host, sr.lane
	if grown := g.set(slot, sr.column, len(l.columns), v, &s.spare); grown != 0 {
		s.account(h, grown)
		h.memoryFull = s.full(h.owner)
	}
	if sr.empty() {
		h.seriesChanged(s)
		h.account(s)
	}
	sr.first, sr.last = min(sr.first, slot), max(sr.last, slot)
	if slot > l.newest {
		h.advance(l, slot)
	}
}

// cursor remembers the row of the previous sample: a collector sends all series of a host with the
// same time, and those with the same phase belong to the same row.
type cursor struct {
	lane         *lane
	time, offset int64
	slot         int64
	row          []float64
	noted        *history // nil unless the samples come from a stream
}

// store stores a sample in the row if it belongs there and is the newest of its series. Otherwise
// it returns false and changes nothing.
func (c *cursor) store(x *Sample, r *Record) bool {
	sr := x.Series
	if x.Time != c.time || sr.lane != c.lane || sr.Gone() || sr.phase.offset != c.offset || sr.last >= c.slot ||
		sr.last < sr.first || !sr.phase.steady() || int(sr.column) >= len(c.row) || x.Value != x.Value {
		return false
	}
	v := sr.metric.round(x.Value)
	if r != nil {
		if sr.phase.logged != r.era {
			return false
		}
		r.sample(sr.column, v)
	}
	if c.noted != nil {
		c.noted.columns = append(c.noted.columns, sr.column)
	}
	c.row[sr.column] = v
	sr.last = c.slot
	return true
}

// round rounds a value to the metric's precision.
func (m *metric) round(v float64) float64 {
	if m.Precision == 0 {
		return v
	}
	return codec.Round(v, m.Precision)
}

// refuses returns why no series of a frequency takes a sample, or "".
func (p period) refuses(t int64, v float64, frequency int64) RefusalReason {
	switch {
	case t > p.latest+ahead(frequency):
		return RefusedFuture
	case t < p.oldest:
		return RefusedOld
	case v != v:
		return RefusedValue
	}
	return ""
}

// Refuses returns why [Store.Write] would refuse a sample of any series of a metric, or "". A caller
// asks before it creates a series for the sample. The time is in Unix milliseconds.
func (s *Store) Refuses(metric string, t int64, v float64) RefusalReason {
	m := s.metrics[metric]
	if m == nil {
		return ""
	}
	return s.acceptable().refuses(t, v, m.frequency)
}

// ahead is how far in the future a sample may lie, in milliseconds.
func ahead(frequency int64) int64 { return 2*frequency + 60_000 }
