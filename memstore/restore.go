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

// Restoring brings back what a store held: first the states of hosts, then the
// records that came after. One goroutine does it, before others write.
type Restoring struct {
	store   *Store
	now     int64
	hosts   map[uint32]*host // by the numbers that records name
	foreign map[column]place // of samples in records that don't fit the store
	guessed map[*Series]bool // whose columns no record and no settled state told

	placed int // series, so far
	gaps   int // columns of records that were beyond those there

	Restored

	columns []uint32 // of the samples that a record tells of
	values  []float64
	extents map[*lane][]extent // by column

	jobs    chan sealJobs
	sealing sync.WaitGroup
}

// Restored counts what was done.
type Restored struct {
	Blocks    int // that are in the store now
	Old       int // blocks older than the retention that no job needs
	Overlap   int // blocks of a time that newer ones cover
	Converted int // samples of metrics whose frequency is another now
	Samples   int // of records
	OldOnes   int // samples of records that are older than the retention
	Lost      int // samples of records whose series nothing tells of
}

// column is a place that records name.
type column struct {
	host      *host
	frequency int64
	number    uint32
}

// place is where samples of a column really go.
type place struct {
	key    Key
	grid   int64
	offset int64
}

// Restore begins to bring back what an empty store held. [Restoring.Done] ends it.
func (s *Store) Restore() *Restoring {
	s.restoring.Store(true)
	r := &Restoring{
		store:   s,
		now:     s.now().UnixMilli(),
		hosts:   make(map[uint32]*host),
		foreign: make(map[column]place),
		guessed: make(map[*Series]bool),
		extents: make(map[*lane][]extent),
		jobs:    make(chan sealJobs, 8),
	}
	r.sealing.Go(func() {
		for j := range r.jobs {
			s.seal(j.host, j.jobs)
		}
	})
	return r
}

// State puts the blocks of a host back, as they are. The newest state comes
// first: what it says of a series' place or a window holds against older ones.
// settled says that it is the one that the records follow, which name hosts and
// columns by its numbers.
//
// A metric that is not configured is unknown to queries, and kept. The error is
// [ErrMemory] before anything of a block was stored that there is no room for, or
// tells of a block that cannot be read.
func (r *Restoring) State(state HostState, settled bool) error {
	s := r.store
	if err := s.checkNames(Key{Cluster: state.Cluster, Host: state.Host}); err != nil {
		return err
	}
	needed := s.needed(state.Cluster, state.Host)
	h := r.host(state.Cluster, state.Host, state.Number, settled)
	h.setNeeded(needed)
	var errs []error
	for _, ls := range state.Lanes {
		p := placing{Restoring: r, host: h, state: ls, settled: settled, oldest: min(r.now-s.retention, needed)}
		if err := p.restore(); err != nil {
			errs = append(errs, fmt.Errorf("%s/%s: %w", state.Cluster, state.Host, err))
		}
	}
	return errors.Join(errs...)
}

// Skip notes that blocks of a state stay on disk, for want of memory: samples of
// their time are refused, as they would hide what is there.
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
	l.edge = max(l.edge, unixtime.FloorDiv(end-l.grid+frequency-1, frequency))
}

// Done ends it: series that got no window back go. It is called once.
func (r *Restoring) Done() {
	close(r.jobs)
	r.sealing.Wait()
	r.settleAll()
	r.store.restoring.Store(false)
	for _, h := range r.store.allHosts() {
		h.mu.Lock()
		h.shrink(r.store)
		h.mu.Unlock()
		r.store.removeIfEmpty(h)
	}
}

// host returns the host of a name, and remembers it under the number that
// records name it by. It keeps that number if no other host has it.
func (r *Restoring) host(cluster, name string, number uint32, recorded bool) *host {
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
		s.lastNumber = max(s.lastNumber, number) // a number never means two hosts
		r.hosts[number] = h
		h.untold = h.number != number
	}
	return h
}

// placing is the work of restoring a lane.
type placing struct {
	*Restoring
	host    *host
	lane    *lane
	state   LaneState
	settled bool
	oldest  int64
}

