// Package archive is the store on disk: a journal of what was written since the
// last checkpoint, the files that checkpoints write, and what brings them back
// after a start. It stands before memstore as the Writer that the doors know.
//
// It knows the store and files, but nothing of who sends or asks. FORMAT.md
// draws its files.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/memstore"
)

// Options of an [Archive]. Dir and Store are required.
type Options struct {
	Dir      string // the configuration's checkpoints.directory; made if missing
	Store    *memstore.Store
	Interval time.Duration    // between checkpoints; default 10 minutes
	Sync     journal.SyncMode // of the journal; default a second
	// JournalBytes is how long the journal may grow before a checkpoint is
	// written, whatever the interval; default 256 MiB.
	JournalBytes int64
	Parquet      *parquet.Archive // where days go that have left the retention; nil: nowhere. Close closes it
	FS           disk.FS          // nil means the operating system's
	Now          func() time.Time // names the files; nil means time.Now
	Logger       *slog.Logger     // nil means silence
	Observer     journal.Observer // of the journal's work; nil means nobody
}

// subdir holds our files, apart from those of cc-metric-store in Dir.
const subdir = "ringstore"

const (
	maintainEvery  = 10 * time.Second // the store does what time asks for
	lookEvery      = time.Second      // at the size of the journal
	defaultJournal = 256 << 20
)

// ErrClosed is the error of writes after [Archive.Close].
var ErrClosed = errors.New("the archive is closed")

// ErrNotRestored is the error of writes and checkpoints before [Archive.Restore]
// has come to its end.
var ErrNotRestored = errors.New("the archive is not restored yet")

// Archive keeps a store on disk. Its methods may be called by many goroutines.
type Archive struct {
	Options
	dir     string
	lock    io.Closer
	records sync.Pool     // of *memstore.Record
	healthy chan struct{} // the journal takes records again

	cleaning      sync.Mutex // one cleanup at a time; taken before checkpointing
	checkpointing sync.Mutex // guards what is below; one checkpoint at a time
	catalog       catalog
	run           uint64           // of the newest file
	moved         map[string]int64 // by cluster: up to when all is in Parquet, Unix seconds

	checkpoints, cleanups runs

	brokenOff atomic.Bool // an import was, and the store holds a part of it

	gate sync.RWMutex // whoever changes the store shares it; a checkpoint takes it alone to begin

	// These two change with the gate taken alone. Who only asks reads them without
	// it, as it is held while the disk works.
	closed  atomic.Bool
	journal atomic.Pointer[journal.Journal] // nil before Restore has come to its end
}

