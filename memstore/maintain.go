package memstore

import (
	"errors"
	"slices"

	"github.com/ringstore/ringstore/memstore/block"
)

// quietTime is how long a segment that late samples reopened stays open after the last write, in
// milliseconds.
const quietTime = 60_000

// Maintain drops windows that are older than the retention and not needed by a job, seals windows
// without recent writes, merges short blocks, and evicts windows if memory is short. The caller
// calls it every few seconds. The error reports damaged blocks, which no input can cause.
func (s *Store) Maintain() error {
	now, retained := s.now().UnixMilli(), s.RetainedSince()
	var errs []error
	for _, h := range s.allHosts() {
		needed := s.needed(h.cluster, h.name)
		h.setNeeded(needed)
		s.memory.evicting.Lock() // a call of Free relies on what is in memory
		h.mu.Lock()
		for _, l := range h.lanes {
			h.mayBeEmpty = s.expire(l, min(retained, needed)) || h.mayBeEmpty
			h.closeQuiet(l, now)
		}
		s.memory.evicting.Unlock()
		if h.mayBeEmpty {
			h.shrink(s)
		}
		jobs := h.takeSealing()
		h.mu.Unlock()
		s.seal(h, jobs)
		errs = append(errs, s.mergeHost(h))
		s.removeIfEmpty(h)
	}
	s.evict()
	return errors.Join(errs...)
}

// expire drops the segments of a lane that end before a time, and reports whether there were any.
func (s *Store) expire(l *lane, before int64) (dropped bool) {
	for len(l.segments) > 0 && l.time(l.segments[0].end()) < before {
		if s.keep && !l.segments[0].stored {
			return dropped
		}
		s.SkipExpired(l.time(l.segments[0].end()))
		s.drop(l, l.segments[0])
		dropped = true
	}
	return dropped
}

// drop removes a segment from its lane.
func (s *Store) drop(l *lane, g *segment) {
	s.account(l.host, -g.bytes())
	g.version++
	l.remove(g)
}

func (g *segment) bytes() int64 {
	if g.sealed != nil {
		return segmentBytes + sealedBytes(g.sealed)
	}
	return segmentBytes + g.rowBytes()
}

// closeQuiet closes reopened and past segments that were not written to for quietTime.
func (h *host) closeQuiet(l *lane, now int64) {
	for _, g := range slices.Clone(l.segments) {
		past := l.time(g.end()+headGrace) < now
		g.written = min(g.written, now) // the clock may have been set back
		if g.open() && now-g.written >= quietTime && (past || g.reopened) {
			h.close(l, g)
		}
	}
}

// Seal seals the open windows that end before a time (Unix milliseconds), and with begun also those
// that begin before it.
func (s *Store) Seal(before int64, begun bool) {
	for _, h := range s.allHosts() {
		h.mu.Lock()
		for _, l := range h.lanes {
			for _, g := range slices.Clone(l.segments) {
				end := l.time(g.end()) + l.frequency/2
				if begun {
					end = l.time(g.first) - l.frequency/2
				}
				if g.open() && end < before {
					h.close(l, g)
				}
			}
		}
		jobs := h.takeSealing()
		h.mu.Unlock()
		s.seal(h, jobs)
	}
}

// Unstored returns a lower bound for the times (Unix milliseconds) of a cluster's samples that no
// committed snapshot holds, and of those whose deletion no committed snapshot holds;
// [math.MaxInt64] if there are none.
func (s *Store) Unstored(cluster string) int64 {
	oldest := s.freed.oldest(cluster)
	for _, name := range s.Hosts(cluster) {
		h := s.host(cluster, name)
		if h == nil {
			continue
		}
		h.mu.RLock()
		for _, l := range h.lanes {
			for _, g := range l.segments {
				if first, ok := g.firstUnstored(); ok {
					oldest = min(oldest, l.time(first)-l.frequency/2)
					break
				}
			}
		}
		h.mu.RUnlock()
	}
	return oldest
}

// firstUnstored returns the first slot that may have a sample which no committed snapshot holds.
func (g *segment) firstUnstored() (slot int64, ok bool) {
	switch {
	case g.stored:
		return 0, false
	case g.sealed == nil && !g.reopened:
		i := slices.IndexFunc(g.rows, func(row []float64) bool { return row != nil })
		return g.first + int64(i), i >= 0
	}
	return g.first, true
}

func (h *host) takeSealing() []sealing {
	jobs := h.sealing
	h.sealing = nil
	return jobs
}

// mergeHost merges the blocks of each complete group of a host's lanes.
func (s *Store) mergeHost(h *host) error {
	var errs []error
	for _, l := range h.lanesNow() {
		for {
			segments, blocks, sets := h.mergeable(l)
			if len(blocks) < 2 {
				break
			}
			w := s.sealers.get()
			merged, err := w.merge(blocks, sets)
			s.sealers.put(w)
			if err != nil {
				errs = append(errs, err)
				break
			}
			s.replace(h, l, segments, blocks, merged)
		}
	}
	return errors.Join(errs...)
}

func (h *host) lanesNow() []*lane {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Clone(h.lanes)
}

// mergeable returns the oldest complete group of at least two segments, all of them sealed, and the
// sets of columns whose sums the merged block keeps.
func (h *host) mergeable(l *lane) (segments []*segment, blocks []*block.Block, sets []columnSet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := 0; i < len(l.segments); {
		group := l.groupOf(l.segments[i].first)
		j := i
		segments, blocks = segments[:0], blocks[:0]
		for ; j < len(l.segments) && l.groupOf(l.segments[j].first) == group; j++ {
			if g := l.segments[j]; g.sealed != nil {
				segments, blocks = append(segments, g), append(blocks, g.sealed)
			}
		}
		complete := group+l.window*mergedWindows+headGrace <= l.newest
		if complete && j-i == len(blocks) && len(blocks) > 1 {
			return segments, blocks, l.columnSets()
		}
		i = j
	}
	return nil, nil, nil
}

// replace replaces blocks by the block merged from them, unless one of them has changed meanwhile.
func (s *Store) replace(h *host, l *lane, segments []*segment, blocks []*block.Block, merged *block.Block) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := l.find(segments[0].first)
	if !ok || i+len(segments) > len(l.segments) {
		return
	}
	for k, g := range segments {
		if l.segments[i+k] != g || g.sealed != blocks[k] {
			return
		}
	}
	for _, g := range segments {
		s.account(h, -g.bytes())
		g.version++
	}
	g := &segment{first: merged.First, slots: merged.Slots, generation: merged.Generation, sealed: merged}
	l.segments = slices.Replace(l.segments, i, i+len(segments), g)
	s.account(h, g.bytes())
	h.account(s)
}
