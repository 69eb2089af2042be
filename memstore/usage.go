package memstore

// Usage is what a host holds, or a metric on all hosts.
type Usage struct {
	Cluster string // of a host
	Name    string // of the host or the metric
	Series  int
	Bytes   int64 // of blocks and open windows
}

// Usage returns the usage of each host and each metric, in no particular order. Bytes that the
// series of a host share, such as block directories, count for the host only. It walks all blocks,
// and locks one host at a time.
func (s *Store) Usage() (hosts, metrics []Usage) {
	byMetric := make(map[string]*Usage)
	for _, h := range s.allHosts() {
		hosts = append(hosts, h.usage(byMetric))
	}
	for _, u := range byMetric {
		metrics = append(metrics, *u)
	}
	return hosts, metrics
}

// usage adds the usage of each metric of a host to metrics, and returns the usage of the host.
func (h *host) usage(metrics map[string]*Usage) Usage {
	h.mu.RLock()
	defer h.mu.RUnlock()
	total := Usage{Cluster: h.cluster, Name: h.name}
	of := func(m *metric) *Usage {
		if metrics[m.Name] == nil {
			metrics[m.Name] = &Usage{Name: m.Name}
		}
		return metrics[m.Name]
	}
	for sr := range h.tree.all() {
		total.Series++
		of(sr.metric).Series++
	}
	for _, l := range h.lanes {
		for _, g := range l.segments {
			total.Bytes += g.bytes()
		}
		for column, bytes := range l.columnBytes() {
			if sr := l.columns[column]; sr != nil {
				of(sr.metric).Bytes += bytes
			}
		}
	}
	return total
}

// columnBytes returns the size of each column of a lane in all segments.
func (l *lane) columnBytes() []int64 {
	bytes := make([]int64, len(l.columns))
	rows := make([]int64, len(l.columns)+1) // by their width
	for _, g := range l.segments {
		if b := g.sealed; b != nil {
			for i := range b.Columns() {
				if id := int(b.ID(i)); id < len(bytes) {
					bytes[id] += int64(b.Size(i))
				}
			}
			continue
		}
		for _, row := range g.rows {
			rows[min(len(row), len(l.columns))]++
		}
	}
	wider := int64(0)
	for column := len(bytes) - 1; column >= 0; column-- {
		wider += rows[column+1]
		bytes[column] += 8 * wider
	}
	return bytes
}
