package memstore

// Forget reports that no file holds the blocks of a lane in a time range (Unix milliseconds) any
// more: the next snapshot contains those in memory again, and until it is committed they are not
// evicted. It returns whether there are any in memory.
func (s *Store) Forget(lane LaneName, begin, end int64) (held bool) {
	h := s.host(lane.Cluster, lane.Host)
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lanes {
		if l.frequency != lane.Frequency {
			continue
		}
		for _, g := range l.segments {
			if l.time(g.first) < end && begin < l.time(g.end()) {
				g.stored, held = false, true
			}
		}
	}
	return held
}
