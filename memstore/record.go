package memstore

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// Record lists what batches changed, in bytes that [Restorer.Record] applies again: series and the
// slots that samples went to, so that a replay repeats no decision. The zero Record is ready to
// use, by one goroutine at a time. FORMAT.md describes the bytes.
type Record struct {
	bytes   []byte
	lane    *lane // of the run
	slot    int64 // of the run
	seconds int64 // between two slots of the run; 0: no run has begun
	era     era
	origin  Origin // of the samples
	logged  Origin // that the record contains
	places  []loggedPlace
	before  SeriesState // the place before the next one
	spacing spacing     // of that place
}

// era identifies a segment of the journal. The first record of a series in a segment contains the
// place of the series, so that each segment can be replayed without the others. Numbers repeat
// after 65535 segments, by when a series without samples has left the store.
type era uint16

// spacing is the distance of a lane's slots and their position, in milliseconds.
type spacing struct{ frequency, grid int64 }

// Begin empties r and says which segment of the journal it is for, and which message of a stream
// the samples come from.
func (r *Record) Begin(segment uint64, from Origin) {
	r.Reset()
	r.era, r.origin = eraOf(segment), from
}

func eraOf(segment uint64) era { return era(segment%math.MaxUint16) + 1 } // 0: none

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
	entrySeries = 12 // x is a host; the place of a series of it follows; no longer written
	entryFree   = 13 // x is the number of elements of the path; they and the time follow; no longer written
	entryPlace  = 14 // x is a host; the differences from the place before follow
	entryOther  = 15 // x is one of the following
)

const (
	otherAfresh   = 0 // the next place has no place before it
	otherFree     = 1 // a call of free begins: its path, time and run follow
	otherFreeLane = 2 // a lane of the call of free follows
	otherFreeEnd  = 3 // the call of free ends; the number of its lanes follows
	otherOrigin   = 4 // the following samples come from a message of a stream, which follows
	otherWritten  = 5 // the message wrote to columns of the run's slot, which follow
	otherNewer    = 6 // messages before that one only fill empty slots of the run's lane
)

// The first byte of a place says which fields differ from the place before. The initial values are
// zero; the initial column is -1.
const (
	placeColumn    = 1 << iota // is not the next one
	placeSpacing               // frequency and grid
	placeOffset                // of the samples from the slot times
	placeMetric                // and so on for the five strings
	placeType      = placeMetric << 1
	placeTypeID    = placeMetric << 2
	placeSubtype   = placeMetric << 3
	placeSubtypeID = placeMetric << 4
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
		h.logged = r.era
		if t.series.phase.offset == t.offset {
			t.series.phase.logged = r.era
		}
		h.mu.Unlock()
	}
	clear(r.places)
	r.places = r.places[:0]
}

// begin starts a run for the samples that follow, unless they belong to the current one. sr is the
// series of the first sample; its host is locked.
func (r *Record) begin(sr *Series, slot int64) {
	if sr.phase.logged != r.era {
		r.logPlace(sr)
	}
	l := sr.lane
	if r.origin != r.logged {
		r.logOrigin(r.origin)
	}
	if l == r.lane && slot == r.slot {
		return
	}
	r.beginRun(l, slot)
}

// beginRun starts a run of a lane.
func (r *Record) beginRun(l *lane, slot int64) {
	seconds := l.frequency / 1000
	if seconds == r.seconds && slot == r.slot {
		r.entry(uint64(l.host.number), entrySame)
	} else {
		r.entry(uint64(l.host.number), entryRun)
		r.bytes = binary.AppendUvarint(r.bytes, uint64(seconds))
		r.bytes = binary.AppendVarint(r.bytes, slot-r.slot)
	}
	r.lane, r.slot, r.seconds = l, slot, seconds
}

// logOrigin says that what follows comes from a message.
func (r *Record) logOrigin(o Origin) {
	r.entry(otherOrigin, entryOther)
	r.bytes = binary.LittleEndian.AppendUint64(r.bytes, o.Stream)
	r.bytes = binary.AppendUvarint(r.bytes, o.Sequence)
	r.logged = o
}

