package memstore

import (
	"math"
	"sync"
)

// Sample is one value of one series at one moment.
type Sample struct {
	Series *Series
	Time   int64 // Unix milliseconds
	Value  float64
}

// Refusal tells of a sample that was not stored.
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
	RefusedLimit  RefusalReason = "a limit of hosts or devices is reached"
)

// Write stores a batch and returns what it did not store, in the order of the
// batch. Of several samples for one slot the last one stays. A host's lock is
// taken once per run of samples of that host.
func (s *Store) Write(batch []Sample) []Refusal {
	var refused []Refusal
	now := s.now().UnixMilli()
	var locked *sync.RWMutex
	for i := range batch {
		sr := batch[i].Series
		if mu := &sr.host.mu; mu != locked {
			if locked != nil {
				locked.Unlock()
			}
			mu.Lock()
			locked = mu
		}
		if sr.Gone() {
			locked.Unlock()
			locked = nil
			if reason := s.writeAgain(batch[i], now); reason != "" {
				refused = append(refused, Refusal{i, reason})
			}
			continue
		}
		if reason := s.store(sr, batch[i].Time, batch[i].Value, now); reason != "" {
			refused = append(refused, Refusal{i, reason})
		}
	}
	if locked != nil {
		locked.Unlock()
	}
	return refused
}

// writeAgain stores a sample whose series left the store after it was looked up.
func (s *Store) writeAgain(x Sample, now int64) RefusalReason {
	for {
		sr, err := s.Series(x.Series.Key())
		if err != nil {
			return RefusedLimit
		}
		sr.host.mu.Lock()
		if sr.Gone() {
			sr.host.mu.Unlock()
			continue
		}
		reason := s.store(sr, x.Time, x.Value, now)
		sr.host.mu.Unlock()
		return reason
	}
}

// store puts one sample into its slot; the host is locked.
func (s *Store) store(sr *Series, t int64, v float64, now int64) RefusalReason {
	switch {
	case t > now+ahead(sr.metric.frequency):
		return RefusedFuture
	case t < now-s.retention:
		return RefusedOld
	case math.IsNaN(v):
		return RefusedValue
	}
	newest := sr.ring.n == 0 || t > sr.lane.time(sr.ring.last())+sr.phase.offset
	slot := sr.phase.place(sr.lane, t, newest)
	if newest && sr.ring.n > 0 {
		sr.ring.dropBefore(sr.lane.nearest(now-s.retention, sr.phase.offset))
	}
	sr.ring.set(slot, v)
	return ""
}

// ahead is how far in the future a sample may lie, in milliseconds.
func ahead(frequency int64) int64 { return 2*frequency + 60_000 }
