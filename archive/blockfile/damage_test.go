package blockfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/binfmt"
	"github.com/ringstore/ringstore/memstore/block"
)

// part is a part of a file.
type part struct {
	name       string
	start, end int64
}

// parts returns the parts of a file, in order.
func parts(t testing.TB, file []byte) []part {
	t.Helper()
	f, err := Open(withFile(t, file), path)
	ok(t, err)
	defer f.Close()
	all := []part{{"header", 0, headerSize}}
	for _, h := range f.Hosts {
		all = append(all, part{"head", h.offset, h.offset + recordHead + int64(h.payload)})
		for _, l := range h.Lanes {
			for _, w := range l.Windows {
				all = append(all, part{"block", w.Offset, w.Offset + int64(w.Length)})
			}
		}
	}
	end := all[len(all)-1].end
	return append(all, part{"footer", end, int64(len(file))})
}

// A flipped bit in a record's head loses the host's series, one in a block loses the block, and any
// other loses nothing. All are reported.
func TestFlippedBitAtEveryByte(t *testing.T) {
	file := write(t, goldenHosts()...)
	fsys := withFile(t, file)
	for _, p := range parts(t, file) {
		for at := p.start; at < p.end; at++ {
			damaged := bytes.Clone(file)
			damaged[at] ^= 1 << (at % 8)
			put(t, fsys, damaged)
			l := reopen(t, fsys, goldenHosts())
			want := map[string]lost{"header": {}, "head": {series: 1}, "block": {blocks: 1}, "footer": {}}[p.name]
			if l.hosts != 0 || l.series != want.series || l.blocks != want.blocks || len(l.damage) != 1 || l.damage[0].Offset != p.start {
				t.Fatalf("byte %d in the %s at %d: lost %+v", at, p.name, p.start, l)
			}
			s, err := Verify(t.Context(), fsys, path, nil)
			if err != nil || len(s.Damage) != 1 || s.Damage[0].Offset != p.start {
				t.Fatalf("byte %d in the %s at %d: verified %+v, %v", at, p.name, p.start, s, err)
			}
		}
	}
}

// Without the footer, a flipped bit loses the host or the block that contains it.
func TestFlippedBitWithoutFooter(t *testing.T) {
	file := write(t, goldenHosts()...)
	all := parts(t, file)
	file = file[:all[len(all)-1].start]
	fsys := withFile(t, file)
	for i, p := range all[1 : len(all)-1] {
		for at := p.start; at < p.end; at++ {
			damaged := bytes.Clone(file)
			damaged[at] ^= 1 << (at % 8)
			put(t, fsys, damaged)
			l := reopen(t, fsys, goldenHosts())
			damage := 2
			if i == len(all)-3 { // the last record
				damage = 1
			}
			want := map[string]lost{"head": {hosts: 1}, "block": {blocks: 1}}[p.name]
			if l.hosts != want.hosts || l.series != 0 || l.blocks != want.blocks || len(l.damage) != damage ||
				!slices.ContainsFunc(l.damage, func(d *disk.DamageError) bool { return d.Offset == p.start }) {
				t.Fatalf("byte %d in the %s at %d: lost %+v", at, p.name, p.start, l)
			}
		}
	}
}

// A truncated file keeps the hosts and blocks before the cut.
func TestTruncationAtEveryByte(t *testing.T) {
	file := write(t, goldenHosts()...)
	all := parts(t, file)
	fsys := withFile(t, file)
	for size := range int64(len(file)) {
		put(t, fsys, file[:size])
		f, err := Open(fsys, path)
		if size < headerSize {
			if _, isDamage := errors.AsType[*disk.DamageError](err); !isDamage {
				t.Fatalf("%d bytes: error %v", size, err)
			}
			continue
		}
		ok(t, err)
		l := compare(t, f, goldenHosts())
		ok(t, f.Close())
		var want lost
		headLost := false
		for _, p := range all {
			switch {
			case p.name == "head":
				if headLost = p.end > size; headLost {
					want.hosts++
				}
			case p.name == "block" && p.end > size && !headLost:
				want.blocks++
			}
		}
		if l.hosts != want.hosts || l.series != 0 || l.blocks != want.blocks || len(l.damage) == 0 {
			t.Fatalf("%d bytes: lost %+v, want %+v", size, l, want)
		}
	}
}

