package archive

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/ringstore/ringstore/archive/blockfile"
	"github.com/ringstore/ringstore/archive/disk"
)

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
		if r.readOnly != nil {
			break
		}
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
	r.catalog.add(&file{path: at.path, cluster: at.cluster, run: at.run, listed: listed, unreadable: true, unindexed: true}, nil)
}

// hidden reports whether a file may have blocks after begin (Unix milliseconds) that are not known,
// and that newer blocks of their time would hide. Those of later runs than the older windows file
// are restored from the journal.
func (r *restorer) hidden(f *file, begin int64) bool {
	fromJournal := r.olderRun > 0 && f.run > r.olderRun
	return f.unindexed && !fromJournal && (f.listed.To == 0 || begin < f.listed.To*1000)
}

// skipUnindexed tells the store which samples may be in files of which nothing could be read.
func (r *restorer) skipUnindexed() {
	for f := range r.catalog.files {
		if !r.hidden(f, math.MinInt64) {
			continue
		}
		end := f.listed.To * 1000
		if end == 0 {
			end = int64(f.run) // names are times
		}
		r.Store.SkipCluster(f.cluster, end)
	}
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
			r.Store.SkipExpired(e.end)
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

// skipBlocks tells the store which blocks stay on disk.
func (r *restorer) skipBlocks(entries []*entry) {
	for _, e := range entries {
		r.Store.Skip(e.lane.cluster, e.lane.host, e.lane.frequency, e.window.Grid, e.end)
	}
	r.total.Skipped = len(entries)
	r.Logger.Warn("the memory limit is reached: the oldest windows stay on disk", "windows", len(entries))
}
