package journal

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/disk/disktest"
)

// callCounter counts the calls of an Observer.
type callCounter struct{ appended, synced atomic.Int64 }

func (o *callCounter) Appended(time.Duration) { o.appended.Add(1) }
func (o *callCounter) Synced(time.Duration)   { o.synced.Add(1) }

// The observer and the status count what was acknowledged and synced, and nothing that failed.
func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := disktest.New(1)
		seen := new(callCounter)
		j := open(t, Options{FS: fsys, Sync: Off, Observer: seen})
		f := func(what string, appended, synced int64, want Status) {
			t.Helper()
			if a, s := seen.appended.Load(), seen.synced.Load(); a != appended || s != synced {
				t.Errorf("%s: observed %d records and %d syncs, want %d and %d", what, a, s, appended, synced)
			}
			if want.Bytes = j.Size(); j.Status() != want {
				t.Errorf("%s: %+v, want %+v", what, j.Status(), want)
			}
		}
		frame := int64(len(appendFrame(nil, []byte("one"))))
		f("empty", 0, 0, Status{Available: true, Segments: 1})
		add(t, j, "one", "two")
		f("two records", 2, 0, Status{Available: true, Segments: 1, Unsynced: 2 * frame})
		ok(t, j.Sync(t.Context()))
		f("synced", 2, 1, Status{Available: true, Segments: 1})
		fsys.Inject(func(op disktest.Op) error {
			if op.Kind == disktest.Write {
				return syscall.ENOSPC
			}
			return nil
		})
		if err := j.Append(t.Context(), []byte("six")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got error %v, want ENOSPC", err)
		}
		time.Sleep(time.Minute)
		f("full", 2, 1, Status{Failures: 1, Segments: 1})
		fsys.Inject(nil)
		time.Sleep(time.Minute)
		add(t, j, "ten")
		f("recovered", 3, 1, Status{Available: true, Failures: 1, Segments: 2, Unsynced: frame})
		ok(t, j.Close())
	})
}
