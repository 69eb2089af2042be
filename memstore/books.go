package memstore

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// ErrMemory is the error of writes that the memory limit leaves no room for.
var ErrMemory = errors.New("the store's memory is full")

// books count the memory that the store's data takes, and what reads and writes
// hold while they last: blocks and rows by their bytes, the rest by what one costs
// on the average.
type books struct {
	used    atomic.Int64
	evicted atomic.Int64 // windows
	limit   int64        // 0: none

	evicting  sync.Mutex
	exhausted atomic.Bool // no window was left to evict when it was last tried
}

// What one of these costs beside its data, in bytes, maps and strings included.
const (
	hostBytes    = 1200
	levelBytes   = 360
	seriesBytes  = 104
	segmentBytes = 400
	rowBytes     = 24
	sampleBytes  = 24 // while a batch is written
)

func (b *books) add(n int64) { b.used.Add(n) }

// Above the first of these parts of the limit the oldest windows go, until
// the second is reached.
const (
	evictAbove  = 0.97
	evictDownTo = 0.93
)

func (b *books) above(part float64) bool {
	return b.limit > 0 && float64(b.used.Load()) > part*float64(b.limit)
}

// full reports that writes have to stop.
func (b *books) full() bool { return b.limit > 0 && b.used.Load() > b.limit }

// Full reports that what is restored finds no room any more.
func (s *Store) Full() bool { return s.books.above(evictDownTo) }

// makeRoom evicts if the limit is near. The error is [ErrMemory].
func (s *Store) makeRoom() error {
	if !s.books.above(evictAbove) {
		return nil
	}
	if !s.books.exhausted.Load() {
		s.evict()
	}
	if s.books.full() {
		return ErrMemory
	}
	return nil
}

// victim is a sealed window that could go.
type victim struct {
	host    *host
	lane    *lane
	segment *segment
	end     int64 // Unix milliseconds
	needed  bool  // by a job that runs
}

// evict drops the oldest windows of all hosts until there is room again, those
// that jobs need after all others. Heads stay. One goroutine evicts at a time;
// others go on meanwhile.
func (s *Store) evict() {
	if !s.books.above(evictAbove) || !s.books.evicting.TryLock() {
		return
	}
	defer s.books.evicting.Unlock()
	poorer := make(map[*host]bool)
	for _, v := range s.victims() {
		if !s.books.above(evictDownTo) {
			break
		}
		v.host.mu.Lock()
		if i, ok := v.lane.find(v.segment.first); ok && v.lane.segments[i] == v.segment && v.segment.sealed != nil {
			v.lane.edge = max(v.lane.edge, v.segment.end())
			s.drop(v.lane, v.segment)
			s.books.evicted.Add(1)
			poorer[v.host] = true
		}
		v.host.mu.Unlock()
	}
	for h := range poorer {
		h.mu.Lock()
		h.shrink(s)
		h.mu.Unlock()
		s.removeIfEmpty(h)
	}
	s.books.exhausted.Store(s.books.above(evictAbove))
}

// victims returns the sealed windows, those that go first in front.
func (s *Store) victims() []victim {
	var all []victim
	for _, h := range s.allHosts() {
		h.mu.RLock()
		for _, l := range h.lanes {
			for _, g := range l.segments {
				if g.sealed != nil {
					end := l.time(g.end())
					all = append(all, victim{h, l, g, end, end > h.needed})
				}
			}
		}
		h.mu.RUnlock()
	}
	slices.SortFunc(all, func(a, b victim) int {
		switch {
		case a.needed == b.needed:
			return cmp.Compare(a.end, b.end)
		case a.needed:
			return 1
		default:
			return -1
		}
	})
	return all
}
