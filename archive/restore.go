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

// Restored counts what a restore brought back.
type Restored struct {
	Files   int // that were read, without the journal's
	Damaged int // places in files that could not be read; the log tells them
	Skipped int // blocks that there is no memory for
	Journal journal.Report
	memstore.Restored
}

// progressEvery is how often the log tells how far a restore is.
const progressEvery = 5 * time.Second

// restoring is the work of bringing a store back.
type restoring struct {
	*Archive
	disk  disk.FS // the archive's, read with patience
	ctx   context.Context
	store *memstore.Restoring
	total Restored
	told  time.Time // progress, last
}

// Restore brings back what checkpoints and the journal hold, the newest first,
// as much as there is memory for, and opens the journal: from then on the archive
// takes writes. What is damaged is logged, and given a second name that ends in
// .damaged; it costs no more than itself. The error is one of the directory, or
// ctx's; then nothing on disk has changed.
func (a *Archive) Restore(ctx context.Context) (Restored, error) {
	a.checkpointing.Lock()
	defer a.checkpointing.Unlock()
	r := restoring{Archive: a, disk: disk.Patient(a.FS), ctx: ctx, store: a.Store.Restore(), told: time.Now()}
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

func (r *restoring) restore() (*journal.Journal, error) {
	if err := errors.Join(disk.RemoveTemporary(r.FS, r.dir), r.removeUnfinished()); err != nil {
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
		r.checkpoints.found(time.UnixMilli(int64(windows.Run)))
	}
	if err := r.findBlocks(); err != nil {
		return nil, err
	}
	if windows != nil {
		if err := r.windows(path, windows); err != nil {
			return nil, err
		}
	}
	if err := r.blocks(); err != nil {
		return nil, err
	}
	return r.replay(first)
}

// newestWindows opens the windows of the newest run whose index can be read, nil
// if there are none.
func (r *restoring) newestWindows() (*blockfile.File, string, error) {
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

// open opens a file and tells its damage; it returns nil if nothing of it can be
// read.
func (r *restoring) open(path string) (*blockfile.File, error) {
	f, err := blockfile.Open(r.disk, path)
	if damage, ok := errors.AsType[*blockfile.DamageError](err); ok {
		r.total.Damaged++
		r.Logger.Error("a file is damaged, nothing of it can be read; it is set aside", "as", path+damagedSuffix, "error", damage)
		return nil, r.FS.Rename(path, path+damagedSuffix)
	}
	if err != nil {
		return nil, err
	}
	r.total.Files++
	for _, d := range f.Damage {
		r.damaged(path, d)
	}
	return f, nil
}

// damaged tells of damage and gives the file its second name, under which it
// stays.
func (r *restoring) damaged(path string, damage error) {
	r.total.Damaged++
	r.Logger.Error("a file is damaged; what is sound of it is used, and it is kept", "as", path+damagedSuffix, "error", damage)
	if err := r.FS.Link(path, path+damagedSuffix); err != nil && !errors.Is(err, fs.ErrExist) {
		r.Logger.Error("a damaged file cannot be kept", "error", err)
	}
}

// clusterDirs names the directories of blocks that an archive has in root, one of
// each cluster. A file beside them is nobody's.
func clusterDirs(fsys disk.FS, root string) (names []string, err error) {
	entries, err := disk.List(fsys, filepath.Join(root, blocksDir))
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// findBlocks reads what files of blocks there are, and what is in them.
func (r *restoring) findBlocks() error {
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

// windows brings back all series and the windows that were open, unless a run
// that did not come to its end has them sealed.
func (r *restoring) windows(path string, f *blockfile.File) error {
	for i, h := range f.Hosts {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		tables, err := f.Series(i)
		if err != nil {
			r.damaged(path, err)
			continue
		}
		state := memstore.HostState{Cluster: h.Cluster, Host: h.Host, Number: h.Number}
		for k, l := range h.Lanes {
			ls := memstore.LaneState{Frequency: l.Frequency, Grid: l.Grid, Series: tables[k]}
			for _, w := range l.Windows {
				begin := l.Grid + w.First*l.Frequency
				if r.catalog.newer(laneName{h.Cluster, h.Host, l.Frequency}, f.Run, begin, begin+int64(w.Slots)*l.Frequency) {
					continue
				}
				b, err := f.Block(w)
				if err != nil {
					r.damaged(path, err)
					continue
				}
				ls.Windows = append(ls.Windows, memstore.WindowState{Block: b, Open: true})
			}
			state.Lanes = append(state.Lanes, ls)
		}
		if err := r.state(state, true); err != nil {
			r.damaged(path, err)
		}
	}
	return nil
}

// state hands a state to the store. That there is no room left is no error.
func (r *restoring) state(state memstore.HostState, settled bool) error {
	err := r.store.State(state, settled)
	if errors.Is(err, memstore.ErrMemory) {
		return nil
	}
	return err
}

// blocks brings back sealed blocks, the latest first, until the memory is full.
func (r *restoring) blocks() error {
	reader := newBlockReader(r.disk)
	defer reader.close()
	entries := r.catalog.blocks()
	for i, e := range entries {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if r.Store.Full() {
			r.skip(entries[i:])
			return nil
		}
		if e.end < r.Store.Oldest(e.lane.cluster, e.lane.host) {
			continue
		}
		state, err := reader.read(e)
		if err == nil {
			err = r.state(state, false)
		}
		if err != nil {
			r.damaged(e.file.path, err)
		}
		if time.Since(r.told) > progressEvery {
			r.told = time.Now()
			r.Logger.Info("restoring", "blocks", i, "of", len(entries))
		}
	}
	return nil
}

// skip notes blocks that stay on disk.
func (r *restoring) skip(entries []*entry) {
	for _, e := range entries {
		r.Store.Skip(e.lane.cluster, e.lane.host, e.lane.frequency, e.end)
	}
	r.total.Skipped = len(entries)
	r.Logger.Warn("not all that is kept fits into the memory: the oldest windows stay on disk", "windows", len(entries))
}

// replay opens the journal and does again what it tells from a segment on.
func (r *restoring) replay(first uint64) (_ *journal.Journal, err error) {
	j, err := journal.Open(r.ctx, journal.Options{
		FS:     r.disk,
		Dir:    filepath.Join(r.dir, journalDir),
		Sync:   r.Options.Sync,
		First:  first,
		Health: r.health,

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
		r.Logger.Error("segments of the journal that are not needed any more cannot be removed", "error", err)
	}
	size, done := j.Size(), int64(0)
	r.total.Journal, err = j.Replay(r.ctx, func(segment uint64, offset int64, record []byte) error {
		if segment < first {
			return nil // it is in a checkpoint
		}
		done += int64(len(record))
		if time.Since(r.told) > progressEvery {
			r.told = time.Now()
			r.Logger.Info("replaying the journal", "bytes", done, "of", size)
		}
		err := r.store.Record(record)
		if errors.Is(err, memstore.ErrMemory) {
			r.total.Skipped++
			return nil
		}
		if err != nil {
			r.total.Damaged++
			r.Logger.Error("a record of the journal makes no sense", "segment", segment, "offset", offset, "error", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, d := range r.total.Journal.Damage {
		r.Logger.Error("the journal is damaged; what is sound of it is used, and it is kept", "error", d)
	}
	if n := r.total.Journal; n.Torn > 0 {
		r.Logger.Warn("the journal's end is torn, as a loss of power leaves it; what is no whole record is cut off", "bytes", n.TornBytes)
	}
	r.total.Damaged += r.total.Journal.DamageTotal
	if n := r.store.Lost; n > 0 {
		r.Logger.Error("samples of the journal cannot be told to whom they belong, as what told it is damaged", "samples", n)
	}
	return j, nil
}
