package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
	}
	goleak.VerifyTestMain(m)
}

const dir = "/data/journal"

var modes = []struct {
	name string
	mode SyncMode
}{
	{"always", Always},
	{"interval", SyncMode(time.Second)},
	{"off", Off},
}

func open(t testing.TB, o Options) *Journal {
	t.Helper()
	if o.Dir == "" {
		o.Dir = dir
	}
	j, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func add(t testing.TB, j *Journal, records ...string) {
	t.Helper()
	for _, r := range records {
		ok(t, j.Append(t.Context(), []byte(r)))
	}
}

// collect returns a RecordFunc that appends to all.
func collect(all *[]string) RecordFunc {
	return func(_ uint64, _ int64, record []byte) error {
		*all = append(*all, string(record))
		return nil
	}
}

func replay(t testing.TB, j *Journal) ([]string, Report) {
	t.Helper()
	var all []string
	report, err := j.Replay(t.Context(), 0, collect(&all))
	ok(t, err)
	return all, report
}

func readAll(t testing.TB, fsys disk.FS, dir string) ([]string, Report) {
	t.Helper()
	var all []string
	report, err := Read(t.Context(), fsys, dir, Lineage{}, 0, collect(&all))
	ok(t, err)
	return all, report
}

func same(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got records %q, want %q", got, want)
	}
}

func numbers(j *Journal) (all []uint64) {
	for _, s := range j.Segments() {
		all = append(all, s.Number)
	}
	return all
}

func TestRecordsComeBackInOrder(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			fsys := disktest.New(1)
			j := open(t, Options{FS: fsys, Sync: m.mode})
			add(t, j, "one", "two", strings.Repeat("x", 2<<20))
			ok(t, j.Close())

			j = open(t, Options{FS: fsys, Sync: m.mode})
			add(t, j, "four")
			got, report := replay(t, j)
			same(t, got, "one", "two", strings.Repeat("x", 2<<20))
			if want := (Report{Segments: 1, Records: 3, Bytes: 6 + 2<<20}); fmt.Sprint(report) != fmt.Sprint(want) {
				t.Errorf("got %+v, want %+v", report, want)
			}
			ok(t, j.Close())
			got, _ = readAll(t, fsys, dir)
			same(t, got[3:], "four")
		})
	}
}

func TestOptionsRefused(t *testing.T) {
	f := func(name string, o Options) {
		t.Run(name, func(t *testing.T) {
			o.FS, o.Dir = disktest.New(1), dir
			if j, err := Open(t.Context(), o); err == nil {
				j.Close()
				t.Error("no error")
			}
		})
	}
	f("an invalid mode", Options{Sync: Off - 1})
	f("segments shorter than a header", Options{SegmentBytes: headerSize - 1})
	f("negative segments", Options{SegmentBytes: -1})
	f("segments with too many records", Options{SegmentBytes: maxSegmentBytes + 1})
	f("no number left", Options{First: maxNumber + 1})
}

func TestOpenRefused(t *testing.T) {
	f := func(name string, kind disktest.Kind, err error) {
		t.Run(name, func(t *testing.T) {
			fsys := disktest.New(1)
			fsys.Inject(func(op disktest.Op) error {
				if op.Kind == kind {
					return err
				}
				return nil
			})
			if j, got := Open(t.Context(), Options{FS: fsys, Dir: dir}); !errors.Is(got, err) {
				j.Close()
				t.Errorf("got error %v, want %v", got, err)
			}
		})
	}
	f("the directory cannot be created", disktest.Mkdir, syscall.EACCES)
	f("the directory cannot be read", disktest.ReadDir, syscall.EIO)
	f("no file can be created", disktest.Open, syscall.EROFS)
	f("no file can be renamed", disktest.Rename, syscall.EPERM)
}

func TestRecordsRefused(t *testing.T) {
	j := open(t, Options{FS: disktest.New(1)})
	for _, n := range []int{0, MaxRecord + 1} {
		if err := j.Append(t.Context(), make([]byte, n)); err == nil {
			t.Errorf("a record of %d bytes: no error", n)
		}
	}
	add(t, j, strings.Repeat("x", MaxRecord))
}

func TestCloseTwice(t *testing.T) {
	j := open(t, Options{FS: disktest.New(1)})
	ok(t, j.Close())
	ok(t, j.Close())
	_, rotated := j.Rotate()
	for name, err := range map[string]error{
		"Append": j.Append(t.Context(), []byte("late")),
		"Sync":   j.Sync(t.Context()),
		"Rotate": rotated,
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: got error %v, want %v", name, err, ErrClosed)
		}
	}
}

func TestSegmentsAreFilledAndDropped(t *testing.T) {
	fsys := disktest.New(1)
	j := open(t, Options{FS: fsys, SegmentBytes: headerSize + 60})
	for i := range 9 {
		add(t, j, fmt.Sprintf("record %03d", i)) // two fit
	}
	if got, want := numbers(j), []uint64{1, 2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Fatalf("got segments %v, want %v", got, want)
	}
	if want := int64(5*headerSize + 9*(frameHead+10)); j.Size() != want {
		t.Errorf("got size %d, want %d", j.Size(), want)
	}
	for _, s := range j.Segments() {
		info, err := fsys.Stat(s.Path)
		ok(t, err)
		if info.Size() != s.Bytes {
			t.Errorf("%s has %d bytes, want %d", s.Path, info.Size(), s.Bytes)
		}
	}
	ok(t, j.Drop(3))
	if got, want := numbers(j), []uint64{3, 4, 5}; !slices.Equal(got, want) {
		t.Fatalf("got segments %v, want %v", got, want)
	}
	ok(t, j.Drop(100))
	if got, want := numbers(j), []uint64{5}; !slices.Equal(got, want) {
		t.Fatalf("got segments %v, want %v", got, want)
	}
	fsys.LosePower()
	got, _ := readAll(t, fsys, dir)
	if len(got) > 1 || len(got) == 1 && got[0] != "record 008" {
		t.Errorf("got %q after all but the last segment was dropped", got)
	}
}

