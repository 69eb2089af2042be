// Package archive is the store on disk: it writes what memstore holds to a
// directory, brings it back after a start, and stands before memstore as the
// Writer that the doors know.
//
// It knows the store and files, but nothing of who sends or asks. FORMAT.md
// draws its files.
package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringstore/ringstore/memstore"
)

// Options of an [Archive]. Dir and Store are required.
type Options struct {
	Dir      string // the configuration's checkpoints.directory; made if missing
	Store    *memstore.Store
	Interval time.Duration    // between checkpoints; default 10 minutes
	Now      func() time.Time // names the files; nil means time.Now
	Logger   *slog.Logger     // nil means silence
}

// subdir holds our files, apart from those of cc-metric-store in Dir.
const subdir = "ringstore"

// maintainEvery is how often the store does what time asks for.
const maintainEvery = 10 * time.Second

// ErrClosed is the error of writes after [Archive.Close].
var ErrClosed = errors.New("the archive is closed")

// Archive keeps a store on disk. Its methods may be called by many goroutines.
type Archive struct {
	store    *memstore.Store
	dir      string
	interval time.Duration
	now      func() time.Time
	log      *slog.Logger
	lock     *os.File

	checkpointing sync.Mutex // one checkpoint at a time

	gate     sync.RWMutex // writers share it, Close takes it alone
	closed   bool
	restored bool // before that a checkpoint would replace what is not read yet
}

// Open makes the directory and takes it for this process; the error names the
// process that holds it. Nothing is restored yet.
func Open(o Options) (*Archive, error) {
	a := &Archive{
		store:    o.Store,
		dir:      filepath.Join(o.Dir, subdir),
		interval: o.Interval,
		now:      o.Now,
		log:      o.Logger,
	}
	if a.interval <= 0 {
		a.interval = 10 * time.Minute
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(a.dir, 0o750); err != nil {
		return nil, fmt.Errorf("checkpoint directory: %w", err)
	}
	lock, err := lockDir(a.dir)
	if err != nil {
		return nil, fmt.Errorf("checkpoint directory %s: %w", a.dir, err)
	}
	a.lock = lock
	return a, nil
}

// lockDir takes a directory by a lock on a file in it that names its holder.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := make([]byte, 32)
		n, _ := f.Read(holder)
		return nil, errors.Join(fmt.Errorf("is in use by process %q", holder[:n]), f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := fmt.Fprintf(f, "%d", os.Getpid()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Write stores a batch; see [memstore.Store.Write].
func (a *Archive) Write(ctx context.Context, batch []memstore.Sample) ([]memstore.Refusal, error) {
	a.gate.RLock()
	defer a.gate.RUnlock()
	if a.closed {
		return nil, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return a.store.Write(batch)
}

// Free forgets samples; see [memstore.Store.Free].
func (a *Archive) Free(ctx context.Context, path [][]string, to int64) (int, error) {
	a.gate.RLock()
	defer a.gate.RUnlock()
	if a.closed {
		return 0, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return a.store.Free(path, to), nil
}

// Run writes checkpoints at the interval and maintains the store, until ctx
// ends. A checkpoint that fails is logged, and tried again
// at the next interval.
func (a *Archive) Run(ctx context.Context) {
	checkpoints := time.NewTicker(a.interval)
	defer checkpoints.Stop()
	maintenance := time.NewTicker(maintainEvery)
	defer maintenance.Stop()
	var evicted int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-maintenance.C:
			evicted = a.maintain(evicted)
		case <-checkpoints.C:
			if err := a.Checkpoint(); err != nil {
				a.log.Error("checkpoint failed", "error", err)
			}
		}
	}
}

// maintain maintains the store and tells what went for want of memory since it
// was told last, evicted windows in all, and returns how many these are now.
func (a *Archive) maintain(evicted int64) int64 {
	if err := a.store.Maintain(); err != nil {
		a.log.Error("blocks in memory cannot be read", "error", err)
	}
	now := a.store.Evicted()
	if n := now - evicted; n > 0 {
		a.log.Warn("memory is short: the oldest windows were dropped before their retention was over", "windows", n, "since_start", now)
	}
	return now
}

// Close lets the writes in flight finish, writes a last checkpoint, if Restore
// had come to its end, and gives the directory back. A second Close does nothing.
func (a *Archive) Close() error {
	a.gate.Lock()
	if a.closed {
		a.gate.Unlock()
		return nil
	}
	a.closed = true
	restored := a.restored
	a.gate.Unlock()
	var err error
	if restored {
		err = a.Checkpoint()
	}
	return errors.Join(err, a.lock.Close())
}
