package memstore

import (
	"math"
	"slices"
	"sync"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// sealing is a closed segment on its way to become a block. Its rows do not
// change any more, so it is encoded without a lock.
type sealing struct {
	lane    *lane
	segment *segment
	version int
	rows    [][]float64
	head    block.Header
	offsets []int64
}

// sealer holds what encoding needs; one goroutine uses it at a time.
type sealer struct {
	builder block.Builder
	decoder codec.Decoder
	columns [columnsAtOnce][]float64
	all     []float64
}

func newSealers() sync.Pool { return sync.Pool{New: func() any { return new(sealer) }} }

// seal encodes closed segments of a host and puts the blocks in their places.
func (s *Store) seal(h *host, jobs []sealing) {
	if len(jobs) == 0 {
		return
	}
	w := s.sealers.Get().(*sealer)
	defer s.sealers.Put(w)
	for _, j := range jobs {
		b := w.encode(j)
		h.mu.Lock()
		if g := j.segment; g.version == j.version && g.closed {
			s.books.add(-g.rowBytes())
			g.rows, g.borrowed, g.closed, g.reopened, g.sealed, g.stored = nil, nil, false, false, b, false
			g.version++
			if b == nil {
				s.freed.add(h, j.lane, g)
				j.lane.remove(g)
				h.loose = true
				s.books.add(-segmentBytes)
			} else {
				s.books.add(int64(len(b.Bytes())))
				s.books.exhausted.Store(false)
			}
		}
		h.mu.Unlock()
	}
}

// columnsAtOnce is how many columns are gathered from the rows at a time. The
// values of a row lie beside each other, those of a column far apart: what comes
// from memory with one value should be used before it goes.
const columnsAtOnce = 32

// encode makes a block of rows.
func (w *sealer) encode(j sealing) *block.Block {
	width := 0
	for _, row := range j.rows {
		width = max(width, len(row))
	}
	w.builder.Reset(j.head)
	for first := 0; first < width; first += len(w.columns) {
		n := min(len(w.columns), width-first)
		w.gather(j.rows, first, n)
		for i, values := range w.columns[:n] {
			c := block.Column{ID: uint32(first + i)}
			if first+i < len(j.offsets) {
				c.Offset = j.offsets[first+i]
			}
			w.builder.Add(c, values)
		}
	}
	return w.builder.Finish()
}

// gather copies n columns out of the rows.
func (w *sealer) gather(rows [][]float64, first, n int) {
	for i := range n {
		w.columns[i] = slices.Grow(w.columns[i][:0], len(rows))[:len(rows)]
	}
	for r, row := range rows {
		part := row[min(first, len(row)):min(first+n, len(row))]
		for i, v := range part {
			w.columns[i][r] = v
		}
		for i := len(part); i < n; i++ {
			w.columns[i][r] = math.NaN()
		}
	}
}

// decodeRows turns a block back into rows.
func decodeRows(rows [][]float64, b *block.Block, columns int) error {
	width := columns
	if n := b.Columns(); n > 0 {
		width = max(width, int(b.ID(n-1))+1)
	}
	for i := range rows {
		rows[i] = make([]float64, width)
		for c := range rows[i] {
			rows[i][c] = math.NaN()
		}
	}
	var d codec.Decoder
	values := make([]float64, b.Slots)
	for i := range b.Columns() {
		if err := b.Decode(&d, values, i, 0); err != nil {
			return err
		}
		id := b.ID(i)
		for r, v := range values {
			rows[r][id] = v
		}
	}
	return nil
}

// merge makes one block of several of a lane, in their order.
func (w *sealer) merge(blocks []*block.Block) (*block.Block, error) {
	head := blocks[0].Header
	last := blocks[len(blocks)-1]
	head.Slots = int(last.First + int64(last.Slots) - head.First)
	for _, b := range blocks {
		head.Generation = max(head.Generation, b.Generation)
	}
	head.Generation++
	w.builder.Reset(head)
	w.all = slices.Grow(w.all[:0], head.Slots)[:head.Slots]
	offsets := make([][]int64, len(blocks))
	next := make([]int, len(blocks)) // column of each block
	for i, b := range blocks {
		offsets[i] = b.Offsets()
	}
	for {
		id, some := uint32(math.MaxUint32), false
		for i, b := range blocks {
			if next[i] < b.Columns() {
				id, some = min(id, b.ID(next[i])), true
			}
		}
		if !some {
			return w.builder.Finish(), nil
		}
		c := block.Column{ID: id}
		for i := range w.all {
			w.all[i] = math.NaN()
		}
		for i, b := range blocks {
			if next[i] == b.Columns() || b.ID(next[i]) != id {
				continue
			}
			at := b.First - head.First
			if err := b.Decode(&w.decoder, w.all[at:at+int64(b.Slots)], next[i], 0); err != nil {
				return nil, err
			}
			c.Offset = 0 // the last one's stays
			if offsets[i] != nil {
				c.Offset = offsets[i][next[i]]
			}
			next[i]++
		}
		w.builder.Add(c, w.all)
	}
}
