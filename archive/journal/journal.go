// Package journal is a write-ahead log. Records are appended in the order in which they are
// acknowledged, and replayed in that order after a restart.
//
// Records are opaque bytes; the caller decides when they are no longer needed. Only one journal may
// be open in a directory. FORMAT.md of package archive describes the files.
package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/ringstore/ringstore/archive/disk"
)

// SyncMode says when an acknowledged record is synced to disk. A positive mode is an interval, the
// longest time that a record stays unsynced. Zero means one second. In every mode an acknowledged
// record survives the end of the process.
type SyncMode time.Duration

// The modes that are not an interval.
const (
	// Always syncs a record before it is acknowledged.
	Always SyncMode = -1
	// Off leaves syncing to the operating system, apart from the end of a segment and calls of
	// Sync. The journal then has no copy of unsynced records: if an fsync fails, acknowledged
	// records may be lost.
	Off SyncMode = -2
)

// Options of a [Journal]. Dir is required.
type Options struct {
	FS           disk.FS // default: the operating system's
	Dir          string  // created if missing
	Sync         SyncMode
	SegmentBytes int64 // maximum size of a segment, unless one batch exceeds it; default 64 MiB

	// First is the minimum number of a new segment. A caller that has stored the number of the
	// first segment it needs passes it here, so that numbers do not start again at 1 if the
	// directory was lost.
	First uint64

	// Lineage says which segments belong to the directory.
	Lineage Lineage

	Now func() time.Time // default time.Now

	// Health is called with an [*UnavailableError] when the journal stops acknowledging, and with
	// nil when it has recovered: one call at a time, and not from within another method. It must
	// not call Close.
	Health func(error)

	// Gone is called when the file of the current segment or the directory was removed or replaced,
	// before the directory is created again and another segment started. Records that were
	// acknowledged before a sync found them there are then no longer on disk. The journal stays
	// unavailable while Gone returns an error. It must not call methods of the journal.
	Gone func(*disk.GoneError) error

	Observer Observer // may be nil
}

// MaxRecord is the maximum length of a record in bytes.
const MaxRecord = 16 << 20

const (
	defaultInterval     = time.Second
	defaultSegmentBytes = 64 << 20
	// maxPending limits the copy of acknowledged, unsynced records, in bytes. Writers that are
	// faster than the disk wait for a sync there. From syncSoonBytes on a sync starts before the
	// interval ends.
	maxPending    = 8 << 20
	syncSoonBytes = 1 << 20
)

// ErrClosed is the error after [Journal.Close].
var ErrClosed = errors.New("the journal is closed")

// UnavailableError is the error while the disk fails. The journal retries by itself.
type UnavailableError struct {
	Err error // of the disk, such as ENOSPC or EIO
}

func (e *UnavailableError) Error() string { return "the journal is unavailable: " + e.Err.Error() }

func (e *UnavailableError) Unwrap() error { return e.Err }

// Journal is a log in segments. Its methods are safe for concurrent use.
//
// The channels writing and syncing are locks that can be waited for together with a context. A
// goroutine holds writing to write to the file, syncing to sync it, and both, writing first, to
// change the segment. mu guards the fields below it and is not held while writing or syncing.
type Journal struct {
	fs           disk.FS
	dir          string
	mode         SyncMode
	segmentBytes int64
	health       func(error)
	gone         func(*disk.GoneError) error
	observer     Observer
	lineage      Lineage
	store        uuid.UUID
	now          func() time.Time

	writing  chan struct{}
	syncing  chan struct{}
	failed   chan struct{} // wakes run to recover
	syncSoon chan struct{} // wakes run to sync
	stop     chan struct{}
	runs     sync.WaitGroup
	closing  sync.Once
	result   error // of the first Close

	found   []segment            // by Open, oldest first, to be replayed
	foreign []*disk.ForeignError // by Open
	plan    plan                 // of the segment to be created; guarded by writing and syncing

	replaced segmentID // an empty one in found, by Open

	file    disk.File     // of current, nil while the journal is down; guarded by writing or syncing
	records uint32        // in current; guarded by writing
	number  atomic.Uint64 // of current

	nameUnsynced bool // the name of current may not be on disk; guarded by syncing

	mu      sync.Mutex
	old     []segment // on disk, before current
	current segment
	next    segmentID         // of the segment after current
	down    *UnavailableError // nil while records are accepted
	closed  bool
	filling *batch // takes new records
	// rotating is closed when the next segment takes new records; nil unless it is being created.
	rotating chan struct{}
	spare    []byte // a buffer for the batch after filling

	// Positions count the bytes of the journal since it was opened. A position in current is base
	// plus the offset in the file.
	base      int64
	written   int64
	synced    int64
	sum       uint32 // of the last frame before written, or of the header
	syncedSum uint32 // and before synced
	epoch     int    // counts failures; positions of another epoch are invalid
	pending   []byte // the frames between synced and written, if the mode is an interval
	retries   int    // of recovering, since the last record was acknowledged

	failures int64 // that made the journal unavailable
}

