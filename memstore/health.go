package memstore

// staleFrequencies is the age of a metric's last sample, in frequencies, above which the metric is
// degraded.
const staleFrequencies = 5

// Health says which of some metrics of a host are not healthy.
type Health struct {
	Known    bool     // the host is in the store
	Degraded []string // metrics without a sample in the last five frequencies
	Missing  []string // metrics that no device of the host has
}

// Health checks some metrics of a host. A sample of any device counts.
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
		case now-last > staleFrequencies*s.metrics[name].frequency:
			health.Degraded = append(health.Degraded, name)
		}
	}
	return health
}
