// Package archive keeps the store on disk: a journal of the writes since the last checkpoint, the
// files that checkpoints write, and the code that restores both at the next start. Its [Archive]
// implements the Writer that package api declares: it appends to the journal and applies to
// memstore.
//
// It depends on memstore and on files, not on transports or callers. FORMAT.md describes its files.
package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/memstore"
)

// Options of an [Archive]. Dir and Store are required.
type Options struct {
	Dir      string // the configuration's checkpoints.directory; created if missing
	Store    *memstore.Store
	Interval time.Duration    // between checkpoints; default 10 minutes
	Sync     journal.SyncMode // of the journal; default one second
	// JournalBytes is the journal size that starts a checkpoint before the interval has passed;
	// default 256 MiB.
	JournalBytes int64
	Parquet      *parquet.Archive // takes the days that leave the retention; nil: none. Close closes it
	FS           disk.FS          // default: the operating system's
	Now          func() time.Time // names the files; default time.Now
	Logger       *slog.Logger     // nil discards the log
	Observer     journal.Observer // of the journal; may be nil
}

// subdir holds RingStore's files, apart from those of cc-metric-store in Dir.
const subdir = "ringstore"

// lockName is a directory, which keeps RingStore 0.9 from starting here: that expects a file.
const lockName = "LOCK"

const (
	maintainEvery       = 10 * time.Second // [memstore.Store.Maintain]
	checkJournalEvery   = time.Second      // its size, against Options.JournalBytes, and whether files are gone
	checkAllEvery       = 10               // of these, whether any file is gone
	retryGoneAfter      = 5 * time.Second  // a checkpoint of everything has failed
	defaultInterval     = 10 * time.Minute
	defaultJournalBytes = 256 << 20
)

// ErrClosed is the error of writes after [Archive.Close].
var ErrClosed = errors.New("the archive is closed")

// ErrNotRestored is the error of writes and checkpoints before [Archive.Restore] has finished.
var ErrNotRestored = errors.New("the archive is not restored yet")

// Archive keeps a store on disk. Its methods are safe for concurrent use.
type Archive struct {
	Options
	dir    string
	writes sync.Pool // of *write

	// checkpointDue signals that the journal accepts records again, or that files are gone.
	checkpointDue chan struct{}

	rootMu sync.Mutex  // guards the fields below
	lock   io.Closer   // of dir; nil: the lock was lost
	root   fs.FileInfo // of dir

	// gone is the file because of which nothing is accepted until a checkpoint has written everything
	// again; nil: none.
	gone                   atomic.Pointer[disk.GoneError]
	goneFiles, goneWindows atomic.Int64  // block files, and windows in them that were not in memory
	manifest               atomic.Uint64 // generation of the manifest that was read or published last

	cleanupMu    sync.Mutex        // held during a cleanup; locked before checkpointMu
	logged       map[string]string // last errors of cleanups, by what they are about
	checkpointMu sync.Mutex        // held during a checkpoint; guards the fields below
	catalog      catalog
	run          uint64         // of the newest file
	storeID      uuid.UUID      // of the directory; zero until Restore has read it
	generation   uint64         // of the newest manifest
	windows      []manifestFile // the newest files, newest first
	replayFrom   uint64         // the first journal segment that is not in the newest windows file
	journalFrom  uint64         // and in the one before; older segments are not needed
	// unreadSegment is the first journal segment of which a part could not be read; 0: none. It and
	// the later ones stay, and the next start replays them.
	unreadSegment uint64
	restoredRun   uint64 // the newest run that Restore found

	marks    marks
	oldMarks int           // how many manifests are to be published until the file of marks is removed; guarded by checkpointMu
	stored   atomic.Uint64 // the newest run of which everything is on disk

	checkpoints, cleanups runs

	restored atomic.Pointer[Restored] // nil until Restore has finished
	clockLog clockLog
	readOnly error // why the directory cannot be written; nil if it can; set by Open

	unreadable   atomic.Int64 // parts of files that Restore could not read
	importFailed atomic.Bool  // the store holds an incomplete import

	gate sync.RWMutex // shared by writers; a checkpoint locks it to begin

	// These two change while the gate is locked. Status calls read them without the gate, because
	// it is held during disk I/O.
	closed        atomic.Bool
	replaySegment atomic.Uint64                   // the first journal segment that the newest checkpoint does not contain
	journal       atomic.Pointer[journal.Journal] // nil until Restore has finished
}

