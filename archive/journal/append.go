package journal

import (
	"context"
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
	begin := time.Now()
	err := j.append(ctx, record)
	if err == nil {
		j.observer.Appended(time.Since(begin))
	}
	return err
}

func (j *Journal) append(ctx context.Context, record []byte) error {
	if n := len(record); n == 0 || n > MaxRecord {
		return fmt.Errorf("journal: expected a record of 1 to %d bytes, got %d", MaxRecord, n)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b, err := j.addToBatch(record)
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
func (j *Journal) addToBatch(record []byte) (*batch, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.checkUsable(); err != nil {
		return nil, err
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
	defer close(b.done)
	if b.err = j.takeBatch(b); b.err != nil {
		return
	}
	records := seal(b.frames, j.current.segmentID, j.records)
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

// takeBatch replaces b, the batch being filled, by a new one, and starts a new segment if b does
// not fit into the current one.
func (j *Journal) takeBatch(b *batch) error {
	j.mu.Lock()
	j.filling = newBatch(j.spare)
	j.spare = nil
	err := j.checkUsable()
	size := j.written - j.base
	j.mu.Unlock()
	if err == nil && size > headerSize && size+int64(len(b.frames)) > j.segmentBytes {
		err = j.rotate()
	}
	return err
}

// recycle keeps the buffer for another batch, unless it is unusually large.
func (j *Journal) recycle(b *batch) {
	if cap(b.frames) <= 1<<20 {
		j.spare = b.frames
	}
	b.frames = nil
}
