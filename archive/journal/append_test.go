package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
)

// The records of each writer keep their order, whatever happens concurrently.
func TestManyWriters(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			root := t.TempDir()
			j := open(t, Options{Dir: root, Sync: min(m.mode, SyncMode(time.Millisecond)), SegmentBytes: 4 << 10})
			const writers, each = 8, 50
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := range each {
						if err := j.Append(t.Context(), fmt.Appendf(nil, "%d %d %s", w, i, strings.Repeat("x", i))); err != nil {
							t.Error(err)
						}
						if i%20 == 0 {
							if err := j.Sync(t.Context()); err != nil {
								t.Error(err)
							}
						}
						if i == each/2 {
							if _, err := j.Rotate(); err != nil {
								t.Error(err)
							}
						}
						_ = j.Size()
					}
				})
			}
			wg.Wait()
			ok(t, j.Close())
			var next [writers]int
			report, err := Read(t.Context(), disk.OS{}, root, Lineage{}, 0, func(_ uint64, _ int64, record []byte) error {
				var w, i int
				if _, err := fmt.Sscan(string(record), &w, &i); err != nil || next[w] != i {
					return fmt.Errorf("record %q, want number %d", record, next[w])
				}
				next[w]++
				return nil
			})
			ok(t, err)
			if report.Records != writers*each || report.DamageTotal+report.Torn > 0 {
				t.Errorf("got %+v", report)
			}
		})
	}
}

// heldFS blocks writes to segments until they are released.
type heldFS struct {
	disk.FS
	hold chan struct{}
}

type heldFile struct {
	disk.File
	hold chan struct{}
}

func (f heldFS) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	if err == nil && flag&os.O_APPEND != 0 {
		return heldFile{file, f.hold}, nil
	}
	return file, err
}

func (f heldFile) Write(p []byte) (int, error) {
	<-f.hold
	return f.File.Write(p)
}

// Records that arrive while the disk is busy are written and synced together.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := disktest.New(1)
		held := heldFS{fsys, make(chan struct{})}
		j := open(t, Options{FS: held, Sync: Always})
		var wg sync.WaitGroup
		wg.Go(func() { add(t, j, "first") })
		synctest.Wait()
		for i := range 20 {
			wg.Go(func() { add(t, j, fmt.Sprint(i)) })
		}
		synctest.Wait()
		count := map[disktest.Kind]int{}
		fsys.Inject(func(op disktest.Op) error { count[op.Kind]++; return nil })
		close(held.hold)
		wg.Wait()
		if count[disktest.Write] != 2 || count[disktest.Sync] > 2 {
			t.Errorf("got %v for 21 records, want 2 writes and 2 syncs", count)
		}
		ok(t, j.Close())
		got, _ := readAll(t, fsys, dir)
		if len(got) != 21 || got[0] != "first" {
			t.Errorf("got %q", got)
		}
	})
}

// Append returns when its context ends, without waiting for the disk. Close waits for the write in
// progress.
func TestContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := disktest.New(1)
		held := heldFS{fsys, make(chan struct{})}
		j := open(t, Options{FS: held})
		var wg sync.WaitGroup
		wg.Go(func() { add(t, j, "first") })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := j.Append(ctx, []byte("second")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
		}
		if err := j.Append(ctx, []byte("third")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
		}
		wg.Go(func() { ok(t, j.Close()) })
		synctest.Wait()
		close(held.hold)
		wg.Wait()
		got, _ := readAll(t, fsys, dir)
		same(t, got, "first")
	})
}

// Writers wait for a sync before the copy of unsynced records exceeds its limit.
func TestPendingIsBounded(t *testing.T) {
	fsys := disktest.New(1)
	j := open(t, Options{FS: fsys, Sync: math.MaxInt64})
	record := make([]byte, 1<<20)
	for range 20 {
		ok(t, j.Append(t.Context(), record))
		j.mu.Lock()
		n := len(j.pending)
		j.mu.Unlock()
		if n > maxPending {
			t.Fatalf("%d bytes are pending", n)
		}
	}
}
