package memstore

import "slices"

// Found is a series that [Store.Find] found: a metric of a device of the host.
type Found struct {
	Device Device
	Metric string
}

// Find appends to dst the series of a host that hold a visible sample within t, ordered by device
// and then as the metrics are configured. keep selects among the metrics; nil keeps all. A metric
// whose frequency has changed is found once for each device. Like an answer, the result depends only
// on visible samples. The error reports a damaged block; a host that does not exist has no series.
func (s *Store) Find(dst []Found, cluster, host string, keep func(metric string) bool, t Span, visible Visibility) ([]Found, error) {
	h := s.host(cluster, host)
	if h == nil {
		return dst, nil
	}
	rd := s.readers.Get().(*reader)
	defer s.readers.Put(rd)
	defer rd.reset()
	rd.visible = visible
	kept := make([]int8, len(s.metrics)) // 1: yes, -1: no, 0: not asked
	var former map[Found]bool            // of metrics whose frequency has changed
	h.mu.RLock()
	defer h.mu.RUnlock()
	for sr := range h.tree.all() {
		m := s.metrics[sr.metric.Name]
		if m == nil || !wanted(kept, m, keep) || !rd.holdsWithin(sr, t) {
			continue
		}
		f := Found{sr.level.device, m.Name}
		if m.former.Load() != nil {
			if former[f] {
				continue
			}
			if former == nil {
				former = make(map[Found]bool)
			}
			former[f] = true
		}
		dst = append(dst, f)
	}
	return dst, rd.err
}

// wanted asks keep once for each metric.
func wanted(kept []int8, m *metric, keep func(string) bool) bool {
	if keep == nil {
		return true
	}
	if kept[m.index] == 0 {
		kept[m.index] = -1
		if keep(m.Name) {
			kept[m.index] = 1
		}
	}
	return kept[m.index] == 1
}

// holdsWithin reports whether a series has a visible sample within t.
func (rd *reader) holdsWithin(sr *Series, t Span) bool {
	if sr.empty() {
		return false
	}
	all := t.From <= minTime && t.To >= -minTime
	if all {
		return rd.holds(sr)
	}
	visible := []Span{{From: minTime, To: -minTime}}
	if rd.visible != nil {
		visible = rd.visible(sr.level.device)
	}
	for _, v := range slices.Backward(visible) {
		v = Span{From: max(v.From, t.From), To: min(v.To, t.To)}
		if v.From >= v.To {
			continue
		}
		older, newer := sr.slots(v)
		if rd.holdsIn(sr, newer) || rd.holdsIn(sr, older) {
			return true
		}
	}
	return false
}
