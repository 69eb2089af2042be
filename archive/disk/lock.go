package disk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// LockedError names the process that holds a lock.
type LockedError struct {
	Holder string // the content of the lock file
}

func (e *LockedError) Error() string { return fmt.Sprintf("is in use by process %q", e.Holder) }

// Lock is flock(2) of a file. The file holds the process's number.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0)
		return &LockedError{string(holder[:n])}
	}
	if err != nil {
		return &os.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	// The number is only informative: the lock also holds if a full disk cannot store it.
	_ = f.Truncate(0)
	_, _ = fmt.Fprint(f, os.Getpid())
	return nil
}
