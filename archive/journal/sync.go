package journal

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// SyncPoint returns a function that waits until everything acknowledged between the two calls is on
// disk, in any mode. If it returns an error, some of that may never reach the disk. Concurrent
// calls share an fsync.
func (j *Journal) SyncPoint() (sync func(context.Context) error) {
	j.mu.Lock()
	epoch := j.epoch
	j.mu.Unlock()
	return func(ctx context.Context) error {
		j.mu.Lock()
		err := j.checkUsable()
		end := j.written
		j.mu.Unlock()
		if err != nil {
			return err
		}
		return j.syncTo(ctx, end, epoch)
	}
}

// Sync waits until everything acknowledged before is on disk, except for what an earlier failure
// lost (see [Off]).
func (j *Journal) Sync(ctx context.Context) error { return j.SyncPoint()(ctx) }

// syncTo waits until everything up to a position is on disk.
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
		return &UnavailableError{errors.New("writing or syncing failed; the journal has recovered meanwhile")}
	case failed:
		return down
	case done:
		return nil
	}
	return j.syncFile()
}

// syncFile syncs the current segment and checks that it is still there. The syncing lock must be
// held.
func (j *Journal) syncFile() error {
	j.mu.Lock()
	err := j.checkUsable()
	end, sum := j.written, j.sum
	clean := j.synced == end
	j.mu.Unlock()
	if err != nil {
		return err
	}
	begin := time.Now()
	if !clean {
		err = j.file.Sync()
	}
	if err == nil {
		err = j.checkPresent()
	}
	if err == nil && !clean && j.nameUnsynced {
		err = j.fs.SyncDir(j.dir)
	}
	if err == nil && !clean {
		j.nameUnsynced = false
		j.observer.Synced(time.Since(begin))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		return j.failLocked(fmt.Errorf("syncing %s: %w", j.current.path(j.dir), err))
	}
	if clean {
		return nil
	}
	if j.mode > 0 {
		n := copy(j.pending, j.pending[end-j.synced:])
		j.pending = j.pending[:n]
	}
	j.synced, j.syncedSum = end, sum
	return nil
}

// SyncName returns when the segments' names are on disk, even if the newest one is empty.
func (j *Journal) SyncName() error {
	j.syncing <- struct{}{}
	defer func() { <-j.syncing }()
	if err := j.syncFile(); err != nil || !j.nameUnsynced {
		return err
	}
	err := j.file.Sync() // has written the header
	if err == nil {
		err = j.fs.SyncDir(j.dir)
	}
	if err != nil {
		return j.fail(fmt.Errorf("syncing %s: %w", j.current.path(j.dir), err))
	}
	j.nameUnsynced = false
	return nil
}

// fail makes the journal unavailable until run has recovered it. It returns the
// *[UnavailableError].
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
	case j.failed <- struct{}{}:
	default:
	}
	return j.down
}

// run syncs at the interval, or checks that the current segment is still there, and recovers the
// journal after failures, until stop is closed.
func (j *Journal) run() {
	interval, tick := defaultInterval, j.checkNow
	if j.mode > 0 {
		interval, tick = time.Duration(j.mode), j.syncNow
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-j.stop:
			return
		case <-ticker.C:
			tick()
		case <-j.syncSoon:
			j.syncNow()
		case <-j.failed:
			j.recover()
		}
	}
}

func (j *Journal) syncNow() {
	j.syncing <- struct{}{}
	_ = j.syncFile() // has reported a failure to j.failed
	<-j.syncing
}

// checkNow checks that the current segment is still there.
func (j *Journal) checkNow() {
	j.syncing <- struct{}{}
	defer func() { <-j.syncing }()
	j.mu.Lock()
	err := j.checkUsable()
	j.mu.Unlock()
	if err != nil {
		return
	}
	if err := j.checkPresent(); err != nil {
		_ = j.fail(err)
	}
}

// The first retry comes at once, the others at growing intervals.
const (
	minRetryInterval = 100 * time.Millisecond
	maxRetryInterval = 5 * time.Second
)

// recover returns when the journal accepts records again or is being closed.
func (j *Journal) recover() {
	down := j.unavailable()
	if down == nil {
		return
	}
	j.health(down)
	for j.waitForRetry() {
		j.writing <- struct{}{}
		j.syncing <- struct{}{}
		err := j.reopen()
		<-j.syncing
		<-j.writing
		if err == nil {
			j.health(nil)
			return
		}
	}
}

// waitForRetry waits until the next retry is due, and returns false if the journal is being closed.
func (j *Journal) waitForRetry() bool {
	j.mu.Lock()
	retries := j.retries
	j.retries++
	j.mu.Unlock()
	if retries == 0 {
		return true
	}
	t := time.NewTimer(min(minRetryInterval<<min(retries-1, 10), maxRetryInterval))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-j.stop:
		return false
	}
}

// isDiskFailure reports whether an error is one of the disk, which may pass, rather than one of the
// configured directory.
func isDiskFailure(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EIO)
}