func (p *placing) restore() error {
	p.host.mu.Lock()
	p.lane = p.host.lane(p.state.Frequency, p.store.retention)
	if !p.lane.set {
		p.lane.set, p.lane.grid = true, p.state.Grid
	}
	if p.settled {
		for _, ss := range p.state.Series {
			if p.series(ss) == nil {
				p.foreign[column{p.host, p.state.Frequency, ss.Column}] = place{p.key(ss), p.state.Grid, ss.Offset}
			}
		}
	}
	p.host.loose = true
	p.host.mu.Unlock()
	for _, w := range slices.Backward(p.state.Windows) {
		if err := p.window(w); err != nil {
			return err
		}
	}
	return nil
}

func (p *placing) key(ss SeriesState) Key {
	return Key{Cluster: p.host.cluster, Host: p.host.name, Metric: ss.Metric, Device: ss.Device}
}

// series returns the series of a place if it is there, or can be, with the same
// column, frequency and grid; else nil. The host is locked.
func (p *placing) series(ss SeriesState) *Series {
	l := p.lane
	m := p.store.metrics[ss.Metric]
	if m == nil {
		m = p.store.strays.get(ss.Metric, l.frequency, len(p.store.metrics))
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
	sr.phase = phase{offset: ss.Offset, set: true, untold: !p.settled || p.host.untold}
	if !p.settled {
		p.guessed[sr] = true
	}
	if p.settled && ss.First <= ss.Last {
		sr.first, sr.last = ss.First, ss.Last
		l.newest = max(l.newest, ss.Last)
	}
	return sr
}

// window puts a block in its place, but for the columns that have none in the
// lane: their samples are stored one by one.
func (p *placing) window(w WindowState) error {
	s, b := p.store, w.Block
	old := b.Grid+(b.First+int64(b.Slots))*b.Frequency < p.oldest
	if old && !(w.Open && s.keep) {
		p.Old++
		return nil
	}
	if s.Full() {
		return ErrMemory
	}
	foreign, overlap := p.insert(w)
	if overlap {
		p.Overlap++
		return nil
	}
	if len(foreign) < b.Columns() {
		p.Blocks++
	}
	return p.convert(b, foreign)
}

// insert makes a segment of a block, and returns the places of its columns that
// are not in the lane.
func (p *placing) insert(w WindowState) (foreign []SeriesState, overlap bool) {
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
			foreign = append(foreign, ss)
		}
	}
	kept := b.Without(func(id uint32) bool { return !placed[id] })
	if kept == nil {
		s.freed.put(freedWindow{hostName{p.host.cluster, p.host.name}, b.Frequency, b.Grid, SlotRange{b.First, b.Slots}})
		return foreign, false
	}
	i, _ := l.find(b.First)
	g := &segment{first: b.First, slots: b.Slots, generation: b.Generation, sealed: kept, stored: kept == b && !w.Open}
	l.segments = slices.Insert(l.segments, i, g)
	s.books.add(g.bytes())
	return foreign, false
}

// extend notes that a block holds samples of a series.
func (p *placing) extend(sr *Series, ss SeriesState, b *block.Block) {
	sr.first = min(sr.first, max(ss.First, b.First))
	sr.last = max(sr.last, min(ss.Last, b.First+int64(b.Slots)-1))
	p.lane.newest = max(p.lane.newest, sr.last)
}

// convert stores the samples of columns that are not in the lane, as far as they
// are older than what their series have.
func (p *placing) convert(b *block.Block, foreign []SeriesState) error {
	var d codec.Decoder
	values := make([]float64, b.Slots)
	for _, ss := range foreign {
		i, _ := b.Find(ss.Column)
		if err := b.Decode(&d, values, i, 0); err != nil {
			return err
		}
		sr, err := p.guess(p.key(ss))
		switch {
		case errors.Is(err, ErrMemory):
			return err
		case err != nil:
			continue // it is not configured, and another one has its column
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

// guess returns the series of a key; if it is not there it gets a column that
// nothing told.
func (r *Restoring) guess(key Key) (*Series, error) {
	if h := r.store.host(key.Cluster, key.Host); h != nil {
		if m, level := r.store.metrics[key.Metric], h.level(key.Device); m != nil && level != nil {
			if sr := level.get(m); sr != nil {
				return sr, nil
			}
		}
	}
	sr, err := r.store.Series(key)
	if err == nil {
		r.guessed[sr] = true
	}
	return sr, err
}

// older makes samples of those values that are older than all that a series has.
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

// strays are the metrics of restored series that are not configured, or not
// with this frequency.
type strays struct {
	mu  sync.Mutex
	all []*metric
}

// get returns the same metric each time; known is how many are configured.
func (x *strays) get(name string, frequency int64, known int) *metric {
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
