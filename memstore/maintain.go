package memstore

import (
	"errors"
	"slices"

	"github.com/ringstore/ringstore/memstore/block"
)

// quiet is how long a segment that late samples reopened stays open after the
// last of them, in milliseconds.
const quiet = 60_000

// Maintain does what time asks for: it forgets what is older than the
// retention and not needed by a job, makes room if memory is short, seals what has been quiet, and merges short blocks to longer ones.
// The caller calls it every few seconds. The error tells of blocks that cannot
// be read, which no input can cause.
func (s *Store) Maintain() error {
	now := s.now().UnixMilli()
	var errs []error
	for _, h := range s.allHosts() {
		needed := s.needed(h.cluster, h.name)
		h.setNeeded(needed)
		h.mu.Lock()
		for _, l := range h.lanes {
			h.loose = s.expire(l, min(now-s.retention, needed)) || h.loose
			h.closeQuiet(l, now)
		}
		if h.loose {
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

// Oldest returns the moment, in Unix milliseconds, before which nothing is kept of a
// host: the retention's begin, or what running jobs need.
func (s *Store) Oldest(cluster, hostname string) int64 {
	return min(s.now().UnixMilli()-s.retention, s.needed(cluster, hostname))
}

// expire drops the segments of a lane that end before a moment, and reports
// whether there were any.
func (s *Store) expire(l *lane, before int64) (some bool) {
	for len(l.segments) > 0 && l.time(l.segments[0].end()) < before {
		if s.keep && !l.segments[0].stored {
			return some
		}
		s.drop(l, l.segments[0])
		some = true
	}
	return some
}

// drop forgets a segment.
func (s *Store) drop(l *lane, g *segment) {
	s.books.add(-g.bytes())
	g.version++
	l.remove(g)
}

func (g *segment) bytes() int64 {
	if g.sealed != nil {
		return segmentBytes + int64(len(g.sealed.Bytes()))
	}
	return segmentBytes + g.rowBytes()
}

// closeQuiet closes what nothing has been written to for a while: reopened
// segments, and heads whose time is over.
func (h *host) closeQuiet(l *lane, now int64) {
	for _, g := range slices.Clone(l.segments) {
		over := l.time(g.end()+headGrace) < now
		if g.open() && now-g.written >= quiet && (over || g.reopened) {
			h.close(l, g)
		}
	}
}

func (h *host) takeSealing() []sealing {
	jobs := h.sealing
	h.sealing = nil
	return jobs
}

// mergeHost merges the short blocks of a host's lanes whose group is complete.
func (s *Store) mergeHost(h *host) error {
	var errs []error
	for _, l := range h.lanesNow() {
		for {
			segments, blocks := h.mergeable(l)
			if len(blocks) < 2 {
				break
			}
			w := s.sealers.get()
			merged, err := w.merge(blocks)
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

// mergeable returns the oldest group of at least two segments that is sealed
// and that nothing new can be expected for.
func (h *host) mergeable(l *lane) (segments []*segment, blocks []*block.Block) {
	h.mu.RLock()
	defer h.mu.RUnlock()
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
			return segments, blocks
		}
		i = j
	}
	return nil, nil
}

// replace puts a merged block in the place of the blocks that it was made of,
// if these are still there.
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
		s.books.add(-g.bytes())
		g.version++
	}
	g := &segment{first: merged.First, slots: merged.Slots, generation: merged.Generation, sealed: merged}
	l.segments = slices.Replace(l.segments, i, i+len(segments), g)
	s.books.add(g.bytes())
}
