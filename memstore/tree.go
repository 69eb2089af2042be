package memstore

import (
	"cmp"
	"slices"

	"github.com/ringstore/ringstore/memstore/unixtime"
)

// Window is a range of slots that a series holds.
type Window struct {
	Start int64 `json:"start"` // Unix seconds of the first slot
	Len   int   `json:"len"`   // slots
	End   int64 `json:"end"`   // Unix seconds after the last slot
}

// Level is a node of the result of [Store.Tree].
type Level struct {
	Metrics  map[string][]Window
	Children map[string]*Level
}

// Tree returns the subtree below a path: a cluster, a host, then devices by the names that
// cc-metric-store uses, type and id as one word ("hwthread0"). An empty path means the whole store.
// The error is [ErrNotFound].
func (s *Store) Tree(path []string) (*Level, error) {
	if len(path) >= 2 {
		h := s.host(path[0], path[1])
		if h == nil {
			return nil, ErrNotFound
		}
		return h.show(path[2:])
	}
	top := &Level{Children: make(map[string]*Level)}
	for _, h := range s.allHosts() {
		if len(path) == 1 && h.cluster != path[0] {
			continue
		}
		shown, err := h.show(nil)
		if err != nil {
			return nil, err
		}
		in := top
		if len(path) == 0 {
			if in = top.Children[h.cluster]; in == nil {
				in = &Level{Children: make(map[string]*Level)}
				top.Children[h.cluster] = in
			}
		}
		in.Children[h.name] = shown
	}
	if len(path) == 1 && len(top.Children) == 0 {
		return nil, ErrNotFound
	}
	return top, nil
}

func (h *host) show(path []string) (*Level, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	l := &h.tree
	for _, name := range path {
		i := slices.IndexFunc(l.children, func(c *level) bool { return c.device.last() == name })
		if i < 0 {
			return nil, ErrNotFound
		}
		l = l.children[i]
	}
	return l.show(), nil
}

func (l *level) show() *Level {
	shown := &Level{Metrics: make(map[string][]Window, len(l.series)), Children: make(map[string]*Level, len(l.children))}
	for _, sr := range l.series {
		if windows := sr.windows(); len(windows) > 0 {
			// A metric whose frequency has changed has several series.
			windows = append(shown.Metrics[sr.metric.Name], windows...)
			slices.SortStableFunc(windows, func(a, b Window) int { return cmp.Compare(a.Start, b.Start) })
			shown.Metrics[sr.metric.Name] = windows
		}
	}
	for _, c := range l.children {
		shown.Children[c.device.last()] = c.show()
	}
	return shown
}

// windows returns the ranges of slots that hold the series, from its first to its last sample.
// Adjacent windows are joined, because their boundaries depend on the host's name and change when
// windows are merged.
func (sr *Series) windows() []Window {
	var windows []Window
	l := sr.lane
	for _, g := range l.segments {
		if !g.holds(sr.column) {
			continue
		}
		first, end := max(g.first, sr.first), min(g.end(), sr.last+1)
		w := Window{
			Start: unixtime.FloorDiv(l.time(first)+sr.phase.offset, 1000),
			Len:   int(end - first),
			End:   unixtime.FloorDiv(l.time(end)+sr.phase.offset, 1000),
		}
		if n := len(windows); n > 0 && windows[n-1].End == w.Start {
			windows[n-1].Len, windows[n-1].End = windows[n-1].Len+w.Len, w.End
			continue
		}
		windows = append(windows, w)
	}
	return windows
}

// compare orders devices by type and subtype, and their ids in numeric order.
func (d Device) compare(o Device) int {
	return cmp.Or(
		cmp.Compare(d.Type, o.Type),
		cmp.Compare(len(d.TypeID), len(o.TypeID)), cmp.Compare(d.TypeID, o.TypeID),
		cmp.Compare(d.Subtype, o.Subtype),
		cmp.Compare(len(d.SubtypeID), len(o.SubtypeID)), cmp.Compare(d.SubtypeID, o.SubtypeID),
	)
}

// last returns cc-metric-store's name of the innermost part of a device.
func (d Device) last() string {
	if d.Subtype != "" || d.SubtypeID != "" {
		return d.Subtype + d.SubtypeID
	}
	return d.Type + d.TypeID
}

// String returns a readable name: "hwthread 3", "network eth0", "node".
func (d Device) String() string {
	name := "node"
	if d.Type != "" {
		name = d.Type + " " + d.TypeID
	}
	if d.Subtype != "" || d.SubtypeID != "" {
		name += " " + d.Subtype + " " + d.SubtypeID
	}
	return name
}
