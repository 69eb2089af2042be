package memstore

import (
	"slices"
	"sync"
	"time"
)

// metricAt returns a metric at a frequency (milliseconds), which may be another one than the
// configured.
func (s *Store) metricAt(name string, frequency int64) *metric {
	configured := s.metrics[name]
	if configured != nil && configured.frequency == frequency {
		return configured
	}
	return s.unconfigured.get(name, frequency, len(s.metrics), configured)
}

// unconfigured lists the metrics of restored series that are not configured, or not with this
// frequency.
type unconfigured struct {
	mu  sync.Mutex
	all []*metric
}

// get returns the same metric for the same arguments; known is the number of configured metrics, and
// configured the one of that name, or nil.
func (x *unconfigured) get(name string, frequency int64, known int, configured *metric) *metric {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, m := range x.all {
		if m.Name == name && m.frequency == frequency {
			return m
		}
	}
	m := &metric{
		Metric:    Metric{Name: name, Frequency: time.Duration(frequency) * time.Millisecond},
		index:     known + len(x.all),
		frequency: frequency,
	}
	x.all = append(x.all, m)
	if configured != nil {
		former := append(slices.Clone(configured.formerly()), m)
		configured.former.Store(&former)
	}
	return m
}
