package memstore

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// ErrMemory is the error of writes that would exceed the memory limit.
var ErrMemory = errors.New("the store's memory is full")

// memAccount counts the memory that the store's data takes, what reads and writes hold while they
// run, and what others hold because of the store's data.
type memAccount struct {
	used    atomic.Int64
	evicted atomic.Int64 // windows
	limit   int64        // 0: none

	stored     atomic.Bool // only windows that a committed snapshot holds may be evicted
	storeFirst atomic.Bool // the last eviction had to stop at windows that no committed snapshot holds

	evicting  sync.Mutex
	exhausted atomic.Bool // the last eviction found no window left to evict
}

func (a *memAccount) add(n int64) { a.used.Add(n) }

// account adds the memory that a host takes.
func (s *Store) account(h *host, n int64) {
	s.memory.add(n)
	h.owner.used.Add(n)
}

// AddMemory adds bytes to the memory accounting that another package holds because of the store's
// data, such as a cache of its series; it is negative when they are released.
func (s *Store) AddMemory(n int64) { s.memory.add(n) }

// Eviction starts above the first of these fractions of the limit and stops at the second. What is
// above the third is kept for clusters below their share.
const (
	evictAbove  = 0.97
	evictDownTo = 0.93
	keptAbove   = 0.985
)

func (a *memAccount) above(part float64) bool {
	return a.limit > 0 && float64(a.used.Load()) > part*float64(a.limit)
}

// full reports whether writes must stop.
func (a *memAccount) full() bool { return a.limit > 0 && a.used.Load() > a.limit }

// Full reports whether the memory is too full to restore more.
func (s *Store) Full() bool { return s.memory.above(evictDownTo) }

// StoreFirst reports whether writes will soon fail because windows must be stored before they can be
// evicted.
func (s *Store) StoreFirst() bool { return s.memory.storeFirst.Load() && s.memory.above(evictAbove) }

// ensureMemory evicts windows if the limit is near. The error is [ErrMemory]: a cluster, nil for an
// unknown one, may not grow now. During a restore, it is [Restorer.Relieve] that evicts.
func (s *Store) ensureMemory(c *cluster) error {
	if !s.memory.above(evictAbove) || s.restoring.Load() && s.memory.stored.Load() {
		return nil
	}
	if !s.memory.exhausted.Load() {
		s.evict()
	}
	if s.full(c) {
		return ErrMemory
	}
	return nil
}

// victim is a sealed window that may be evicted.
type victim struct {
	host    *host
	lane    *lane
	segment *segment
	end     int64 // Unix milliseconds
	needed  bool  // by a running job
}

// evict drops windows until enough memory is free: the oldest ones of all clusters that hold more
// than their share. Windows that running jobs need are evicted last, open windows never; if the store
// is kept on disk, neither are windows that are not there, and later ones of their lanes. One
// goroutine evicts at a time; the others continue without waiting for it.
func (s *Store) evict() {
	if !s.memory.above(evictAbove) || !s.memory.evicting.TryLock() {
		return
	}
	defer s.memory.evicting.Unlock()
	s.mu.RLock()
	s.shareMemory()
	s.mu.RUnlock()
	evictedHosts := make(map[*host]bool)
	all := s.victims()
	for _, v := range all {
		if !s.memory.above(evictDownTo) {
			break
		}
		if v.host.owner.aboveShare() {
			s.evictWindow(v, evictedHosts)
		}
	}
	if s.memory.full() { // what is above the shares cannot be evicted now
		for _, v := range all {
			if !s.memory.above(keptAbove) {
				break
			}
			s.evictWindow(v, evictedHosts)
		}
	}
	for h := range evictedHosts {
		h.mu.Lock()
		h.shrink(s)
		h.mu.Unlock()
		s.removeIfEmpty(h)
	}
	above := s.memory.above(evictAbove)
	s.memory.exhausted.Store(above)
	s.memory.storeFirst.Store(above && s.memory.stored.Load())
}

// evictWindow evicts a window if it may still be, and adds its host to a set.
func (s *Store) evictWindow(v victim, hosts map[*host]bool) {
	v.host.mu.Lock()
	defer v.host.mu.Unlock()
	i, ok := v.lane.find(v.segment.first)
	if !ok || v.lane.segments[i] != v.segment || v.segment.sealed == nil || !v.segment.stored && s.memory.stored.Load() {
		return
	}
	v.lane.evictedBefore = max(v.lane.evictedBefore, v.segment.end())
	s.drop(v.lane, v.segment)
	s.memory.evicted.Add(1)
	v.host.owner.evicted.Add(1)
	hosts[v.host] = true
}

// victims returns the sealed windows in the order in which those of a cluster are evicted.
func (s *Store) victims() []victim {
	var all []victim
	for _, h := range s.allHosts() {
		h.mu.RLock()
		for _, l := range h.lanes {
			for _, g := range l.segments {
				if g.sealed != nil && !g.stored && s.memory.stored.Load() {
					break
				}
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
