package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
)

var (
	storeA = uuid.MustParse("aaaaaaaa-0000-4000-8000-000000000001")
	storeB = uuid.MustParse("bbbbbbbb-0000-4000-8000-000000000002")
)

// written returns a closed journal with a segment per record.
func written(t *testing.T, store uuid.UUID, records ...string) (*disktest.FS, *Journal) {
	t.Helper()
	fsys := disktest.New(1)
	now := time.Unix(1_795_200_000, 0)
	j := open(t, Options{FS: fsys, Lineage: Lineage{Store: store}, Now: func() time.Time { now = now.Add(time.Minute); return now }})
	for i, r := range records {
		if i > 0 {
			_, err := j.Rotate()
			ok(t, err)
		}
		add(t, j, r)
	}
	ok(t, j.Close())
	return fsys, j
}

func names(t *testing.T, fsys disk.FS) string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	ok(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, "\n")
}

// Segments that do not belong to the directory are neither replayed nor lost: they are set aside,
// and reading without a change says the same.
func TestForeignSegments(t *testing.T) {
	otherDisk, _ := written(t, storeB, "of another store", "and this")
	f := func(name string, change func(fsys *disktest.FS, l *Lineage), why string, want ...string) {
		t.Run(name, func(t *testing.T) {
			fsys, j := written(t, storeA, "one", "two", "three")
			l := Lineage{Store: storeA, Known: j.Names()}
			change(fsys, &l)
			var read []string
			before, err := Read(t.Context(), fsys, dir, l, 0, collect(&read))
			ok(t, err)
			j = open(t, Options{FS: fsys, Lineage: l})
			var got []string
			report, err := j.Replay(t.Context(), 0, collect(&got))
			ok(t, err)
			same(t, got, want...)
			same(t, read, want...)
			if len(report.Foreign) != 1 || len(before.Foreign) != 1 || report.Foreign[0].Error() != before.Foreign[0].Error() || !strings.Contains(report.Foreign[0].Error(), why) {
				t.Fatalf("got %v and %v, want one with %q", before.Foreign, report.Foreign, why)
			}
			if strings.Count(names(t, fsys), disk.ForeignSuffix) != 1 {
				t.Errorf("the directory has\n%s", names(t, fsys))
			}
			add(t, j, "four")
			ok(t, j.Close())
			again, report := readAll(t, fsys, dir)
			same(t, again, append(want, "four")...)
			if len(report.Foreign) > 0 {
				t.Errorf("after the start: %+v", report)
			}
		})
	}
	copyOf := func(fsys *disktest.FS, from disk.FS, entry int) {
		entries, err := from.ReadDir(dir)
		ok(t, err)
		overwrite(t, fsys, dir+"/"+entries[entry].Name(), content(t, from, dir+"/"+entries[entry].Name()))
	}
	f("of another store, with a number that is there", func(fsys *disktest.FS, _ *Lineage) { copyOf(fsys, otherDisk, 1) }, storeB.String(), "one", "two", "three")
	f("of another store, after a number that was removed", func(fsys *disktest.FS, l *Lineage) {
		l.Known = l.Known[1:]
		entries, err := fsys.ReadDir(dir)
		ok(t, err)
		ok(t, fsys.Remove(dir+"/"+entries[0].Name()))
		copyOf(fsys, otherDisk, 0)
	}, storeB.String(), "two", "three")
	f("of another copy of the store", func(fsys *disktest.FS, _ *Lineage) {
		twin, _ := written(t, storeA, "a", "b", "c", "d")
		copyOf(fsys, twin, 2)
	}, "the manifest lists", "one", "two", "three")
	f("of another copy of the store, with the next number", func(fsys *disktest.FS, _ *Lineage) {
		twin, _ := written(t, storeA, "a", "b", "c", "d")
		copyOf(fsys, twin, 3)
	}, "follows another segment 3", "one", "two", "three")
	f("of version 1, unlisted", func(fsys *disktest.FS, _ *Lineage) {
		s := segment{segmentID: segmentID{9, 9}}
		head := s.appendHeader(nil)[:headerSize1]
		head[7] = 1
		overwrite(t, fsys, s.path(dir), resum1(head))
	}, "the manifest lists", "one", "two", "three")
}

// resum1 corrects the checksum of a changed header of version 1.
func resum1(head []byte) []byte {
	return resum(append(bytes.Clone(head), make([]byte, headerSize-headerSize1)...))[:headerSize1]
}

// Segments that the manifest or another segment names, and that are not there, are missing.
func TestMissingSegments(t *testing.T) {
	f := func(name string, known, from int, remove []int, want int, records ...string) {
		t.Run(name, func(t *testing.T) {
			fsys, j := written(t, storeA, "one", "two", "three", "four")
			l := Lineage{Store: storeA, From: uint64(from), Known: j.Names()[:known]}
			for _, i := range remove {
				ok(t, fsys.Remove(j.Segments()[i].Path))
			}
			var got []string
			report, err := Read(t.Context(), fsys, dir, l, uint64(from), collect(&got))
			ok(t, err)
			same(t, got, records...)
			if len(report.Missing) != want || report.DamageTotal > 0 {
				t.Errorf("got %+v, want %d missing", report, want)
			}
			for _, m := range report.Missing {
				if m.From.IsZero() || m.To.IsZero() && !strings.Contains(m.Path, "0004-") {
					t.Errorf("%v has no time range", m)
				}
			}
		})
	}
	f("none", 4, 1, nil, 0, "one", "two", "three", "four")
	f("the first", 4, 1, []int{0}, 1, "two", "three", "four")
	f("one that is no longer needed", 4, 2, []int{0}, 0, "two", "three", "four")
	f("in the middle", 4, 1, []int{1}, 1, "one", "three", "four")
	f("in the middle, newer than the manifest", 1, 1, []int{2}, 1, "one", "two", "four")
	f("the last", 4, 1, []int{3}, 1, "one", "two", "three")
	f("all but the last", 4, 1, []int{0, 1, 2}, 3, "four")
}

