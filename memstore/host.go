package memstore

import (
	"fmt"
	"iter"
	"slices"
	"sync"
)

// host is one host of a cluster: its lanes and its tree of devices. mu guards all fields but the
// names, the number and the stripe.
type host struct {
	cluster, name string
	number        uint32 // of all hosts that the store ever held, starting at 1
	stripe        uint16 // of the store's, the same for all hosts of this name
	owner         *cluster

	mu         sync.RWMutex
	gone       bool // removed from the store's map
	lanes      []*lane
	tree       level
	devices    int       // levels that hold a series
	mayBeEmpty bool      // a series may hold no sample
	series     int       // that are not gone
	allocated  int       // series, with spare and those that are gone
	spare      []Series  // allocated, for the next new series
	levelBytes int64     // of the tree, without series
	accounted  int64     // what account has added
	sealing    []sealing // closed segments, to be sealed after the host is unlocked
	needed     int64     // the last answer of Options.Needed
	skipped    int64     // the time before which samples may be on disk only, see [Store.SkipCluster]
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
	children []*level  // in the order of their devices
}

func (s *Store) hostOrNew(cluster, name string) (*host, error) {
	if h := s.host(cluster, name); h != nil {
		return h, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.clusters[cluster].all()[name]; h != nil {
		return h, nil
	}
	if s.full(s.clusters[cluster]) {
		return nil, ErrMemory
	}
	if err := s.checkHosts(cluster); err != nil {
		return nil, err
	}
	return s.addHost(cluster, name, s.lastNumber+1), nil
}

// addHost adds a new host; the store is locked.
func (s *Store) addHost(cluster, name string, number uint32) *host {
	c := s.clusterOrNew(cluster)
	h := &host{cluster: c.name, name: name, number: number, owner: c, needed: NotNeeded, skipped: minTime}
	if end, ok := s.skipped[cluster]; ok {
		h.skipped = end
	}
	h.stripe = uint16(h.hash() % stripeCount)
	c.hosts[name] = h
	c.peak = max(c.peak, len(c.hosts))
	s.lastNumber = max(s.lastNumber, number)
	s.hosts++
	h.account(s)
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
	if s.full(h.owner) {
		return nil, ErrMemory
	}
	if err := s.checkSeries(h.owner); err != nil {
		return nil, err
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
		l = h.addLevel(d)
		h.devices++
	}
	sr := h.newSeries()
	sr.metric, sr.level, sr.lane = m, l, lane
	sr.noSamples()
	h.mayBeEmpty = true
	lane.putColumn(sr, column)
	h.seriesChanged(s)
	h.levelBytes += l.put(sr)
	h.account(s)
	return sr
}

// seriesAtOnce is how many series are allocated at a time at most, so that the garbage collector
// visits one object instead of many.
const seriesAtOnce = 32

func (h *host) newSeries() *Series {
	if len(h.spare) == 0 {
		n := min(max(h.series, 1), seriesAtOnce)
		h.spare = make([]Series, n)
		h.allocated += n
	}
	sr := &h.spare[0]
	h.spare = h.spare[1:]
	h.countSeries(1)
	return sr
}

// countSeries adds to the number of series that are not gone; the host is locked.
func (h *host) countSeries(n int) {
	h.series += n
	h.owner.series.Add(int64(n))
}

// repack moves the series to new memory if more than a few of those that are gone still take some:
// one that stays keeps seriesAtOnce of them and their levels alive. The host is locked.
func (h *host) repack(s *Store) {
	if gone := h.allocated - len(h.spare) - h.series; gone <= h.series/8+seriesAtOnce {
		return
	}
	h.spare = make([]Series, h.series)
	h.allocated = h.series
	for _, l := range h.lanes {
		for i, sr := range l.columns {
			if sr == nil {
				continue
			}
			moved := &h.spare[0]
			h.spare = h.spare[1:]
			moved.metric, moved.level, moved.lane, moved.column = sr.metric, sr.level, sr.lane, sr.column
			moved.phase, moved.first, moved.last = sr.phase, sr.first, sr.last
			l.columns[i] = moved
			at, _ := sr.level.find(sr.metric)
			sr.level.series[at] = moved
			sr.gone.Store(true) // those who hold it look it up again
			s.departed.Add(1)
		}
	}
}

// moved returns the series itself, or what repack replaced it by; nil if it was removed. The host is
// locked.
func (sr *Series) moved() *Series {
	if !sr.Gone() {
		return sr
	}
	l := sr.lane
	if now := l.columns; l.has(sr.column) && now[sr.column].metric == sr.metric && now[sr.column].level == sr.level {
		return now[sr.column]
	}
	return nil
}

// account updates the memory accounting of the host without its segments; the host is locked, or
// nobody else knows it.
func (h *host) account(s *Store) {
	n := h.bytes()
	if n != h.accounted {
		s.account(h, n-h.accounted)
		h.accounted = n
	}
}

// bytes returns the memory of the host without its segments.
func (h *host) bytes() int64 {
	n := hostBytes + allocated(int64(len(h.name))) + 8*int64(cap(h.stale)) + seriesBytes*int64(h.allocated) + aggregateBytes*int64(h.series) + h.levelBytes
	for _, l := range h.lanes {
		n += l.bytes()
	}
	return n
}

// level returns the level of a device, or nil.
func (h *host) level(d Device) *level {
	l := &h.tree
	for _, step := range d.path() {
		if l = l.child(step); l == nil {
			return nil
		}
	}
	return l
}

func (h *host) addLevel(d Device) *level {
	l := &h.tree
	for _, step := range d.path() {
		i, found := l.findChild(step)
		if found {
			l = l.children[i]
			continue
		}
		next := &level{device: step}
		before := l.sliceBytes()
		l.children = slices.Insert(l.children, i, next)
		h.levelBytes += next.bytes() + l.sliceBytes() - before
		l = next
	}
	return l
}

// child returns the level of a device directly below l, or nil.
func (l *level) child(d Device) *level {
	if i, found := l.findChild(d); found {
		return l.children[i]
	}
	return nil
}

// findChild returns the index of the level of a device directly below l, or where to insert it.
func (l *level) findChild(d Device) (int, bool) {
	return slices.BinarySearchFunc(l.children, d, func(c *level, d Device) int { return c.device.compare(d) })
}

// bytes returns the memory of the level without its series and children.
func (l *level) bytes() int64 {
	n := int64(levelBytes)
	for _, name := range [...]string{l.device.Type, l.device.TypeID, l.device.Subtype, l.device.SubtypeID} {
		n += allocated(int64(len(name)))
	}
	return n
}

// sliceBytes returns the memory of the slices of series and children.
func (l *level) sliceBytes() int64 { return 8 * int64(cap(l.series)+cap(l.children)) }

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
// retention, or of the oldest window that a running job needs, as far as it is visible.
func (h *host) oldest(m *metric, retained int64, visible Visibility) int64 {
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
	if visible == nil || oldest == retained {
		return oldest
	}
	seen := oldestVisible(Device{}, oldest, retained, visible)
	for _, c := range h.tree.children {
		seen = min(seen, oldestVisible(c.device, oldest, retained, visible))
	}
	return seen
}

// oldestVisible returns the earliest time from oldest to retained at which a device is visible, or
// retained.
func oldestVisible(d Device, oldest, retained int64, visible Visibility) int64 {
	for _, s := range visible(d) {
		if s.To > oldest && s.From < retained {
			return max(oldest, s.From)
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

// put adds a series, and returns by how many bytes the level grew.
func (l *level) put(sr *Series) (grown int64) {
	before := l.sliceBytes()
	i, _ := l.find(sr.metric)
	l.series = slices.Insert(l.series, i, sr)
	return l.sliceBytes() - before
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
	s.account(h, -h.whole.drop())
	for _, l := range h.lanes {
		l.sets, l.levels, l.hasSets = nil, nil, false
		l.forget(s)
	}
}

// all iterates over the series at and below l, by device.
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
	defer h.account(s)
	defer h.seriesChanged(s)
	if h.mayBeEmpty = s.restoring.Load(); h.mayBeEmpty {
		return
	}
	h.devices -= h.prune(s, &h.tree)
	for _, l := range h.lanes {
		l.trim(s.epoch.Load())
	}
	h.repack(s)
}

// prune removes what shrink removes at and below a level, and returns how many levels lost all of
// their series.
func (h *host) prune(s *Store, l *level) (devices int) {
	had := len(l.series) > 0
	l.series = slices.DeleteFunc(l.series, func(sr *Series) bool {
		if !sr.empty() && sr.last >= sr.lane.oldest() {
			return false
		}
		sr.gone.Store(true)
		s.departed.Add(1)
		sr.lane.removeColumn(sr, s.epoch.Load())
		h.countSeries(-1)
		return true
	})
	if had && len(l.series) == 0 {
		devices++
	}
	l.children = slices.DeleteFunc(l.children, func(c *level) bool {
		devices += h.prune(s, c)
		if len(c.series)+len(c.children) > 0 {
			return false
		}
		h.levelBytes -= c.bytes() + c.sliceBytes()
		return true
	})
	if n := len(l.children); n < cap(l.children)/2 {
		before := l.sliceBytes()
		l.children = slices.Clip(slices.Clone(l.children))
		h.levelBytes += l.sliceBytes() - before
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
	s.account(h, -h.accounted)
	s.removeHost(h)
}
