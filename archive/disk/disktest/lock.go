package disktest

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/ringstore/ringstore/archive/disk"
)

// lock is held until it is closed or the process that took it ends.
type lock struct {
	fs   *FS
	dir  *directory
	boot int
}

// Lock creates no file. [FS.Kill] and [FS.LosePower] release all locks.
func (f *FS) Lock(name string) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	if err := f.begin(Lock, name); err != nil {
		return nil, err
	}
	dir, _, err := f.find(name)
	if err != nil {
		return nil, err
	}
	if held := f.locks[dir]; held != nil && held.boot == f.boots {
		return nil, &disk.LockedError{Holder: fmt.Sprint(held.boot)}
	}
	l := &lock{fs: f, dir: dir, boot: f.boots}
	f.locks[dir] = l
	return l, nil
}

// Close releases the lock. A second Close does nothing.
func (l *lock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if l.fs.locks[l.dir] == l {
		delete(l.fs.locks, l.dir)
	}
	return nil
}
