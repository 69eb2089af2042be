package archive

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/memstore/unixtime"
)

// The status counts successful and failed checkpoints and their bytes. A failure does not change
// the last success.
func TestStatus(t *testing.T) {
	fsys := disktest.New(1)
	s := newStore(t)
	a, err := Open(Options{Dir: "/data", FS: fsys, Store: s, Now: ticking()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if got := a.Status(); got.Unavailable == nil || got.Journal != (journal.Status{}) || got.Checkpoints != (Runs{}) || got.Cleanups != (Runs{}) {
		t.Errorf("before the restore: %+v", got)
	}
	if _, err := a.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, a, s, 3)
	begin := time.Now()
	if err := a.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	first := a.Status()
	if c := first.Checkpoints; c.Done != 1 || c.Failed != 0 || c.Bytes == 0 || c.LastBytes != c.Bytes ||
		c.Took <= 0 || c.LastTook != c.Took || c.LastDone.Before(begin) {
		t.Errorf("after a checkpoint: %+v", c)
	}
	if j := first.Journal; !j.Available || j.Segments != 2 {
		t.Errorf("after a checkpoint: %+v", j)
	}
	failure := errors.New("a fault")
	fill(t, a, s, 3)
	fsys.Inject(func(op disktest.Op) error {
		if op.Kind == disktest.Rename {
			return failure
		}
		return nil
	})
	if err := a.Checkpoint(); !errors.Is(err, failure) {
		t.Errorf("got error %v", err)
	}
	fsys.Inject(nil)
	if c := a.Status().Checkpoints; c.Done != 1 || c.Failed != 1 || c.LastDone != first.Checkpoints.LastDone || !errors.Is(c.Err, failure) {
		t.Errorf("after a failure: %+v", c)
	}
}

// The status counts the bytes of the Parquet files that cleanups write.
func TestStatusOfCleanups(t *testing.T) {
	m := newTestArchive(t)
	m.advance(40)
	if err := m.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second has nothing to do
		if err := m.Cleanup(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	var bytes int64
	for day := range parquet.Day(3) {
		files, err := m.Parquet.Files(t.Context(), "alpha", now/unixtime.SecondsPerDay-1+day)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			bytes += f.Bytes
		}
	}
	if c := m.Status().Cleanups; c.Done != 2 || c.Bytes != bytes || bytes == 0 || c.LastBytes != 0 {
		t.Errorf("%+v, want %d bytes", c, bytes)
	}
}

// hangingDisk hangs in one call of SyncDir, once armed, until it is released.
type hangingDisk struct {
	disk.OS
	armed          atomic.Bool
	hangs, release chan struct{}
}

func (h *hangingDisk) SyncDir(name string) error {
	if h.armed.CompareAndSwap(true, false) {
		close(h.hangs)
		<-h.release
	}
	return h.OS.SyncDir(name)
}

// Status returns while a checkpoint waits for a hanging disk.
func TestStatusDoesNotWaitForTheDisk(t *testing.T) {
	fsys := &hangingDisk{hangs: make(chan struct{}), release: make(chan struct{})}
	s := newStore(t)
	a, err := Open(Options{Dir: t.TempDir(), FS: fsys, Store: s, Now: ticking()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if _, err := a.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, a, s, 1)
	fsys.armed.Store(true)
	checkpointed, asked := make(chan error, 1), make(chan Status, 1)
	go func() { checkpointed <- a.Checkpoint() }()
	<-fsys.hangs
	go func() { asked <- a.Status() }()
	select {
	case got := <-asked:
		if got.Unavailable != nil || got.Journal.Segments == 0 {
			t.Errorf("%+v", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("the status waits for the disk")
	}
	close(fsys.release)
	if err := <-checkpointed; err != nil {
		t.Error(err)
	}
}
