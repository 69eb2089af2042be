package memstore

import (
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ringstore/ringstore/memstore/block"
)

// Origin says which message of a stream a batch comes from. The zero Origin: none.
type Origin struct {
	Stream   uint64 // identifies the stream, as long as its sequence numbers grow; 0: none
	Sequence uint64
}

// history says which messages of streams wrote to a lane lately, so that an older message that is
// delivered again does not overwrite what a later one wrote. The host's lock guards it.
//
// It forgets messages that are settled, and the oldest ones when it grows too large. A message that
// is older than a forgotten one only fills in slots that have no sample.
type history struct {
	runs      []writtenRun // in the order in which they were applied
	columns   []uint32     // of all runs
	newest    []Origin     // the newest message of each stream
	forgotten []Origin     // the newest forgotten one that was not settled, of each stream
	bytes     int64        // that are in the memory account
}

// writtenRun is the samples that a message wrote to a slot: the columns from begin up to the next
// run's.
type writtenRun struct {
	Origin
	slot  int64
	begin int
}

const (
	writtenRunBytes = 32
	// maxHistory bounds what a lane remembers: so many columns per series, and some more.
	maxHistory    = 4
	minMaxHistory = 256
)

// settled holds, for each stream, the sequence number up to which no message will be delivered
// again.
type settled struct {
	mu sync.Mutex // held during a change
	by atomic.Pointer[map[uint64]uint64]
}

// Settle says that no message of a stream up to a sequence number will be delivered again.
func (s *Store) Settle(stream, sequence uint64) {
	s.settled.mu.Lock()
	defer s.settled.mu.Unlock()
	next := make(map[uint64]uint64)
	if all := s.settled.by.Load(); all != nil {
		next = maps.Clone(*all)
	}
	next[stream] = max(next[stream], sequence)
	s.settled.by.Store(&next)
}

func (s *settled) isSettled(o Origin) bool {
	all := s.by.Load()
	return all != nil && o.Sequence <= (*all)[o.Stream]
}

// newestOf returns the highest sequence number of a stream in origins, 0 if there is none.
func newestOf(origins []Origin, stream uint64) uint64 {
	for _, o := range origins {
		if o.Stream == stream {
			return o.Sequence
		}
	}
	return 0
}

func raise(origins []Origin, o Origin) []Origin {
	for i := range origins {
		if origins[i].Stream == o.Stream {
			origins[i].Sequence = max(origins[i].Sequence, o.Sequence)
			return origins
		}
	}
	return append(origins, o)
}

// supersedes reports whether a message after o wrote to a slot that holds a sample, or may have.
func (h *history) supersedes(done *settled, o Origin, slot int64, column uint32) bool {
	if done.isSettled(o) {
		return true
	}
	if h == nil || o.Sequence >= newestOf(h.newest, o.Stream) {
		return false
	}
	if o.Sequence < newestOf(h.forgotten, o.Stream) {
		return true
	}
	for i, run := range h.runs {
		if run.slot == slot && run.Stream == o.Stream && run.Sequence > o.Sequence && slices.Contains(h.columnsOf(i), column) {
			return true
		}
	}
	return false
}

func (h *history) columnsOf(i int) []uint32 {
	if i+1 < len(h.runs) {
		return h.columns[h.runs[i].begin:h.runs[i+1].begin]
	}
	return h.columns[h.runs[i].begin:]
}

func (l *lane) ensureHistory() *history {
	if l.history == nil {
		l.history = new(history)
	}
	return l.history
}

// note records that a message writes to a slot of a column; the host is locked.
func (l *lane) note(s *Store, o Origin, slot int64, column uint32) *history {
	h := l.ensureHistory()
	if last := len(h.runs) - 1; last < 0 || h.runs[last].Origin != o || h.runs[last].slot != slot {
		h.begin(s, l, o, slot)
	}
	h.columns = append(h.columns, column)
	return h
}

