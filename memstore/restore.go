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
	store       *Store
	now         int64
	hosts       map[uint32]*host // by their numbers in records
	displaced   map[column]place // the columns of records that mean another place in the store
	provisional map[*Series]bool // series whose column comes from neither a record nor the recorded state

	placed int // series, so far
	gaps   int // unused columns that records have skipped

	Restored
	Tombstones []Tombstone // of the calls of free in records
	freeing    *freedCall  // the one that is being read

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
	Converted  int // samples of metrics whose frequency has changed
	Samples    int // samples of records
	OldSamples int // samples of records that are older than the retention
	Lost       int // samples of records whose series is unknown
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
// Series of metrics that are not configured are kept, but invisible to queries. The error wraps
// [ErrMemory] if the next block does not fit, and nothing of that block is stored then; or it
// reports a damaged block.
func (r *Restorer) State(state HostState, recorded bool) error {
	s := r.store
	if err := s.checkNames(Key{Cluster: state.Cluster, Host: state.Host}); err != nil {
		return err
	}
	needed := s.needed(state.Cluster, state.Host)
	h := r.host(state.Cluster, state.Host, state.Number, recorded)
	h.setNeeded(needed)
	var errs []error
	for _, ls := range state.Lanes {
		p := laneRestorer{Restorer: r, host: h, state: ls, recorded: recorded, oldest: min(r.now-s.retention, needed)}
		if err := p.restore(); err != nil {
			errs = append(errs, fmt.Errorf("%s/%s: %w", state.Cluster, state.Host, err))
		}
	}
	return errors.Join(errs...)
}

// Skip reports that blocks of a state stay on disk because memory is full. The store then refuses
// samples of their time, which would hide those on disk. end is in Unix milliseconds.
func (s *Store) Skip(cluster, hostname string, frequency, end int64) {
	s.mu.Lock()
	h := s.clusters[cluster][hostname]
	if h == nil {
		h = s.addHost(cluster, hostname, s.lastNumber+1)
	}
	s.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.lane(frequency, s.retention)
	l.evictedBefore = max(l.evictedBefore, unixtime.FloorDiv(end-l.grid+frequency-1, frequency))
}

// Done finishes the restore and removes the series that got no window. It must be called once.
func (r *Restorer) Done() {
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
	m := p.store.metrics[ss.Metric]
	if m == nil {
		m = p.store.unconfigured.get(ss.Metric, l.frequency, len(p.store.metrics))
	}
	if m.frequency != l.frequency || l.grid != p.state.Grid {
		return nil
	}
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

// window adds a block without its displaced columns, whose samples are then stored one by one.
func (p *laneRestorer) window(w WindowState) error {
	s, b := p.store, w.Block
	old := b.Grid+(b.First+int64(b.Slots))*b.Frequency < p.oldest
	if old && !(w.Open && s.keep) {
		p.Old++
		return nil
	}
	if s.Full() {
		return ErrMemory
	}
	displaced, overlap := p.insert(w)
	if overlap {
		p.Overlap++
		return nil
	}
	if len(displaced) < b.Columns() {
		p.Blocks++
	}
	return p.convert(b, displaced)
}

// insert makes a segment of a block, and returns the places of its displaced columns.
func (p *laneRestorer) insert(w WindowState) (displaced []SeriesState, overlap bool) {
	s, b, l := p.store, w.Block, p.lane
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if b.Grid == l.grid && len(l.overlapping(b.First, b.First+int64(b.Slots))) > 0 {
		return nil, true
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
		s.freed.put(freedWindow{hostName{p.host.cluster, p.host.name}, b.Frequency, b.Grid, SlotRange{b.First, b.Slots}})
		return displaced, false
	}
	i, _ := l.find(b.First)
	g := &segment{first: b.First, slots: b.Slots, generation: b.Generation, sealed: kept, stored: kept == b && !w.Open}
	l.segments = slices.Insert(l.segments, i, g)
	s.memory.add(g.bytes())
	return displaced, false
}

// extend extends the first and last slot of a series, and the lane, by those of a block.
func (p *laneRestorer) extend(sr *Series, ss SeriesState, b *block.Block) {
	sr.first = min(sr.first, max(ss.First, b.First))
	sr.last = max(sr.last, min(ss.Last, b.First+int64(b.Slots)-1))
	p.lane.newest = max(p.lane.newest, sr.last)
}

// convert stores those samples of displaced columns that are older than the samples of their
// series.
func (p *laneRestorer) convert(b *block.Block, displaced []SeriesState) error {
	var d codec.Decoder
	values := make([]float64, b.Slots)
	for _, ss := range displaced {
		i, _ := b.Find(ss.Column)
		if err := b.Decode(&d, values, i, 0); err != nil {
			return err
		}
		sr, err := p.provisionalSeries(p.key(ss))
		switch {
		case errors.Is(err, ErrMemory):
			return err
		case err != nil:
			continue // the metric is not configured and another series has its column
		}
		batch := sr.older(values, b.Grid+b.First*b.Frequency+ss.Offset, b.Frequency)
		refused, err := p.store.write(batch, period{p.oldest, p.now}, nil)
		if err != nil {
			return err
		}
		p.Converted += len(batch) - len(refused)
	}
	return nil
}

// provisionalSeries returns the series of a key. A new one gets a provisional column, which it
// loses if a record gives that column to another series.
func (r *Restorer) provisionalSeries(key Key) (*Series, error) {
	if h := r.store.host(key.Cluster, key.Host); h != nil {
		if m, level := r.store.metrics[key.Metric], h.level(key.Device); m != nil && level != nil {
			if sr := level.get(m); sr != nil {
				return sr, nil
			}
		}
	}
	sr, err := r.store.Series(key)
	if err == nil {
		r.provisional[sr] = true
	}
	return sr, err
}

// older returns those values as samples that are older than all samples of a series.
func (sr *Series) older(values []float64, start, step int64) []Sample {
	sr.lane.host.mu.RLock()
	begin := int64(math.MaxInt64)
	if !sr.empty() {
		begin = sr.lane.time(sr.first) + sr.phase.offset - sr.lane.frequency/2
	}
	sr.lane.host.mu.RUnlock()
	var batch []Sample
	for i, v := range values {
		if t := start + int64(i)*step; v == v && t < begin {
			batch = append(batch, Sample{Series: sr, Time: t, Value: v})
		}
	}
	return batch
}

// unconfigured lists the metrics of restored series that are not configured, or not with this
// frequency.
type unconfigured struct {
	mu  sync.Mutex
	all []*metric
}

// get returns the same metric for the same arguments; known is the number of configured metrics.
func (x *unconfigured) get(name string, frequency int64, known int) *metric {
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
