package disk

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// WholeFile is a small file that is always replaced as a whole, such as the job index.
type WholeFile struct {
	FS   FS
	Path string
}

// Open opens the file for reading. The error is [fs.ErrNotExist] if there is none.
func (w WholeFile) Open() (fs.File, error) {
	f, err := w.FS.OpenFile(w.Path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err // f would be an fs.File that is not nil
	}
	return f, nil
}

// Replace writes new content, as [Publish] does.
func (w WholeFile) Replace(write func(io.Writer) error) error { return Publish(w.FS, w.Path, write) }

// SetAside renames a damaged file and returns its new path. An older damaged file is replaced.
func (w WholeFile) SetAside() (path string, err error) {
	path = w.Path + ".damaged"
	if err := w.FS.Rename(w.Path, path); err != nil {
		return "", fmt.Errorf("renaming the damaged file: %w", err)
	}
	return path, nil
}
