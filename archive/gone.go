package archive

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/memstore"
)

// Files that the next start needs may be removed or replaced while the archive is open, for example
// with the whole directory. Samples that only such files held are then in memory at most. Nothing is
// acknowledged until a checkpoint has written everything again that is in memory.

// refuse refuses writes until a checkpoint that begins later has succeeded, and makes that due.
func (a *Archive) refuse(g *disk.GoneError) {
	if a.gone.Swap(g) != nil {
		return
	}
	a.Logger.Error("a file in the checkpoint directory was removed or replaced; writes are refused until everything in memory is written again", "path", g.Path)
	select {
	case a.checkpointDue <- struct{}{}:
	default:
	}
}

// accept ends what refuse began, unless more files have gone since then.
func (a *Archive) accept(g *disk.GoneError) {
	if g != nil && a.gone.CompareAndSwap(g, nil) {
		a.Logger.Info("everything in memory is written again; writes are accepted")
	}
}

// journalGone is the journal's Options.Gone.
func (a *Archive) journalGone(g *disk.GoneError) error {
	a.refuse(g)
	return a.restoreRoot()
}

// restoreRoot makes the directory again, and its lock, if they are gone. Another directory at its
// place is set aside if it holds files, unless it is a copy.
func (a *Archive) restoreRoot() error {
	a.rootMu.Lock()
	defer a.rootMu.Unlock()
	lock := filepath.Join(a.dir, lockName)
	info, err := a.FS.Stat(a.dir)
	exists := err == nil
	switch {
	case err != nil && !disk.IsGone(err):
		return err
	case !exists || !disk.SameFile(info, a.root):
		a.refuse(&disk.GoneError{Path: a.dir})
	default:
		if _, err := a.FS.Stat(lock); a.lock != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		a.Logger.Warn("the lock of the checkpoint directory was removed; it is made again", "path", lock)
	}
	if exists && !disk.SameFile(info, a.root) {
		if err := a.takePlace(lock); err != nil {
			return err
		}
	}
	if err := a.FS.MkdirAll(lock, 0o750); err != nil {
		return err
	}
	if err := a.closeLock(); err != nil {
		return err
	}
	if err := a.lockDir(); err != nil {
		return err
	}
	a.root, err = a.FS.Stat(a.dir)
	return err
}

// takePlace sets aside a directory that was put in place of the archive's, unless it is a copy of
// that or holds no files. The error may be that another process uses it.
func (a *Archive) takePlace(lock string) (err error) {
	other, err := a.FS.Lock(lock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	if a.isCopy() {
		return nil
	}
	holds, err := holdsFiles(a.FS, a.dir)
	if err != nil || !holds {
		return err
	}
	a.Logger.Error("another directory was put in place of the checkpoint directory; it is not used and was renamed", "path", a.dir, "to", a.dir+disk.ForeignSuffix)
	return disk.SetAside(a.FS, a.dir, disk.ForeignSuffix)
}

// isCopy reports whether the directory has the newest manifest.
func (a *Archive) isCopy() bool {
	content, err := readFile(a.FS, filepath.Join(a.dir, manifestName(a.manifest.Load())))
	if err != nil {
		return false
	}
	m, err := parseManifest(content)
	return err == nil && m.Store == a.storeID && m.Generation == a.manifest.Load()
}

// holdsFiles reports whether there are files in or below a directory, apart from the lock.
func holdsFiles(fsys disk.FS, dir string) (bool, error) {
	entries, err := disk.List(fsys, dir)
	for _, e := range entries {
		switch {
		case err != nil:
		case !e.IsDir():
			return true, nil
		case e.Name() != lockName:
			var holds bool
			if holds, err = holdsFiles(fsys, filepath.Join(dir, e.Name())); holds {
				return true, nil
			}
		}
	}
	return false, err
}

// closeLock unlocks the directory; rootMu must be held.
func (a *Archive) closeLock() error {
	if a.lock == nil {
		return nil
	}
	err := a.lock.Close()
	a.lock = nil
	return err
}

// checkFiles looks for files that are gone: the directory and the manifest, or everything. It does
// nothing during a checkpoint, which looks itself.
func (a *Archive) checkFiles(everything bool) {
	if !a.checkpointMu.TryLock() {
		return
	}
	defer a.checkpointMu.Unlock()
	_ = a.findGone(everything) // a checkpoint that is due reports the error
}

// findGone makes the directory again if it is gone, and looks for the manifest, or for everything
// that the next start needs. What is in memory of block files that are gone will be in the next
// checkpoint. checkpointMu must be held.
func (a *Archive) findGone(everything bool) error {
	j := a.journal.Load()
	if j == nil {
		return nil
	}
	if err := a.restoreRoot(); err != nil {
		return err
	}
	manifest := filepath.Join(a.dir, manifestName(a.manifest.Load()))
	if !everything && a.gone.Load() == nil {
		_, err := a.FS.Stat(manifest)
		if !disk.IsGone(err) {
			return err
		}
	}
	// Before the listing: a segment that the journal starts meanwhile is not in it.
	segments, current := j.Segments(), j.Segment()
	there, err := a.listFiles()
	if err != nil {
		return err
	}
	needed := []string{manifest}
	for _, w := range a.windows {
		needed = append(needed, filepath.Join(a.dir, w.Name))
	}
	for _, s := range segments {
		if s.Number >= a.journalFrom && s.Number != current { // the journal looks for the current one
			needed = append(needed, s.Path)
			if !there[s.Path] { // replaying others without it would be wrong
				a.unreadSegment = 0
			}
		}
	}
	for _, path := range needed {
		if !there[path] {
			a.refuse(&disk.GoneError{Path: path})
		}
	}
	gone := make(map[*file]bool)
	for f := range a.catalog.files {
		if !there[f.path] {
			gone[f] = true
			a.refuse(&disk.GoneError{Path: f.path})
		}
	}
	if len(gone) > 0 {
		a.forget(gone)
	}
	return nil
}

// forget removes block files that are gone from the catalog.
func (a *Archive) forget(gone map[*file]bool) {
	lost := 0
	for _, e := range a.catalog.forget(gone) {
		lane := memstore.LaneName{Cluster: e.lane.cluster, Host: e.lane.host, Frequency: e.lane.frequency}
		if held := a.Store.Forget(lane, e.begin, e.end); !held && !e.freed {
			lost++
		}
	}
	a.goneFiles.Add(int64(len(gone)))
	if a.goneWindows.Add(int64(lost)); lost > 0 {
		a.Logger.Error("windows that only removed files held are lost: they are not in memory", "windows", lost, "files", len(gone))
	}
}

// listFiles returns the paths of the files in the archive's directories.
func (a *Archive) listFiles() (map[string]bool, error) {
	dirs := map[string]bool{a.dir: true, filepath.Join(a.dir, journalDir): true}
	for f := range a.catalog.files {
		dirs[filepath.Dir(f.path)] = true
	}
	there := make(map[string]bool)
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		entries, err := disk.List(a.FS, dir)
		if err != nil && !disk.IsGone(err) {
			return nil, err
		}
		for _, e := range entries {
			there[filepath.Join(dir, e.Name())] = true
		}
	}
	return there, nil
}

// goneError returns why nothing is accepted because of files that are gone, or nil.
func (a *Archive) goneError() error {
	if g := a.gone.Load(); g != nil {
		return &journal.UnavailableError{Err: g}
	}
	return nil
}
