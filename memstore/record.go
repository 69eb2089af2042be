package memstore

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Record lists what batches changed, in bytes that [Restorer.Record] applies again: series and the
// slots that samples went to, so that a replay repeats no decision. The zero Record is ready to
// use, by one goroutine at a time. FORMAT.md describes the bytes.
type Record struct {
	bytes   []byte
	lane    *lane // of the run
	slot    int64 // of the run
	seconds int64 // between two slots of the run; 0: no run has begun
	places  []loggedPlace
}

// loggedPlace is the place of a series that a record contains.
type loggedPlace struct {
	series *Series
	offset int64
}

// Each entry of a record begins with uvarint x<<entryBits | entry.
const (
	entryBits = 4
	entryMask = 1<<entryBits - 1

	entryValue  = 8  // and below: x is the column, the entry how many bytes of the value follow
	entryRun    = 9  // x is a host; frequency and slot follow
	entrySame   = 10 // x is a host; frequency and slot are those of the previous run
	entryHost   = 11 // x is a host; its names follow
	entrySeries = 12 // x is a host; the place of a series of it follows
	entryFree   = 13 // x is the number of elements of the path; they and the time follow
)

// Bytes returns the record, which is empty if nothing changed. The slice is valid until Reset.
func (r *Record) Bytes() []byte { return r.bytes }

// Reset empties r.
func (r *Record) Reset() {
	clear(r.places)
	*r = Record{bytes: r.bytes[:0], places: r.places[:0]}
}

// Commit reports that the record is stored durably. Later records need not repeat the places of its
// series.
func (r *Record) Commit() {
	for _, t := range r.places {
		h := t.series.lane.host
		h.mu.Lock()
		h.unlogged = false
		if t.series.phase.offset == t.offset {
			t.series.phase.unlogged = false
		}
		h.mu.Unlock()
	}
	clear(r.places)
	r.places = r.places[:0]
}

// begin starts a run for the samples that follow, unless they belong to the current one. sr is the
// series of the first sample; its host is locked.
func (r *Record) begin(sr *Series, slot int64) {
	if sr.phase.unlogged {
		r.logPlace(sr)
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

// sample appends a value of the run without its trailing zero bytes, which are most of the bytes of
// a small integer.
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

// logPlace appends the place of a series and, if necessary, the names of its host.
func (r *Record) logPlace(sr *Series) {
	h, l, d := sr.lane.host, sr.lane, sr.level.device
	if h.unlogged {
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
	r.places = append(r.places, loggedPlace{sr, sr.phase.offset})
}

// Free appends a call of [Store.Free].
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
