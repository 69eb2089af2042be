package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/google/uuid"

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
	r := restorer{Archive: a, disk: disk.Retrying(a.FS), ctx: ctx, store: a.Store.Restore(), logged: time.Now()}
	defer r.store.Done()
	a.Store.KeepOnDisk()
	r.fetched = newBlockReader(r.disk, &r.marks)
	defer r.fetched.close()
	r.store.Fetch, r.store.Spill = r.fetch, r.spill
	j, err := r.restore()
	r.total.Restored = r.store.Restored
	for _, e := range r.unreadableBlocks { // newer samples of their time would hide them
		r.Store.Skip(e.lane.cluster, e.lane.host, e.lane.frequency, e.window.Grid, e.end)
	}
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
	d, err := examine(r.ctx, r.disk, r.dir)
	if err != nil {
		return nil, err
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
		if err := r.FS.Remove(path); err != nil {
			r.Logger.Error("a file that is no longer needed could not be removed", "error", err)
		}
	}
	if d.manifest != nil {
		r.run = max(r.run, d.manifest.Run)
	}
	windows, err := r.openWindows(d)
	if err != nil {
		return nil, err
	}
	defer windows.close()
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

// reportProblem reports what the list of files shows, and sets aside a file that does not belong or
// is damaged as a whole.
func (r *restorer) reportProblem(problem error) error {
	switch p := problem.(type) {
	case *disk.DamageError:
		return r.setAsideDamaged(p)
	case *disk.ForeignError:
		return r.setAsideForeign(p)
	case *disk.MissingError:
		r.reportMissing(p)
	}
	return nil
}

func (r *restorer) reportMissing(m *disk.MissingError) {
	r.total.Missing++
	r.Logger.Error("a file is missing", "error", m)
}

func (r *restorer) setAsideForeign(f *disk.ForeignError) error {
	r.total.Foreign++
	r.Logger.Error("a file does not belong to this directory; it is not used and was renamed", "to", f.Path+disk.ForeignSuffix, "error", f)
	return disk.SetAside(r.FS, f.Path, disk.ForeignSuffix)
}

func (r *restorer) setAsideDamaged(d *disk.DamageError) error {
	r.total.Damaged++
	r.Logger.Error("a file is damaged and unreadable; it was renamed", "to", d.Path+damagedSuffix, "error", d)
	return r.FS.Rename(d.Path, d.Path+damagedSuffix)
}

// windowsFiles are the windows files to restore, newest first: one that is undamaged, or else all
// that are readable.
type windowsFiles struct {
	files  []*blockfile.File
	paths  []string
	damage []error // the first of each file
	sound  bool
	// older is the file before the sound one. With the journal since then, it has the samples of the
	// blocks that later runs have written.
	older    string
	olderRun uint64
}

func (w *windowsFiles) close() {
	for _, f := range w.files {
		_ = f.Close() // was only read
	}
}

// journal returns the number of the first segment to replay.
func (w *windowsFiles) journal(d *directory) uint64 {
	if w.sound || d.manifest == nil && len(w.files) > 0 {
		return w.files[0].Journal
	}
	return d.journalFrom()
}

// openWindows opens the windows files. The journal reaches back to the older one, so that it takes
// the place of the newer one if that is damaged.
func (r *restorer) openWindows(d *directory) (windowsFiles, error) {
	var all windowsFiles
	var unreadable []error
	for _, at := range d.windows {
		r.run = max(r.run, at.run)
		before := r.total.Unreadable
		f, err := r.open(at.path)
		if r.total.Unreadable > before {
			unreadable = append(unreadable, fmt.Errorf("%s", at.path))
		}
		if err != nil {
			return all, err
		}
		if f == nil {
			continue
		}
		if foreign, ok := errors.AsType[*disk.ForeignError](d.check(f, at, blockfile.Windows)); ok {
			if err := errors.Join(f.Close(), r.setAsideForeign(foreign)); err != nil {
				return all, err
			}
			continue
		}
		if d.manifest == nil && len(all.files) > 0 { // the journal does not reach back to it
			if err := f.Close(); err != nil {
				return all, err
			}
			continue
		}
		if err := r.chooseWindows(&all, f, at); err != nil {
			return all, err
		}
	}
	if len(unreadable) > 0 && (len(all.files) == 0 || d.manifest == nil) {
		return all, fmt.Errorf("no windows file can be read: %w", errors.Join(unreadable...))
	}
	if len(all.files) > 0 {
		r.checkpoints.setLastDone(time.UnixMilli(int64(all.files[0].Run)))
	}
	return all, nil
}