// noteAll is note for several columns.
func (l *lane) noteAll(s *Store, o Origin, slot int64, columns []uint32) {
	h := l.note(s, o, slot, columns[0])
	h.columns = append(h.columns, columns[1:]...)
}

// noteForgotten records that messages before o only fill empty slots.
func (s *Store) noteForgotten(l *lane, o Origin) {
	l.host.mu.Lock()
	defer l.host.mu.Unlock()
	h := l.ensureHistory()
	h.newest, h.forgotten = raise(h.newest, o), raise(h.forgotten, o)
}

// begin begins a run.
func (h *history) begin(s *Store, l *lane, o Origin, slot int64) {
	h.forget(&s.settled, maxHistory*len(l.columns)+minMaxHistory)
	h.runs = append(h.runs, writtenRun{o, slot, len(h.columns)})
	h.newest = raise(h.newest, o)
	bytes := int64(writtenRunBytes*cap(h.runs) + 4*cap(h.columns))
	s.account(l.host, bytes-h.bytes)
	l.host.accounted += bytes - h.bytes // see lane.bytes
	h.bytes = bytes
}

// forget removes what is settled, and if that is not enough the older half.
func (h *history) forget(done *settled, limit int) {
	if !slices.ContainsFunc(h.newest, func(o Origin) bool { return !done.isSettled(o) }) {
		h.runs, h.columns, h.newest, h.forgotten = h.runs[:0], h.columns[:0], h.newest[:0], h.forgotten[:0]
		return
	}
	if len(h.columns)+len(h.runs) <= limit {
		return
	}
	h.keep(func(i int) bool { return !done.isSettled(h.runs[i].Origin) })
	if len(h.columns)+len(h.runs) <= limit/2 {
		return
	}
	half := len(h.runs) / 2
	for _, run := range h.runs[:half] {
		h.forgotten = raise(h.forgotten, run.Origin)
	}
	h.keep(func(i int) bool { return i >= half })
}

// keep keeps the runs that are wanted.
func (h *history) keep(wanted func(i int) bool) {
	runs, columns := 0, 0
	for i := range h.runs {
		if !wanted(i) {
			continue
		}
		begin := columns
		columns += copy(h.columns[columns:], h.columnsOf(i))
		h.runs[runs] = writtenRun{h.runs[i].Origin, h.runs[i].slot, begin}
		runs++
	}
	h.runs, h.columns = h.runs[:runs], h.columns[:columns]
}

// RecordHistory calls add with records of what messages of streams wrote that are not settled. A
// journal that begins with them says the same of the messages before it. Each record can be read
// without any other.
func (s *Store) RecordHistory(add func(record []byte) error) error {
	for _, h := range s.allHosts() {
		r := h.historyRecord(&s.settled)
		if len(r.bytes) == 0 {
			continue
		}
		if err := add(r.bytes); err != nil {
			return err
		}
	}
	return nil
}

func (h *host) historyRecord(done *settled) (r Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lanes {
		if l.history == nil {
			continue
		}
		l.history.forget(done, math.MaxInt)
		for i, run := range l.history.runs {
			if !done.isSettled(run.Origin) {
				r.written(l, run, l.history.columnsOf(i))
			}
		}
		for _, o := range l.history.forgotten {
			r.forgotten(l, o)
		}
	}
	return r
}

// written reads which columns a message wrote to.
func (r *Restorer) written(p *parser, at run) {
	l := at.lane()
	for n := p.Count(1, "columns"); n > 0 && p.Err() == nil; n-- {
		if c := uint32(p.Uvarint(0, block.MaxColumns-1, "column")); l != nil && l.has(c) {
			r.columns = append(r.columns, c)
		}
	}
	if p.Err() == nil && len(r.columns) > 0 {
		at.host.mu.Lock()
		l.noteAll(r.store, r.origin, at.slot, r.columns)
		at.host.mu.Unlock()
	}
	r.columns = r.columns[:0]
}