func TestDamage(t *testing.T) {
	file := write(t, goldenHosts()...)
	all := parts(t, file)
	second := all[4]
	if second.name != "head" {
		t.Fatalf("%+v", all)
	}
	footer := all[len(all)-1].start
	f := func(name string, damage func(b []byte) []byte, want lost, offsets ...int64) {
		t.Run(name, func(t *testing.T) {
			l := reopen(t, withFile(t, damage(bytes.Clone(file))), goldenHosts())
			var got []int64
			for _, d := range l.damage {
				got = append(got, d.Offset)
			}
			if l.hosts != want.hosts || l.series != want.series || l.blocks != want.blocks || !slices.Equal(got, offsets) {
				t.Errorf("lost %+v at %d, want %+v at %d", l, got, want, offsets)
			}
		})
	}
	f("nothing", func(b []byte) []byte { return b }, lost{})
	f("a header of zeros", func(b []byte) []byte { clear(b[:headerSize]); return b }, lost{}, 0)
	f("no footer", func(b []byte) []byte { return b[:footer] }, lost{}, footer)
	f("no trailer", func(b []byte) []byte { return b[:len(b)-trailerSize] }, lost{}, footer)
	f("a trailer that points to itself", func(b []byte) []byte {
		binary.LittleEndian.PutUint64(b[len(b)-trailerSize:], uint64(len(b)-trailerSize))
		return b
	}, lost{}, footer)
	f("a trailer that points far away", func(b []byte) []byte {
		binary.LittleEndian.PutUint64(b[len(b)-trailerSize:], math.MaxUint64)
		return b
	}, lost{}, footer)
	f("bytes after the end", func(b []byte) []byte { return append(b, "more"...) }, lost{}, footer)
	f("a record of zeros", func(b []byte) []byte { clear(b[second.start:second.end]); return b }, lost{series: 1}, second.start)
	f("a record of zeros and no footer", func(b []byte) []byte {
		clear(b[second.start:second.end])
		return b[:footer]
	}, lost{hosts: 1}, second.start, footer)
	f("a record twice", func(b []byte) []byte {
		record := b[headerSize:second.start]
		return slices.Insert(b, int(second.start), record...)
	}, lost{}, second.start, footer+second.start-headerSize)
	f("bytes inserted", func(b []byte) []byte { return slices.Insert(b, int(second.start), []byte("something else")...) }, lost{}, second.start, footer+14)
	f("a record removed", func(b []byte) []byte { return slices.Delete(b, headerSize, int(second.start)) }, lost{hosts: 1}, footer-second.start+headerSize)
	f("the footer of another file", func(b []byte) []byte {
		return append(b, otherFile(t)...)
	}, lost{}, footer)
}

// otherFile returns a file with another marker and another host.
func otherFile(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := newWriter(&b, testHead, marker([]byte("another!")))
	ok(t, err)
	h := exampleHost()
	h.Host = "planted"
	add(t, w, h)
	ok(t, w.Close())
	return b.Bytes()
}

// A record in the values of a block, or a marker in a name, is not read as a record.
func TestPlantedRecord(t *testing.T) {
	planted := otherFile(t)
	victim := exampleHost()
	victim.Lanes = victim.Lanes[:1]
	lane := &victim.Lanes[0]
	lane.Windows = []memstore.WindowState{{Block: plant(t, lane, planted)}}
	lane.Series[1].Device.TypeID = "letters!" + strings.Repeat("letters!", 10)
	other := exampleHost()
	other.Host = "other"
	var b bytes.Buffer
	w, err := newWriter(&b, testHead, marker([]byte("letters!")))
	ok(t, err)
	add(t, w, victim, other)
	ok(t, w.Close())
	file := b.Bytes()
	file[headerSize+12]++ // makes the reader search the blocks and names for the next record
	file = file[:len(file)-1]
	l := reopen(t, withFile(t, file), []memstore.HostState{victim, other})
	if l.hosts != 1 || l.series+l.blocks > 0 || len(l.damage) != 2 || l.damage[0].Offset != headerSize {
		t.Errorf("lost %+v, want only the damaged host", l)
	}
}

