// Package journal is the log that makes what was acknowledged survive: records
// go to its end, in the order in which they are acknowledged, and after a
// start they come back in that order.
//
// It knows records as bytes, and files by package disk; what a record says and
// when it is no longer needed is its owner's business. Only one journal may be
// open in a directory. FORMAT.md of package archive draws the files.
package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
)

// SyncMode says when a record that was acknowledged is on disk, beyond what a
// process that dies can lose: a positive one is the longest time between.
type SyncMode time.Duration

// The modes besides an interval. The zero SyncMode means one second.
const (
	// Always: before it is acknowledged.
	Always SyncMode = -1
	// Off: when the operating system likes, a segment ends, or Sync is called.
	// Then there is no copy of what is not synced, and if that fsync fails a
	// record may be lost although it was acknowledged.
	Off SyncMode = -2
)

// Options of a [Journal]. Dir is required.
type Options struct {
	FS           disk.FS // nil means the operating system's
	Dir          string  // made if it is missing
	Sync         SyncMode
	SegmentBytes int64 // a segment that would grow beyond is followed by the next; default 64 MiB

	// First is the least number that a new segment gets. An owner that has
	// stored up to which number it needs no segment passes that, so that
	// numbers do not start anew when the directory was lost.
	First uint64

	// Health is told an [*UnavailableError] when the journal stops
	// acknowledging, and nil when it goes on: one call at a time, and not from
	// within another method. It must not call Close.
	Health func(error)

	Observer Observer // nil means nobody
}

// MaxRecord is the length of the longest record, in bytes.
const MaxRecord = 16 << 20

const (
	defaultInterval     = time.Second
	defaultSegmentBytes = 64 << 20
	// maxPending bounds the copy of acknowledged records that are not synced,
	// in bytes. Writers that outrun the disk wait for it there; from muchPending
	// on it is synced before its time.
	maxPending  = 8 << 20
	muchPending = 1 << 20
)

// ErrClosed is the error after [Journal.Close].
var ErrClosed = errors.New("the journal is closed")

// UnavailableError is the error while the disk takes no records. The journal
// tries again by itself.
type UnavailableError struct {
	Err error // the disk's, such as ENOSPC or EIO
}

func (e *UnavailableError) Error() string { return "the journal takes no records: " + e.Err.Error() }

func (e *UnavailableError) Unwrap() error { return e.Err }

// Journal is a log in segments. Its methods may be called by many goroutines.
//
// Who holds turn may write to the file; who holds syncing may sync it; who
// changes the segment holds both, turn first. mu guards the fields below it
// and is held for moments only.
type Journal struct {
	fs           disk.FS
	dir          string
	mode         SyncMode
	segmentBytes int64
	health       func(error)
	observer     Observer

	turn    chan struct{}
	syncing chan struct{}
	broken  chan struct{} // wakes run, which recovers
	much    chan struct{} // wakes run, which syncs
	stop    chan struct{}
	runs    sync.WaitGroup
	closing sync.Once
	result  error // of the first Close

	found []segment // by Open, oldest first, to be replayed
	plan  plan      // of the segment that is being started; for the holder of turn and syncing

	file    disk.File // of current, nil while there is none to write to; for the holders of turn or syncing
	records uint32    // in current; for the holder of turn

	unlisted bool // the name of current may not be on disk; for the holder of syncing

	mu      sync.Mutex
	old     []segment // all that are on disk before current
	current segment
	next    segmentID // of the segment after current
	down    *UnavailableError
	closed  bool
	filling *batch
	spare   []byte // a buffer for the batch after filling

	// Positions count bytes from the start of the first segment's file on;
	// those in current are base and what is to be added for an offset.
	base    int64
	written int64
	synced  int64
	epoch   int    // counts failures: positions of another epoch mean nothing
	pending []byte // the frames between synced and written, if the mode is an interval
	tries   int    // to recover, since the last record was acknowledged

	failures int64 // that ended a time in which records were taken
}

// Open opens the journal of a directory, all or nothing; a new segment takes
// the records to come, and [Journal.Replay] gives those that are there. A full
// or failing disk is no error if the directory can be read: the journal is then
// unavailable at first. Files of another version are an error.
func Open(ctx context.Context, o Options) (*Journal, error) {
	j := &Journal{
		fs:           o.FS,
		dir:          o.Dir,
		mode:         o.Sync,
		segmentBytes: o.SegmentBytes,
		health:       o.Health,
		observer:     o.Observer,
		turn:         make(chan struct{}, 1),
		syncing:      make(chan struct{}, 1),
		broken:       make(chan struct{}, 1),
		much:         make(chan struct{}, 1),
		stop:         make(chan struct{}),
	}
	if err := j.defaults(); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := j.openDir(ctx, o.First); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j.runs.Go(j.run)
	return j, nil
}

func (j *Journal) defaults() error {
	if j.fs == nil {
		j.fs = disk.OS{}
	}
	if j.mode == 0 {
		j.mode = SyncMode(defaultInterval)
	}
	if j.mode < Off {
		return fmt.Errorf("a sync interval of %v", time.Duration(j.mode))
	}
	if j.segmentBytes == 0 {
		j.segmentBytes = defaultSegmentBytes
	}
	if j.segmentBytes < headerSize || j.segmentBytes > maxSegmentBytes {
		return fmt.Errorf("segments of %d bytes, want %d to %d", j.segmentBytes, headerSize, maxSegmentBytes)
	}
	if j.health == nil {
		j.health = func(error) {}
	}
	if j.observer == nil {
		j.observer = nobody{}
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
	j.old = slices.Clone(j.found)
	err = j.openSegment(first)
	if err != nil && diskFails(err) {
		j.fail(err)
		return nil
	}
	return err
}

// openSegment starts the segment for the records to come, which replaces the last
// one if that has none.
func (j *Journal) openSegment(first uint64) error {
	var last, before segment
	n := len(j.old)
	if n > 0 {
		last = j.old[n-1]
	}
	if n > 1 {
		before = j.old[n-2]
	}
	if last.number > 0 && last.empty() && last.number >= first {
		j.old = j.old[:len(j.old)-1]
		if last.err != nil {
			last.after, last.err = before.number, nil
		}
		j.plan.segment = last
	} else {
		j.plan.segment = segment{segmentID: newSegmentID(max(first, last.number+1)), after: last.number}
	}
	if j.plan.number > lastNumber {
		return fmt.Errorf("no segment can follow number %d", j.plan.number-1)
	}
	return j.start()
}

// Close syncs and closes the journal, and waits for what it runs. After an
// error acknowledged records may not be on disk. A second Close does nothing
// and returns the error of the first.
func (j *Journal) Close() error {
	j.closing.Do(func() {
		close(j.stop)
		j.runs.Wait()
		j.turn <- struct{}{}
		j.syncing <- struct{}{}
		j.result = j.close()
		<-j.syncing
		<-j.turn
	})
	return j.result
}

// close is called with turn and syncing held.
func (j *Journal) close() error {
	err := j.syncFile()
	if err != nil {
		err = j.reopen() // with what is not synced
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

// Unavailable is nil, or says why the journal takes no records now.
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

// state is nil if records are taken. It is called with mu held.
func (j *Journal) state() error {
	switch {
	case j.closed:
		return ErrClosed
	case j.down != nil:
		return j.down
	}
	return nil
}
