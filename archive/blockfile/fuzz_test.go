package blockfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/binfmt"
)

// FuzzOpen reads hostile files, with their own and with corrected checksums. The result is an error
// or valid content, never a panic, and memory is bounded by the size of the file.
func FuzzOpen(f *testing.F) {
	file := write(f, goldenHosts()...)
	f.Add(file)
	f.Add(file[:len(file)-1])
	f.Add(file[:len(file)/2])
	f.Add(write(f))
	f.Add([]byte{})
	f.Add(append(bytes.Clone(file[:headerSize]), bytes.Repeat(append(testMarker[:], 9, 0, 0, 0), 50)...))
	many := bytes.Clone(file)
	binary.LittleEndian.PutUint32(many[headerSize+markerSize:], maxPayload)
	f.Add(many)
	f.Fuzz(func(t *testing.T, b []byte) {
		read(t, b)
		read(t, resummed(b))
		read(t, resummed(append(bytes.Clone(b), 0)))
	})
}

// FuzzPayload reads hostile payloads of a record with a valid checksum.
func FuzzPayload(f *testing.F) {
	file := write(f, goldenHosts()...)
	all, err := Open(withFile(f, file), path)
	ok(f, err)
	for _, h := range all.Hosts {
		f.Add(file[h.offset+recordHead:][:h.payload])
	}
	ok(f, all.Close())
	f.Fuzz(func(t *testing.T, payload []byte) {
		b := append(write(t)[:headerSize], testMarker[:]...)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
		b = binary.LittleEndian.AppendUint32(b, recordSum(b[headerSize:], payload))
		read(t, append(b, payload...))
	})
}

// resummed returns the file with corrected checksums of its header, records and footer, as far as
// it has any.
func resummed(b []byte) []byte {
	b = bytes.Clone(b)
	sum := func(at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
	if len(b) < headerSize {
		return b
	}
	sum(headerSize1-4, binfmt.Checksum(b[:headerSize1-4]))
	sum(headerSize-4, binfmt.Checksum(b[:headerSize-4]))
	m := b[24:][:markerSize]
	for at := headerSize; at+recordHead <= len(b); at++ {
		length := int(binary.LittleEndian.Uint32(b[at+markerSize:]))
		if bytes.HasPrefix(b[at:], m) && length <= len(b)-at-recordHead {
			sum(at+markerSize+4, recordSum(b[at:], b[at+recordHead:][:length]))
		}
	}
	if end := len(b) - trailerSize; end >= headerSize {
		if offset := binary.LittleEndian.Uint64(b[end:]); offset <= uint64(end-headerSize) {
			footer := int(offset)
			sum(footer+headerSize1-4, binfmt.Checksum(b[footer:][:headerSize1-4]))
			sum(footer+headerSize-4, binfmt.Checksum(b[footer:][:headerSize-4]))
			sum(end+8, binfmt.Checksum(b[footer:end+8]))
		}
	}
	return b
}

// read reads all of a hostile file.
func read(t *testing.T, b []byte) {
	fsys := withFile(t, b)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := Open(fsys, path)
	if err != nil {
		checkError(t, err)
		return
	}
	defer f.Close()
	for i, h := range f.Hosts {
		series, err := f.Series(i)
		checkError(t, err)
		for j, l := range h.Lanes {
			if err == nil {
				checkLane(t, l, series[j])
			}
			for _, w := range l.Windows {
				block, err := f.Block(w)
				checkError(t, err)
				if err == nil && block.Header != w.Header {
					t.Fatalf("a block of %+v, want %+v", block.Header, w.Header)
				}
			}
		}
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > uint64(200*len(b))+4<<20 { // other goroutines allocate a little
		t.Fatalf("%d bytes are allocated for a file of %d", used, len(b))
	}
	rewrite(t, f, b)
}

// checkLane checks a lane against FORMAT.md.
func checkLane(t *testing.T, l LaneIndex, series []memstore.SeriesState) {
	t.Helper()
	if l.Frequency <= 0 || l.Frequency%1000 != 0 || l.Grid < 0 || l.Grid >= l.Frequency {
		t.Fatalf("a lane of frequency %d and grid %d", l.Frequency, l.Grid)
	}
	for i, w := range l.Windows {
		if w.Slots < 1 || i > 0 && w.First < l.Windows[i-1].First+int64(l.Windows[i-1].Slots) {
			t.Fatalf("windows %+v", l.Windows)
		}
	}
	for i, s := range series {
		if i > 0 && s.Column <= series[i-1].Column || s.Column >= 1<<24 || s.Offset < -l.Frequency/2 || s.Offset >= (l.Frequency+1)/2 {
			t.Fatalf("series %d is %+v", i, s)
		}
	}
}

// rewrite writes what was read. If nothing is damaged, the result must be equal.
func rewrite(t *testing.T, f *File, b []byte) {
	t.Helper()
	if len(f.Damage) > 0 {
		return
	}
	var hosts []memstore.HostState
	for i, h := range f.Hosts {
		series, err := f.Series(i)
		if err != nil {
			return
		}
		state := memstore.HostState{Cluster: h.Cluster, Host: h.Host, Number: h.Number}
		for j, l := range h.Lanes {
			lane := memstore.LaneState{Frequency: l.Frequency, Grid: l.Grid, Freed: l.Freed, Series: series[j]}
			for _, w := range l.Windows {
				block, err := f.Block(w)
				if err != nil {
					return
				}
				lane.Windows = append(lane.Windows, memstore.WindowState{Block: block, Open: w.Open})
			}
			state.Lanes = append(state.Lanes, lane)
		}
		hosts = append(hosts, state)
	}
	var out bytes.Buffer
	w, err := newWriter(&out, f.Head, f.marker)
	ok(t, err)
	added := add(t, w, hosts...)
	ok(t, w.Close())
	second, err := Open(withFile(t, out.Bytes()), path)
	ok(t, err)
	defer second.Close()
	if len(second.Damage) > 0 || len(second.Hosts) != len(f.Hosts) {
		t.Fatalf("written again it has %d hosts, want %d; %v; %x", len(second.Hosts), len(f.Hosts), second.Damage, b)
	}
	if !same(added, second.Hosts) {
		t.Fatalf("Add returned %+v, the file has %+v", added, second.Hosts)
	}
}

func checkError(t *testing.T, err error) {
	t.Helper()
	if _, isDamage := errors.AsType[*disk.DamageError](err); err != nil && !isDamage && !errors.Is(err, ErrVersion) {
		t.Fatalf("error %v is a %T", err, err)
	}
}
