package memstore

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Record is what batches changed, in bytes that [Replay.Apply] does again: the
// series and slots that samples went to, so that nothing is decided anew. The
// zero Record is ready. One goroutine uses it at a time. FORMAT.md draws it.
type Record struct {
	bytes   []byte
	lane    *lane // of the run
	slot    int64 // of the run
	seconds int64 // between two slots, of the run; 0: none has begun
	told    []telling
}

// telling is the place of a series as a record tells it.
type telling struct {
	series *Series
	offset int64
}

// The entries of a record begin with uvarint x<<entryBits | entry.
const (
	entryBits = 4
	entryMask = 1<<entryBits - 1

	entryValue  = 8  // and below: x is the column, the entry how many bytes of the value follow
	entryRun    = 9  // x is a host; frequency and slot follow
	entrySame   = 10 // x is a host; frequency and slot are those of the run before
	entryHost   = 11 // x is a host; its names follow
	entrySeries = 12 // x is a host; the place of a series of it follows
	entryFree   = 13 // x is how many elements the path has; they and the moment follow
)

// Bytes returns the record, empty if nothing changed. It belongs to r and is
// good until Reset.
func (r *Record) Bytes() []byte { return r.bytes }

// Reset makes r empty.
func (r *Record) Reset() {
	clear(r.told)
	*r = Record{bytes: r.bytes[:0], told: r.told[:0]}
}

// Settle notes that the record will be there after a restart, so that what it
// tells of the series need not be told again.
func (r *Record) Settle() {
	for _, t := range r.told {
		h := t.series.lane.host
		h.mu.Lock()
		h.untold = false
		if t.series.phase.offset == t.offset {
			t.series.phase.untold = false
		}
		h.mu.Unlock()
	}
	clear(r.told)
	r.told = r.told[:0]
}

// begin notes where the samples to come go; the host is locked. sr is the first.
func (r *Record) begin(sr *Series, slot int64) {
	if sr.phase.untold {
		r.tell(sr)
	}
	h, l := sr.lane.host, sr.lane
	if l == r.lane && slot == r.slot {
		return
	}
	seconds := l.frequency / 1000
	if seconds == r.seconds && slot == r.slot {
		r.entry(uint64(h.number), entrySame)
	} else {
		r.entry(uint64(h.number), entryRun)
		r.bytes = binary.AppendUvarint(r.bytes, uint64(seconds))
		r.bytes = binary.AppendVarint(r.bytes, slot-r.slot)
	}
	r.lane, r.slot, r.seconds = l, slot, seconds
}

// sample notes a value of the run. Of a number's bytes those that are 0 at its
// end are left out, which is most of them in small whole ones.
func (r *Record) sample(column uint32, v float64) {
	b := math.Float64bits(v)
	n := uint(8 - bits.TrailingZeros64(b)/8)
	r.entry(uint64(column), uint64(n))
	r.bytes = binary.LittleEndian.AppendUint64(r.bytes, b>>(64-8*n))
	r.bytes = r.bytes[:len(r.bytes)-8+int(n)]
}

func (r *Record) entry(x, entry uint64) {
	r.bytes = binary.AppendUvarint(r.bytes, x<<entryBits|entry)
}

// tell notes the place of a series, and the names of its host.
func (r *Record) tell(sr *Series) {
	h, l, d := sr.lane.host, sr.lane, sr.level.device
	if h.untold {
		r.entry(uint64(h.number), entryHost)
		r.bytes = appendString(r.bytes, h.cluster)
		r.bytes = appendString(r.bytes, h.name)
	}
	r.entry(uint64(h.number), entrySeries)
	r.bytes = binary.AppendUvarint(r.bytes, uint64(sr.column))
	r.bytes = binary.AppendUvarint(r.bytes, uint64(l.frequency/1000))
	r.bytes = binary.AppendUvarint(r.bytes, uint64(l.grid))
	r.bytes = binary.AppendVarint(r.bytes, sr.phase.offset)
	for _, name := range [...]string{sr.metric.Name, d.Type, d.TypeID, d.Subtype, d.SubtypeID} {
		r.bytes = appendString(r.bytes, name)
	}
	r.told = append(r.told, telling{sr, sr.phase.offset})
}

// Free notes a call of [Store.Free].
func (r *Record) Free(path [][]string, to int64) {
	r.entry(uint64(len(path)), entryFree)
	for _, element := range path {
		r.bytes = binary.AppendUvarint(r.bytes, uint64(len(element)))
		for _, name := range element {
			r.bytes = appendString(r.bytes, name)
		}
	}
	r.bytes = binary.AppendVarint(r.bytes, to)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}
