package journal

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// batch is a group of records that are written together.
type batch struct {
	frames []byte
	done   chan struct{} // closed when the fields below are final
	err    error
	end    int64 // the position of its end, in the epoch
	epoch  int
	sync   bool // the records are acknowledged only once they are on disk
}

func newBatch(buffer []byte) *batch {
	return &batch{frames: buffer[:0], done: make(chan struct{})}
}

// Append appends a record of 1 to [MaxRecord] bytes, which it does not retain. Returning nil
// acknowledges the record: it survives the end of the process and, depending on the mode, a loss of
// power. After an [*UnavailableError] or the end of ctx the record may or may not be replayed at
// the next start, but never a part of it.
func (j *Journal) Append(ctx context.Context, record []byte) error {
	for {
		if err := j.AppendTo(ctx, j.Segment(), record); !errors.Is(err, ErrMoved) {
			return err
		}
	}
}

// ErrMoved says that a record was not appended because another segment has started.
var ErrMoved = errors.New("the journal has started another segment")

// Segment returns the number of the segment that takes new records.
func (j *Journal) Segment() uint64 { return j.number.Load() }

// AppendTo is like [Journal.Append] for a record that only the given segment may contain. The error
// is [ErrMoved] if another segment takes new records by now.
func (j *Journal) AppendTo(ctx context.Context, segment uint64, record []byte) error {
	begin := time.Now()
	err := j.append(ctx, segment, record)
	if err == nil {
		j.observer.Appended(time.Since(begin))
	}
	return err
}

func (j *Journal) append(ctx context.Context, segment uint64, record []byte) error {
	if n := len(record); n == 0 || n > MaxRecord {
		return fmt.Errorf("journal: expected a record of 1 to %d bytes, got %d", MaxRecord, n)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b, err := j.addToBatch(segment, record)
	if err != nil {
		return err
	}
	if err := j.flush(ctx, b); err != nil {
		return err
	}
	if b.sync {
		return j.syncTo(ctx, b.end, b.epoch)
	}
	return nil
}

// addToBatch adds the record to the batch that is being filled.
func (j *Journal) addToBatch(segment uint64, record []byte) (*batch, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.checkUsable(); err != nil {
		return nil, err
	}
	if j.current.number != segment {
		return nil, ErrMoved
	}
	j.filling.frames = appendFrame(j.filling.frames, record)
	return j.filling, nil
}

// flush returns when the batch is written. Of the goroutines that wait for a batch, the first to
// get the writing lock writes it.
func (j *Journal) flush(ctx context.Context, b *batch) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	case j.writing <- struct{}{}:
	}
	defer func() { <-j.writing }()
	select {
	case <-b.done:
	default: // b is the batch being filled, as the lock is held from taking a batch to its end
		j.writeBatch(b)
	}
	return b.err
}

// writeBatch writes b. The writing lock must be held.
func (j *Journal) writeBatch(b *batch) {
	if j.exceedsSegment(b) && j.rotate() == nil {
		return // rotate has returned the batch
	}
	defer close(b.done)
	if b.err = j.takeBatch(); b.err != nil {
		return
	}
	records, sum := seal(b.frames, j.current.segmentID, j.records, j.sum)
	_, err := j.file.Write(b.frames)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.failLocked(fmt.Errorf("writing %s: %w", j.current.path(j.dir), err))
	}
	if b.err = j.checkUsable(); b.err != nil {
		return // a concurrent sync may have failed
	}
	j.records += records
	j.sum = sum
	j.written += int64(len(b.frames))
	j.retries = 0
	b.end, b.epoch = j.written, j.epoch
	if j.mode > 0 {
		j.pending = append(j.pending, b.frames...)
	}
	b.sync = j.mode == Always || len(j.pending) > maxPending
	if len(j.pending) > syncSoonBytes {
		select {
		case j.syncSoon <- struct{}{}:
		default:
		}
	}
	j.recycle(b)
}

// exceedsSegment reports whether b, the batch being filled, does not fit into the current segment.
func (j *Journal) exceedsSegment(b *batch) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	size := j.written - j.base
	return j.checkUsable() == nil && size > headerSize && size+int64(len(b.frames)) > j.segmentBytes
}

// takeBatch replaces the batch being filled by a new one.
func (j *Journal) takeBatch() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.filling = newBatch(j.spare)
	j.spare = nil
	return j.checkUsable()
}

// moveBatch returns the batch being filled to the callers of AppendTo, because another segment has
// started. mu must be held.
func (j *Journal) moveBatch() {
	b := j.filling
	if len(b.frames) == 0 {
		return
	}
	j.filling = newBatch(nil)
	b.err = ErrMoved
	close(b.done)
}

// recycle keeps the buffer for another batch, unless it is unusually large.
func (j *Journal) recycle(b *batch) {
	if cap(b.frames) <= 1<<20 {
		j.spare = b.frames
	}
	b.frames = nil
}
