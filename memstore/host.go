package memstore

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
)

// host is one host of a cluster: its lanes and its tree of devices, under one
// lock.
type host struct {
	cluster, name string
	number        uint32 // of all hosts that the store ever held, from 1 on

	mu      sync.RWMutex
	gone    bool // out of the store's map
	lanes   []*lane
	tree    level
	devices int       // levels that hold a series
	loose   bool      // a series may hold no sample
	spare   []Series  // room for the next ones
	sealing []sealing // closed segments, for whoever unlocks the host
	needed  int64     // Options.Needed, when it was last asked
	full    bool      // the store was, after the last sample that made the host grow
	untold  bool      // its names have to be said in the next record of a new series
}

// level is a node of a host's tree: the host itself, a device (type and id) or
// a part of either (subtype and id).
type level struct {
	device   Device
	series   []*Series // by metric index
	children map[Device]*level
}

func (s *Store) hostOrNew(cluster, name string) (*host, error) {
	if h := s.host(cluster, name); h != nil {
		return h, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.clusters[cluster][name]; h != nil {
		return h, nil
	}
	if s.books.full() {
		return nil, ErrMemory
	}
	if s.hosts >= s.limits.Hosts {
		return nil, fmt.Errorf("%w: %d hosts", ErrLimit, s.limits.Hosts)
	}
	return s.addHost(cluster, name, s.lastNumber+1), nil
}

// addHost adds a host that is not there; the store is locked.
func (s *Store) addHost(cluster, name string, number uint32) *host {
	h := &host{cluster: cluster, name: name, number: number, needed: NotNeeded, untold: true}
	if s.clusters[cluster] == nil {
		s.clusters[cluster] = make(map[string]*host)
	}
	s.clusters[cluster][name] = h
	s.lastNumber = max(s.lastNumber, number)
	s.hosts++
	s.books.add(hostBytes)
	return h
}

// seriesOrNew returns nil without an error if the host has left the store.
func (h *host) seriesOrNew(s *Store, m *metric, d Device) (*Series, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return nil, nil
	}
	l := h.level(d)
	if l != nil {
		if sr := l.get(m); sr != nil {
			return sr, nil
		}
	}
	if s.books.full() {
		return nil, ErrMemory
	}
	if l == nil || len(l.series) == 0 {
		if most := s.limits.DevicesPerHost; h.devices >= most {
			return nil, fmt.Errorf("%w: %d devices of one host", ErrLimit, most)
		}
	}
	lane := h.lane(m.frequency, s.retention)
	return h.addSeries(s, m, d, lane, lane.freeColumn(s.epoch.Load())), nil
}

// addSeries adds a series that is not there, with a column that nobody has; the
// host is locked.
func (h *host) addSeries(s *Store, m *metric, d Device, lane *lane, column uint32) *Series {
	l := h.level(d)
	if l == nil || len(l.series) == 0 {
		l = h.addLevel(s, d)
		h.devices++
	}
	sr := h.newSeries()
	sr.metric, sr.level, sr.lane, sr.phase.untold = m, l, lane, true
	sr.noSamples()
	h.loose = true
	lane.putColumn(sr, column)
	l.put(sr)
	s.books.add(seriesBytes)
	return sr
}

// seriesAtOnce is how many series are allocated at a time: the garbage collector
// finds its way to one object where there would be as many.
const seriesAtOnce = 32

func (h *host) newSeries() *Series {
	if len(h.spare) == 0 {
		h.spare = make([]Series, seriesAtOnce)
	}
	sr := &h.spare[0]
	h.spare = h.spare[1:]
	return sr
}

// level finds the level of a device, nil if there is none.
func (h *host) level(d Device) *level {
	l := &h.tree
	for _, step := range d.path() {
		if l = l.children[step]; l == nil {
			return nil
		}
	}
	return l
}

