package memstore

import (
	"math"
	"runtime"
	"slices"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// sealing is a closed segment that is going to be a block. Its rows do not change any more, so they
// are encoded without a lock.
type sealing struct {
	lane    *lane
	segment *segment
	version int
	rows    [][]float64
	head    block.Header
	offsets []int64
	before  *block.Block // of the preceding segment, or nil
	sets    []columnSet  // whose sums the block keeps
}

// sealer has the scratch memory for encoding; one goroutine uses it at a time.
type sealer struct {
	builder block.Builder
	decoder codec.Decoder
	columns []float64 // columnsAtOnce columns, concatenated
	all     []float64
	sums    []float64 // one of each row for each set
	exact   []bool    // by set
	part    []float64
	first   []float64
}

// sealers is a pool of idle sealers. A sync.Pool would be emptied by each garbage collection, and
// growing the buffers again made a quarter of the garbage.
type sealers chan *sealer

func newSealers() sealers { return make(sealers, runtime.GOMAXPROCS(0)) }

func (s sealers) get() *sealer {
	select {
	case w := <-s:
		return w
	default:
		return new(sealer)
	}
}

func (s sealers) put(w *sealer) {
	select {
	case s <- w:
	default:
	}
}

// seal encodes closed segments of a host and replaces their rows by the blocks.
func (s *Store) seal(h *host, jobs []sealing) {
	if len(jobs) == 0 {
		return
	}
	w := s.sealers.get()
	defer s.sealers.put(w)
	for _, j := range jobs {
		b := w.encode(j)
		h.mu.Lock()
		if g := j.segment; g.version == j.version && g.closed {
			s.account(h, -g.rowBytes())
			s.spare.put(g.ownRows())
			g.sums.Store(nil)
			g.rows, g.borrowed, g.closed, g.reopened, g.sealed, g.stored = nil, nil, false, false, b, false
			g.version++
			if b == nil {
				s.freed.add(h, j.lane, g)
				j.lane.remove(g)
				h.mayBeEmpty = true
				s.account(h, -segmentBytes)
			} else {
				s.account(h, sealedBytes(b))
				s.memory.exhausted.Store(false)
			}
		}
		h.mu.Unlock()
	}
}

// columnsAtOnce is how many columns are gathered from the rows at a time. The values of a row are
// adjacent in memory, those of a column far apart: a cache line should be used as a whole while it
// is cached.
const columnsAtOnce = 32

// blockBefore returns the block of the segment before g, or nil.
func (l *lane) blockBefore(g *segment) *block.Block {
	if i, _ := l.find(g.first); i > 0 {
		return l.segments[i-1].sealed
	}
	return nil
}

// encode makes a block of rows. It returns nil if they hold no sample.
func (w *sealer) encode(j sealing) *block.Block {
	width := 0
	for _, row := range j.rows {
		width = max(width, len(row))
	}
	w.builder.Reset(j.head)
	w.builder.Follow(j.before)
	for first := 0; first < width; first += columnsAtOnce {
		n := min(columnsAtOnce, width-first)
		w.gather(j.rows, first, n)
		for i := range n {
			values := w.columns[i*len(j.rows):][:len(j.rows)]
			c := block.Column{ID: uint32(first + i)}
			if first+i < len(j.offsets) {
				c.Offset = j.offsets[first+i]
			}
			w.builder.Add(c, values)
		}
	}
	w.aggregate(j.rows, j.sets)
	return w.builder.Finish()
}

// gather copies n columns out of the rows.
func (w *sealer) gather(rows [][]float64, first, n int) {
	w.columns = slices.Grow(w.columns[:0], n*len(rows))[:n*len(rows)]
	for r, row := range rows {
		part := row[min(first, len(row)):min(first+n, len(row))]
		at := r
		for _, v := range part {
			w.columns[at] = v
			at += len(rows)
		}
		for ; at < len(w.columns); at += len(rows) {
			w.columns[at] = math.NaN()
		}
	}
}

// decodeRows decodes a block into rows of at least the given number of columns.
func decodeRows(rows [][]float64, b *block.Block, columns int) error {
	width := columns
	if n := b.Columns(); n > 0 {
		width = max(width, int(b.ID(n-1))+1)
	}
	for i := range rows {
		rows[i] = make([]float64, width)
		fillNaN(rows[i])
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

// merge makes one block of several blocks of a lane, which are in order and do not overlap. The block
// keeps the sums of the given sets, and of those of the blocks.
func (w *sealer) merge(blocks []*block.Block, sets []columnSet) (*block.Block, error) {
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
		id, found := uint32(math.MaxUint32), false
		for i, b := range blocks {
			if next[i] < b.Columns() {
				id, found = min(id, b.ID(next[i])), true
			}
		}
		if !found {
			w.mergeAggregates(head, blocks, sets)
			return w.builder.Finish(), nil
		}
		c := block.Column{ID: id}
		end := 0 // w.all is filled up to here
		for i, b := range blocks {
			if next[i] == b.Columns() || b.ID(next[i]) != id {
				continue
			}
			at := int(b.First - head.First)
			fillNaN(w.all[end:at])
			end = at + b.Slots
			if err := b.Decode(&w.decoder, w.all[at:end], next[i], 0); err != nil {
				return nil, err
			}
			c.Offset = 0 // that of the last block counts
			if offsets[i] != nil {
				c.Offset = offsets[i][next[i]]
			}
			next[i]++
		}
		fillNaN(w.all[end:])
		w.builder.Add(c, w.all)
	}
}