// A segment that was replaced by a shorter one of the same name is damaged: the next segment names
// its last record.
func TestSegmentChangedBeforeItsEnd(t *testing.T) {
	fsys, j := written(t, storeA, "one", "two")
	path := j.Segments()[0].Path
	b := content(t, fsys, path)
	frame := appendFrame(nil, []byte("ONE"))
	seal(frame, j.Names()[0].id(), 0, 0)
	overwrite(t, fsys, path, append(b[:headerSize:headerSize], frame...))
	_, report := readAll(t, fsys, dir)
	if report.DamageTotal != 1 || !errors.Is(report.Damage[0], errEnd) {
		t.Errorf("got %+v", report)
	}
}

// A record for a segment goes to no other one, whatever happens concurrently.
func TestAppendTo(t *testing.T) {
	fsys := disktest.New(1)
	j := open(t, Options{FS: fsys, SegmentBytes: headerSize + 200})
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for n := 0; n < 200; {
				at := j.Segment()
				err := j.AppendTo(t.Context(), at, []byte{byte(at), byte(at >> 8)})
				if err == nil {
					n++
				} else if !errors.Is(err, ErrMoved) {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	ok(t, j.Close())
	n := 0
	_, err := Read(t.Context(), fsys, dir, Lineage{}, 0, func(segment uint64, _ int64, record []byte) error {
		n++
		if got := uint64(record[0]) | uint64(record[1])<<8; got != segment {
			t.Errorf("a record for segment %d is in %d", got, segment)
		}
		return nil
	})
	ok(t, err)
	if n != 800 {
		t.Errorf("%d records", n)
	}
}

// Records are replayed in the order in which they were added, also where a segment ends.
func TestRecordsKeepTheOrderInWhichTheyWereAdded(t *testing.T) {
	fsys := disktest.New(1)
	j := open(t, Options{FS: fsys, SegmentBytes: headerSize + 200})
	var mu sync.Mutex
	next := 0
	addNext := func() (Added, error) {
		mu.Lock()
		defer mu.Unlock()
		for {
			a, err := j.Add(t.Context(), j.Segment(), binary.BigEndian.AppendUint32(nil, uint32(next)))
			if !errors.Is(err, ErrMoved) {
				next++
				return a, err
			}
		}
	}
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 200 {
				a, err := addNext()
				if err == nil {
					err = a.Wait(t.Context())
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	ok(t, j.Close())
	n := 0
	_, err := Read(t.Context(), fsys, dir, Lineage{}, 0, func(_ uint64, _ int64, record []byte) error {
		if got := int(binary.BigEndian.Uint32(record)); got != n {
			t.Errorf("record %d is replayed as number %d", got, n)
		}
		n++
		return nil
	})
	ok(t, err)
	if n != 1600 {
		t.Errorf("%d records", n)
	}
}

// What is written after a known segment was lost belongs to the directory at the next start, although
// no newer manifest lists it.
func TestSegmentAfterALostOne(t *testing.T) {
	for _, remove := range []int{1, 2, 3} { // segments, from the end
		fsys, j := written(t, storeA, "one", "two", "three")
		l := Lineage{Store: storeA, Known: j.Names()}
		for _, n := range l.Known[len(l.Known)-remove:] {
			ok(t, fsys.Remove(n.id().path(dir)))
		}
		j = open(t, Options{FS: fsys, Lineage: l})
		add(t, j, "four")
		ok(t, j.Close())
		var got []string
		j = open(t, Options{FS: fsys, Lineage: l})
		report, err := j.Replay(t.Context(), 0, collect(&got))
		ok(t, err)
		if same(t, got, append([]string{"one", "two", "three"}[:3-remove], "four")...); len(report.Foreign) > 0 || len(report.Missing) != remove {
			t.Errorf("%d segments were lost: %v, %v", remove, report.Foreign, report.Missing)
		}
		ok(t, j.Close())
	}
}

// An empty segment that a start cannot replace is not missing.
func TestEmptySegmentThatCannotBeReplaced(t *testing.T) {
	fsys, _ := written(t, storeA, "one")
	l := Lineage{Store: storeA}
	j := open(t, Options{FS: fsys, Lineage: l}) // with an empty segment
	l.Known = j.Names()
	ok(t, j.Close())
	failed := false
	fsys.Inject(func(op disktest.Op) error {
		if op.Kind == disktest.Write && !failed {
			failed = true
			return syscall.ENOSPC
		}
		return nil
	})
	j = open(t, Options{FS: fsys, Lineage: l})
	report, err := j.Replay(t.Context(), 0, func(uint64, int64, []byte) error { return nil })
	if err != nil || !failed || len(report.Missing) > 0 {
		t.Errorf("got error %v, missing %v", err, report.Missing)
	}
	ok(t, j.Close())
}
