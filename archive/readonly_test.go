package archive

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/archive/journal"
)

// On a file system that cannot be written, everything can be queried, and nothing else works. What was
// damaged or unfinished stays as it is, and is repaired by the next start that can write.
func TestReadOnly(t *testing.T) {
	for _, cause := range []error{syscall.EROFS, syscall.EACCES, syscall.EPERM} {
		for _, limit := range []int64{0, 20_000} {
			t.Run(cause.Error(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testReadOnly(t, cause, limit) })
			})
		}
	}
}

func testReadOnly(t *testing.T, cause error, limit int64) {
	s := newSender(t, 1, journal.Always)
	s.prepare()
	ok(t, s.open())
	ok(t, s.write(s.span(40, 10, 0, 1, 2, 3, 4)...))
	ok(t, s.checkpoint())
	ok(t, s.write(s.span(10, 0, 0, 1, 2, 3, 4)...))
	s.end(false)
	s.fsys.SetReadOnly(cause)
	before := s.list("/")
	s.limit = limit
	ok(t, s.open())
	if limit == 0 {
		s.check("read-only", s.n)
	}
	if err := s.archive.ReadOnly(); !errors.Is(err, cause) {
		t.Errorf("read-only: %v", err)
	}
	sr, err := s.store.Series(series[0].Key)
	ok(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s.archive.Run(ctx)
	_, writeErr := s.archive.Write(t.Context(), nil)
	_, freeErr := s.archive.Free(t.Context(), nil, 0)
	_, snapshotErr := s.archive.Snapshot(t.Context())
	_, importErr := s.archive.Import(t.Context(), fstest.MapFS{})
	for i, err := range []error{
		writeErr, freeErr, snapshotErr, importErr, s.archive.Checkpoint(), s.archive.Cleanup(t.Context(), true),
		s.archive.SyncPoint()(t.Context()), s.archive.Unavailable(), s.archive.Status().Unavailable,
	} {
		if !errors.Is(err, ErrReadOnly) || !errors.Is(err, cause) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if sr.Gone() {
		t.Error("a series is gone")
	}
	ok(t, s.archive.Close())
	ok(t, s.archive.Close())
	if got := s.list("/"); len(got) != len(before) {
		t.Errorf("files %q, want %q", got, before)
	}
	s.fsys.SetReadOnly(nil)
	s.limit = 0
	s.restart("writable again")
}

// Without anything to query, a directory that cannot be written ends the start.
func TestReadOnlyAndEmpty(t *testing.T) {
	fsys := disktest.New(1)
	ok(t, fsys.MkdirAll("/var/lib/ringstore", 0o750))
	fsys.SetReadOnly(syscall.EROFS)
	if _, err := Open(Options{Dir: "/var/lib", Store: newStore(t), FS: fsys}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("got %v", err)
	}
}
