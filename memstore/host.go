package memstore

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
)

// host is one host of a cluster: its lanes and its tree of devices. mu guards all fields but the
// names, the number and the stripe.
type host struct {
	cluster, name string
	number        uint32 // of all hosts that the store ever held, starting at 1
	stripe        uint16 // of the store's, the same for all hosts of this name

	mu         sync.RWMutex
	gone       bool // removed from the store's map
	lanes      []*lane
	tree       level
	devices    int       // levels that hold a series
	mayBeEmpty bool      // a series may hold no sample
	spare      []Series  // allocated, for the next new series
	sealing    []sealing // closed segments, to be sealed after the host is unlocked
	needed     int64     // the last answer of Options.Needed
	memoryFull bool      // the last sample that made the host grow exceeded the limit
	logged     era       // of the last stored record that contains the host's names

	whole wholeSets

	stale      staleTimes // as of the last check of the host's health; nil: a series has begun or ended
	firstStale int64      // the earliest of them
}

// level is a node of a host's tree: the host itself, a device (type and id) or a part of either
// (subtype and id).
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
	if s.memory.full() {
		return nil, ErrMemory
	}
	if s.hosts >= s.limits.Hosts {
		return nil, fmt.Errorf("%w: %d hosts", ErrLimit, s.limits.Hosts)
	}
	return s.addHost(cluster, name, s.lastNumber+1), nil
}

// addHost adds a new host; the store is locked.
func (s *Store) addHost(cluster, name string, number uint32) *host {
	h := &host{cluster: cluster, name: name, number: number, needed: NotNeeded}
	h.stripe = uint16(h.hash() % stripeCount)
	if s.clusters[cluster] == nil {
		s.clusters[cluster] = make(map[string]*host)
	}
	s.clusters[cluster][name] = h
	s.lastNumber = max(s.lastNumber, number)
	s.hosts++
	s.memory.add(hostBytes)
	return h
}

// seriesOrNew returns nil and no error if the host was removed from the store.
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
	if s.memory.full() {
		return nil, ErrMemory
	}
	if l == nil || len(l.series) == 0 {
		if limit := s.limits.DevicesPerHost; h.devices >= limit {
			return nil, fmt.Errorf("%w: %d devices of one host", ErrLimit, limit)
		}
	}
	lane := h.lane(m.frequency, s.retention)
	return h.addSeries(s, m, d, lane, lane.freeColumn(s.epoch.Load())), nil
}

// addSeries adds a new series with an unused column; the host is locked.
func (h *host) addSeries(s *Store, m *metric, d Device, lane *lane, column uint32) *Series {
	l := h.level(d)
	if l == nil || len(l.series) == 0 {
		l = h.addLevel(s, d)
		h.devices++
	}
	sr := h.newSeries()
	sr.metric, sr.level, sr.lane = m, l, lane
	sr.noSamples()
	h.mayBeEmpty = true
	lane.putColumn(sr, column)
	h.seriesChanged(s)
	l.put(sr)
	s.memory.add(seriesBytes)
	return sr
}

// seriesAtOnce is how many series are allocated at a time, so that the garbage collector visits one
// object instead of many.
const seriesAtOnce = 32

func (h *host) newSeries() *Series {
	if len(h.spare) == 0 {
		h.spare = make([]Series, seriesAtOnce)
	}
	sr := &h.spare[0]
	h.spare = h.spare[1:]
	return sr
}

// level returns the level of a device, or nil.
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
			s.memory.add(levelBytes)
		}
		l = next
	}
	return l
}

// path returns the devices from the host down to d.
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

// oldest returns the time of the oldest sample of a metric that a host may hold: the start of the
// retention, or of the oldest window that a running job needs.
func (h *host) oldest(m *metric, retained int64) int64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.needed >= retained {
		return retained
	}
	oldest := retained
	for _, l := range h.lanes {
		if m.hadFrequency(l.frequency) && len(l.segments) > 0 {
			oldest = min(oldest, max(h.needed, l.time(l.oldest())))
		}
	}
	return oldest
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

// seriesChanged drops what the host remembers about all of its series, after one has begun or ended;
// the host is locked.
func (h *host) seriesChanged(s *Store) {
	h.stale = nil
	h.whole.drop()
	for _, l := range h.lanes {
		l.sets, l.levels, l.hasSets = nil, nil, false
		l.learned.forget(s)
	}
}

// all iterates over the series at and below l, in no particular order.
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

// shrink removes the series without samples and the levels without series; the host is locked.
func (h *host) shrink(s *Store) {
	defer h.seriesChanged(s)
	if h.mayBeEmpty = s.restoring.Load(); h.mayBeEmpty {
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
		s.memory.add(-seriesBytes)
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
			s.memory.add(-levelBytes)
		}
	}
	if len(l.children) < before/2 { // a map never shrinks
		l.children = maps.Collect(maps.All(l.children))
	}
	return devices
}

// evictedSince reports whether samples later than t were evicted. They may still be on disk, and
// newer samples of the same time must not hide them: the host refuses such samples as long as it
// stays in the store.
func (h *host) evictedSince(t int64) bool {
	return slices.ContainsFunc(h.lanes, func(l *lane) bool { return l.time(l.evictedBefore) > t })
}

// remove removes a host from the store if it holds no series.
func (s *Store) remove(h *host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone || len(h.tree.series) > 0 || len(h.tree.children) > 0 || h.evictedSince(s.RetainedSince()) {
		return
	}
	for _, l := range h.lanes {
		s.SkipExpired(l.time(l.evictedBefore))
	}
	h.gone = true
	hosts := s.clusters[h.cluster]
	delete(hosts, h.name)
	s.hosts--
	s.memory.add(-hostBytes)
	if len(hosts) == 0 {
		delete(s.clusters, h.cluster)
	}
}
