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
	maxPause  = 3200 * time.Millisecond
	maxPauses = 64 // a minute in total
)

// Retrying returns a file system that retries to list, open and read files after errors that may
// pass, for some seconds. All files share a limited number of pauses, so that a broken disk does not
// delay the caller for long.
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
	for pause := minPause; mayPass(err) && pause <= maxPause && r.pauses.Add(-1) >= 0; pause *= 2 {
		time.Sleep(pause)
		err = f()
	}
	return err
}

// mayPass reports whether an error may pass without a change of the files.
func mayPass(err error) bool {
	for _, errno := range [...]syscall.Errno{
		syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ESTALE, syscall.EAGAIN, syscall.EINTR, syscall.ENOMEM, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func (r *retrying) ReadDir(name string) (entries []fs.DirEntry, err error) {
	err = r.retry(func() error { entries, err = r.FS.ReadDir(name); return err })
	return entries, err
}

func (r *retrying) Stat(name string) (info fs.FileInfo, err error) {
	err = r.retry(func() error { info, err = r.FS.Stat(name); return err })
	return info, err
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

func (f retryingFile) Read(b []byte) (n int, err error) {
	err = f.fs.retry(func() error { n, err = f.File.Read(b); return err })
	return n, err
}

func (f retryingFile) ReadAt(b []byte, offset int64) (n int, err error) {
	err = f.fs.retry(func() error { n, err = f.File.ReadAt(b, offset); return err })
	return n, err
}
