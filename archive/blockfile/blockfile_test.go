package blockfile

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/block"
)

// Everything written is read back, by the index and by a scan.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		hosts := randomHosts(r, r.IntN(6))
		file := write(t, hosts...)
		if l := reopen(t, withFile(t, file), hosts); l.hosts+l.series+l.blocks+len(l.damage) > 0 {
			t.Fatalf("lost %+v", l)
		}
		l := reopen(t, withFile(t, file[:len(file)-1]), hosts)
		if l.hosts+l.series+l.blocks > 0 || len(l.damage) != 1 {
			t.Fatalf("lost %+v without the footer", l)
		}
	}
}

// Add returns the index that Open reads, so that a file need not be reopened for it.
func TestAddReturnsIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 100 {
		var b bytes.Buffer
		w, err := newWriter(&b, testHead, testMarker)
		ok(t, err)
		added := add(t, w, randomHosts(r, r.IntN(6))...)
		ok(t, w.Close())
		f, err := Open(withFile(t, b.Bytes()), path)
		ok(t, err)
		if !same(added, f.Hosts) {
			t.Fatalf("Add returned %+v, want %+v", added, f.Hosts)
		}
		ok(t, f.Close())
	}
}

// Files of the same state have different markers.
func TestMarkerIsRandom(t *testing.T) {
	var files [2]bytes.Buffer
	for i := range files {
		w, err := NewWriter(&files[i], testHead)
		ok(t, err)
		ok(t, w.Close())
	}
	if bytes.Equal(files[0].Bytes(), files[1].Bytes()) {
		t.Error("two files with one marker")
	}
}

// A host that could not be read back is refused, and the file does not change.
func TestWriterRefuses(t *testing.T) {
	f := func(name, want string, change func(h *memstore.HostState)) {
		t.Run(name, func(t *testing.T) {
			sound, bad := exampleHost(), exampleHost()
			bad.Host = "bad"
			change(&bad)
			var b bytes.Buffer
			w, err := newWriter(&b, testHead, testMarker)
			ok(t, err)
			add(t, w, sound)
			_, err = w.Add(bad)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got error %v, want %q", err, want)
			}
			ok(t, w.Close())
			if !bytes.Equal(b.Bytes(), write(t, sound)) {
				t.Error("the refused host has changed the file")
			}
		})
	}
	f("no cluster", "cluster", func(h *memstore.HostState) { h.Cluster = "" })
	f("a host that leaves the directory", "host", func(h *memstore.HostState) { h.Host = ".." })
	f("a host with a slash", "host", func(h *memstore.HostState) { h.Host = "a/b" })
	f("a host with a backslash", "host", func(h *memstore.HostState) { h.Host = `a\b` })
	f("a host that is not UTF-8", "host", func(h *memstore.HostState) { h.Host = "\xff" })
	f("a host with a newline", "host", func(h *memstore.HostState) { h.Host = "a\nb" })
	f("a host too long", "host", func(h *memstore.HostState) { h.Host = strings.Repeat("h", 1<<16) })
	f("a host twice", "before", func(h *memstore.HostState) { h.Host = exampleHost().Host })
	f("a metric too long", "string", func(h *memstore.HostState) { h.Lanes[0].Series[0].Metric = strings.Repeat("m", 1<<16) })
	f("a device with a control character", "string", func(h *memstore.HostState) { h.Lanes[0].Series[0].Device.TypeID = "\x00" })
	f("a frequency of half a second", "frequency", func(h *memstore.HostState) { *h = bare(500, 0) })
	f("a frequency of 1.5 s", "frequency", func(h *memstore.HostState) { *h = bare(1500, 0) })
	f("a negative frequency", "frequency", func(h *memstore.HostState) { *h = bare(-1000, 0) })
	f("a grid of a frequency", "grid", func(h *memstore.HostState) { *h = bare(1000, 1000) })
	f("a negative grid", "grid", func(h *memstore.HostState) { *h = bare(1000, -1) })
	f("two lanes of one frequency", "two lanes", func(h *memstore.HostState) { h.Lanes = append(h.Lanes, h.Lanes[0]) })
	f("no block", "without a block", func(h *memstore.HostState) { h.Lanes[0].Windows[0].Block = nil })
	f("a block of another lane", "grid", func(h *memstore.HostState) { h.Lanes[0].Grid++ })
	f("windows that overlap", "overlap", func(h *memstore.HostState) { h.Lanes[0].Windows = append(h.Lanes[0].Windows, h.Lanes[0].Windows[0]) })
	f("a column twice", "column", func(h *memstore.HostState) { h.Lanes[0].Series[1].Column = h.Lanes[0].Series[0].Column })
	f("columns that descend", "column", func(h *memstore.HostState) { h.Lanes[0].Series[0].Column = 100 })
	f("a series twice", "twice", func(h *memstore.HostState) {
		h.Lanes[0].Series[0].Metric, h.Lanes[0].Series[0].Device = "clock", h.Lanes[0].Series[1].Device
	})
	f("a column too high", "column", func(h *memstore.HostState) { h.Lanes[0].Series[2].Column = block.MaxColumns })
	f("an offset of half a frequency", "offset", func(h *memstore.HostState) { h.Lanes[0].Series[0].Offset = 30_000 })
	f("an offset below minus half a frequency", "offset", func(h *memstore.HostState) { h.Lanes[0].Series[0].Offset = -30_001 })
	f("a first slot too early", "slot", func(h *memstore.HostState) { h.Lanes[0].Series[0].First = math.MinInt64 })
	f("a last slot too late", "slot", func(h *memstore.HostState) { h.Lanes[0].Series[0].Last = math.MaxInt64 })
	f("freed slots too early", "freed", func(h *memstore.HostState) { h.Lanes[0].Freed[0].First = math.MinInt64 })
	f("a negative number of freed slots", "freed", func(h *memstore.HostState) { h.Lanes[0].Freed[0].Slots = -1 })
}

