package memstore

// stale is how many frequencies old a series' last sample may be before the
// series counts as degraded.
const stale = 5

// Health tells of one host which of some metrics are well.
type Health struct {
	Known    bool     // the host is in the store
	Degraded []string // metrics without a sample in the last five frequencies
	Missing  []string // metrics that no device of the host has
}

// Health looks at some metrics of a host, on any of its devices.
func (s *Store) Health(cluster, hostname string, metrics []string) Health {
	h := s.host(cluster, hostname)
	if h == nil {
		return Health{}
	}
	newest := make(map[string]int64)
	h.mu.RLock()
	for sr := range h.tree.all() {
		if !sr.empty() {
			newest[sr.metric.Name] = max(newest[sr.metric.Name], sr.newestTime())
		}
	}
	h.mu.RUnlock()
	now := s.now().UnixMilli()
	health := Health{Known: true}
	for _, name := range metrics {
		last, ok := newest[name]
		switch {
		case !ok:
			health.Missing = append(health.Missing, name)
		case now-last > stale*s.metrics[name].frequency:
			health.Degraded = append(health.Degraded, name)
		}
	}
	return health
}