// Open opens the journal of a directory. New records go to a new segment; [Journal.Replay] returns
// the old ones. If the disk is full or fails but the directory is readable, Open succeeds and the
// journal is unavailable at first. A file of another format version is an error. After an error
// nothing stays open.
func Open(ctx context.Context, o Options) (*Journal, error) {
	j := &Journal{
		fs:           o.FS,
		dir:          o.Dir,
		mode:         o.Sync,
		segmentBytes: o.SegmentBytes,
		health:       o.Health,
		gone:         o.Gone,
		lineage:      o.Lineage,
		store:        o.Lineage.Store,
		now:          o.Now,
		observer:     o.Observer,
		writing:      make(chan struct{}, 1),
		syncing:      make(chan struct{}, 1),
		failed:       make(chan struct{}, 1),
		syncSoon:     make(chan struct{}, 1),
		stop:         make(chan struct{}),
	}
	if err := j.setDefaults(); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := j.openDir(ctx, o.First); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j.runs.Go(j.run)
	return j, nil
}

func (j *Journal) setDefaults() error {
	if j.fs == nil {
		j.fs = disk.OS{}
	}
	if j.mode == 0 {
		j.mode = SyncMode(defaultInterval)
	}
	if j.mode < Off {
		return fmt.Errorf("expected a positive sync interval, got %v", time.Duration(j.mode))
	}
	if j.segmentBytes == 0 {
		j.segmentBytes = defaultSegmentBytes
	}
	if j.segmentBytes < headerSize || j.segmentBytes > maxSegmentBytes {
		return fmt.Errorf("expected segments of %d to %d bytes, got %d", headerSize, maxSegmentBytes, j.segmentBytes)
	}
	if j.now == nil {
		j.now = time.Now
	}
	if j.health == nil {
		j.health = func(error) {}
	}
	if j.gone == nil {
		j.gone = func(*disk.GoneError) error { return nil }
	}
	if j.observer == nil {
		j.observer = noObserver{}
	}
	j.filling = newBatch(nil)
	return nil
}

func (j *Journal) openDir(ctx context.Context, first uint64) error {
	if err := j.fs.MkdirAll(j.dir, 0o750); err != nil {
		return err
	}
	if err := disk.RemoveTemporary(j.fs, j.dir); err != nil {
		return err
	}
	var err error
	if j.found, err = list(ctx, j.fs, j.dir); err != nil {
		return err
	}
	j.found, j.foreign = j.lineage.divide(j.found, j.dir)
	j.old = slices.Clone(j.found)
	if err = j.openSegment(first); err == nil {
		err = j.syncFound()
	}
	if err != nil && isDiskFailure(err) {
		j.fail(err)
		return nil
	}
	return err
}

// syncFound syncs the segments of earlier processes: in any mode segments are synced at their end,
// and a process that was killed could not do it.
func (j *Journal) syncFound() error {
	for _, s := range j.old {
		f, err := j.fs.OpenFile(s.path(j.dir), os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// openSegment creates the segment for new records. It replaces the last one if that is empty.
func (j *Journal) openSegment(first uint64) error {
	var last, before segment
	n := len(j.old)
	if n > 0 {
		last = j.old[n-1]
	}
	if n > 1 {
		before = j.old[n-2]
	}
	known := j.lineage.lastKnown() // if it is missing, another file must not get its number
	if last.number > 0 && last.empty() && last.number >= max(first, known) {
		j.old = j.old[:len(j.old)-1]
		j.replaced = last.segmentID
		if last.err != nil {
			last.after, last.err = before.segmentID, nil
		}
		j.plan.segment = last
	} else {
		j.plan.segment = segment{segmentID: newSegmentID(max(first, last.number+1, known+1)), after: last.segmentID}
	}
	if j.plan.number > maxNumber {
		return fmt.Errorf("expected segment numbers up to %d, got %d", maxNumber-1, j.plan.number-1)
	}
	return j.publishSegment()
}

// Close syncs and closes the journal, and waits for its goroutine. After an error acknowledged
// records may not be on disk. A second Close does nothing and returns the error of the first.
func (j *Journal) Close() error {
	j.closing.Do(func() {
		close(j.stop)
		j.runs.Wait()
		j.writing <- struct{}{}
		j.syncing <- struct{}{}
		j.result = j.close()
		<-j.syncing
		<-j.writing
	})
	return j.result
}

// close closes the journal. Both locks must be held.
func (j *Journal) close() error {
	err := j.syncFile()
	if err != nil {
		err = j.reopen() // publishes the unsynced records in a new segment
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	if j.file != nil {
		err = errors.Join(err, j.file.Close())
		j.file = nil
	}
	if err != nil {
		return fmt.Errorf("closing the journal: %w", err)
	}
	return nil
}

// Unavailable returns nil, or why the journal accepts no records now.
func (j *Journal) Unavailable() error {
	if err := j.unavailable(); err != nil {
		return err
	}
	return nil
}

func (j *Journal) unavailable() *UnavailableError {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.down
}

// checkUsable returns why no records are accepted, or nil. mu must be held.
func (j *Journal) checkUsable() error {
	switch {
	case j.closed:
		return ErrClosed
	case j.down != nil:
		return j.down
	}
	return nil
}
