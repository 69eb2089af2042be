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

// books count the memory that the store's data takes: blocks and rows by their
// bytes, the rest by what one costs on the average.
type books struct {
	used    atomic.Int64
	evicted atomic.Int64 // windows
	limit   int64        // 0: none

	evicting sync.Mutex
}

// What one of these costs beside its data, in bytes, maps and strings included.
const (
	hostBytes    = 1200
	levelBytes   = 360
	seriesBytes  = 120
	segmentBytes = 400
	rowBytes     = 24
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

// evict drops the oldest windows of all hosts until there is room again. Heads
// stay.
func (s *Store) evict(now int64) {
	if !s.books.above(evictAbove) || !s.books.evicting.TryLock() {
		return
	}
	defer s.books.evicting.Unlock()
	type victim struct {
		host    *host
		lane    *lane
		segment *segment
		end     int64
	}
	var victims []victim
	for _, h := range s.allHosts() {
		h.mu.RLock()
		for _, l := range h.lanes {
			for _, g := range l.segments {
				if g.sealed != nil {
					victims = append(victims, victim{h, l, g, l.time(g.end())})
				}
			}
		}
		h.mu.RUnlock()
	}
	slices.SortFunc(victims, func(a, b victim) int { return cmp.Compare(a.end, b.end) })
	for _, v := range victims {
		if !s.books.above(evictDownTo) {
			return
		}
		v.host.mu.Lock()
		if i, ok := v.lane.find(v.segment.first); ok && v.lane.segments[i] == v.segment && v.segment.sealed != nil {
			s.drop(v.lane, v.segment)
			v.host.shrink(s)
			s.books.evicted.Add(1)
		}
		v.host.mu.Unlock()
		s.removeIfEmpty(v.host)
	}
}
