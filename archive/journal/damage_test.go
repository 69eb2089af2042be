package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/memstore/binfmt"
)

// place is the place of a record's frame.
type place struct {
	segment    int // in the listing
	start, end int64
	record     string
}

// small returns a journal of three segments, of which the last was not closed.
func small(t testing.TB) (*disktest.FS, []string, []place) {
	t.Helper()
	fsys := disktest.New(1)
	j := open(t, Options{FS: fsys, SegmentBytes: 120 + headerSize - headerSize1})
	add(t, j, "a", "bb", "the third record", "d", "the fifth record, longer", "f", "the seventh", "h", "i", "the tenth record is longer again")
	fsys.Kill()
	j.Close()
	var paths []string
	for _, s := range j.Segments() {
		paths = append(paths, s.Path)
	}
	if len(paths) != 3 {
		t.Fatalf("%d segments", len(paths))
	}
	var places []place
	_, err := Read(t.Context(), fsys, dir, Lineage{}, 0, func(segment uint64, offset int64, record []byte) error {
		places = append(places, place{int(segment) - 1, offset, offset + frameHead + int64(len(record)), string(record)})
		return nil
	})
	ok(t, err)
	return fsys, paths, places
}

func content(t testing.TB, fsys disk.FS, path string) []byte {
	t.Helper()
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	ok(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	ok(t, err)
	return b
}

func overwrite(t testing.TB, fsys disk.FS, path string, b []byte) {
	t.Helper()
	f, err := fsys.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	ok(t, err)
	_, err = f.Write(b)
	ok(t, err)
	ok(t, f.Close())
}

// A flipped bit loses the record that contains it, and no other.
func TestFlippedBitAtEveryByte(t *testing.T) {
	fsys, paths, places := small(t)
	for i, path := range paths {
		original := content(t, fsys, path)
		for at := range original {
			damaged := bytes.Clone(original)
			damaged[at] ^= 1 << (at % 8)
			overwrite(t, fsys, path, damaged)
			var want []string
			hit := int64(0) // where the damage is to be reported
			for _, p := range places {
				if p.segment == i && p.start <= int64(at) && int64(at) < p.end {
					hit = p.start
				} else {
					want = append(want, p.record)
				}
			}
			got, report := readAll(t, fsys, dir)
			if !slices.Equal(got, want) {
				t.Fatalf("%s, byte %d: got %q, want %q", path, at, got, want)
			}
			switch {
			case len(report.Damage) != 1 || report.DamageTotal != 1 || report.Damage[0].Path != path || report.Damage[0].Offset != hit || report.Torn != 0:
				t.Fatalf("%s, byte %d: got %+v, want damage at byte %d", path, at, report, hit)
			}
		}
		overwrite(t, fsys, path, original)
	}
}

// A truncated segment loses what was cut off. That is reported as damage, or counted as torn if the
// end of the segment is unknown.
func TestTruncationAtEveryByte(t *testing.T) {
	fsys, paths, places := small(t)
	for i, path := range paths {
		original := content(t, fsys, path)
		for size := range original {
			overwrite(t, fsys, path, original[:size])
			var want []string
			boundary := size == headerSize
			for _, p := range places {
				if p.segment != i || p.end <= int64(size) {
					want = append(want, p.record)
				}
				boundary = boundary || p.segment == i && p.end == int64(size)
			}
			got, report := readAll(t, fsys, dir)
			if !slices.Equal(got, want) {
				t.Fatalf("%s of %d bytes: got %q, want %q", path, size, got, want)
			}
			isLast := i == len(paths)-1
			wantDamage := !isLast
			wantTorn := isLast && !boundary
			if (report.DamageTotal > 0) != wantDamage || (report.Torn > 0) != wantTorn {
				t.Fatalf("%s of %d bytes: got %+v, want damage %v, torn %v", path, size, report, wantDamage, wantTorn)
			}
		}
		overwrite(t, fsys, path, original)
	}
}

// A last segment whose creation was interrupted is not damage, and the next start replaces it.
func TestTornBeginning(t *testing.T) {
	f := func(size int) {
		t.Helper()
		fsys := disktest.New(1)
		j := open(t, Options{FS: fsys})
		add(t, j, "one", "two")
		_, err := j.Rotate()
		ok(t, err)
		ok(t, j.Close())
		path := j.Segments()[1].Path
		overwrite(t, fsys, path, content(t, fsys, path)[:size])

		j = open(t, Options{FS: fsys})
		got, report := replay(t, j)
		same(t, got, "one", "two")
		if report.DamageTotal > 0 {
			t.Errorf("%d bytes: %+v", size, report)
		}
		add(t, j, "three")
		ok(t, j.Close())
		got, report = readAll(t, fsys, dir)
		same(t, got, "one", "two", "three")
		if report.DamageTotal > 0 || report.Torn > 0 || report.Segments != 2 {
			t.Errorf("%d bytes, after a start: %+v", size, report)
		}
	}
	f(0)
	f(1)
	f(headerSize - 1)
}

func TestDamage(t *testing.T) {
	f := func(name string, damage func(b []byte) []byte, lost int, want ...string) {
		t.Run(name, func(t *testing.T) {
			fsys := disktest.New(1)
			j := open(t, Options{FS: fsys})
			add(t, j, "one", "two", "three", "four")
			ok(t, j.Close())
			path := j.Segments()[0].Path
			before := content(t, fsys, path)
			overwrite(t, fsys, path, damage(bytes.Clone(before)))

			j = open(t, Options{FS: fsys})
			add(t, j, "five")
			got, report := replay(t, j)
			same(t, got, want...)
			if report.Lost != lost || report.DamageTotal != 1 || len(report.Damage) != 1 || report.Damage[0].Path != path {
				t.Errorf("got %+v, want %d lost and damage in %s", report, lost, path)
			}
			again, _ := replay(t, j) // until it is dropped
			same(t, again, want...)
			ok(t, j.Drop(2))
			if got := content(t, fsys, path+damagedSuffix); !bytes.Equal(got, damage(bytes.Clone(before))) {
				t.Error("the kept file differs from the damaged one")
			}
			got, report = readAll(t, fsys, dir)
			same(t, got, "five")
			if report.DamageTotal > 0 {
				t.Errorf("the kept file is read: %+v", report)
			}
		})
	}
	second := headerSize + frameHead + 3
	f("a header of zeros", func(b []byte) []byte { clear(b[:headerSize]); return b }, 0, "one", "two", "three", "four")
	f("zeros in the middle", func(b []byte) []byte { clear(b[second : second+20]); return b }, 2, "one", "four")
	f("a record removed", func(b []byte) []byte { return slices.Delete(b, second, second+frameHead+3) }, 1, "one", "three", "four")
	f("a record twice", func(b []byte) []byte {
		return slices.Insert(b, second, b[headerSize:second]...)
	}, 0, "one", "two", "three", "four")
	f("bytes inserted", func(b []byte) []byte { return slices.Insert(b, second, []byte("something else")...) }, 0, "one", "two", "three", "four")
}

// A torn tail is cut off once.
func TestTornTail(t *testing.T) {
	f := func(name string, tail []byte) {
		t.Run(name, func(t *testing.T) {
			fsys := disktest.New(1)
			j := open(t, Options{FS: fsys})
			add(t, j, "one", "two")
			ok(t, j.Close())
			path := j.Segments()[0].Path
			before := content(t, fsys, path)
			overwrite(t, fsys, path, append(bytes.Clone(before), tail...))
			j = open(t, Options{FS: fsys})
			for _, torn := range []int{1, 0} {
				got, report := replay(t, j)
				same(t, got, "one", "two")
				if report.Torn != torn || report.TornBytes != int64(torn*len(tail)) || report.DamageTotal > 0 {
					t.Errorf("got %+v, want %d torn", report, torn)
				}
			}
			if got := content(t, fsys, path); !bytes.Equal(got, before) {
				t.Errorf("got %d bytes after the cut, want %d", len(got), len(before))
			}
		})
	}
	frame := appendFrame(nil, []byte("of another segment"))
	seal(frame, segmentID{1, 0xbad}, 2, 0)
	f("a byte", []byte{1})
	f("zeros", make([]byte, 5000))
	f("a frame's head", frame[:frameHead])
	f("half a frame", frame[:20])
	f("a frame of zeros", make([]byte, frameHead+1))
	f("text", []byte(strings.Repeat("not a frame ", 100)))
}

// A record that contains a frame is not read as one if the frame around it is damaged, because
// senders do not know the salt.
func TestPlantedFrame(t *testing.T) {
	fsys := disktest.New(1)
	j := open(t, Options{FS: fsys})
	planted := appendFrame(nil, []byte("planted"))
	seal(planted, segmentID{j.current.number, j.current.salt + 1}, 0, 0)
	add(t, j, string(planted)+"and some more", "two")
	ok(t, j.Close())
	path := j.Segments()[0].Path
	b := content(t, fsys, path)
	b[headerSize+8] ^= 1
	overwrite(t, fsys, path, b)
	got, report := readAll(t, fsys, dir)
	same(t, got, "two")
	if report.Lost != 1 {
		t.Errorf("got %+v, want one lost", report)
	}
}

// The search in a file full of headers of long records is bounded.
func TestLookingForARecordIsBounded(t *testing.T) {
	fsys := disktest.New(1)
	j := open(t, Options{FS: fsys})
	add(t, j, "one")
	ok(t, j.Close()) // before it is overwritten
	path := j.Segments()[0].Path
	b := content(t, fsys, path)
	head := []byte{0, 0, 8, 0, 1, 0, 0, 0, 1, 2, 3, 4} // 512 KiB
	b = append(b, bytes.Repeat(head, 100_000)...)
	overwrite(t, fsys, path, b)
	got, report := readAll(t, fsys, dir)
	same(t, got, "one")
	if report.DamageTotal != 1 {
		t.Errorf("got %+v, want the rest given up as damaged", report)
	}
}

func TestMissingSegment(t *testing.T) {
	fsys, paths, places := small(t)
	ok(t, fsys.Remove(paths[1]))
	got, report := readAll(t, fsys, dir)
	var want []string
	for _, p := range places {
		if p.segment != 1 {
			want = append(want, p.record)
		}
	}
	same(t, got, want...)
	if report.DamageTotal != 0 || len(report.Missing) != 1 || report.Missing[0].Path != paths[1] || report.Missing[0].To.IsZero() {
		t.Errorf("got %+v, want a missing segment", report)
	}
}

// The records in pages that cannot be read are missing, which is no damage: the next replay may have
// them.
func TestUnreadablePages(t *testing.T) {
	f := func(name string, fails func(read int) bool, want ...string) {
		t.Run(name, func(t *testing.T) {
			fsys := disktest.New(1)
			j := open(t, Options{FS: fsys})
			add(t, j, "one", strings.Repeat("2", 3*pageBytes), "three")
			ok(t, j.Close())
			j = open(t, Options{FS: fsys})
			reads := 0
			fsys.Inject(func(op disktest.Op) error {
				if op.Kind != disktest.Read {
					return nil
				}
				if reads++; fails(reads) {
					return syscall.EIO
				}
				return nil
			})
			got, report := replay(t, j)
			for i := range got {
				got[i] = got[i][:min(len(got[i]), 5)]
			}
			same(t, got, want...)
			unreadable := len(want) < 3
			if report.DamageTotal+report.Torn+report.Lost > 0 || (len(report.Unreadable) == 1) != unreadable || unreadable && !errors.Is(report.Unreadable[0].Err, syscall.EIO) {
				t.Errorf("got %+v", report)
			}
			fsys.Inject(nil)
			if again, report := replay(t, j); len(again) != 3 || report.DamageTotal+report.Torn+len(report.Unreadable) > 0 {
				t.Errorf("the next replay has %d records, %+v", len(again), report)
			}
			if b := content(t, fsys, j.Segments()[0].Path); len(b) < 3*pageBytes {
				t.Error("it was truncated, although its content is unknown")
			}
		})
	}
	f("the first time only", func(read int) bool { return read == 1 }, "one", "22222", "three")
	f("one page", func(read int) bool { return read == 1 || read == 3 }, "one", "three")
	f("the last page", func(read int) bool { return read == 1 || read == 5 }, "one")
	f("all", func(int) bool { return true })
}

func TestNewerVersion(t *testing.T) {
	fsys := disktest.New(1)
	ok(t, fsys.MkdirAll(dir, 0o750))
	s := segment{segmentID: segmentID{1, 2}}
	head := s.appendHeader(nil)
	head[7] = 3
	overwrite(t, fsys, s.path(dir), resum(head))
	for name, err := range map[string]error{
		"Open": func() error { _, err := Open(t.Context(), Options{FS: fsys, Dir: dir}); return err }(),
		"Read": func() error { _, err := Read(t.Context(), fsys, dir, Lineage{}, 0, nil); return err }(),
	} {
		if err == nil || !strings.Contains(err.Error(), "version 1 or 2, got 3") {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}

// resum corrects the checksum of a changed header.
func resum(head []byte) []byte {
	binary.LittleEndian.PutUint32(head[36:], binfmt.Checksum(head[:36]))
	binary.LittleEndian.PutUint32(head[headerSize-4:], binfmt.Checksum(head[:headerSize-4]))
	return head
}

var update = flag.Bool("update", false, "write the golden files")

// Segments of version 1 are read as they were written.
func TestGoldenVersion1(t *testing.T) {
	checkGolden(t, filepath.Join("testdata", "v1"), `1@40 "the first record"`, `1@68 "\x00\x01\x02\x03"`, `2@40 "of the second segment"`)
}

// Version 2 is byte for byte as FORMAT.md describes it.
func TestGolden(t *testing.T) {
	golden := filepath.Join("testdata", "v2")
	store := uuid.MustParse("01234567-89ab-cdef-0123-456789abcdef")
	one := segment{segmentID: segmentID{1, 0xdeadbeef}, extension: extension{store: store, created: 1_795_200_000_001}}
	frames := appendFrame(appendFrame(nil, []byte("the first record")), []byte{0, 1, 2, 3})
	n, sum := seal(frames, one.segmentID, 0, 0)
	if n != 2 {
		t.Fatalf("%d frames, want 2", n)
	}
	first := append(one.appendHeader(nil), frames...)
	two := segment{segmentID: segmentID{2, 7}, after: one.segmentID, afterEnd: int64(len(first)), extension: extension{store, 1_795_200_060_002, sum}}
	frame := appendFrame(nil, []byte("of the second segment"))
	seal(frame, two.segmentID, 0, 0)
	second := append(two.appendHeader(nil), frame...)
	for path, want := range map[string][]byte{one.path(golden): first, two.path(golden): second} {
		if *update {
			ok(t, os.MkdirAll(golden, 0o755))
			ok(t, os.WriteFile(path, want, 0o644))
		}
		if got := content(t, disk.OS{}, path); !bytes.Equal(got, want) {
			t.Errorf("%s has\n%x, want\n%x", path, got, want)
		}
	}
	checkGolden(t, golden, `1@76 "the first record"`, `1@104 "\x00\x01\x02\x03"`, `2@76 "of the second segment"`)
}

// checkGolden checks the records in a directory and their places.
func checkGolden(t *testing.T, golden string, want ...string) {
	t.Helper()
	var got []string
	report, err := Read(t.Context(), disk.OS{}, golden, Lineage{}, 0, func(segment uint64, offset int64, record []byte) error {
		got = append(got, fmt.Sprintf("%d@%d %q", segment, offset, record))
		return nil
	})
	ok(t, err)
	same(t, got, want...)
	if want := (Report{Segments: 2, Records: 3, Bytes: 41}); fmt.Sprint(report) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", report, want)
	}
}

// Whatever the files contain: reading terminates, returns only records that are in the files, is
// repeatable, and a journal opens on them and works.
func FuzzReplay(f *testing.F) {
	id := segmentID{1, 1}
	whole := segment{segmentID: id}.appendHeader(nil)
	sum := uint32(0)
	for i, r := range []string{"one", "two", "three"} {
		frame := appendFrame(nil, []byte(r))
		_, sum = seal(frame, id, uint32(i), 0)
		whole = append(whole, frame...)
	}
	next := segment{segmentID: segmentID{2, 0}, after: id, afterEnd: int64(len(whole)), extension: extension{afterSum: sum}}.appendHeader(nil)
	f.Add(whole, next)
	f.Add(whole[:len(whole)-3], next)
	f.Add(whole[:60], next)
	f.Add(append(bytes.Clone(whole), make([]byte, 100)...), []byte{})
	f.Add([]byte{}, []byte{})
	f.Add(whole[:headerSize], resum(append(append(next[:28:28], 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f), next[36:]...)))
	f.Add(append(bytes.Clone(whole), 0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0, 0, 0, 0, 0, 0), []byte(magic))
	f.Add(append(bytes.Clone(whole), bytes.Repeat([]byte{1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0}, 50)...), next)
	f.Fuzz(func(t *testing.T, one, two []byte) {
		fsys := disktest.New(1)
		ok(t, fsys.MkdirAll(dir, 0o750))
		paths := []string{id.path(dir), segmentID{2, 0}.path(dir)}
		overwrite(t, fsys, paths[0], one)
		overwrite(t, fsys, paths[1], two)
		files := [][]byte{one, two}
		var first []string
		report, err := Read(t.Context(), fsys, dir, Lineage{}, 0, func(segment uint64, offset int64, record []byte) error {
			at := offset + frameHead
			if !bytes.Equal(files[segment-1][at:at+int64(len(record))], record) {
				t.Errorf("record %q is not in the file", record)
			}
			first = append(first, string(record))
			return nil
		})
		if err != nil {
			return // another version
		}
		if report.Records != len(first) || len(report.Damage) > maxDamage {
			t.Errorf("got %+v", report)
		}
		j := open(t, Options{FS: fsys})
		second, _ := replay(t, j)
		same(t, second, first...)
		add(t, j, "more")
		ok(t, j.Close())
		third, _ := readAll(t, fsys, dir)
		same(t, third, append(first, "more")...)
	})
}
