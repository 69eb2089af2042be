package memstore

import (
	"errors"
	"math"
	"sync/atomic"
	"time"
)

// Device is a part of a host: a type and its id (hwthread 3), and optionally a subtype and its id
// below it. The zero Device is the node itself.
type Device struct {
	Type, TypeID       string
	Subtype, SubtypeID string
}

// Key is the path of a series.
type Key struct {
	Cluster, Host, Metric string
	Device                Device
}

// Series is one metric of one device: the target of a [Sample]. It stays usable, though slower,
// after it was removed from the store; [Series.Gone] then tells the caller to look it up again.
//
// It fits in one cache line, because most of the cost of storing a sample is waiting for the cache.
type Series struct {
	metric *metric
	level  *level
	lane   *lane
	gone   atomic.Bool
	column uint32 // in the lane

	// The rest is guarded by the host's lock.
	phase       phase
	first, last int64 // the first and last slot that ever had a sample; last < first: none
}

// empty reports whether the series never had a sample, or lost all samples by [Store.Free].
func (sr *Series) empty() bool { return sr.last < sr.first }

// newestTime returns the time of the newest sample, at the series' phase.
func (sr *Series) newestTime() int64 { return sr.lane.time(sr.last) + sr.phase.offset }

// noSamples makes a series empty.
func (sr *Series) noSamples() { sr.first, sr.last = math.MaxInt64, math.MinInt64 }

// Gone reports whether the series was removed from the store.
func (sr *Series) Gone() bool { return sr.gone.Load() }

// Cluster returns the name of the cluster that the series belongs to.
func (sr *Series) Cluster() string { return sr.lane.host.cluster }

// Key returns the path of the series.
func (sr *Series) Key() Key {
	return Key{Cluster: sr.lane.host.cluster, Host: sr.lane.host.name, Metric: sr.metric.Name, Device: sr.level.device}
}

// Frequency returns the time between two slots.
func (sr *Series) Frequency() time.Duration {
	return time.Duration(sr.lane.frequency) * time.Millisecond
}

// Series returns the series of a key, which it creates if necessary. The error is
// [ErrUnknownMetric], or wraps [ErrName] or [ErrLimit] and says what and where, or is [ErrMemory]
// if a new series would exceed the memory limit.
func (s *Store) Series(k Key) (*Series, error) {
	m := s.metrics[k.Metric]
	if m == nil {
		return nil, ErrUnknownMetric
	}
	if err := checkNewNames(k, s.limits.NameBytes); err != nil {
		return nil, err
	}
	for {
		sr, err := s.seriesOrNew(k, m)
		switch {
		case errors.Is(err, ErrMemory):
			if err := s.ensureMemory(s.cluster(k.Cluster)); err != nil {
				return nil, err
			}
		case err != nil || sr != nil:
			return sr, err
		}
	}
}

// seriesOrNew returns nil and no error if the host was removed from the store meanwhile.
func (s *Store) seriesOrNew(k Key, m *metric) (*Series, error) {
	h, err := s.hostOrNew(k.Cluster, k.Host)
	if err != nil {
		return nil, err
	}
	return h.seriesOrNew(s, m, k.Device)
}

// HasMetric reports whether a metric is configured.
func (s *Store) HasMetric(name string) bool { return s.metrics[name] != nil }
