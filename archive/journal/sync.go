package journal

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// SyncPoint returns a function that returns when all that was acknowledged between
// the two calls is on disk, whatever the mode; with an error some of it may not be,
// ever. Callers at the same time share an fsync.
func (j *Journal) SyncPoint() (sync func(context.Context) error) {
	j.mu.Lock()
	epoch := j.epoch
	j.mu.Unlock()
	return func(ctx context.Context) error {
		j.mu.Lock()
		err := j.state()
		end := j.written
		j.mu.Unlock()
		if err != nil {
			return err
		}
		return j.syncTo(ctx, end, epoch)
	}
}

// Sync returns when all that was acknowledged before is on disk, but for what was
// lost with an earlier failure (see [Off]).
func (j *Journal) Sync(ctx context.Context) error { return j.SyncPoint()(ctx) }

// syncTo returns when all up to a position is on disk.
func (j *Journal) syncTo(ctx context.Context, end int64, epoch int) error {
	select {
	case j.syncing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-j.syncing }()
	j.mu.Lock()
	failed, done := j.epoch != epoch, j.synced >= end
	down := j.down
	j.mu.Unlock()
	switch {
	case failed && down == nil:
		return &UnavailableError{errors.New("it failed and has recovered meanwhile")}
	case failed:
		return down
	case done:
		return nil
	}
	return j.syncFile()
}

// syncFile is called with syncing held.
func (j *Journal) syncFile() error {
	j.mu.Lock()
	err := j.state()
	end := j.written
	clean := j.synced == end
	j.mu.Unlock()
	if err != nil || clean {
		return err
	}
	begin := time.Now()
	err = j.file.Sync()
	if err == nil && j.unlisted {
		err = j.fs.SyncDir(j.dir)
	}
	if err == nil {
		j.unlisted = false
		j.observer.Synced(time.Since(begin))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		return j.failLocked(fmt.Errorf("syncing %s: %w", j.current.path(j.dir), err))
	}
	if j.mode > 0 {
		n := copy(j.pending, j.pending[end-j.synced:])
		j.pending = j.pending[:n]
	}
	j.synced = end
	return nil
}

// fail stops acknowledging, until run has recovered.
func (j *Journal) fail(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failLocked(err)
}

func (j *Journal) failLocked(err error) error {
	j.epoch++
	if j.down == nil {
		j.failures++
	}
	j.down = &UnavailableError{err}
	select {
	case j.broken <- struct{}{}:
	default:
	}
	return j.down
}

// run syncs at the interval and recovers after failures.
func (j *Journal) run() {
	var tick <-chan time.Time
	if j.mode > 0 {
		t := time.NewTicker(time.Duration(j.mode))
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-j.stop:
			return
		case <-tick:
			j.syncNow()
		case <-j.much:
			j.syncNow()
		case <-j.broken:
			j.recover()
		}
	}
}

func (j *Journal) syncNow() {
	j.syncing <- struct{}{}
	_ = j.syncFile() // which has told broken
	<-j.syncing
}

// The first try is at once, the others are further and further apart.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// recover returns when the journal takes records again, or is being closed.
func (j *Journal) recover() {
	down := j.unavailable()
	if down == nil {
		return
	}
	j.health(down)
	for j.pause() {
		j.turn <- struct{}{}
		j.syncing <- struct{}{}
		err := j.reopen()
		<-j.syncing
		<-j.turn
		if err == nil {
			j.health(nil)
			return
		}
	}
}

// pause waits for the next try; false means that the journal is being closed.
func (j *Journal) pause() bool {
	j.mu.Lock()
	tries := j.tries
	j.tries++
	j.mu.Unlock()
	if tries == 0 {
		return true
	}
	t := time.NewTimer(min(firstRetry<<min(tries-1, 10), lastRetry))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-j.stop:
		return false
	}
}

// diskFails tells failures of the disk, which may pass, from those of whoever
// configured the directory.
func diskFails(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EIO)
}
