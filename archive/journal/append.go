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
	added, err := j.Add(ctx, segment, record)
	if err != nil {
		return err
	}
	return added.Wait(ctx)
}

// Added is a record that has its place in the journal, but is not acknowledged yet. The zero Added is
// none.
type Added struct {
	journal *Journal
	batch   *batch
	begin   time.Time
}

// Add is the first part of [Journal.AppendTo], without disk I/O unless another segment is being
// started: it decides the record's place. Records are replayed in the order in which they were
// added. [Added.Wait] acknowledges the record.
func (j *Journal) Add(ctx context.Context, segment uint64, record []byte) (Added, error) {
	if n := len(record); n == 0 || n > MaxRecord {
		return Added{}, fmt.Errorf("journal: expected a record of 1 to %d bytes, got %d", MaxRecord, n)
	}
	begin := time.Now()
	b, err := j.addToBatch(ctx, segment, record)
	if err != nil {
		return Added{}, err
	}
	return Added{j, b, begin}, nil
}

// Wait returns when the record is acknowledged, as [Journal.Append] does.
func (a Added) Wait(ctx context.Context) error {
	j, b := a.journal, a.batch
	if err := j.flush(ctx, b); err != nil {
		return err
	}
	if b.sync {
		if err := j.syncTo(ctx, b.end, b.epoch); err != nil {
			return err
		}
	}
	j.observer.Appended(time.Since(a.begin))
	return nil
}

// addToBatch adds the record to the batch that is being filled. If the record does not fit into the
// segment, it starts the next one and returns ErrMoved.
func (j *Journal) addToBatch(ctx context.Context, segment uint64, record []byte) (*batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		b, wait, err := j.tryAdd(segment, record)
		if err != nil || b != nil {
			return b, err
		}
		select {
		case <-wait: // another record starts the next segment
		case <-ctx.Done():
			return nil, ctx.Err()
		case j.writing <- struct{}{}:
			j.rotateFor(record)
			<-j.writing
		}
	}
}

// tryAdd is addToBatch, unless the next segment is due or being started.
func (j *Journal) tryAdd(segment uint64, record []byte) (b *batch, rotated <-chan struct{}, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	err = j.checkUsable()
	switch {
	case err != nil:
		return nil, nil, err
	case j.rotating != nil:
		return nil, j.rotating, nil
	case j.current.number != segment:
		return nil, nil, ErrMoved
	case j.exceedsSegment(record):
		return nil, nil, nil
	}
	j.filling.frames = appendFrame(j.filling.frames, record)
	return j.filling, nil, nil
}

// rotateFor starts the next segment, unless the record fits by now. The writing lock must be held.
func (j *Journal) rotateFor(record []byte) {
	j.mu.Lock()
	due := j.checkUsable() == nil && j.exceedsSegment(record)
	j.mu.Unlock()
	if due {
		_ = j.rotate() // after a failure the journal is unavailable
	}
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

// writeBatch writes b, the batch being filled. The writing lock must be held.
func (j *Journal) writeBatch(b *batch) {
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

// exceedsSegment reports whether a record does not fit into the current segment. mu must be held.
func (j *Journal) exceedsSegment(record []byte) bool {
	size := j.written - j.base + int64(len(j.filling.frames))
	return size > headerSize && size+frameHead+int64(len(record)) > j.segmentBytes
}

// takeBatch replaces the batch being filled by a new one.
func (j *Journal) takeBatch() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.filling = newBatch(j.spare)
	j.spare = nil
	return j.checkUsable()
}

// failBatch returns an error to those who added to the batch being filled, because it was not
// written before another segment started. mu must be held.
func (j *Journal) failBatch(err error) {
	b := j.filling
	if len(b.frames) == 0 {
		return
	}
	j.filling = newBatch(nil)
	b.err = err
	close(b.done)
}

// recycle keeps the buffer for another batch, unless it is unusually large.
func (j *Journal) recycle(b *batch) {
	if cap(b.frames) <= 1<<20 {
		j.spare = b.frames
	}
	b.frames = nil
}
