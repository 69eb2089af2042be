package archive

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
)

// restored verifies a snapshot, restores a copy of it and returns the contents.
func restored(t *testing.T, info SnapshotInfo) map[string]string {
	t.Helper()
	if v, err := Verify(t.Context(), disk.OS{}, info.Path); err != nil || len(v.Problems) > 0 {
		t.Fatalf("the snapshot's files: %v, %v", v.Problems, err)
	}
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(info.Path)); err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	a := open(t, dir, s)
	defer a.Close()
	return contents(t, s)
}

func snapshot(t *testing.T, a *Archive) SnapshotInfo {
	t.Helper()
	info, err := a.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestSnapshotsAreAsOfTheirMoment(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t)
	a := open(t, dir, s)
	checkpoint := func() {
		t.Helper()
		if err := a.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	is := func(name string, got, want map[string]string) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d samples, some other than the %d that were stored", name, len(got), len(want))
		}
	}
	nothing := snapshot(t, a)
	fill(t, a, s, 1)
	inJournal, first := snapshot(t, a), contents(t, s)
	checkpoint()
	inWindows := snapshot(t, a)
	fill(t, a, s, 2)
	inBoth, second := snapshot(t, a), contents(t, s)
	if _, err := a.Free(t.Context(), [][]string{{"alpha"}, {"n0"}}, now); err != nil {
		t.Fatal(err)
	}
	freed, third := snapshot(t, a), contents(t, s)
	checkpoint() // removes files that the snapshots still need
	checkpoint()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	is("nothing", restored(t, nothing), map[string]string{})
	is("in the journal", restored(t, inJournal), first)
	is("in windows", restored(t, inWindows), first)
	is("in both", restored(t, inBoth), second)
	is("freed", restored(t, freed), third)
	if inBoth.Files < 2 || inBoth.Bytes == 0 || filepath.Dir(inBoth.Path) != filepath.Join(dir, subdir, snapshotsDir) {
		t.Errorf("%+v", inBoth)
	}

	// The archive itself ignores its snapshots.
	again := newStore(t)
	open(t, dir, again)
	is("the archive", contents(t, again), third)
}

// A snapshot holds everything acknowledged before it, whatever happens concurrently.
func TestSnapshotsBesideWritesAndCheckpoints(t *testing.T) {
	s := newStore(t)
	a := open(t, t.TempDir(), s)
	sr, err := s.Series(memstore.Key{Cluster: "alpha", Host: "n0", Metric: "power"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel()
	var acknowledged atomic.Int64
	others.Go(func() {
		for n := int64(1); ctx.Err() == nil && n < 8000; n++ {
			at := (now - 80_000 + 10*n) * 1000
			if _, err := a.Write(context.WithoutCancel(ctx), []memstore.Sample{{Series: sr, Time: at, Value: float64(n)}}); err != nil {
				t.Error(err)
				return
			}
			acknowledged.Store(n)
		}
	})
	others.Go(func() {
		for ctx.Err() == nil {
			if err := a.Checkpoint(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 10 {
		before := acknowledged.Load()
		info := snapshot(t, a)
		after := acknowledged.Load() + 1 // one may be in flight
		if n := int64(len(restored(t, info))); n < before || n > after {
			t.Errorf("%d samples, at least %d and at most %d were acknowledged", n, before, after)
		}
	}
}

// failingLinks is a file system whose links fail after some successful ones.
type failingLinks struct {
	disk.OS
	left int
}

func (l *failingLinks) Link(from, to string) error {
	if l.left--; l.left < 0 {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.ENOSPC}
	}
	return l.OS.Link(from, to)
}

// A failed snapshot leaves nothing behind.
func TestSnapshotsThatFail(t *testing.T) {
	s := newStore(t)
	fsys := new(failingLinks)
	a, err := Open(Options{Dir: t.TempDir(), Store: s, FS: fsys, Now: ticking()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if _, err := a.Snapshot(t.Context()); !errors.Is(err, ErrNotRestored) {
		t.Errorf("before a restore: %v", err)
	}
	if _, err := a.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, a, s, 2)
	if err := a.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	fill(t, a, s, 2)
	root := filepath.Join(a.dir, snapshotsDir)
	none := func(when string) {
		t.Helper()
		if entries, err := os.ReadDir(root); len(entries) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: there are %v, %v", when, entries, err)
		}
	}
	for n := range 2 {
		fsys.left = n
		if _, err := a.Snapshot(t.Context()); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("after %d links: %v", n, err)
		}
		none("the disk is full")
	}
	fsys.left = 1000
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Snapshot(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with a canceled context: %v", err)
	}
	none("with a canceled context")
	// The next snapshot removes what a killed process left.
	if err := os.MkdirAll(filepath.Join(root, "20260101T000000.000Z.tmp", subdir, journalDir), 0o750); err != nil {
		t.Fatal(err)
	}
	info := snapshot(t, a)
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 1 || entries[0].Name() != filepath.Base(info.Path) {
		t.Errorf("%v, %v", entries, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Snapshot(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Snapshots get different paths even if the clock stands still.
func TestSnapshotsOfOneMoment(t *testing.T) {
	a, err := Open(Options{Dir: t.TempDir(), Store: newStore(t), Now: func() time.Time { return time.Unix(now, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if _, err := a.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	paths := make(map[string]bool)
	for range 3 {
		info := snapshot(t, a)
		paths[info.Path] = true
		if filepath.Base(info.Path) != info.Time.Format(snapshotTime) {
			t.Errorf("%s of %v", info.Path, info.Time)
		}
	}
	if len(paths) != 3 {
		t.Errorf("%v", paths)
	}
}

// Unfinished snapshots of a killed process would otherwise keep files on disk for good.
func TestRestoreRemovesUnfinishedSnapshots(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, subdir, snapshotsDir)
	if err := os.MkdirAll(filepath.Join(root, "20260101T000000.000Z"+unfinishedSuffix, subdir, journalDir), 0o750); err != nil {
		t.Fatal(err)
	}
	open(t, dir, newStore(t))
	if entries, err := os.ReadDir(root); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// A file of another program beside the clusters' directories is ignored.
func TestSnapshotsIgnoreOtherFiles(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	a := open(t, dir, s)
	fill(t, a, s, 1)
	if err := a.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.dir, blocksDir, "README"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	want := contents(t, s)
	if got := restored(t, snapshot(t, a)); !reflect.DeepEqual(got, want) {
		t.Errorf("%d samples, want %d", len(got), len(want))
	}
	if v, err := Verify(t.Context(), disk.OS{}, dir); err != nil || len(v.Problems) > 0 || v.Files == 0 {
		t.Errorf("verified: %+v, %v", v, err)
	}
}

// A snapshot can be made after a start that found the newest manifest damaged.
func TestSnapshotAfterADamagedManifest(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, newStore(t))
	for range 3 {
		ok(t, a.Checkpoint())
	}
	name := manifestName(a.generation)
	kill(t, a)
	ok(t, os.WriteFile(filepath.Join(dir, subdir, name), []byte("damaged"), 0o600))
	s := newStore(t)
	a = open(t, dir, s)
	if got, want := restored(t, snapshot(t, a)), contents(t, s); !reflect.DeepEqual(got, want) {
		t.Errorf("%d samples, want %d", len(got), len(want))
	}
	ok(t, a.Close())
}
