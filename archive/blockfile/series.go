package blockfile

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/block"
)

// What the first byte of a series says: what is not as with the series before.
const (
	flagColumn = 1 << iota // the column is not the next one
	flagOffset
	flagFirst
	flagLast
	flagEmpty // the series has no sample, and neither a first nor a last slot

	flagsKnown = flagColumn | flagOffset | flagFirst | flagLast | flagEmpty
)

// tables writes the series tables of one host after the other.
type tables struct {
	strings map[string]uint64
	devices map[memstore.Device]uint64
	text    []byte // the strings
	lengths []byte
	device  []byte // the devices
	rows    []byte
}

// append appends the tables of a host's lanes: the strings and the devices, each
// once, and the series.
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

// reset empties the tables but for number 0 of both.
func (t *tables) reset() {
	if t.strings == nil {
		t.strings, t.devices = make(map[string]uint64), make(map[memstore.Device]uint64)
	}
	clear(t.strings)
	clear(t.devices)
	t.strings[""], t.devices[memstore.Device{}] = 0, 0
	t.text, t.lengths, t.device, t.rows = t.text[:0], t.lengths[:0], t.device[:0], t.rows[:0]
}

// add adds a series whose column would be next, and leaves in before what the
// one after it is compared with.
func (t *tables) add(s, before *memstore.SeriesState, next int64) {
	metric, device := t.stringNumber(s.Metric), t.deviceNumber(s.Device)
	flags := byte(0)
	at := len(t.rows)
	t.rows = append(t.rows, 0)
	t.rows = binary.AppendUvarint(t.rows, metric)
	t.rows = binary.AppendUvarint(t.rows, device)
	if gap := int64(s.Column) - next; gap != 0 {
		flags |= flagColumn
		t.rows = binary.AppendUvarint(t.rows, uint64(gap)) // one below 0 is refused when it is read
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

// parseTables reads the series of each lane into what room returns for so many.
// All strings share one allocation.
func parseTables(f *fields, lanes []LaneIndex, room func(n int) []memstore.SeriesState) [][]memstore.SeriesState {
	names := parseStrings(f)
	devices := parseDevices(f, names)
	all := make([][]memstore.SeriesState, len(lanes))
	for i := range lanes {
		n := f.count(3, "series")
		if f.err == nil && n > 0 {
			all[i] = room(n)
			parseSeries(f, all[i], lanes[i].Frequency, names, devices)
		}
	}
	if f.err == nil && len(f.rest) > 0 {
		f.fail("bytes behind the series")
	}
	return all
}

func parseStrings(f *fields) []string {
	lengths := make([]int, f.count(1, "strings"))
	total := 0
	for i := range lengths {
		lengths[i] = int(f.uvarint(1, maxName, "length of a string"))
		total += lengths[i]
	}
	text := string(f.take(total, "strings"))
	names := make([]string, 1, len(lengths)+1)
	for _, length := range lengths {
		if f.err != nil {
			return names
		}
		f.checkName(text[:length], "string")
		names = append(names, text[:length])
		text = text[length:]
	}
	if !distinct(slices.Clone(names)) {
		f.fail("a string twice")
	}
	return names
}

func parseDevices(f *fields, names []string) []memstore.Device {
	devices := make([]memstore.Device, f.count(4, "devices")+1)
	there := make(map[memstore.Device]struct{}, len(devices))
	there[memstore.Device{}] = struct{}{}
	for i := range devices[1:] {
		d := &devices[i+1]
		for _, s := range [...]*string{&d.Type, &d.TypeID, &d.Subtype, &d.SubtypeID} {
			*s = names[f.uvarint(0, uint64(len(names)-1), "string of a device")]
		}
		there[*d] = struct{}{}
	}
	if f.err == nil && len(there) < len(devices) {
		f.fail("a device twice")
	}
	return devices
}

// distinct sorts some things and tells if no two are the same.
func distinct[T cmp.Ordered](all []T) bool {
	slices.Sort(all)
	return len(slices.Compact(all)) == len(all)
}

func parseSeries(f *fields, all []memstore.SeriesState, frequency int64, names []string, devices []memstore.Device) {
	most := mostSlot(frequency)
	keys := make([]uint64, len(all)) // metric and device
	var offset, first, last int64
	column := uint64(0) // the next one
	for i := range all {
		flags := f.byte("flags")
		metric := f.uvarint(0, uint64(len(names)-1), "metric")
		device := f.uvarint(0, uint64(len(devices)-1), "device")
		keys[i] = metric<<32 | device
		if flags&flagColumn != 0 {
			column += f.uvarint(1, block.MaxColumns, "column")
		}
		if flags&flagOffset != 0 {
			offset += f.varint(-frequency, frequency, "offset")
		}
		if flags&flagFirst != 0 {
			first += f.varint(-2*most, 2*most, "first slot of a series")
		}
		if flags&flagLast != 0 {
			last += f.varint(-2*most, 2*most, "last slot of a series")
		}
		switch {
		case flags&^flagsKnown != 0:
			f.fail("flags %#x are not known", flags&^flagsKnown)
		case column >= block.MaxColumns:
			f.fail("column %d", column)
		case offset < -frequency/2 || offset >= frequency/2:
			f.fail("an offset of %d ms", offset)
		case min(first, last) < -most || max(first, last) > most:
			f.fail("slots %d and %d of a series", first, last)
		case flags&flagEmpty == 0 && last < first:
			f.fail("a series ends before it begins")
		}
		if f.err != nil {
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
	if !distinct(keys) {
		f.fail("a series twice")
	}
}