// written appends that a message wrote to columns of a slot, with their places.
func (r *Record) written(l *lane, run writtenRun, columns []uint32) {
	columns = slices.DeleteFunc(slices.Clone(columns), func(c uint32) bool { return !l.has(c) })
	if len(columns) == 0 {
		return
	}
	r.logHost(l.host)
	for _, c := range columns {
		r.logPlaceOf(l.columns[c])
	}
	r.beginOrigin(l, run.slot, run.Origin)
	r.entry(otherWritten, entryOther)
	r.bytes = binary.AppendUvarint(r.bytes, uint64(len(columns)))
	for _, c := range columns {
		r.bytes = binary.AppendUvarint(r.bytes, uint64(c))
	}
}

// forgotten appends that messages before o only fill empty slots of a lane.
func (r *Record) forgotten(l *lane, o Origin) {
	for _, sr := range l.columns {
		if sr != nil { // its place gives the lane its grid
			r.logHost(l.host)
			r.logPlaceOf(sr)
			r.beginOrigin(l, r.slot, o)
			r.entry(otherNewer, entryOther)
			return
		}
	}
}

func (r *Record) beginOrigin(l *lane, slot int64, o Origin) {
	if o != r.logged {
		r.logOrigin(o)
	}
	if l != r.lane || slot != r.slot {
		r.beginRun(l, slot)
	}
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
	h := sr.lane.host
	if last := len(r.places) - 1; h.logged != r.era && (last < 0 || r.places[last].series.lane.host != h) {
		r.logHost(h)
	}
	at := r.logPlaceOf(sr)
	r.places = append(r.places, loggedPlace{sr, at.Offset})
}

func (r *Record) logHost(h *host) {
	r.entry(uint64(h.number), entryHost)
	r.bytes = appendString(r.bytes, h.cluster)
	r.bytes = appendString(r.bytes, h.name)
}

func (r *Record) logPlaceOf(sr *Series) SeriesState {
	l := sr.lane
	r.entry(uint64(l.host.number), entryPlace)
	at := SeriesState{Column: sr.column, Metric: sr.metric.Name, Device: sr.level.device, Offset: sr.phase.offset}
	r.place(at, spacing{l.frequency, l.grid})
	return at
}

// place appends the differences of a place from the place before.
func (r *Record) place(at SeriesState, spaced spacing) {
	before := &r.before
	next := before.Column
	if r.spacing != (spacing{}) {
		next++
	}
	flags, begin := byte(0), len(r.bytes)
	r.bytes = append(r.bytes, 0)
	if at.Column != next {
		flags |= placeColumn
		r.bytes = binary.AppendUvarint(r.bytes, uint64(at.Column))
	}
	if spaced != r.spacing {
		flags |= placeSpacing
		r.bytes = binary.AppendUvarint(r.bytes, uint64(spaced.frequency/1000))
		r.bytes = binary.AppendUvarint(r.bytes, uint64(spaced.grid))
	}
	if at.Offset != before.Offset {
		flags |= placeOffset
		r.bytes = binary.AppendVarint(r.bytes, at.Offset)
	}
	was := before.names()
	for i, name := range at.names() {
		if *name != *was[i] {
			flags |= placeMetric << i
			r.bytes = appendString(r.bytes, *name)
		}
	}
	r.bytes[begin] = flags
	*before, r.spacing = at, spaced
}

// names returns the strings of a place, in the order of their flags.
func (s *SeriesState) names() [5]*string {
	return [...]*string{&s.Metric, &s.Device.Type, &s.Device.TypeID, &s.Device.Subtype, &s.Device.SubtypeID}
}

// Move makes r, which holds the samples of a batch, a record for another segment of the journal: it
// gets the places of all series of the batch.
func (r *Record) Move(segment uint64, batch []Sample) {
	samples := r.bytes
	clear(r.places)
	*r = Record{era: eraOf(segment), places: r.places[:0]}
	for i := range batch {
		sr := batch[i].Series
		if i > 0 && sr == batch[i-1].Series {
			continue
		}
		h := sr.lane.host
		h.mu.Lock()
		if sr = sr.moved(); sr != nil && sr.phase.hasOffset && sr.phase.logged != r.era {
			r.logPlace(sr)
		}
		h.mu.Unlock()
	}
	r.entry(otherAfresh, entryOther)
	r.bytes = append(r.bytes, samples...)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}
