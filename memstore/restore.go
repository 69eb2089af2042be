package memstore

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
	"github.com/ringstore/ringstore/memstore/unixtime"
)

// Restorer fills an empty store: first with the states of hosts, then with the records that follow
// them. One goroutine uses it, before anyone else writes to the store.
type Restorer struct {
	// Fetch returns the states with the blocks on disk of a lane and a time range, in Unix
	// milliseconds, newest first. Records may need windows that [Restorer.State] did not get, because
	// they are old or do not fit into memory. nil: there are none. The error says that blocks cannot
	// be read.
	Fetch    func(lane LaneName, begin, end int64) ([]HostState, error)
	fetching bool

	// Spill stores the blocks of [Store.UnstoredBlocks] and commits them. With it, all that records
	// hold is restored even if it does not fit into memory: [Restorer.Relieve] must be called now and
	// then.
	Spill    func() error
	relieved int64 // bytes in memory after a relief that was of little use

	store       *Store
	now         int64
	hosts       map[uint32]*host // by their numbers in records
	displaced   map[column]place // the columns of records that mean another place in the store
	provisional map[*Series]bool // series whose column comes from neither a record nor the recorded state

	unplaced []unplacedBlock // stored after all states

	placed int // series, so far
	gaps   int // unused columns that records have skipped

	Restored
	FetchError error       // of Fetch and its blocks
	Tombstones []Tombstone // of the calls of free in records; the caller may take them
	freeing    *Tombstone  // the one that is being read

	before  SeriesState // the place before the next one of the record
	spacing spacing     // of that place

	columns []uint32 // of the samples of the current run
	values  []float64
	extents map[*lane][]extent // by column

	jobs    chan sealJobs
	sealing sync.WaitGroup
}

// Restored counts what a [Restorer] did.
type Restored struct {
	Blocks     int // blocks that are in the store now
	Old        int // blocks older than the retention that no job needs
	Overlap    int // blocks whose time newer blocks cover
	Moved      int // samples of blocks and records whose series has another place now
	Samples    int // samples of records
	OldSamples int // samples of records that are older than the retention
	Lost       int // samples of records whose series is unknown
	Dropped    int // samples of blocks that could not be stored
}

// column identifies a series as records do.
type column struct {
	host      *host
	frequency int64
	number    uint32
}

// place is where samples of a displaced column belong.
type place struct {
	key    Key
	grid   int64
	offset int64
}

// KeepOnDisk says that the store is kept on disk: only windows that a committed snapshot holds are
// evicted.
func (s *Store) KeepOnDisk() { s.memory.stored.Store(true) }

// Restore starts to restore an empty store. [Restorer.Done] ends it.
func (s *Store) Restore() *Restorer {
	s.restoring.Store(true)
	r := &Restorer{
		store:       s,
		now:         s.now().UnixMilli(),
		hosts:       make(map[uint32]*host),
		displaced:   make(map[column]place),
		provisional: make(map[*Series]bool),
		extents:     make(map[*lane][]extent),
		jobs:        make(chan sealJobs, 8),
	}
	r.sealing.Go(func() {
		for j := range r.jobs {
			s.seal(j.host, j.jobs)
		}
	})
	return r
}

// State adds the blocks of a host as they are. The newest state comes first: its places and windows
// take precedence over those of older states. recorded says that the records follow this state and
// use its numbers of hosts and columns.
//
// Series of metrics that are not configured are kept, but invisible to queries. Those of metrics with
// another frequency are kept at the frequency that they were written with. The error wraps
// [ErrMemory] if the next block does not fit, and nothing of that block is stored then; or it
// reports a damaged block.
func (r *Restorer) State(state HostState, recorded bool) error {
	return r.state(state, recorded, false)
}