// plant returns a block that contains the given bytes unchanged. An attacker achieves that by
// sending them as values among others that do not compress.
func plant(t testing.TB, l *memstore.LaneState, b []byte) *block.Block {
	t.Helper()
	whole := len(b) &^ 7
	values := make([]float64, 1000)
	r := rand.New(rand.NewPCG(4, 4)) // no NaN among the first
	for i := range values {
		values[i] = math.Float64frombits(r.Uint64())
		if 8*i < whole {
			values[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		}
	}
	var w block.Builder
	w.Reset(block.Header{Frequency: l.Frequency, Grid: l.Grid, Slots: len(values)})
	w.Add(block.Column{}, values)
	made := w.Finish()
	if !bytes.Contains(made.Bytes(), b[:whole]) {
		t.Fatal("the block does not contain the values unchanged")
	}
	return made
}

func TestNewerVersion(t *testing.T) {
	file := write(t, exampleHost())
	file[7]++
	binary.LittleEndian.PutUint32(file[headerSize1-4:], binfmt.Checksum(file[:headerSize1-4]))
	for name, err := range openErrors(t, withFile(t, file)) {
		if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "3") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestNoFile(t *testing.T) {
	for name, err := range openErrors(t, disktest.New(1)) {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// Without header and footer nothing is read.
func TestNothingLeft(t *testing.T) {
	file := write(t, exampleHost())
	file[0]++
	for _, b := range [][]byte{nil, file[:len(file)-1], bytes.Repeat([]byte("RSBLKEND"), 100)} {
		for name, err := range openErrors(t, withFile(t, b)) {
			if d, isDamage := errors.AsType[*disk.DamageError](err); !isDamage || d.Offset != 0 || d.Path != path {
				t.Errorf("%s: error %v of %d bytes", name, err, len(b))
			}
		}
	}
}

func openErrors(t testing.TB, fsys *disktest.FS) map[string]error {
	_, openErr := Open(fsys, path)
	_, verifyErr := Verify(t.Context(), fsys, path, nil)
	return map[string]error{"Open": openErr, "Verify": verifyErr}
}

// Unreadable parts are reported at their place, and not as damage.
func TestUnreadable(t *testing.T) {
	file := write(t, goldenHosts()...)
	fsys := withFile(t, file)
	reads := 0
	fsys.Inject(func(op disktest.Op) error {
		if op.Kind == disktest.Read {
			reads++
		}
		return nil
	})
	reopen(t, fsys, goldenHosts())
	for n := range reads {
		i := 0
		fsys.Inject(func(op disktest.Op) error {
			if op.Kind != disktest.Read {
				return nil
			}
			if i++; i == n+1 {
				return syscall.EIO
			}
			return nil
		})
		l := reopen(t, fsys, goldenHosts())
		if l.hosts > 0 || l.series+l.blocks > 1 || len(l.damage) > 0 || len(l.unreadable) != 1 || !errors.Is(l.unreadable[0], syscall.EIO) {
			t.Errorf("read %d of %d: lost %+v", n, reads, l)
		}
	}
	fsys.Inject(func(op disktest.Op) error {
		if op.Kind == disktest.Read {
			return syscall.EIO
		}
		return nil
	})
	if _, err := Open(fsys, path); !errors.Is(err, syscall.EIO) || isDamage(err) {
		t.Errorf("error %v of a file that cannot be read", err)
	}
}

// The number of reads in a file full of markers is bounded by a multiple of its pages.
func TestLookingForARecordIsBounded(t *testing.T) {
	file := write(t)[:headerSize]
	head := append(testMarker[:], 0, 0, 1, 0, 1, 2, 3, 4) // 64 KiB
	file = append(file, bytes.Repeat(head, 20_000)...)
	fsys := withFile(t, file)
	reads := 0
	fsys.Inject(func(op disktest.Op) error {
		if op.Kind == disktest.Read {
			reads++
		}
		return nil
	})
	l := reopen(t, fsys, nil)
	if len(l.damage) != 1 || l.damage[0].Offset != headerSize {
		t.Errorf("lost %+v", l)
	}
	if limit := 3 * 8 * len(file) / pageBytes; reads > limit {
		t.Errorf("%d reads of %d bytes, want at most %d", reads, len(file), limit)
	}
}

// Records and blocks are checked against the index.
func TestIndexOfAnotherFile(t *testing.T) {
	f, err := Open(withFile(t, write(t, goldenHosts()...)), path)
	ok(t, err)
	defer f.Close()
	w := f.Hosts[0].Lanes[0].Windows[0]
	change := func(name string, change func(w *WindowIndex)) {
		w := w
		change(&w)
		b, err := f.Block(w)
		if _, isDamage := errors.AsType[*disk.DamageError](err); !isDamage || b != nil {
			t.Errorf("%s: error %v", name, err)
		}
	}
	change("another slot", func(w *WindowIndex) { w.First++ })
	change("another generation", func(w *WindowIndex) { w.Generation++ })
	change("a byte later", func(w *WindowIndex) { w.Offset++ })
	change("before the file", func(w *WindowIndex) { w.Offset = -1 })
	change("after the file", func(w *WindowIndex) { w.Offset = math.MaxInt64 })
	change("too long", func(w *WindowIndex) { w.Length = math.MaxInt })
	change("negative", func(w *WindowIndex) { w.Length = -1 })
	change("nothing", func(w *WindowIndex) { w.Length = 0 })
	f.Hosts[0].Number++
	if _, err := f.Series(0); err == nil {
		t.Error("the series of another host")
	}
}

func isDamage(err error) bool {
	_, is := errors.AsType[*disk.DamageError](err)
	return is
}

// Check finds a flipped bit at any byte, and nothing in a sound file.
func TestCheck(t *testing.T) {
	file := write(t, goldenHosts()...)
	for at := -1; at < len(file); at++ {
		b := bytes.Clone(file)
		if at >= 0 {
			b[at] ^= 1 << (at % 8)
		}
		f, err := Open(withFile(t, b), path)
		if err == nil {
			err = f.Check(t.Context())
			ok(t, f.Close())
		}
		if isDamage(err) != (at >= 0) || at < 0 && err != nil {
			t.Errorf("bit flipped at %d: error %v", at, err)
		}
	}
}