// chooseWindows adds an open windows file, unless a newer one is sound. A sound one replaces all
// newer ones.
func (r *restorer) chooseWindows(all *windowsFiles, f *blockfile.File, at foundFile) error {
	listed := asListed(at.name, f)
	if all.sound {
		r.windows = append(r.windows, listed)
		if f.Run > all.olderRun {
			all.older, all.olderRun = at.path, f.Run
		}
		return f.Close()
	}
	damage := f.Check(r.ctx)
	if err := r.ctx.Err(); err != nil {
		return errors.Join(err, f.Close())
	}
	if damage == nil {
		for i, newer := range all.files {
			if len(newer.Damage) == 0 {
				r.reportDamage(all.paths[i], all.damage[i])
			}
			r.Logger.Warn("a windows file is damaged; the one before and the journal since then are restored instead", "damaged", all.paths[i], "restored", at.path)
		}
		all.close()
		*all = windowsFiles{sound: true}
		r.windows = nil
	}
	all.files, all.paths, all.damage = append(all.files, f), append(all.paths, at.path), append(all.damage, damage)
	r.windows = append(r.windows, listed)
	return nil
}

// adopt makes the directory one of this version, if it has no manifest: a new one, or one of
// version 1.
func (r *restorer) adopt(d *directory) error {
	r.storeID, r.generation = d.store, d.generation
	if d.manifest != nil {
		return nil
	}
	if r.storeID == uuid.Nil {
		r.storeID = uuid.New()
	}
	if err := r.convertLock(); err != nil {
		return err
	}
	names, err := journal.List(r.ctx, r.disk, filepath.Join(r.dir, journalDir), journal.Lineage{Store: r.storeID})
	if err != nil {
		return err
	}
	return r.publishManifest(names, nil, nil)
}

