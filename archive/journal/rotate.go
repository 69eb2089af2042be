package journal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/ringstore/ringstore/archive/disk"
)

// plan is a segment to be created, with its first frames. It stays until the segment exists, so
// that a retry uses the same file.
type plan struct {
	segment
	frames []byte
}

// publishSegment publishes the planned segment and makes it the current one. Both locks, writing
// and syncing, must be held, unless the journal is being opened.
func (j *Journal) publishSegment() error {
	p := j.plan
	p.store, p.created, p.header = j.store, j.now().UnixMilli(), headerSize
	records, sum := seal(p.frames, p.segmentID, 0, p.headerSum())
	path := p.path(j.dir)
	err := disk.Publish(j.fs, path, func(w io.Writer) error {
		if _, err := w.Write(p.appendHeader(nil)); err != nil {
			return err
		}
		_, err := w.Write(p.frames)
		return err
	})
	if err != nil {
		return err
	}
	f, err := j.fs.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	j.nameUnsynced = false
	j.plan = p
	j.setCurrent(f, records, sum)
	return nil
}

// createSegment creates the planned segment, which has no frames, and makes it the current one. It
// syncs nothing: until the first records are synced, the file may be lost with the power. The locks
// are those of publishSegment.
func (j *Journal) createSegment() error {
	p := &j.plan
	p.store, p.created, p.header = j.store, j.now().UnixMilli(), headerSize
	f, err := j.fs.OpenFile(p.path(j.dir), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	if _, err := f.Write(p.appendHeader(nil)); err != nil {
		return errors.Join(err, f.Close()) // publishSegment will replace the file
	}
	j.nameUnsynced = true
	j.setCurrent(f, 0, p.headerSum())
	return nil
}

// setCurrent makes the planned segment the current one.
func (j *Journal) setCurrent(f disk.File, records, sum uint32) {
	p := j.plan
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.current.number != 0 && j.current.number != p.number {
		closed := j.current
		closed.size = p.afterEnd
		j.old = append(j.old, closed)
	}
	if j.current.number != p.number && j.down != nil {
		j.failBatch(j.down)
	}
	j.file, j.current, j.records = f, p.segment, records
	j.number.Store(p.number)
	j.sum, j.syncedSum = sum, sum
	j.base = j.written - headerSize - int64(len(p.frames))
	j.synced = j.written
	j.pending = j.pending[:0]
	j.next = newSegmentID(p.number + 1)
	j.down = nil
}

// rotate closes the current segment and creates the next. The writing lock must be held. New records
// wait meanwhile, so that they keep their order; only the fsync of the unsynced end of the closed
// segment delays them.
func (j *Journal) rotate() error {
	j.syncing <- struct{}{}
	defer func() { <-j.syncing }()
	if err := j.syncFile(); err != nil {
		return err
	}
	last := j.stopAdding()
	defer j.resumeAdding()
	if last != nil {
		j.writeBatch(last)
	}
	if err := j.syncFile(); err != nil {
		return err
	}
	full := j.file
	j.plan = plan{segment: j.following(j.written-j.base, j.sum)}
	if err := j.createSegment(); err != nil {
		return j.fail(err)
	}
	_ = full.Close() // is synced
	return nil
}

// stopAdding makes new records wait, and returns the batch that must still go to the current
// segment, or nil.
func (j *Journal) stopAdding() *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rotating = make(chan struct{})
	if len(j.filling.frames) == 0 {
		return nil
	}
	return j.filling
}

func (j *Journal) resumeAdding() {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.rotating)
	j.rotating = nil
}

// reopen continues in a new segment after a failure. Both locks must be held.
func (j *Journal) reopen() error {
	if j.unavailable() == nil {
		return nil // CheckPresent was faster
	}
	if j.file != nil {
		j.abandon()
	}
	if err := j.restoreDir(); err != nil {
		return j.fail(err)
	}
	if err := j.publishSegment(); err != nil {
		return j.fail(err)
	}
	return nil
}

// abandon closes the file of the current segment, whose content behind the last sync is unknown. It
// plans a segment that says where the closed one ends and that repeats the acknowledged, unsynced
// records. In mode Off there is no copy of these, so they stay in the closed segment.
func (j *Journal) abandon() {
	acknowledged, end, sum := j.written-j.base, j.synced-j.base, j.syncedSum
	switch j.mode {
	case Always:
		acknowledged = end
	case Off:
		end, sum = acknowledged, j.sum
	}
	// If truncating fails, the next segment's header still says where this one ends.
	_ = j.file.Truncate(acknowledged)
	_ = j.file.Close()
	j.file = nil
	if end == headerSize { // no record to keep: replace the same file
		j.plan = plan{j.current, j.pending}
		return
	}
	j.plan = plan{j.following(end, sum), j.pending}
}

// following returns the segment after the current one, which ends at an offset and whose last
// checksum is sum.
func (j *Journal) following(end int64, sum uint32) segment {
	return segment{segmentID: j.next, after: j.current.segmentID, afterEnd: end, extension: extension{afterSum: sum}}
}

// Rotate returns the number of the segment that takes all later records and none that was
// acknowledged before. It starts a new segment unless the current one is empty.
func (j *Journal) Rotate() (uint64, error) {
	j.writing <- struct{}{}
	defer func() { <-j.writing }()
	j.mu.Lock()
	err := j.checkUsable()
	empty := j.written-j.base == headerSize
	j.mu.Unlock()
	if err == nil && !empty {
		err = j.rotate()
	}
	if err != nil {
		return 0, err
	}
	return j.current.number, nil
}

// Segment is a file of the journal.
type Segment struct {
	Number uint64
	Path   string
	Bytes  int64
}

// Segments returns the files, oldest first. If the journal is available, the last one takes new
// records.
func (j *Journal) Segments() []Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []Segment
	for _, s := range j.old {
		all = append(all, Segment{s.number, s.path(j.dir), s.size})
	}
	if j.current.number != 0 {
		all = append(all, Segment{j.current.number, j.current.path(j.dir), j.written - j.base})
	}
	return all
}

// Size returns the size of all segments in bytes.
func (j *Journal) Size() int64 { return j.SizeFrom(0) }

// SizeFrom returns the size of the segments from a number on in bytes.
func (j *Journal) SizeFrom(number uint64) int64 {
	var size int64
	for _, s := range j.Segments() {
		if s.Number >= number {
			size += s.Bytes
		}
	}
	return size
}

// Drop removes the segments with numbers below before, except the current one. If one cannot be
// removed, it and the newer ones stay until the next Drop.
//
// Until Drop has returned nil, a loss of power may bring any of them back. A caller that must not
// see their records again also calls Drop before Replay.
func (j *Journal) Drop(before uint64) error {
	j.mu.Lock()
	old := slices.Clone(j.old)
	j.mu.Unlock()
	removed := 0
	var err error
	for _, s := range old {
		if s.number >= before {
			break
		}
		if err = j.fs.Remove(s.path(j.dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			break // newer ones stay too: replaying old records without newer ones would be wrong
		}
		err = nil
		removed++
	}
	if removed == 0 {
		return err
	}
	j.mu.Lock()
	j.old = slices.DeleteFunc(j.old, func(s segment) bool { return slices.Contains(old[:removed], s) })
	j.mu.Unlock()
	return errors.Join(err, j.fs.SyncDir(j.dir))
}
