package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// holderFile holds the number of the process that holds a lock, if the lock's name is that of a
// directory.
const holderFile = "holder"

// LockedError names the process that holds a lock.
type LockedError struct {
	Holder string // the content of the lock file; empty if it was removed
}

func (e *LockedError) Error() string {
	if e.Holder == "" {
		return "is in use by another process"
	}
	return fmt.Sprintf("is in use by process %q", e.Holder)
}

// Lock is flock(2) of the directory that contains name, so that removing name does not unlock it,
// and of a file, which holds the process's number: holder in name if that is a directory, else
// name. On file systems that cannot lock a directory, such as NFS, only the file is locked; on a
// read-only file system or without permission, only the directory.
func (OS) Lock(name string) (io.Closer, error) {
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	path := name
	if isDir(name) {
		path = filepath.Join(name, holderFile)
	}
	if err := flock(dir, path); isLocked(err) {
		return nil, errors.Join(err, dir.Close())
	} else if err != nil {
		_ = dir.Close()
		dir = nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if (errors.Is(err, unix.EROFS) || errors.Is(err, os.ErrPermission)) && dir != nil {
		return dir, nil
	}
	if err == nil {
		err = flock(file, path)
	}
	if err != nil {
		return nil, errors.Join(err, closeFiles{dir, file}.Close())
	}
	// The number is only informative: the lock also holds if a full disk cannot store it.
	_ = file.Truncate(0)
	_, _ = fmt.Fprint(file, os.Getpid())
	return closeFiles{dir, file}, nil
}

// closeFiles closes those files that are not nil.
type closeFiles [2]*os.File

func (c closeFiles) Close() error {
	var errs []error
	for _, f := range c {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

func isLocked(err error) bool {
	_, is := errors.AsType[*LockedError](err)
	return is
}

// flock locks a file. The holder's number is in the file at path.
func flock(f *os.File, path string) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder, _ := os.ReadFile(path)
		return &LockedError{strings.TrimSpace(string(holder[:min(len(holder), 32)]))}
	}
	if err != nil {
		return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return nil
}
