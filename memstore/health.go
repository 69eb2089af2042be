package memstore

import "math"

// staleFrequencies is the age of a device's newest slot, in frequencies after the end of the slot,
// above which the metric is degraded, as in cc-metric-store.
const staleFrequencies = 5

// Health says which of some metrics of a host are not healthy.
type Health struct {
	Known    bool     // the host is in the store
	Degraded []string // metrics of which a device has had no sample for about 5.5 frequencies
	Missing  []string // metrics that no device of the host has, or that are not configured
}

// staleTimes are the times, in Unix milliseconds, after which the configured metrics of a host are
// degraded if no sample arrives, by the index of the metric: absent if no device has a sample.
type staleTimes []int64

const absent = math.MaxInt64

// Health checks some metrics of a host. A metric is degraded if any of its devices is.
func (s *Store) Health(cluster, hostname string, metrics []string) Health {
	h := s.host(cluster, hostname)
	if h == nil {
		return Health{}
	}
	now := s.now().UnixMilli()
	stale := s.staleTimes(h, now)
	health := Health{Known: true}
	for _, name := range metrics {
		m := s.metrics[name]
		switch {
		case m == nil || stale[m.index] == absent:
			health.Missing = append(health.Missing, name)
		case now > stale[m.index]:
			health.Degraded = append(health.Degraded, name)
		}
	}
	return health
}

// staleTimes returns the times of the host's configured metrics. While all of them lie in the
// future it returns earlier ones, which lie in the future as well: samples only defer them. Only
// then does the check of a host not visit its series.
func (s *Store) staleTimes(h *host, now int64) staleTimes {
	h.mu.RLock()
	known, first := h.stale, h.firstStale
	h.mu.RUnlock()
	if known != nil && now <= first {
		return known
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	stale := make(staleTimes, len(s.metrics))
	for i := range stale {
		stale[i] = absent
	}
	h.firstStale = absent
	for _, l := range h.lanes {
		for _, sr := range l.columns {
			if sr == nil || sr.empty() {
				continue
			}
			m := sr.metric
			if m.index >= len(stale) {
				if m = s.metrics[m.Name]; m == nil || !sr.alone(m) {
					continue
				}
			}
			at := sr.newestTime() + l.frequency/2 + staleFrequencies*l.frequency
			stale[m.index] = min(stale[m.index], at)
			h.firstStale = min(h.firstStale, at)
		}
	}
	h.stale = stale
	h.account(s)
	return stale
}

// alone reports whether a series of a former frequency is the only one of its metric and device.
func (sr *Series) alone(m *metric) bool {
	now := sr.level.get(m)
	return now == nil || now.empty()
}