// state is State; fetched says that a record needs the windows, however old they are and however
// little memory is left.
func (r *Restorer) state(state HostState, recorded, fetched bool) error {
	s := r.store
	if err := s.checkNames(Key{Cluster: state.Cluster, Host: state.Host}); err != nil {
		return err
	}
	needed := s.needed(state.Cluster, state.Host)
	h := r.host(state.Cluster, state.Host, state.Number, recorded)
	h.setNeeded(needed)
	var errs []error
	for _, ls := range state.Lanes {
		p := laneRestorer{Restorer: r, host: h, state: ls, recorded: recorded, fetched: fetched, oldest: min(r.now-s.retention, needed)}
		if err := p.restore(); err != nil {
			errs = append(errs, fmt.Errorf("%s/%s: %w", state.Cluster, state.Host, err))
		}
	}
	return errors.Join(errs...)
}

// Skip reports that blocks of a state stay on disk because memory is full. The store then refuses
// samples of their time, which would hide those on disk. grid and end are in Unix milliseconds.
func (s *Store) Skip(cluster, hostname string, frequency, grid, end int64) {
	s.mu.Lock()
	h := s.clusters[cluster][hostname]
	if h == nil {
		h = s.addHost(cluster, hostname, s.lastNumber+1)
	}
	s.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.lane(frequency, s.retention)
	if !l.hasGrid {
		l.hasGrid, l.grid = true, grid
	}
	l.evictedBefore = max(l.evictedBefore, unixtime.FloorDiv(end-l.grid+frequency-1, frequency))
}

// Relieve evicts windows if memory is short, and stores them before that if necessary. If that is
// not enough, it seals the open windows.
func (r *Restorer) Relieve() error {
	s := r.store
	if r.Spill == nil || !s.memory.above(evictAbove) || s.memory.used.Load() < r.relieved+r.relieved/16 {
		return nil
	}
	s.evict()
	for _, seal := range []bool{false, true} {
		if !s.memory.above(evictAbove) {
			break
		}
		r.applyAllExtents()
		if seal {
			s.Seal(math.MaxInt64, true)
		}
		if err := r.Spill(); err != nil {
			r.relieved = s.memory.used.Load()
			return err
		}
		s.evict()
	}
	r.relieved = 0
	if s.memory.above(evictAbove) {
		r.relieved = s.memory.used.Load()
	}
	return nil
}

// StatesDone says that all states were added; records follow. The error reports damaged blocks, or
// wraps [ErrMemory].
func (r *Restorer) StatesDone() error { return r.storeUnplaced() }

// Done finishes the restore and removes the series that got no window. It must be called once.
func (r *Restorer) Done() {
	_ = r.storeUnplaced()
	close(r.jobs)
	r.sealing.Wait()
	r.applyAllExtents()
	r.store.restoring.Store(false)
	for _, h := range r.store.allHosts() {
		h.mu.Lock()
		h.shrink(r.store)
		h.mu.Unlock()
		r.store.removeIfEmpty(h)
	}
}

// host returns a host, which it adds if necessary. If recorded, records refer to it by number; the
// host itself gets that number if it is still unused.
func (r *Restorer) host(cluster, name string, number uint32, recorded bool) *host {
	s := r.store
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.clusters[cluster][name]
	if h == nil {
		own := number
		if !recorded || own <= s.lastNumber {
			own = s.lastNumber + 1
		}
		h = s.addHost(cluster, name, own)
	}
	if recorded {
		s.lastNumber = max(s.lastNumber, number) // new hosts must not reuse the number
		r.hosts[number] = h
	}
	return h
}

// laneRestorer restores one lane of a state.
type laneRestorer struct {
	*Restorer
	host     *host
	lane     *lane
	state    LaneState
	recorded bool
	fetched  bool
	oldest   int64
}

