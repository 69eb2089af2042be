package blockfile

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/binfmt"
	"github.com/ringstore/ringstore/memstore/block"
)

// The first byte of a series says which fields differ from those of the previous series.
const (
	flagColumn = 1 << iota // the column is not the next one
	flagOffset
	flagFirst
	flagLast
	flagEmpty // the series has no sample, and so neither a first nor a last slot

	flagsKnown = flagColumn | flagOffset | flagFirst | flagLast | flagEmpty
)

// tables encodes the series tables of a host. It is reused for the next host.
type tables struct {
	strings map[string]uint64
	devices map[memstore.Device]uint64
	text    []byte // the strings
	lengths []byte
	device  []byte // the devices
	rows    []byte
}

// append appends the tables of a host's lanes: the distinct strings and devices, and the series.
func (t *tables) append(dst []byte, lanes []memstore.LaneState) []byte {
	t.reset()
	for _, l := range lanes {
		t.rows = binary.AppendUvarint(t.rows, uint64(len(l.Series)))
		var before memstore.SeriesState
		next := int64(0)
		for i := range l.Series {
			s := &l.Series[i]
			t.add(s, &before, next)
			next = int64(s.Column) + 1
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(t.strings)-1))
	dst = append(append(dst, t.lengths...), t.text...)
	dst = binary.AppendUvarint(dst, uint64(len(t.devices)-1))
	dst = append(dst, t.device...)
	return append(dst, t.rows...)
}

// reset empties the tables except for string 0 and device 0.
func (t *tables) reset() {
	if t.strings == nil {
		t.strings, t.devices = make(map[string]uint64), make(map[memstore.Device]uint64)
	}
	clear(t.strings)
	clear(t.devices)
	t.strings[""], t.devices[memstore.Device{}] = 0, 0
	t.text, t.lengths, t.device, t.rows = t.text[:0], t.lengths[:0], t.device[:0], t.rows[:0]
}

// add adds a series, encoded relative to before, the previous one, and to next, the column after
// that one's. It updates before.
func (t *tables) add(s, before *memstore.SeriesState, next int64) {
	metric, device := t.stringNumber(s.Metric), t.deviceNumber(s.Device)
	flags := byte(0)
	at := len(t.rows)
	t.rows = append(t.rows, 0)
	t.rows = binary.AppendUvarint(t.rows, metric)
	t.rows = binary.AppendUvarint(t.rows, device)
	if gap := int64(s.Column) - next; gap != 0 {
		flags |= flagColumn
		t.rows = binary.AppendUvarint(t.rows, uint64(gap)) // the reader rejects a negative gap
	}
	relative := func(flag byte, v int64, before *int64) {
		if v != *before {
			flags |= flag
			t.rows = binary.AppendVarint(t.rows, v-*before)
			*before = v
		}
	}
	relative(flagOffset, s.Offset, &before.Offset)
	if s.Last < s.First {
		flags |= flagEmpty
	} else {
		relative(flagFirst, s.First, &before.First)
		relative(flagLast, s.Last, &before.Last)
	}
	t.rows[at] = flags
}

func (t *tables) stringNumber(s string) uint64 {
	n, ok := t.strings[s]
	if !ok {
		n = uint64(len(t.strings))
		t.strings[s] = n
		t.lengths = binary.AppendUvarint(t.lengths, uint64(len(s)))
		t.text = append(t.text, s...)
	}
	return n
}

func (t *tables) deviceNumber(d memstore.Device) uint64 {
	n, ok := t.devices[d]
	if !ok {
		n = uint64(len(t.devices))
		t.devices[d] = n
		for _, s := range [...]string{d.Type, d.TypeID, d.Subtype, d.SubtypeID} {
			t.device = binary.AppendUvarint(t.device, t.stringNumber(s))
		}
	}
	return n
}

