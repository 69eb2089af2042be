package archive

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/ringstore/ringstore/archive/journal"
)

// adopt makes the directory one of this version, if it has no manifest: a new one, or one of
// version 1.
func (r *restorer) adopt(d *directory) error {
	r.storeID, r.generation = d.store, d.generation
	if d.manifest != nil {
		r.manifest.Store(d.manifest.Generation)
	}
	if d.manifest != nil || r.readOnly != nil {
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
	r.rootMu.Lock()
	defer r.rootMu.Unlock()
	if err == nil {
		err = r.closeLock()
	}
	if err == nil {
		err = r.lockDir() // now with the file in the directory
	}
	return err
}
