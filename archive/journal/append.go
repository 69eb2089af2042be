package journal

import (
	"context"
	"fmt"
	"time"
)

// batch is what waits to be written together.
type batch struct {
	frames []byte
	done   chan struct{} // closed when the fields below are final
	err    error
	end    int64 // the position behind the batch, in the epoch
	epoch  int
	sync   bool // acknowledge it when it is on disk
}

func newBatch(buffer []byte) *batch {
	return &batch{frames: buffer[:0], done: make(chan struct{})}
}

// Append adds a record of 1 to [MaxRecord] bytes, which it does not keep, and
// acknowledges it by returning nil: then the record survives the process and,
// as the mode says, a loss of power. A record of another call, such as one that
// failed by an [*UnavailableError] or by ctx, may come back after a start, too,
// but never a part of one.
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
		return fmt.Errorf("journal: a record of %d bytes, want 1 to %d", n, MaxRecord)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	b, err := j.join(record)
	if err != nil {
		return err
	}
	if err := j.wait(ctx, b); err != nil {
		return err
	}
	if b.sync {
		return j.syncTo(ctx, b.end, b.epoch)
	}
	return nil
}

// join puts the record into the batch that is being filled.
func (j *Journal) join(record []byte) (*batch, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.state(); err != nil {
		return nil, err
	}
	j.filling.frames = appendFrame(j.filling.frames, record)
	return j.filling, nil
}

// wait returns when the batch is written. Of those who wait for it the one who
// gets the turn first writes it.
func (j *Journal) wait(ctx context.Context, b *batch) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	case j.turn <- struct{}{}:
	}
	defer func() { <-j.turn }()
	select {
	case <-b.done:
	default: // it is the one being filled: a batch is taken and done in one turn
		j.write(b)
	}
	return b.err
}

// write is called with turn held.
func (j *Journal) write(b *batch) {
	defer close(b.done)
	if b.err = j.take(b); b.err != nil {
		return
	}
	records := seal(b.frames, j.current.segmentID, j.records)
	_, err := j.file.Write(b.frames)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.failLocked(fmt.Errorf("writing %s: %w", j.current.path(j.dir), err))
	}
	if b.err = j.state(); b.err != nil {
		return // a sync may have failed meanwhile
	}
	j.records += records
	j.written += int64(len(b.frames))
	j.tries = 0
	b.end, b.epoch = j.written, j.epoch
	if j.mode > 0 {
		j.pending = append(j.pending, b.frames...)
	}
	b.sync = j.mode == Always || len(j.pending) > maxPending
	if len(j.pending) > muchPending {
		select {
		case j.much <- struct{}{}:
		default:
		}
	}
	j.recycle(b)
}

// take makes way for the next batch, and for this one in the segment.
func (j *Journal) take(b *batch) error {
	j.mu.Lock()
	j.filling = newBatch(j.spare)
	j.spare = nil
	err := j.state()
	size := j.written - j.base
	j.mu.Unlock()
	if err == nil && size > headerSize && size+int64(len(b.frames)) > j.segmentBytes {
		err = j.rotate()
	}
	return err
}

// recycle keeps a buffer for another batch, unless one was unusually large.
func (j *Journal) recycle(b *batch) {
	if cap(b.frames) <= 1<<20 {
		j.spare = b.frames
	}
	b.frames = nil
}