// If a segment cannot be removed, all newer ones stay too.
func TestDropKeepsTheOrder(t *testing.T) {
	fsys := disktest.New(1)
	j := open(t, Options{FS: fsys, SegmentBytes: headerSize + 20})
	add(t, j, "one", "two", "three", "four")
	path := j.Segments()[1].Path
	fsys.Inject(func(op disktest.Op) error {
		if op.Path == path {
			return syscall.EIO
		}
		return nil
	})
	if err := j.Drop(4); !errors.Is(err, syscall.EIO) {
		t.Errorf("got error %v, want EIO", err)
	}
	fsys.Inject(nil)
	got, _ := readAll(t, fsys, dir)
	same(t, got, "two", "three", "four")
	ok(t, j.Drop(4))
	got, _ = readAll(t, fsys, dir)
	same(t, got, "four")
}

func TestRotate(t *testing.T) {
	fsys := disktest.New(1)
	j := open(t, Options{FS: fsys})
	rotate := func(want uint64) {
		t.Helper()
		if n, err := j.Rotate(); err != nil || n != want {
			t.Errorf("got segment %d, %v, want %d", n, err, want)
		}
	}
	rotate(1) // the current segment is empty
	add(t, j, "one")
	rotate(2)
	rotate(2)
	add(t, j, "two")
	fsys.LosePower()
	var segments []uint64
	_, err := Read(t.Context(), fsys, dir, Lineage{}, 0, func(segment uint64, _ int64, record []byte) error {
		if string(record) == "one" {
			segments = append(segments, segment)
		}
		return nil
	})
	ok(t, err)
	if !slices.Equal(segments, []uint64{1}) {
		t.Errorf("the first record is in the segments %v, want [1]", segments)
	}
}

// Starts without a record leave no additional files.
func TestEmptySegmentIsReused(t *testing.T) {
	fsys := disktest.New(1)
	for range 5 {
		ok(t, open(t, Options{FS: fsys}).Close())
	}
	j := open(t, Options{FS: fsys})
	if got, want := numbers(j), []uint64{1}; !slices.Equal(got, want) {
		t.Errorf("got segments %v, want %v", got, want)
	}
	add(t, j, "one")
	ok(t, j.Close())
	j = open(t, Options{FS: fsys})
	got, _ := replay(t, j)
	same(t, got, "one")
}

func TestFirst(t *testing.T) {
	fsys := disktest.New(1)
	ok(t, open(t, Options{FS: fsys, First: 7}).Close())
	j := open(t, Options{FS: fsys, First: 5})
	add(t, j, "one")
	ok(t, j.Close())
	j = open(t, Options{FS: fsys, First: 20})
	if got, want := numbers(j), []uint64{7, 20}; !slices.Equal(got, want) {
		t.Errorf("got segments %v, want %v", got, want)
	}
	add(t, j, "two")
	ok(t, j.Close())
	got, report := readAll(t, fsys, dir)
	same(t, got, "one", "two")
	if report.DamageTotal > 0 {
		t.Errorf("got damage %v", report.Damage)
	}
}

func TestReplayStops(t *testing.T) {
	fsys := disktest.New(1)
	j := open(t, Options{FS: fsys})
	add(t, j, "one", "two")
	ok(t, j.Close())
	j = open(t, Options{FS: fsys})
	want := errors.New("enough")
	calls := 0
	if _, err := j.Replay(t.Context(), 0, func(uint64, int64, []byte) error { calls++; return want }); !errors.Is(err, want) || calls != 1 {
		t.Errorf("got error %v after %d records, want %v after 1", err, calls, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Replay(ctx, 0, func(uint64, int64, []byte) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
	if _, err := Open(ctx, Options{FS: fsys, Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

func TestStrangeFilesAreLeftAlone(t *testing.T) {
	fsys := disktest.New(1)
	ok(t, fsys.MkdirAll(dir, 0o750))
	strange := []string{"LOCK", "journal-1.rsj", "journal-1-00000001.rsj", "journal-1000000000000-00000001.rsj", "journal-000000000001-zzzzzzzz.rsj", "journal-000000000000-00000001.rsj", "journal-000000000009-00000001.rsj.damaged"}
	for _, name := range strange {
		f, err := fsys.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY, 0o640)
		ok(t, err)
		ok(t, f.Close())
	}
	j := open(t, Options{FS: fsys})
	got, report := replay(t, j)
	if len(got) > 0 || report.DamageTotal > 0 {
		t.Errorf("got %q, %+v", got, report)
	}
	for _, name := range strange {
		_, err := fsys.Stat(filepath.Join(dir, name))
		ok(t, err)
	}
}