func (h *host) addLevel(s *Store, d Device) *level {
	l := &h.tree
	for _, step := range d.path() {
		next := l.children[step]
		if next == nil {
			next = &level{device: step}
			if l.children == nil {
				l.children = make(map[Device]*level)
			}
			l.children[step] = next
			s.books.add(levelBytes)
		}
		l = next
	}
	return l
}

// path returns the devices on the way from the host down to d.
func (d Device) path() []Device {
	outer := Device{Type: d.Type, TypeID: d.TypeID}
	switch {
	case d == Device{}:
		return nil
	case d == outer || outer == Device{}:
		return []Device{d}
	default:
		return []Device{outer, d}
	}
}

func (h *host) setNeeded(since int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.needed = since
}

// oldest returns the moment from which on a host may hold samples of a metric:
// the retention's begin, or that of the oldest window that a job needs.
func (h *host) oldest(m *metric, retained int64) int64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.needed >= retained {
		return retained
	}
	for _, l := range h.lanes {
		if l.frequency == m.frequency && len(l.segments) > 0 {
			return min(retained, max(h.needed, l.time(l.oldest())))
		}
	}
	return retained
}

func (l *level) get(m *metric) *Series {
	i, ok := l.find(m)
	if !ok {
		return nil
	}
	return l.series[i]
}

func (l *level) put(sr *Series) {
	i, _ := l.find(sr.metric)
	l.series = slices.Insert(l.series, i, sr)
}

func (l *level) find(m *metric) (int, bool) {
	return slices.BinarySearchFunc(l.series, m.index, func(sr *Series, index int) int {
		return sr.metric.index - index
	})
}

// all walks the series at and below l, in no order.
func (l *level) all() iter.Seq[*Series] {
	return func(yield func(*Series) bool) { l.walk(yield) }
}

func (l *level) walk(yield func(*Series) bool) bool {
	for _, sr := range l.series {
		if !yield(sr) {
			return false
		}
	}
	for _, c := range l.children {
		if !c.walk(yield) {
			return false
		}
	}
	return true
}

// shrink takes out the series that hold no sample any more, and the levels that
// hold no series; the host is locked.
func (h *host) shrink(s *Store) {
	if h.loose = s.restoring.Load(); h.loose {
		return
	}
	h.devices -= h.tree.prune(s)
	for _, l := range h.lanes {
		l.trim(s.epoch.Load())
	}
}

func (l *level) prune(s *Store) (devices int) {
	had := len(l.series) > 0
	l.series = slices.DeleteFunc(l.series, func(sr *Series) bool {
		if !sr.empty() && sr.last >= sr.lane.oldest() {
			return false
		}
		sr.gone.Store(true)
		sr.lane.removeColumn(sr, s.epoch.Load())
		s.books.add(-seriesBytes)
		return true
	})
	if had && len(l.series) == 0 {
		devices++
	}
	before := len(l.children)
	for d, c := range l.children {
		devices += c.prune(s)
		if len(c.series) == 0 && len(c.children) == 0 {
			delete(l.children, d)
			s.books.add(-levelBytes)
		}
	}
	if len(l.children) < before/2 { // a map does not give back what it has grown to
		l.children = maps.Collect(maps.All(l.children))
	}
	return devices
}

// evictedSince reports whether samples of a time after a moment went for want of
// memory. They may be on disk, where later ones must not hide them: while the
// host is there it refuses these.
func (h *host) evictedSince(moment int64) bool {
	return slices.ContainsFunc(h.lanes, func(l *lane) bool { return l.time(l.edge) > moment })
}

// remove takes a host that holds no series out of the store.
func (s *Store) remove(h *host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone || len(h.tree.series) > 0 || len(h.tree.children) > 0 || h.evictedSince(s.now().UnixMilli()-s.retention) {
		return
	}
	h.gone = true
	hosts := s.clusters[h.cluster]
	delete(hosts, h.name)
	s.hosts--
	s.books.add(-hostBytes)
	if len(hosts) == 0 {
		delete(s.clusters, h.cluster)
	}
}
