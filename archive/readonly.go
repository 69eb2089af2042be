package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/journal"
)

// ErrReadOnly is the error of everything but queries if the directory could not be written when it
// was opened.
var ErrReadOnly = errors.New("the checkpoint directory cannot be written; only queries are answered, until a restart can write it")

// ReadOnly returns nil, or why the directory could not be written when it was opened; the error wraps
// [ErrReadOnly].
func (a *Archive) ReadOnly() error { return a.readOnly }

// isReadOnly reports whether an error says that a file system is read-only or that the process may
// not write there.
func isReadOnly(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)
}

// checkWritable sets a.readOnly if files cannot be created where samples are stored. Without anything
// to query, that is an error.
func (a *Archive) checkWritable() error {
	for _, dir := range []string{a.dir, filepath.Join(a.dir, journalDir)} {
		path := filepath.Join(dir, "writable.tmp") // the next start removes what is left of it
		f, err := a.FS.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o640)
		if err == nil {
			err = errors.Join(f.Close(), a.FS.Remove(path))
		}
		if !isReadOnly(err) {
			continue
		}
		entries, listErr := disk.List(a.FS, a.dir)
		holdsData := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != lockName })
		if listErr != nil || !holdsData {
			return errors.Join(err, listErr)
		}
		a.readOnly = fmt.Errorf("%w: %w", ErrReadOnly, err)
		a.Logger.Error("the checkpoint directory cannot be written; this start only answers queries", "error", err)
		return nil
	}
	return nil
}

// tidy removes what an interrupted process has left.
func (r *restorer) tidy() error {
	if r.readOnly != nil {
		return nil
	}
	return errors.Join(disk.RemoveTemporary(r.FS, r.dir), r.removeUnfinishedSnapshots())
}

// replayReadOnly applies the records of the journal and leaves its files alone.
func (r *restorer) replayReadOnly(lineage journal.Lineage) (err error) {
	dir := filepath.Join(r.dir, journalDir)
	r.total.Journal, err = journal.Read(r.ctx, r.disk, dir, lineage, r.replayFrom, r.record)
	if err != nil {
		return err
	}
	r.reportJournal()
	return nil
}
