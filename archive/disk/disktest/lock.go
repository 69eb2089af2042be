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
	name string
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
	if _, _, err := f.find(name); err != nil {
		return nil, err
	}
	if held := f.locks[name]; held != nil && held.boot == f.boots {
		return nil, &disk.LockedError{Holder: fmt.Sprint(held.boot)}
	}
	l := &lock{fs: f, name: name, boot: f.boots}
	f.locks[name] = l
	return l, nil
}

// Close releases the lock. A second Close does nothing.
func (l *lock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if l.fs.locks[l.name] == l {
		delete(l.fs.locks, l.name)
	}
	return nil
}
