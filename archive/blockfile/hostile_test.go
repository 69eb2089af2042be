package blockfile

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/memstore"
)

// An invalid payload with a valid checksum loses its host's series and allocates no memory. The
// writer uses the same checks.
func TestHostileTables(t *testing.T) {
	state := memstore.HostState{Cluster: "c", Host: "h", Lanes: []memstore.LaneState{{Frequency: 1000}}}
	index, err := indexOf(state)
	ok(t, err)
	head := appendIndex(nil, &index)
	f := func(name, want string, tables ...byte) {
		t.Run(name, func(t *testing.T) {
			payload := append(bytes.Clone(head), tables...)
			b := append(write(t)[:headerSize], testMarker[:]...)
			b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
			b = binary.LittleEndian.AppendUint32(b, recordSum(b[headerSize:], payload))
			b = append(b, payload...)
			read(t, b)
			file, err := Open(withFile(t, b), path)
			ok(t, err)
			defer file.Close()
			if len(file.Hosts) != 1 {
				t.Fatalf("hosts %+v", file.Hosts)
			}
			_, err = file.Series(0)
			if got := "sound"; err != nil && !strings.Contains(err.Error(), want) || err == nil && want != got {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
	f("nothing", "number of strings")
	f("no series", "sound", 0, 0, 0)
	f("one series", "sound", 1, 1, 'm', 1, 1, 1, 1, 1, 1, 0, 1, 1)
	f("bytes after the series", "after the series", 0, 0, 0, 0)
	f("more strings than bytes", "number of strings", 0xff, 0xff, 0xff, 0x7f, 0, 0)
	f("a string longer than the record", "strings", 1, 9, 'm', 0, 0)
	f("an empty string", "length of a string", 1, 0, 0, 0)
	f("a string twice", "string occurs twice", 2, 1, 1, 'm', 'm', 0, 0)
	f("a string that is not a name", "without control characters", 1, 1, '\n', 0, 0)
	f("more devices than bytes", "number of devices", 0, 0xff, 0xff, 0xff, 0x7f, 0)
	f("a device of no string", "string of a device", 0, 1, 1, 0, 0, 0, 0)
	f("the node, again", "device occurs twice", 0, 1, 0, 0, 0, 0, 0)
	f("a device twice", "device occurs twice", 1, 1, 'm', 2, 1, 0, 0, 0, 1, 0, 0, 0, 0)
	f("more series than bytes", "number of series", 0, 0, 0xff, 0xff, 0xff, 0x7f)
	f("unknown flags", "flags", 0, 0, 1, 0x20, 0, 0)
	f("no such metric", "metric", 0, 0, 1, 0, 1, 0)
	f("no such device", "device", 0, 0, 1, 0, 0, 1)
	f("a series twice", "twice", 0, 0, 2, 0, 0, 0, 0, 0, 0)
	f("a column too high", "column", 0, 0, 1, flagColumn, 0, 0, 0x80, 0x80, 0x80, 0x08)
	f("no column skipped", "column", 0, 0, 1, flagColumn, 0, 0, 0)
	f("an offset of half a frequency", "offset", 0, 0, 1, flagOffset, 0, 0, 0xe8, 0x07)
	f("an end before the start", "expected a last slot", 0, 0, 1, flagFirst, 0, 0, 2)
	f("an unfinished varint", "last slot", 0, 0, 1, flagLast, 0, 0, 0xff)
}

// If an index is invalid although its checksum is valid, the records are read instead.
func TestHostileFooter(t *testing.T) {
	file := write(t, goldenHosts()...)
	all := parts(t, file)
	start := all[len(all)-1].start
	index := file[start+headerSize : len(file)-trailerSize]
	f := func(name, want string, change func(index []byte) []byte) {
		t.Run(name, func(t *testing.T) {
			b := append(bytes.Clone(file[:start+headerSize]), change(bytes.Clone(index))...)
			b = resummed(append(b, file[len(file)-trailerSize:]...))
			read(t, b)
			l := reopen(t, withFile(t, b), goldenHosts())
			if l.hosts+l.series+l.blocks > 0 || len(l.damage) != 1 || l.damage[0].Offset != start || !strings.Contains(l.damage[0].Error(), want) {
				t.Errorf("lost %+v, want %q", l, want)
			}
		})
	}
	another := func(b []byte) []byte {
		return appendIndex(append(b, 10), &HostIndex{Cluster: "fritz", Host: "f2"})
	}
	f("no index", "number of hosts", func([]byte) []byte { return nil })
	f("fewer hosts", "after the index", func(b []byte) []byte { b[0]--; return b })
	f("more hosts", "length of a record", func(b []byte) []byte { b[0]++; return b })
	f("more hosts than bytes", "number of hosts", func(b []byte) []byte { b[0] = 0x7f; return b })
	f("a host without a record", "expected records up to byte", func(b []byte) []byte { b[0]++; return another(b) })
	f("bytes after the index", "after the index", func(b []byte) []byte { return append(b, 0) })
	f("a record of another length", "expected records up to byte", func(b []byte) []byte { b[1]--; return b })
	f("a record too long", "expected records up to byte", func(b []byte) []byte { b[1]++; return b })
}

// A host with two records, both in the index, is read once.
func TestHostTwice(t *testing.T) {
	host := memstore.HostState{Cluster: "fritz", Host: "f1"}
	file := write(t, host)
	start := parts(t, file)[2].start
	b := append(bytes.Clone(file[:start]), file[headerSize:start]...)
	end := len(b)
	b = append(b, file[:headerSize]...)
	entry := file[start+headerSize+1 : len(file)-trailerSize]
	b = append(append(append(b, 2), entry...), entry...)
	b = append(binary.LittleEndian.AppendUint64(b, uint64(end)), 0, 0, 0, 0)
	b = resummed(append(b, trailerMagic...))
	read(t, b)
	l := reopen(t, withFile(t, b), []memstore.HostState{host})
	if l.hosts != 0 || len(l.damage) != 1 || l.damage[0].Offset != start || !strings.Contains(l.damage[0].Error(), "twice") {
		t.Errorf("lost %+v", l)
	}
}