func (p *laneRestorer) restore() error {
	p.host.mu.Lock()
	p.lane = p.host.lane(p.state.Frequency, p.store.retention)
	if !p.lane.hasGrid {
		p.lane.hasGrid, p.lane.grid = true, p.state.Grid
	}
	if p.recorded {
		for _, ss := range p.state.Series {
			if p.series(ss) == nil {
				p.displaced[column{p.host, p.state.Frequency, ss.Column}] = place{p.key(ss), p.state.Grid, ss.Offset}
			}
		}
	}
	p.host.mayBeEmpty = true
	p.host.mu.Unlock()
	for _, w := range slices.Backward(p.state.Windows) {
		if err := p.window(w); err != nil {
			return err
		}
	}
	return nil
}

func (p *laneRestorer) key(ss SeriesState) Key {
	return Key{Cluster: p.host.cluster, Host: p.host.name, Metric: ss.Metric, Device: ss.Device}
}

// series returns the series of a place, which it adds if necessary. It returns nil if the series
// cannot have the same column, frequency and grid as in the state. The host is locked.
func (p *laneRestorer) series(ss SeriesState) *Series {
	l := p.lane
	if l.grid != p.state.Grid {
		return nil
	}
	m := p.store.metricAt(ss.Metric, l.frequency)
	if level := p.host.level(ss.Device); level != nil {
		if sr := level.get(m); sr != nil {
			if sr.column != ss.Column {
				return nil
			}
			return sr
		}
	}
	if l.has(ss.Column) {
		return nil
	}
	sr := p.host.addSeries(p.store, m, ss.Device, l, ss.Column)
	p.placed++
	sr.phase = phase{offset: ss.Offset, hasOffset: true}
	if !p.recorded {
		p.provisional[sr] = true
	}
	if p.recorded && ss.First <= ss.Last {
		sr.first, sr.last = ss.First, ss.Last
		l.newest = max(l.newest, ss.Last)
	}
	return sr
}

// window adds a block without its displaced columns, whose samples are stored one by one after all
// states.
func (p *laneRestorer) window(w WindowState) error {
	s, b := p.store, w.Block
	old := b.Grid+(b.First+int64(b.Slots))*b.Frequency < p.oldest
	if old && !(w.Open && s.keep) && !p.fetched {
		p.Old++
		return nil
	}
	if s.Full() && !p.fetched && !(w.Open && s.memory.stored.Load()) {
		return ErrMemory
	}
	displaced, overlap := p.insert(w)
	switch {
	case overlap == covered:
		p.Overlap++
		return nil
	case overlap == partly:
		displaced = p.state.Series
	case len(displaced) < b.Columns():
		p.Blocks++
	}
	if len(displaced) > 0 {
		p.unplaced = append(p.unplaced, unplacedBlock{p.host, b, displaced, p.oldest})
		s.memory.add(int64(len(b.Bytes())))
	}
	return nil
}

// overlap says how much of a block's time the store has already.
type overlap int

const (
	none overlap = iota
	partly
	covered
)

// overlap says how much of the slots [first, end) the segments of a lane cover.
func (l *lane) overlap(first, end int64) overlap {
	all := l.overlapping(first, end)
	if len(all) == 0 {
		return none
	}
	for _, g := range all {
		if g.first > first {
			return partly
		}
		first = g.end()
	}
	if first < end {
		return partly
	}
	return covered
}

// insert makes a segment of a block, and returns the places of its displaced columns.
func (p *laneRestorer) insert(w WindowState) (displaced []SeriesState, over overlap) {
	s, b, l := p.store, w.Block, p.lane
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if b.Grid == l.grid {
		if over = l.overlap(b.First, b.First+int64(b.Slots)); over != none {
			return nil, over
		}
	}
	placed := make(map[uint32]bool, b.Columns())
	for i, k := 0, 0; i < b.Columns(); i++ {
		id := b.ID(i)
		for k < len(p.state.Series) && p.state.Series[k].Column < id {
			k++
		}
		if k == len(p.state.Series) || p.state.Series[k].Column != id {
			continue
		}
		ss := p.state.Series[k]
		if sr := p.series(ss); sr != nil {
			placed[id] = true
			p.extend(sr, ss, b)
		} else {
			displaced = append(displaced, ss)
		}
	}
	kept := b.Without(func(id uint32) bool { return !placed[id] })
	if kept == nil {
		s.freed.put(p.host, freedWindow{b.Frequency, b.Grid, SlotRange{b.First, b.Slots}})
		return displaced, none
	}
	i, _ := l.find(b.First)
	g := &segment{first: b.First, slots: b.Slots, generation: b.Generation, sealed: kept, stored: kept == b && !w.Open}
	l.segments = slices.Insert(l.segments, i, g)
	s.memory.add(g.bytes())
	return displaced, none
}