// parseTables reads the series of each lane into the memory that alloc returns for n of them. All
// strings share one allocation.
func parseTables(r *binfmt.Reader, lanes []LaneIndex, alloc func(n int) []memstore.SeriesState) [][]memstore.SeriesState {
	names := parseStrings(r)
	devices := parseDevices(r, names)
	all := make([][]memstore.SeriesState, len(lanes))
	for i := range lanes {
		if n := r.Count(3, "series"); n > 0 {
			all[i] = alloc(n)
			parseSeries(r, all[i], lanes[i].Frequency, names, devices)
		}
	}
	r.Finish("series")
	return all
}

func parseStrings(r *binfmt.Reader) []string {
	lengths := make([]int, r.Count(1, "strings"))
	total := 0
	for i := range lengths {
		lengths[i] = int(r.Uvarint(1, maxName, "length of a string"))
		total += lengths[i]
	}
	text := string(r.Take(total, "strings"))
	names := make([]string, 1, len(lengths)+1)
	for _, length := range lengths {
		if r.Err() != nil {
			return names
		}
		checkName(r, text[:length], "string")
		names = append(names, text[:length])
		text = text[length:]
	}
	if r.Err() == nil && !areDistinct(slices.Clone(names)) {
		r.Fail("a string occurs twice")
	}
	return names
}

func parseDevices(r *binfmt.Reader, names []string) []memstore.Device {
	devices := make([]memstore.Device, r.Count(4, "devices")+1)
	seen := make(map[memstore.Device]struct{}, len(devices))
	seen[memstore.Device{}] = struct{}{}
	for i := range devices[1:] {
		d := &devices[i+1]
		for _, s := range [...]*string{&d.Type, &d.TypeID, &d.Subtype, &d.SubtypeID} {
			*s = names[r.Uvarint(0, uint64(len(names)-1), "string of a device")]
		}
		seen[*d] = struct{}{}
	}
	if len(seen) < len(devices) {
		r.Fail("a device occurs twice")
	}
	return devices
}

// areDistinct sorts values and reports whether no two are equal.
func areDistinct[T cmp.Ordered](all []T) bool {
	slices.Sort(all)
	return len(slices.Compact(all)) == len(all)
}

func parseSeries(r *binfmt.Reader, all []memstore.SeriesState, frequency int64, names []string, devices []memstore.Device) {
	limit := maxSlot(frequency)
	keys := make([]uint64, len(all)) // metric and device
	var offset, first, last int64
	column := uint64(0) // the next one
	for i := range all {
		flags := r.Byte("flags")
		metric := r.Uvarint(0, uint64(len(names)-1), "metric")
		device := r.Uvarint(0, uint64(len(devices)-1), "device")
		keys[i] = metric<<32 | device
		if flags&flagColumn != 0 {
			column += r.Uvarint(1, block.MaxColumns, "column")
		}
		if flags&flagOffset != 0 {
			offset += r.Varint(-frequency, frequency, "offset")
		}
		if flags&flagFirst != 0 {
			first += r.Varint(-2*limit, 2*limit, "first slot of a series")
		}
		if flags&flagLast != 0 {
			last += r.Varint(-2*limit, 2*limit, "last slot of a series")
		}
		switch {
		case flags&^flagsKnown != 0:
			r.Fail("unknown flags %#x", flags&^flagsKnown)
		case column >= block.MaxColumns:
			r.Fail("column: expected less than %d, got %d", block.MaxColumns, column)
		case offset < -frequency/2 || offset >= frequency/2:
			r.Fail("offset: expected at most half of the frequency %d, got %d ms", frequency, offset)
		case min(first, last) < -limit || max(first, last) > limit:
			r.Fail("series: expected slots within %d to %d, got %d to %d", -limit, limit, first, last)
		case flags&flagEmpty == 0 && last < first:
			r.Fail("series: expected a last slot of %d or later, got %d", first, last)
		}
		if r.Err() != nil {
			return
		}
		all[i] = memstore.SeriesState{
			Column: uint32(column), Metric: names[metric], Device: devices[device],
			Offset: offset, First: first, Last: last,
		}
		if flags&flagEmpty != 0 {
			all[i].First, all[i].Last = math.MaxInt64, math.MinInt64
		}
		column++
	}
	if !areDistinct(keys) {
		r.Fail("a series occurs twice")
	}
}
