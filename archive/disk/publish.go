package disk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tempSuffix marks an unpublished file.
const tempSuffix = ".tmp"

// Publish writes a file atomically: even after a loss of power it is complete or absent. It writes
// a temporary file beside it, syncs it, renames it and syncs the directory. A file of that name is
// replaced. The writer that write gets is buffered.
//
// After an error the file is absent or still the old one, except when syncing the directory failed:
// then it may be the new one.
func Publish(fsys FS, path string, write func(io.Writer) error) error {
	temp := path + tempSuffix
	if err := writeFile(fsys, temp, write); err != nil {
		return fmt.Errorf("writing %s: %w", path, errors.Join(err, removeIfExists(fsys, temp)))
	}
	if err := fsys.Rename(temp, path); err != nil {
		return fmt.Errorf("publishing %s: %w", path, errors.Join(err, removeIfExists(fsys, temp)))
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("publishing %s: %w", path, err)
	}
	return nil
}

func writeFile(fsys FS, path string, write func(io.Writer) error) error {
	f, err := fsys.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func removeIfExists(fsys FS, path string) error {
	if err := fsys.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ForeignSuffix ends the name of a file that does not belong to its directory.
const ForeignSuffix = ".foreign"

// SetAside appends a suffix to a file's name. A file of that name is kept: the new name then has a
// number before the suffix.
func SetAside(fsys FS, path, suffix string) error {
	to := path + suffix
	for n := 2; ; n++ {
		if _, err := fsys.Stat(to); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return err
		}
		to = fmt.Sprint(path, ".", n, suffix)
	}
	if err := fsys.Rename(path, to); err != nil {
		return fmt.Errorf("setting aside %s: %w", path, err)
	}
	return fsys.SyncDir(filepath.Dir(path))
}

// List returns the entries of a directory, sorted by name; none if the directory does not exist.
func List(fsys FS, dir string) ([]fs.DirEntry, error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// RemoveTemporary finishes interrupted calls of [Publish] in a directory: it removes their temporary
// files and syncs the names of the others. No call may be in progress there.
func RemoveTemporary(fsys FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), tempSuffix) {
			err = errors.Join(err, removeIfExists(fsys, filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}