// Open makes the directory and takes it for this process; the error names the
// process that holds it. Nothing is restored yet.
func Open(o Options) (*Archive, error) {
	a := &Archive{
		Options: o.orDefaults(),
		dir:     filepath.Join(o.Dir, subdir),
		records: sync.Pool{New: func() any { return new(memstore.Record) }},
		healthy: make(chan struct{}, 1),
		catalog: newCatalog(),
		moved:   make(map[string]int64),
	}
	if err := a.FS.MkdirAll(a.dir, 0o750); err != nil {
		return nil, fmt.Errorf("checkpoint directory: %w", err)
	}
	lock, err := a.FS.Lock(filepath.Join(a.dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("checkpoint directory %s: %w", a.dir, err)
	}
	a.lock = lock
	return a, nil
}

func (o Options) orDefaults() Options {
	if o.Interval <= 0 {
		o.Interval = 10 * time.Minute
	}
	if o.JournalBytes <= 0 {
		o.JournalBytes = defaultJournal
	}
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Write stores a batch and returns when the journal has it; see
// [memstore.Store.Write]. The error may also be a [*journal.UnavailableError]:
// then nothing of the batch may be acknowledged, although a part of it may be in
// the store.
func (a *Archive) Write(ctx context.Context, batch []memstore.Sample) ([]memstore.Refusal, error) {
	a.gate.RLock()
	defer a.gate.RUnlock()
	if err := a.available(ctx); err != nil {
		return nil, err
	}
	r := a.records.Get().(*memstore.Record)
	defer a.records.Put(r)
	defer r.Reset()
	refused, err := a.Store.WriteRecord(batch, r)
	if err := errors.Join(err, a.append(ctx, r)); err != nil {
		return nil, err
	}
	return refused, nil
}

// Free forgets samples; see [memstore.Store.Free]. The errors are those of Write.
func (a *Archive) Free(ctx context.Context, path [][]string, to int64) (int, error) {
	a.gate.Lock() // before or after a batch, for the journal as for the store
	defer a.gate.Unlock()
	if err := a.available(ctx); err != nil {
		return 0, err
	}
	var r memstore.Record
	r.Free(path, to)
	if err := a.append(ctx, &r); err != nil {
		return 0, err
	}
	return a.Store.Free(path, to), nil
}

// SyncPoint returns a function that returns when all that was acknowledged between
// the two calls is on disk, whatever the mode; with an error some of it may not be,
// ever.
func (a *Archive) SyncPoint() (sync func(context.Context) error) {
	a.gate.RLock()
	defer a.gate.RUnlock()
	if err := a.available(context.Background()); err != nil {
		return func(context.Context) error { return err }
	}
	point := a.journal.Load().SyncPoint()
	return func(ctx context.Context) error {
		a.gate.RLock()
		defer a.gate.RUnlock()
		if err := a.available(ctx); err != nil {
			return err
		}
		return point(ctx)
	}
}

// Unavailable is nil, or says why nothing can be written now. It waits for nothing
// that is being done.
func (a *Archive) Unavailable() error { return a.available(context.Background()) }

// available holds for as long as the gate is held.
func (a *Archive) available(ctx context.Context) error {
	j := a.journal.Load()
	switch {
	case a.closed.Load():
		return ErrClosed
	case j == nil:
		return ErrNotRestored
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return j.Unavailable()
}

// append hands a record to the journal.
func (a *Archive) append(ctx context.Context, r *memstore.Record) error {
	if len(r.Bytes()) == 0 {
		return nil
	}
	if err := a.journal.Load().Append(ctx, r.Bytes()); err != nil {
		return err
	}
	r.Settle()
	return nil
}

// health is told what becomes of the journal. What it could not take may be in the
// store: a checkpoint writes that down.
func (a *Archive) health(err error) {
	if err != nil {
		a.Logger.Error("writes are refused until the disk takes them again", "error", err)
		return
	}
	a.Logger.Info("the disk takes writes again")
	select {
	case a.healthy <- struct{}{}:
	default:
	}
}

// Run writes checkpoints at the interval, when the journal is long and after the
// disk has failed, and maintains the store, until ctx ends. Its checkpoints leave
// three quarters of their time to others. One that fails is logged, and tried again
// at the next interval.
func (a *Archive) Run(ctx context.Context) {
	interval := time.NewTicker(a.Interval)
	defer interval.Stop()
	maintenance := time.NewTicker(maintainEvery)
	defer maintenance.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	due := make(chan struct{}, 1)
	var cleaner sync.WaitGroup
	cleaner.Go(func() { a.clean(ctx, due) })
	defer cleaner.Wait()
	var evicted int64
	var failed time.Time // last
	for {
		checkpoint := false
		select {
		case <-ctx.Done():
			return
		case <-maintenance.C:
			evicted = a.maintain(evicted)
		case <-look.C:
			checkpoint = a.journal.Load().Size() > a.JournalBytes && time.Since(failed) > a.Interval/10
		case <-a.healthy:
			checkpoint = true
		case <-interval.C:
			checkpoint = true
		}
		if !checkpoint {
			continue
		}
		if err := a.checkpointAt(paced(ctx)); err != nil {
			failed = time.Now()
			a.Logger.Error("checkpoint failed", "error", err)
		}
		interval.Reset(a.Interval)
		select {
		case due <- struct{}{}:
		default:
		}
	}
}

// clean cleans up when it is due, beside the checkpoints, which do not wait for it.
func (a *Archive) clean(ctx context.Context, due <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
			if err := a.Cleanup(ctx, false); err != nil && ctx.Err() == nil {
				a.Logger.Error("cleanup failed; it is tried again after the next checkpoint", "error", err)
			}
		}
	}
}

// maintain maintains the store and tells what went for want of memory since it
// was told last, evicted windows in all, and returns how many these are now.
func (a *Archive) maintain(evicted int64) int64 {
	if err := a.Store.Maintain(); err != nil {
		a.Logger.Error("blocks in memory cannot be read", "error", err)
	}
	now := a.Store.Evicted()
	if n := now - evicted; n > 0 {
		a.Logger.Warn("memory is short: the oldest windows were dropped before their retention was over", "windows", n, "since_start", now)
	}
	return now
}

// Close lets the writes in flight finish, writes a last checkpoint, if Restore
// and Import had come to their ends, and gives the directory back. If the
// checkpoint fails, the journal still has everything. A second Close does nothing.
func (a *Archive) Close() error {
	a.gate.Lock()
	if a.closed.Load() {
		a.gate.Unlock()
		return nil
	}
	a.closed.Store(true)
	a.gate.Unlock()
	var err error
	if j := a.journal.Load(); j != nil {
		if !a.brokenOff.Load() {
			err = a.Checkpoint()
		}
		err = errors.Join(err, j.Close())
	}
	if a.Parquet != nil {
		err = errors.Join(err, a.Parquet.Close())
	}
	return errors.Join(err, a.lock.Close())
}
