package archive

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ringstore/ringstore/archive/blockfile"
	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/memstore"
)

// Restored counts what a restore did.
type Restored struct {
	Files   int // read, without journal segments
	Damaged int // damaged places in files; each is logged
	Foreign int // files that do not belong to the directory; each is logged
	Missing int // files; each is logged
	// Unreadable counts the parts of files that could not be read, although they may be undamaged. The
	// files stay; each part is logged.
	Unreadable int
	Skipped    int // blocks and records that did not fit into memory
	Journal    journal.Report
	memstore.Restored
}

// progressEvery is the interval at which progress is logged.
const progressEvery = 5 * time.Second

// restorer restores a store.
type restorer struct {
	*Archive
	disk             disk.FS // the archive's, with retries
	ctx              context.Context
	store            *memstore.Restorer
	total            Restored
	logged           time.Time // when progress was last logged
	unreadableBlocks []*entry
	lostRun          uint64 // the newest run of which a block file is damaged, missing or foreign
	olderRun         uint64 // of the windows file to which the journal reaches back

	fetched *blockReader // for the journal
}

// Restore restores the contents of the checkpoints and the journal, newest first, as far as they
// fit into memory, and opens the journal. From then on the archive accepts writes. Damage is
// logged, and the damaged file is kept under a second name that ends in .damaged; everything
// undamaged is restored. The error is one of the directory or of ctx; then nothing on disk has
// changed.
func (a *Archive) Restore(ctx context.Context) (Restored, error) {
	a.checkpointMu.Lock()
	defer a.checkpointMu.Unlock()
	r := restorer{Archive: a, disk: disk.Retrying(a.FS), ctx: ctx, logged: time.Now()}
	if a.readOnly == nil { // otherwise everything is on disk, and whatever is evicted
		a.Store.KeepOnDisk()
	}
	r.fetched = newBlockReader(r.disk, &r.marks)
	defer r.fetched.close()
	j, err := r.restore()
	if r.store != nil {
		defer r.store.Done()
		r.total.Restored = r.store.Restored
	}
	for _, e := range r.unreadableBlocks { // newer samples of their time would hide them
		r.Store.Skip(e.lane.cluster, e.lane.host, e.lane.frequency, e.window.Grid, e.end)
	}
	r.skipUnindexed()
	if err != nil {
		return r.total, fmt.Errorf("restore: %w", err)
	}
	a.gate.Lock()
	defer a.gate.Unlock()
	a.journal.Store(j)
	total := r.total // nothing else of r is kept
	a.restored.Store(&total)
	return r.total, nil
}

func (r *restorer) restore() (*journal.Journal, error) {
	if err := r.tidy(); err != nil {
		return nil, err
	}
	d, err := examine(r.ctx, r.disk, r.dir)
	if err != nil {
		return nil, err
	}
	r.marks.restore(d.marks)
	if d.manifest == nil || d.manifest.Marks == nil {
		r.oldMarks = keptManifests
	}
	for _, p := range d.problems {
		if err := r.reportProblem(p); err != nil {
			return nil, err
		}
	}
	for _, run := range d.missingRuns {
		r.lostRun = max(r.lostRun, run)
	}
	for _, path := range d.removed {
		if r.readOnly != nil {
			break
		}
		// Names that came back after a loss of power would not be in later manifests.
		if err := errors.Join(r.FS.Remove(path), r.FS.SyncDir(filepath.Dir(path))); err != nil {
			r.Logger.Error("a file that is no longer needed could not be removed", "error", err)
		}
	}
	if d.manifest != nil {
		r.run = max(r.run, d.manifest.Run)
	}
	r.resumeClock(d)
	r.store = r.Store.Restore()
	r.store.Fetch = r.fetch
	if r.readOnly == nil {
		r.store.Spill = r.spill
	}
	windows, err := r.openWindows(d)
	if err != nil {
		return nil, err
	}
	defer windows.close()
	r.olderRun = windows.olderRun
	if err := r.findBlocks(d); err != nil {
		return nil, err
	}
	r.stored.Store(r.run)
	r.restoredRun = r.run
	if err := r.restoreWindows(windows); err != nil {
		return nil, err
	}
	if err := r.restoreBlocks(); err != nil {
		return nil, err
	}
	if windows.older != "" && r.lostRun > windows.olderRun {
		if err := r.restoreOlder(windows.older); err != nil {
			return nil, err
		}
	}
	r.relieve()
	if err := r.store.StatesDone(); err != nil {
		r.Logger.Error("some blocks could not be restored completely", "error", err)
	}
	r.replayFrom, r.journalFrom = windows.journal(d), d.journalFrom()
	if d.manifest != nil && windows.sound && r.lostRun > windows.olderRun {
		r.replayFrom = r.journalFrom
	}
	if d.manifest == nil {
		r.journalFrom = r.replayFrom
	}
	r.replaySegment.Store(r.replayFrom)
	if err := r.adopt(d); err != nil {
		return nil, err
	}
	return r.replay(d)
}

// open opens a file and reports its damage. It returns nil if the file is unreadable.
func (r *restorer) open(path string) (*blockfile.File, error) {
	f, err := blockfile.Open(r.disk, path)
	if damage, ok := errors.AsType[*disk.DamageError](err); ok {
		return nil, r.setAsideDamaged(damage)
	}
	if err != nil && !errors.Is(err, blockfile.ErrVersion) && r.ctx.Err() == nil {
		r.reportUnreadable(err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r.total.Files++
	for _, u := range f.Unreadable {
		r.reportUnreadable(u)
	}
	for _, d := range f.Damage {
		r.reportDamage(path, d)
	}
	return f, nil
}

// restoreState passes a state to the store. Reaching the memory limit is not an error.
func (r *restorer) restoreState(state memstore.HostState, recorded bool) error {
	err := r.store.State(state, recorded)
	if errors.Is(err, memstore.ErrMemory) {
		return nil
	}
	return err
}

// relieve makes room in memory. If the disk refuses it, the restore goes on: nothing is dropped.
func (r *restorer) relieve() {
	if err := r.store.Relieve(); err != nil {
		r.Logger.Error("memory is full, and the disk does not take what must be stored before it is evicted", "error", err)
	}
}

// progressDue reports whether progress is to be logged, at most once every progressEvery.
func (r *restorer) progressDue() bool {
	if time.Since(r.logged) <= progressEvery {
		return false
	}
	r.logged = time.Now()
	return true
}