// bare is a host of a lane without anything in it.
func bare(frequency, grid int64) memstore.HostState {
	return memstore.HostState{Cluster: "c", Host: "bad", Lanes: []memstore.LaneState{{Frequency: frequency, Grid: grid}}}
}

func TestWriterRefusesKind(t *testing.T) {
	for _, kind := range []Kind{0, 3} {
		if _, err := NewWriter(new(bytes.Buffer), Head{Kind: kind}); err == nil {
			t.Errorf("a file of %v", kind)
		}
	}
}

// After a failed write every call fails, and after Close every Add.
func TestWriterIsDone(t *testing.T) {
	full := errors.New("the disk is full")
	size := len(write(t, exampleHost()))
	for room := range size {
		w, err := newWriter(&limited{room, full}, testHead, testMarker)
		if err == nil {
			_, err = w.Add(exampleHost())
		}
		if err == nil {
			err = w.Close()
		}
		if !errors.Is(err, full) {
			t.Fatalf("error %v with room for %d bytes of %d", err, room, size)
		}
		if _, err := w.Add(exampleHost()); !errors.Is(err, full) {
			t.Fatalf("Add after an error: %v", err)
		}
		if err := w.Close(); !errors.Is(err, full) {
			t.Fatalf("Close after an error: %v", err)
		}
	}
	w, err := NewWriter(new(bytes.Buffer), testHead)
	ok(t, err)
	ok(t, w.Close())
	if _, err := w.Add(exampleHost()); err == nil {
		t.Error("a closed writer accepts a host")
	}
}

// limited is a writer with room for some bytes.
type limited struct {
	room int
	err  error
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.room)
	l.room -= n
	if n < len(b) {
		return n, l.err
	}
	return n, nil
}

func TestVerify(t *testing.T) {
	hosts := randomHosts(rand.New(rand.NewPCG(3, 3)), 5)
	want := Summary{Head: testHead, Hosts: 5}
	for _, h := range hosts {
		for _, l := range h.Lanes {
			want.Series += len(l.Series)
			want.Blocks += len(l.Windows)
			for _, w := range l.Windows {
				want.Values += samples(t, w.Block)
			}
		}
	}
	fsys := withFile(t, write(t, hosts...))
	before := content(t, fsys)
	got, err := Verify(t.Context(), fsys, path, nil)
	ok(t, err)
	if len(got.Damage) > 0 || got.Head != want.Head || got.Hosts != want.Hosts || got.Series != want.Series || got.Blocks != want.Blocks || got.Values != want.Values || want.Values == 0 {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !bytes.Equal(content(t, fsys), before) {
		t.Error("the file has changed")
	}
}

func TestCloseTwice(t *testing.T) {
	f, err := Open(withFile(t, write(t, exampleHost())), path)
	ok(t, err)
	ok(t, f.Close())
	ok(t, f.Close())
}
