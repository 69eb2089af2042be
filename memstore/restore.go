package memstore

import (
	"errors"
	"fmt"
	"math"
	"sync"

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
	now         int64            // of the server's clock, in Unix milliseconds
	retained    int64            // [Store.RetainedSince] at the start
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
	origin  Origin      // of the samples of the record

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
		retained:    s.RetainedSince(),
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
	if err := checkNames(Key{Cluster: state.Cluster, Host: state.Host}, maxStoredName); err != nil {
		return err
	}
	needed := s.needed(state.Cluster, state.Host)
	h := r.host(state.Cluster, state.Host, state.Number, recorded)
	h.setNeeded(needed)
	var errs []error
	for _, ls := range state.Lanes {
		p := laneRestorer{Restorer: r, host: h, state: ls, recorded: recorded, fetched: fetched, oldest: min(r.retained, needed)}
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
	h := s.clusters[cluster].all()[hostname]
	if h == nil {
		h = s.addHost(cluster, hostname, s.lastNumber+1)
	}
	s.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.lane(frequency, s.retention)
	h.account(s)
	if !l.hasGrid {
		l.hasGrid, l.grid = true, grid
	}
	l.evictedBefore = max(l.evictedBefore, unixtime.FloorDiv(end-l.grid+frequency-1, frequency))
}

// SkipCluster is like [Store.Skip] for all hosts of a cluster, also for those to come.
func (s *Store) SkipCluster(cluster string, end int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.skipped == nil {
		s.skipped = make(map[string]int64)
	}
	if before, ok := s.skipped[cluster]; ok {
		end = max(end, before)
	}
	s.skipped[cluster] = end
	for _, h := range s.clusters[cluster].all() {
		h.mu.Lock()
		h.skipped = end
		h.mu.Unlock()
	}
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
	h := s.clusters[cluster].all()[name]
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
