package journal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/ringstore/ringstore/archive/disk"
)

// plan is a segment to be started, with the frames it starts with. It stays
// until it is done: the same file is tried again.
type plan struct {
	segment
	frames []byte
}

// start publishes the planned segment and makes it the current one. It is
// called with turn and syncing held, or before anybody else has the journal.
func (j *Journal) start() error {
	p := j.plan
	records := seal(p.frames, p.segmentID, 0)
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
	j.unlisted = false
	j.adopt(f, records)
	return nil
}

// begin makes the planned segment, which has no frames, and takes it for the current
// one. Unlike one that is started it may be gone after a loss of power, with its
// records, until they are synced. It is called as start is.
func (j *Journal) begin() error {
	f, err := j.fs.OpenFile(j.plan.path(j.dir), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	if _, err := f.Write(j.plan.appendHeader(nil)); err != nil {
		return errors.Join(err, f.Close()) // a start will replace it
	}
	j.unlisted = true
	j.adopt(f, 0)
	return nil
}

// adopt makes the planned segment the current one.
func (j *Journal) adopt(f disk.File, records uint32) {
	p := j.plan
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.current.number != 0 && j.current.number != p.number {
		closed := j.current
		closed.size = p.afterEnd
		j.old = append(j.old, closed)
	}
	j.file, j.current, j.records = f, p.segment, records
	j.base = j.written - headerSize - int64(len(p.frames))
	j.synced = j.written
	j.pending = j.pending[:0]
	j.next = newSegmentID(p.number + 1)
	j.down = nil
}

// rotate closes the current segment and begins the next. It is called with turn
// held: writers wait for what of the one is not synced, and for no other fsync.
func (j *Journal) rotate() error {
	j.syncing <- struct{}{}
	defer func() { <-j.syncing }()
	if err := j.syncFile(); err != nil {
		return err
	}
	full := j.file
	j.plan = plan{segment: segment{segmentID: j.next, after: j.current.number, afterEnd: j.written - j.base}}
	if err := j.begin(); err != nil {
		return j.fail(err)
	}
	_ = full.Close() // it is synced
	return nil
}

// reopen goes on in a fresh segment after a failure. It is called with turn and
// syncing held.
func (j *Journal) reopen() error {
	if j.file != nil {
		j.abandon()
	}
	if err := j.start(); err != nil {
		return j.fail(err)
	}
	return nil
}

// abandon gives up the file of the current segment, which may hold anything
// behind what was synced, and plans the segment that says where it ends and
// has again what was acknowledged and not synced. With Off there is no copy of
// that, and it stays where it is.
func (j *Journal) abandon() {
	acknowledged, end := j.written-j.base, j.synced-j.base
	switch j.mode {
	case Always:
		acknowledged = end
	case Off:
		end = acknowledged
	}
	// If the file keeps what was not acknowledged, the next header still says
	// that it is not part of the journal.
	_ = j.file.Truncate(acknowledged)
	_ = j.file.Close()
	j.file = nil
	if end == headerSize { // the same file anew
		j.plan = plan{j.current, j.pending}
		return
	}
	j.plan = plan{segment{segmentID: j.next, after: j.current.number, afterEnd: end}, j.pending}
}

// Rotate makes the records to come go to another segment than those that were
// acknowledged, and returns its number.
func (j *Journal) Rotate() (uint64, error) {
	j.turn <- struct{}{}
	defer func() { <-j.turn }()
	j.mu.Lock()
	err := j.state()
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

// Segments returns the files, oldest first; the last one takes the records, if
// the journal is available.
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

// Size is how many bytes the segments have together.
func (j *Journal) Size() int64 {
	var size int64
	for _, s := range j.Segments() {
		size += s.Bytes
	}
	return size
}

// Drop removes the segments with numbers below before, but never the current
// one. What could not be removed, and what is younger, is left to the next Drop.
//
// Until it has returned nil a loss of power may bring any of them back. An
// owner that must not see their records again calls it before Replay, too.
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
			break // those after it stay too: no older records without the newer
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