// Open creates the directory and locks it for this process. If another process holds the lock, the
// error names it. Open restores nothing; see [Archive.Restore].
func Open(o Options) (*Archive, error) {
	a := &Archive{
		Options:       o.orDefaults(),
		dir:           filepath.Join(o.Dir, subdir),
		checkpointDue: make(chan struct{}, 1),
		catalog:       newCatalog(),
		logged:        make(map[string]string),
	}
	a.writes.New = func() any { return newWrite(a) }
	a.catalog.archived, a.catalog.account = a.movedPartly, a.Store.AddMemory
	if err := a.FS.MkdirAll(a.dir, 0o750); err != nil {
		return nil, fmt.Errorf("checkpoint directory: %w", err)
	}
	if err := a.lockDir(); err != nil {
		return nil, err
	}
	var err error
	if a.root, err = a.FS.Stat(a.dir); err == nil {
		err = a.checkWritable()
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint directory %s: %w", a.dir, errors.Join(err, a.lock.Close()))
	}
	return a, nil
}

func (a *Archive) lockDir() error {
	lock, err := a.FS.Lock(filepath.Join(a.dir, lockName))
	if err != nil {
		return fmt.Errorf("checkpoint directory %s: %w", a.dir, err)
	}
	a.lock = lock
	return nil
}

