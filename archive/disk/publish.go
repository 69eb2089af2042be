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

// tempSuffix marks a file that is not published yet.
const tempSuffix = ".tmp"

// Publish writes a file so that it is there as a whole or not at all, also
// after a loss of power: a temporary file next to it, synced, renamed, the
// directory synced. A file of that name is replaced. write gets a buffered
// writer.
//
// After an error the file is not there, or the old one is; only if the
// directory could not be synced the new one may be.
func Publish(fsys FS, path string, write func(io.Writer) error) error {
	temp := path + tempSuffix
	if err := writeFile(fsys, temp, write); err != nil {
		return fmt.Errorf("writing %s: %w", path, errors.Join(err, removed(fsys, temp)))
	}
	if err := fsys.Rename(temp, path); err != nil {
		return fmt.Errorf("publishing %s: %w", path, errors.Join(err, removed(fsys, temp)))
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

// removed removes a file that may not even be there.
func removed(fsys FS, path string) error {
	if err := fsys.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List returns what is in a directory, sorted by name; nothing if it is not there.
func List(fsys FS, dir string) ([]fs.DirEntry, error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// RemoveTemporary removes what a [Publish] left in the directory when the
// process or the power went. Nobody may be publishing there.
func RemoveTemporary(fsys FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), tempSuffix) {
			err = errors.Join(err, removed(fsys, filepath.Join(dir, e.Name())))
		}
	}
	return err
}
