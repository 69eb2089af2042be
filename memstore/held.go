package memstore

import (
	"math"

	"github.com/ringstore/ringstore/memstore/codec"
)

// Held are the values that a series has in memory.
type Held struct {
	first  int64     // slot
	values []float64 // NaN where there is none
}

// Held returns the values of a series. Values that cannot be read are not among them.
func (s *Store) Held(sr *Series) Held {
	l := sr.lane
	l.host.mu.RLock()
	defer l.host.mu.RUnlock()
	var h Held
	var d codec.Decoder
	for _, g := range l.segments {
		if sr.empty() || g.end() <= sr.first || g.first > sr.last || !g.holds(sr.column) {
			continue
		}
		if h.values == nil {
			h.first = g.first
		}
		for n := g.end() - h.first - int64(len(h.values)); n > 0; n-- {
			h.values = append(h.values, math.NaN())
		}
		part := h.values[g.first-h.first:]
		if err := g.decode(&d, part, sr.column); err != nil {
			fillNaN(part)
		}
	}
	return h
}

// at returns the value in a slot, if there is one.
func (h Held) at(slot int64) (v float64, ok bool) {
	if i := slot - h.first; i >= 0 && i < int64(len(h.values)) {
		v = h.values[i]
		return v, v == v
	}
	return 0, false
}

// WriteMissing is like [Store.Write] for samples of one series, but refuses those in slots for which
// held has another value.
func (s *Store) WriteMissing(batch []Sample, held Held) ([]Refusal, error) {
	p := s.acceptable()
	p.held = held
	return s.write(batch, p, nil)
}