func (o Options) orDefaults() Options {
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	if o.JournalBytes <= 0 {
		o.JournalBytes = defaultJournalBytes
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

// Write stores a batch, as [memstore.Store.Write] does, and returns once it is in the journal. The
// error may also be a [*journal.UnavailableError]: then no part of the batch may be acknowledged,
// although some of it may be in the store.
func (a *Archive) Write(ctx context.Context, batch []memstore.Sample) ([]memstore.Refusal, error) {
	return a.WriteFrom(ctx, memstore.Origin{}, batch)
}

// WriteFrom is like [Archive.Write] for a batch from a message of a stream. A sample that a later
// message of the stream wrote stays as it is; the older one is not refused.
func (a *Archive) WriteFrom(ctx context.Context, from memstore.Origin, batch []memstore.Sample) ([]memstore.Refusal, error) {
	a.gate.RLock()
	defer a.gate.RUnlock()
	if err := a.checkAvailable(ctx); err != nil {
		return nil, err
	}
	w := a.writes.Get().(*write)
	defer a.writes.Put(w)
	defer w.reset()
	w.ctx, w.batch, w.segment = ctx, batch, a.journal.Load().Segment()
	w.record.Begin(w.segment, from)
	refused, err := a.Store.WriteRecord(batch, &w.record, w.add)
	if err := errors.Join(err, w.wait()); err != nil {
		return nil, err
	}
	return refused, nil
}

// Free deletes samples; see [memstore.Store.Free]. The errors are those of Write.
func (a *Archive) Free(ctx context.Context, path [][]string, to int64) (int, error) {
	a.gate.Lock() // so that journal and store see writes and frees in the same order
	defer a.gate.Unlock()
	if err := a.checkAvailable(ctx); err != nil {
		return 0, err
	}
	n, freed, err := a.Store.FreeRecord(path, to, a.stored.Load(), func(r *memstore.Record) error { return a.journal.Load().Append(ctx, r.Bytes()) })
	if err != nil {
		return 0, err
	}
	a.marks.addFreed(freed)
	return n, nil
}

// SyncPoint returns a function that waits until everything acknowledged between the two calls is on
// disk, in any mode. If it returns an error, some of that may never reach the disk.
func (a *Archive) SyncPoint() (sync func(context.Context) error) {
	a.gate.RLock()
	defer a.gate.RUnlock()
	if err := a.checkAvailable(context.Background()); err != nil {
		return func(context.Context) error { return err }
	}
	point := a.journal.Load().SyncPoint()
	return func(ctx context.Context) error {
		a.gate.RLock()
		defer a.gate.RUnlock()
		if err := a.checkAvailable(ctx); err != nil {
			return err
		}
		return point(ctx)
	}
}

// Unavailable returns nil, or why nothing can be written now. It does not block.
func (a *Archive) Unavailable() error { return a.checkAvailable(context.Background()) }

// checkAvailable returns why nothing can be written. Its answer stays valid while the gate is held.
func (a *Archive) checkAvailable(ctx context.Context) error {
	j := a.journal.Load()
	switch {
	case a.closed.Load():
		return ErrClosed
	case a.readOnly != nil && a.restored.Load() != nil:
		return a.readOnly
	case j == nil:
		return ErrNotRestored
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return cmp.Or(a.goneError(), j.Unavailable())
}

// journalHealth is the journal's Options.Health. After a failure it starts a checkpoint: the store
// may hold samples that the journal could not append.
func (a *Archive) journalHealth(err error) {
	_, gone := errors.AsType[*disk.GoneError](err)
	switch {
	case gone:
		return // journalGone reports it
	case err != nil:
		a.Logger.Error("the disk fails; writes are refused until it recovers", "error", err)
		return
	case a.gone.Load() == nil:
		a.Logger.Info("the disk has recovered; writes are accepted again")
	}
	select {
	case a.checkpointDue <- struct{}{}:
	default:
	}
}

// Run maintains the store, writes checkpoints and cleans up until ctx ends. Each has its own
// goroutine: a checkpoint of thousands of hosts takes minutes, and memory must be maintained
// meanwhile.
func (a *Archive) Run(ctx context.Context) {
	if a.readOnly != nil {
		a.runMaintenance(ctx)
		return
	}
	cleanupDue := make(chan struct{}, 1)
	var running sync.WaitGroup
	running.Go(func() { a.runMaintenance(ctx) })
	running.Go(func() { a.runCleanups(ctx, cleanupDue) })
	a.runCheckpoints(ctx, cleanupDue)
	running.Wait()
}

// runMaintenance maintains the store every few seconds.
func (a *Archive) runMaintenance(ctx context.Context) {
	maintenance := time.NewTicker(maintainEvery)
	defer maintenance.Stop()
	var evicted int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-maintenance.C:
			evicted = a.maintain(evicted)
		}
	}
}

// runCheckpoints writes checkpoints: at the interval, when the journal has grown past its limit,
// when windows must be stored before they can be evicted, after the disk has recovered, and when
// files are gone. A cleanup is due after each. A checkpoint pauses for three quarters of its time, so as not to delay
// writers. One that fails is logged; the next is due after the interval.
func (a *Archive) runCheckpoints(ctx context.Context, cleanupDue chan<- struct{}) {
	interval := time.NewTicker(a.Interval)
	defer interval.Stop()
	journalCheck := time.NewTicker(checkJournalEvery)
	defer journalCheck.Stop()
	var lastFailure time.Time
	for seconds := 0; ; seconds++ {
		checkpoint := false
		select {
		case <-ctx.Done():
			return
		case <-journalCheck.C:
			a.checkFiles(seconds%checkAllEvery == 0)
			due := a.journalSize() > a.JournalBytes || a.Store.StoreFirst()
			checkpoint = due && time.Since(lastFailure) > a.Interval/10 ||
				a.gone.Load() != nil && time.Since(lastFailure) > retryGoneAfter
		case <-a.checkpointDue:
			checkpoint = true
		case <-interval.C:
			checkpoint = true
		}
		if !checkpoint {
			continue
		}
		p := newPace(ctx)
		if a.gone.Load() != nil { // there are no writers that it could delay
			p = new(pace)
		}
		if err := a.pacedCheckpoint(p); err != nil {
			lastFailure = time.Now()
			a.Logger.Error("checkpoint failed", "error", err)
		}
		interval.Reset(a.Interval)
		select {
		case cleanupDue <- struct{}{}:
		default:
		}
	}
}

// journalSize returns the size of the segments that the newest checkpoint does not contain.
func (a *Archive) journalSize() int64 { return a.journal.Load().SizeFrom(a.replaySegment.Load()) }

// runCleanups runs a cleanup whenever one is due. It has its own goroutine so that checkpoints do
// not wait for cleanups.
func (a *Archive) runCleanups(ctx context.Context, due <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
			_ = a.Cleanup(ctx, false) // logs its errors
		}
	}
}

// maintain maintains the store, logs how many windows were evicted beyond the evicted ones that are
// already logged, and returns the number of all evicted windows.
func (a *Archive) maintain(evicted int64) int64 {
	a.logClock()
	if err := a.Store.Maintain(); err != nil {
		a.Logger.Error("blocks in memory are damaged", "error", err)
	}
	now := a.Store.Evicted()
	if n := now - evicted; n > 0 {
		a.Logger.Warn("the memory limit is reached: the oldest windows were evicted before their retention ended; they stay on disk", "windows", n, "since_start", now)
	}
	return now
}

// Close waits for writes in flight, writes a last checkpoint if Restore and Import had finished,
// and unlocks the directory. If the checkpoint fails, the journal still holds everything. A second
// Close does nothing.
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
		if !a.importFailed.Load() {
			err = a.Checkpoint()
		}
		err = errors.Join(err, j.Close())
	}
	if a.Parquet != nil {
		err = errors.Join(err, a.Parquet.Close())
	}
	a.rootMu.Lock()
	defer a.rootMu.Unlock()
	return errors.Join(err, a.closeLock())
}
