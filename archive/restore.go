package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
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
	Skipped int // blocks and records that did not fit into memory
	Journal journal.Report
	memstore.Restored
}

// progressEvery is the interval at which progress is logged.
const progressEvery = 5 * time.Second

// restorer restores a store.
type restorer struct {
	*Archive
	disk   disk.FS // the archive's, with retries
	ctx    context.Context
	store  *memstore.Restorer
	total  Restored
	logged time.Time // when progress was last logged
}

// Restore restores the contents of the checkpoints and the journal, newest first, as far as they
// fit into memory, and opens the journal. From then on the archive accepts writes. Damage is
// logged, and the damaged file is kept under a second name that ends in .damaged; everything
// undamaged is restored. The error is one of the directory or of ctx; then nothing on disk has
// changed.
func (a *Archive) Restore(ctx context.Context) (Restored, error) {
	a.checkpointMu.Lock()
	defer a.checkpointMu.Unlock()
	r := restorer{Archive: a, disk: disk.Retrying(a.FS), ctx: ctx, store: a.Store.Restore(), logged: time.Now()}
	defer r.store.Done()
	j, err := r.restore()
	r.total.Restored = r.store.Restored
	if err != nil {
		return r.total, fmt.Errorf("restore: %w", err)
	}
	a.gate.Lock()
	defer a.gate.Unlock()
	a.journal.Store(j)
	return r.total, nil
}

func (r *restorer) restore() (*journal.Journal, error) {
	if err := errors.Join(disk.RemoveTemporary(r.FS, r.dir), r.removeUnfinishedSnapshots()); err != nil {
		return nil, err
	}
	if err := r.restoreMarks(); err != nil {
		return nil, err
	}
	windows, path, err := r.newestWindows()
	if err != nil {
		return nil, err
	}
	var first uint64
	if windows != nil {
		defer windows.Close()
		first = windows.Journal
		r.run = max(r.run, windows.Run)
		r.checkpoints.setLastDone(time.UnixMilli(int64(windows.Run)))
	}
	if err := r.findBlocks(); err != nil {
		return nil, err
	}
	r.stored.Store(r.run)
	if windows != nil {
		if err := r.restoreWindows(path, windows); err != nil {
			return nil, err
		}
	}
	if err := r.restoreBlocks(); err != nil {
		return nil, err
	}
	if err := r.store.StatesDone(); err != nil {
		r.Logger.Error("some blocks could not be restored completely", "error", err)
	}
	return r.replay(first)
}

// newestWindows opens the newest windows file that is readable; nil if there is none.
func (r *restorer) newestWindows() (*blockfile.File, string, error) {
	paths, _, err := r.list(r.dir, windowsPrefix, windowsSuffix)
	if err != nil {
		return nil, "", err
	}
	for _, path := range slices.Backward(paths) {
		f, err := r.open(path)
		if f != nil || err != nil {
			return f, path, err
		}
	}
	return nil, "", nil
}

// open opens a file and reports its damage. It returns nil if the file is unreadable.
func (r *restorer) open(path string) (*blockfile.File, error) {
	f, err := blockfile.Open(r.disk, path)
	if damage, ok := errors.AsType[*disk.DamageError](err); ok {
		r.total.Damaged++
		r.Logger.Error("a file is damaged and unreadable; it was renamed", "to", path+damagedSuffix, "error", damage)
		return nil, r.FS.Rename(path, path+damagedSuffix)
	}
	if err != nil {
		return nil, err
	}
	r.total.Files++
	for _, d := range f.Damage {
		r.reportDamage(path, d)
	}
	return f, nil
}

// reportDamage logs damage and gives the file a second name, which no cleanup removes.
func (r *restorer) reportDamage(path string, damage error) {
	r.total.Damaged++
	r.Logger.Error("a file is damaged; its undamaged part is restored, and the file is kept", "as", path+damagedSuffix, "error", damage)
	if err := r.FS.Link(path, path+damagedSuffix); err != nil && !errors.Is(err, fs.ErrExist) {
		r.Logger.Error("a damaged file could not be kept", "error", err)
	}
}