// extend extends the first and last slot of a series, and the lane, by those of a block.
func (p *laneRestorer) extend(sr *Series, ss SeriesState, b *block.Block) {
	sr.first = min(sr.first, max(ss.First, b.First))
	sr.last = max(sr.last, min(ss.Last, b.First+int64(b.Slots)-1))
	p.lane.newest = max(p.lane.newest, sr.last)
}

// fetch adds the blocks on disk that overlap the window of a slot, if the slot is in no segment.
func (r *Restorer) fetch(h *host, l *lane, slot int64) {
	if r.Fetch == nil || r.fetching {
		return
	}
	h.mu.RLock()
	_, found := l.find(slot)
	first := l.windowOf(slot)
	begin, end := l.time(first), l.time(first+l.window)
	h.mu.RUnlock()
	if found {
		return
	}
	r.fetching = true
	defer func() { r.fetching = false }()
	states, err := r.Fetch(LaneName{h.cluster, h.name, l.frequency}, begin, end)
	for _, state := range states {
		err = errors.Join(err, r.state(state, false, true))
	}
	r.FetchError = errors.Join(r.FetchError, err, r.storeUnplaced())
}

// unplacedBlock is a block with columns that have another place in the store, or whose time other
// segments cover in part.
type unplacedBlock struct {
	host   *host
	block  *block.Block
	series []SeriesState // of those columns
	oldest int64
}

// storeUnplaced stores the samples of unplaced blocks, the newest first, in slots that are empty.
func (r *Restorer) storeUnplaced() error {
	all := r.unplaced
	r.unplaced = nil
	var errs []error
	for _, u := range all {
		errs = append(errs, r.storeBlock(u))
		r.store.memory.add(-int64(len(u.block.Bytes())))
	}
	return errors.Join(errs...)
}

func (r *Restorer) storeBlock(u unplacedBlock) error {
	r.applyHostExtents(u.host)
	var d codec.Decoder
	b := u.block
	values := make([]float64, b.Slots)
	var errs []error
	for _, ss := range u.series {
		i, ok := b.Find(ss.Column)
		if !ok {
			continue
		}
		if err := b.Decode(&d, values, i, 0); err != nil {
			errs = append(errs, err)
			continue
		}
		sr, err := r.provisionalSeries(Key{Cluster: u.host.cluster, Host: u.host.name, Metric: ss.Metric, Device: ss.Device}, b.Frequency)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		batch := sr.missing(values, b.Grid+b.First*b.Frequency+ss.Offset, b.Frequency)
		refused, err := r.write(batch, u.oldest)
		if err != nil {
			errs = append(errs, err)
			r.Dropped += len(batch)
			continue
		}
		r.Moved += len(batch) - len(refused)
		for _, x := range refused {
			if x.Reason != RefusedOld {
				r.Dropped++
			}
		}
	}
	return errors.Join(errs...)
}