// convertLock makes the lock file a directory; see lockName.
func (r *restorer) convertLock() error {
	path := filepath.Join(r.dir, lockName)
	info, err := r.FS.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		err = r.FS.Remove(path)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err == nil {
		err = r.FS.MkdirAll(path, 0o750)
	}
	if err == nil {
		err = r.lock.Close()
	}
	if err == nil {
		err = r.lockDir() // now with the file in the directory
	}
	return err
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

// reportUnreadable logs that a part of a file cannot be read. The file stays as it is.
func (r *restorer) reportUnreadable(err error) {
	r.total.Unreadable++
	r.unreadable.Add(1)
	r.Logger.Error("a file cannot be read; its samples are missing until a start can read it, and it is kept", "error", err)
}

// reportDamage logs damage and gives the file a second name, which no cleanup removes. Errors of
// reading are no damage.
func (r *restorer) reportDamage(path string, damage error) {
	if _, ok := errors.AsType[*disk.ReadError](damage); ok {
		r.reportUnreadable(damage)
		return
	}
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
func (r *restorer) findBlocks(d *directory) error {
	clusters, err := clusterDirs(r.FS, r.dir)
	if err != nil {
		return err
	}
	for _, cluster := range clusters {
		if err := disk.RemoveTemporary(r.FS, filepath.Join(r.dir, blocksDir, cluster)); err != nil {
			return err
		}
	}
	for _, at := range d.blocks {
		r.run = max(r.run, at.run)
		f, err := r.open(at.path)
		if err != nil {
			return err
		}
		if f == nil {
			r.lostRun = max(r.lostRun, at.run)
			r.keepUnreadable(at)
			continue
		}
		if len(f.Damage)+len(f.Unreadable) > 0 {
			r.lostRun = max(r.lostRun, at.run)
		}
		if foreign, ok := errors.AsType[*disk.ForeignError](d.check(f, at, blockfile.Blocks)); ok {
			r.lostRun = max(r.lostRun, at.run)
			err = r.setAsideForeign(foreign)
		} else {
			r.catalog.add(&file{path: at.path, cluster: at.cluster, run: at.run, listed: asListed(at.name, f), unreadable: len(f.Unreadable) > 0}, f.Hosts)
		}
		if err := errors.Join(err, f.Close(), r.ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

// keepUnreadable adds a file that could not be opened to the catalog, so that it stays and is
// listed; one that was set aside no longer exists.
func (r *restorer) keepUnreadable(at foundFile) {
	if _, err := r.disk.Stat(at.path); errors.Is(err, fs.ErrNotExist) {
		return
	}
	listed := manifestFile{Name: at.name}
	if at.listed != nil {
		listed = *at.listed
	}
	r.catalog.add(&file{path: at.path, cluster: at.cluster, run: at.run, listed: listed, unreadable: true}, nil)
}

// restoreWindows restores all series, and the open windows unless a later, unfinished run has
// sealed them. What is damaged in one file is restored from the next.
func (r *restorer) restoreWindows(w windowsFiles) error {
	var damaged map[hostKey]bool // in all files so far
	for i, f := range w.files {
		wanted := damaged
		damaged = make(map[hostKey]bool)
		for k, h := range f.Hosts {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			key := hostKey{h.Cluster, h.Host}
			if i > 0 && !wanted[key] {
				continue
			}
			if err := r.restoreHost(f, k, true); err != nil {
				damaged[key] = true
				r.reportDamage(w.paths[i], err)
			}
			r.relieve()
		}
		if i == 0 && len(f.Damage) > 0 { // hosts may be missing
			for _, later := range w.files[1:] {
				for _, h := range later.Hosts {
					key := hostKey{h.Cluster, h.Host}
					damaged[key] = damaged[key] || !slices.ContainsFunc(f.Hosts, func(o blockfile.HostIndex) bool { return hostKey{o.Cluster, o.Host} == key })
				}
			}
		}
	}
	return nil
}

// restoreOlder restores those windows of an older file that nothing newer covers.
func (r *restorer) restoreOlder(path string) error {
	f, err := blockfile.Open(r.disk, path)
	if err != nil {
		return err
	}
	for i := range f.Hosts {
		if err := r.restoreHost(f, i, false); err != nil {
			r.reportDamage(path, err)
		}
	}
	return errors.Join(f.Close(), r.ctx.Err())
}

type hostKey struct{ cluster, host string }

// restoreHost restores host i of a windows file; see [memstore.Restorer.State]. The error reports the first damaged part; the
// others are restored.
func (r *restorer) restoreHost(f *blockfile.File, i int, recorded bool) error {
	h := &f.Hosts[i]
	tables, err := f.Series(i)
	if err != nil {
		return err
	}
	var damage error
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
				damage = cmp.Or(damage, err)
				continue
			}
			ls.Windows = append(ls.Windows, memstore.WindowState{Block: b, Open: true})
		}
		state.Lanes = append(state.Lanes, ls)
	}
	return cmp.Or(r.restoreState(state, recorded), damage)
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
			r.lostRun = max(r.lostRun, e.file.run)
			r.reportDamage(e.file.path, err)
			if _, ok := errors.AsType[*disk.ReadError](err); ok {
				e.file.unreadable = true
				r.unreadableBlocks = append(r.unreadableBlocks, e)
			}
		}
		if r.progressDue() {
			r.Logger.Info("restoring", "blocks", i, "of", len(entries))
		}
	}
	return nil
}

// relieve makes room in memory. If the disk refuses it, the restore goes on: nothing is dropped.
func (r *restorer) relieve() {
	if err := r.store.Relieve(); err != nil {
		r.Logger.Error("memory is full, and the disk does not take what must be stored before it is evicted", "error", err)
	}
}