// clusterDirs returns the names of an archive's block directories, one per cluster. It ignores
// files beside them.
func clusterDirs(fsys disk.FS, root string) (names []string, err error) {
	entries, err := disk.List(fsys, filepath.Join(root, blocksDir))
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// findBlocks adds the block files to the catalog.
func (r *restorer) findBlocks() error {
	clusters, err := clusterDirs(r.FS, r.dir)
	if err != nil {
		return err
	}
	for _, cluster := range clusters {
		dir := filepath.Join(r.dir, blocksDir, cluster)
		if err := disk.RemoveTemporary(r.FS, dir); err != nil {
			return err
		}
		paths, runs, err := r.list(dir, "", blocksSuffix)
		if err != nil {
			return err
		}
		for i, path := range paths {
			r.run = max(r.run, runs[i])
			f, err := r.open(path)
			if err != nil {
				return err
			}
			if f == nil {
				continue
			}
			r.catalog.add(&file{path: path, cluster: cluster, run: runs[i]}, f.Hosts)
			if err := errors.Join(f.Close(), r.ctx.Err()); err != nil {
				return err
			}
		}
	}
	return nil
}

// restoreWindows restores all series, and the open windows unless a later, unfinished run has
// sealed them.
func (r *restorer) restoreWindows(path string, f *blockfile.File) error {
	for i, h := range f.Hosts {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		tables, err := f.Series(i)
		if err != nil {
			r.reportDamage(path, err)
			continue
		}
		state := memstore.HostState{Cluster: h.Cluster, Host: h.Host, Number: h.Number}
		for k, l := range h.Lanes {
			ls := memstore.LaneState{Frequency: l.Frequency, Grid: l.Grid, Series: tables[k]}
			for _, w := range l.Windows {
				begin := l.Grid + w.First*l.Frequency
				if r.catalog.hasNewer(laneKey{h.Cluster, h.Host, l.Frequency}, f.Run, begin, begin+int64(w.Slots)*l.Frequency) {
					continue
				}
				b, err := f.Block(w)
				if err != nil {
					r.reportDamage(path, err)
					continue
				}
				ls.Windows = append(ls.Windows, memstore.WindowState{Block: b, Open: true})
			}
			state.Lanes = append(state.Lanes, ls)
		}
		if err := r.restoreState(state, true); err != nil {
			r.reportDamage(path, err)
		}
	}
	return nil
}

// restoreState passes a state to the store. Reaching the memory limit is not an error.
func (r *restorer) restoreState(state memstore.HostState, recorded bool) error {
	err := r.store.State(state, recorded)
	if errors.Is(err, memstore.ErrMemory) {
		return nil
	}
	return err
}

// restoreBlocks restores sealed blocks, latest first, until the memory limit is reached.
func (r *restorer) restoreBlocks() error {
	reader := newBlockReader(r.disk, &r.marks)
	defer reader.close()
	entries := r.catalog.blocks()
	for i, e := range entries {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if r.Store.Full() {
			r.skipBlocks(entries[i:])
			return nil
		}
		if e.end < r.Store.Oldest(e.lane.cluster, e.lane.host) {
			continue
		}
		state, err := reader.read(e)
		if err == nil {
			err = r.restoreState(state, false)
		}
		if err != nil {
			r.reportDamage(e.file.path, err)
		}
		if r.progressDue() {
			r.Logger.Info("restoring", "blocks", i, "of", len(entries))
		}
	}
	return nil
}

// progressDue reports whether progress is to be logged, at most once every progressEvery.
func (r *restorer) progressDue() bool {
	if time.Since(r.logged) <= progressEvery {
		return false
	}
	r.logged = time.Now()
	return true
}

// skipBlocks tells the store which blocks stay on disk.
func (r *restorer) skipBlocks(entries []*entry) {
	for _, e := range entries {
		r.Store.Skip(e.lane.cluster, e.lane.host, e.lane.frequency, e.end)
	}
	r.total.Skipped = len(entries)
	r.Logger.Warn("the memory limit is reached: the oldest windows stay on disk", "windows", len(entries))
}

// replay opens the journal and applies its records, from segment first on.
func (r *restorer) replay(first uint64) (_ *journal.Journal, err error) {
	j, err := journal.Open(r.ctx, journal.Options{
		FS:     r.disk,
		Dir:    filepath.Join(r.dir, journalDir),
		Sync:   r.Options.Sync,
		First:  first,
		Health: r.journalHealth,

		Observer: r.Observer,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Close())
		}
	}()
	if err := j.Drop(first); err != nil {
		r.Logger.Error("journal segments that are no longer needed could not be removed", "error", err)
	}
	size, done := j.Size(), int64(0)
	r.total.Journal, err = j.Replay(r.ctx, func(segment uint64, offset int64, record []byte) error {
		if segment < first {
			return nil // the checkpoint has it
		}
		done += int64(len(record))
		if r.progressDue() {
			r.Logger.Info("replaying the journal", "bytes", done, "of", size)
		}
		err := r.store.Record(record)
		if errors.Is(err, memstore.ErrMemory) {
			r.total.Skipped++
			return nil
		}
		if err != nil {
			r.total.Damaged++
			r.Logger.Error("a journal record is invalid and is skipped", "segment", segment, "offset", offset, "error", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range r.store.Tombstones {
		r.marks.addFreed(t)
	}
	for _, d := range r.total.Journal.Damage {
		r.Logger.Error("the journal is damaged; its undamaged records are replayed, and the segment is kept", "error", d)
	}
	if n := r.total.Journal; n.Torn > 0 {
		r.Logger.Warn("the journal ends in a torn record, as after a loss of power; it was cut off", "bytes", n.TornBytes)
	}
	r.total.Damaged += r.total.Journal.DamageTotal
	if n := r.store.Dropped; n > 0 {
		r.Logger.Error("samples on disk could not be stored and are not restored", "samples", n)
	}
	if n := r.store.Lost; n > 0 {
		r.Logger.Error("samples in the journal are lost: the records that name their series are damaged", "samples", n)
	}
	return j, nil
}