// provisionalSeries returns the series of a key at a frequency. A new one gets a provisional column,
// which it loses if a record gives that column to another series.
func (r *Restorer) provisionalSeries(key Key, frequency int64) (*Series, error) {
	s := r.store
	if err := s.ensureMemory(); err != nil {
		return nil, err
	}
	h, err := s.hostOrNew(key.Cluster, key.Host)
	if err != nil {
		return nil, err
	}
	m := s.metricAt(key.Metric, frequency)
	h.mu.Lock()
	defer h.mu.Unlock()
	if level := h.level(key.Device); level != nil {
		if sr := level.get(m); sr != nil {
			return sr, nil
		}
	}
	lane := h.lane(frequency, s.retention)
	sr := h.addSeries(s, m, key.Device, lane, lane.freeColumn(s.epoch.Load()))
	r.provisional[sr] = true
	return sr, nil
}

// write stores samples in windows that may be on disk.
func (r *Restorer) write(batch []Sample, oldest int64) ([]Refusal, error) {
	for _, x := range batch {
		l := x.Series.lane
		l.host.mu.RLock()
		hasGrid, slot := l.hasGrid, l.nearest(x.Time, x.Series.phase.offset)
		l.host.mu.RUnlock()
		if hasGrid && x.Time >= oldest {
			r.fetch(l.host, l, slot)
		}
	}
	return r.store.write(batch, period{oldest, r.now}, nil)
}

// missing returns those values as samples whose slots are empty.
func (sr *Series) missing(values []float64, start, step int64) []Sample {
	l := sr.lane
	l.host.mu.RLock()
	defer l.host.mu.RUnlock()
	var batch []Sample
	var part [1]float64
	var d codec.Decoder
	for i, v := range values {
		if v != v {
			continue
		}
		t := start + int64(i)*step
		if l.hasGrid && sr.phase.hasOffset {
			slot := l.nearest(t, sr.phase.offset)
			if k, ok := l.find(slot); ok && l.segments[k].holdsSlot(&d, part[:], sr.column, slot) {
				continue
			}
		}
		batch = append(batch, Sample{Series: sr, Time: t, Value: v})
	}
	return batch
}

// holdsSlot reports whether a column has a sample in a slot of the segment, or a value that cannot
// be read.
func (g *segment) holdsSlot(d *codec.Decoder, part []float64, column uint32, slot int64) bool {
	if g.sealed == nil {
		g.copyColumn(part, column, slot)
		return isValue(part[0])
	}
	i, ok := g.sealed.Find(column)
	return ok && (g.sealed.Decode(d, part, i, int(slot-g.first)) != nil || isValue(part[0]))
}

// metricAt returns a metric at a frequency (milliseconds), which may be another one than the
// configured.
func (s *Store) metricAt(name string, frequency int64) *metric {
	configured := s.metrics[name]
	if configured != nil && configured.frequency == frequency {
		return configured
	}
	return s.unconfigured.get(name, frequency, len(s.metrics), configured)
}

// unconfigured lists the metrics of restored series that are not configured, or not with this
// frequency.
type unconfigured struct {
	mu  sync.Mutex
	all []*metric
}

// get returns the same metric for the same arguments; known is the number of configured metrics, and
// configured the one of that name, or nil.
func (x *unconfigured) get(name string, frequency int64, known int, configured *metric) *metric {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, m := range x.all {
		if m.Name == name && m.frequency == frequency {
			return m
		}
	}
	m := &metric{
		Metric:    Metric{Name: name, Frequency: time.Duration(frequency) * time.Millisecond},
		index:     known + len(x.all),
		frequency: frequency,
	}
	x.all = append(x.all, m)
	if configured != nil {
		former := append(slices.Clone(configured.formerly()), m)
		configured.former.Store(&former)
	}
	return m
}

// cutWindows deletes slots of columns from a state's windows.
func cutWindows(l *LaneState, before map[uint32]int64) error {
	if len(before) == 0 {
		return nil
	}
	var d codec.Decoder
	var errs []error
	var left []WindowState
	for _, w := range l.Windows {
		b, err := w.Block.Cut(&d, func(id uint32) int64 { return slotBefore(before, id) })
		errs = append(errs, err)
		if b != nil {
			left = append(left, WindowState{b, w.Open})
		}
	}
	l.Windows = left
	return errors.Join(errs...)
}