// takeTombstones adds what the journal freed to the marks. It holds for all files that exist: what
// they have of later samples is in the journal too, behind the call of free.
func (r *restorer) takeTombstones() {
	for _, t := range r.store.Tombstones {
		t.Run = r.run
		r.marks.addFreed(t)
	}
	r.store.Tombstones = nil
}

// fetch returns the blocks on disk of a lane that overlap a time range.
func (r *restorer) fetch(lane memstore.LaneName, begin, end int64) (states []memstore.HostState, err error) {
	r.takeTombstones()
	for _, e := range r.catalog.lanes[laneKey{lane.Cluster, lane.Host, lane.Frequency}] {
		if e.freed || !e.overlaps(begin, end) {
			continue
		}
		state, readErr := r.fetched.read(e)
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		states = append(states, state)
	}
	return states, err
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
		r.Store.Skip(e.lane.cluster, e.lane.host, e.lane.frequency, e.window.Grid, e.end)
	}
	r.total.Skipped = len(entries)
	r.Logger.Warn("the memory limit is reached: the oldest windows stay on disk", "windows", len(entries))
}

// replay opens the journal and applies its records, from segment replayFrom on.
func (r *restorer) replay(d *directory) (_ *journal.Journal, err error) {
	lineage := d.lineage()
	lineage.Store = r.storeID
	j, err := journal.Open(r.ctx, journal.Options{
		FS:     r.disk,
		Dir:    filepath.Join(r.dir, journalDir),
		Sync:   r.Options.Sync,
		First:  r.replayFrom,
		Health: r.journalHealth,

		Lineage:  lineage,
		Now:      r.Now,
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
	if err := j.Drop(r.journalFrom); err != nil {
		r.Logger.Error("journal segments that are no longer needed could not be removed", "error", err)
	}
	size, done := j.SizeFrom(r.replayFrom), int64(0)
	r.total.Journal, err = j.Replay(r.ctx, r.replayFrom, func(segment uint64, offset int64, record []byte) error {
		done += int64(len(record))
		if r.progressDue() {
			r.Logger.Info("replaying the journal", "bytes", done, "of", size)
		}
		err := r.store.Record(record)
		if e := r.store.FetchError; e != nil {
			if damage, ok := errors.AsType[*disk.DamageError](e); !ok || errors.Is(damage, syscall.EIO) {
				return e // what the record changes would hide what cannot be read
			}
		}
		r.takeTombstones()
		r.relieve()
		if err != nil {
			r.total.Damaged++
			r.Logger.Error("a journal record is invalid and is skipped", "segment", segment, "offset", offset, "error", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.takeTombstones()
	for _, d := range r.total.Journal.Damage {
		r.Logger.Error("the journal is damaged; its undamaged records are replayed, and the segment is kept", "error", d)
	}
	if n := r.total.Journal; n.Torn > 0 {
		r.Logger.Info("the journal ends in an incomplete record, as a kill or a loss of power leaves it; it was cut off", "bytes", n.TornBytes)
	}
	for _, f := range r.total.Journal.Foreign {
		r.total.Foreign++
		r.Logger.Error("a journal segment does not belong to this directory; it is not replayed and was renamed", "to", f.Path+disk.ForeignSuffix, "error", f)
	}
	for _, m := range r.total.Journal.Missing {
		r.reportMissing(m)
	}
	r.total.Damaged += r.total.Journal.DamageTotal
	if err := r.store.FetchError; err != nil {
		r.total.Damaged++
		r.Logger.Error("blocks that journal records belong to could not be read", "error", err)
	}
	if n := r.store.Dropped; n > 0 {
		r.Logger.Error("samples on disk could not be stored and are not restored", "samples", n)
	}
	if n := r.store.Lost; n > 0 {
		r.Logger.Error("samples in the journal are lost: the records that name their series are damaged", "samples", n)
	}
	return j, nil
}
