package disk

import (
	"errors"
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	minPause  = 100 * time.Millisecond
	maxPause  = 800 * time.Millisecond
	maxPauses = 64 // some 25 s in total
)

// Retrying returns a file system that retries to open and read files after EIO. A disk may fail for
// a moment, and data that cannot be read counts as damaged. All files share a limited number of
// pauses, so that a broken disk does not delay the caller for long.
func Retrying(fsys FS) FS {
	r := &retrying{FS: fsys}
	r.pauses.Store(maxPauses)
	return r
}

type retrying struct {
	FS
	pauses atomic.Int64 // remaining
}

func (r *retrying) retry(f func() error) error {
	err := f()
	for pause := minPause; errors.Is(err, syscall.EIO) && pause <= maxPause && r.pauses.Add(-1) >= 0; pause *= 2 {
		time.Sleep(pause)
		err = f()
	}
	return err
}

func (r *retrying) OpenFile(name string, flag int, perm fs.FileMode) (f File, err error) {
	err = r.retry(func() error { f, err = r.FS.OpenFile(name, flag, perm); return err })
	if err != nil {
		return nil, err
	}
	return retryingFile{f, r}, nil
}

type retryingFile struct {
	File
	fs *retrying
}

func (f retryingFile) ReadAt(b []byte, offset int64) (n int, err error) {
	err = f.fs.retry(func() error { n, err = f.File.ReadAt(b, offset); return err })
	return n, err
}
