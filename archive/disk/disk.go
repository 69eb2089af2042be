// Package disk is the archive's file system: a small interface, its implementation by the operating
// system, and [Publish], which creates files atomically.
//
// It deals with files and with what a loss of power does to them, not with their contents. Package
// disktest implements the interface in memory and loses power on demand.
package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// File is an open file. Writes go to its end if it was opened with [os.O_APPEND].
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.Closer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error // in bytes

	// InPlace reports whether the name that the file was opened with still leads to it.
	InPlace() (bool, error)

	// Sync returns when the content is on disk. After an error the content on disk is unknown: a
	// later Sync may succeed without the bytes of this one (Rebello et al., "Can Applications
	// Recover from fsync Failures?", USENIX ATC 2020).
	Sync() error
}

// FS is a file system. Paths are those of package filepath. Its methods are safe for concurrent
// use; errors are of type *[fs.PathError] or *[os.LinkError].
//
// Names that are created, renamed or removed are on disk only after [FS.SyncDir] of their
// directory.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	ReadDir(name string) ([]fs.DirEntry, error) // sorted by name
	Stat(name string) (fs.FileInfo, error)
	Rename(from, to string) error // replaces to
	Link(from, to string) error   // to must not exist
	Remove(name string) error
	MkdirAll(name string, perm fs.FileMode) error // synced
	SyncDir(name string) error

	// Lock locks the directory that contains name until the lock is closed or the process ends. name
	// is of a file, which is created, or of a directory. If another process holds the lock, the error
	// is a *[LockedError].
	Lock(name string) (io.Closer, error)
}

// SameFile reports whether two results of Stat describe the same file or directory.
func SameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) || a.Sys() != nil && a.Sys() == b.Sys()
}

// OS is the file system of the operating system.
type OS struct{}

var _ FS = OS{}

// OpenFile is [os.OpenFile].
func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

type osFile struct{ *os.File }

func (f osFile) InPlace() (bool, error) {
	open, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(f.Name())
	if IsGone(err) {
		return false, nil
	}
	return err == nil && os.SameFile(open, named), err
}

// IsGone reports whether an error says that there is no file of a name.
func IsGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// ReadDir is [os.ReadDir].
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Stat is [os.Stat].
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// Rename is [os.Rename].
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Link is [os.Link].
func (OS) Link(from, to string) error { return os.Link(from, to) }

// Remove is [os.Remove].
func (OS) Remove(name string) error { return os.Remove(name) }

// MkdirAll creates a directory and its missing parents, and syncs the directories that hold the new
// names.
func (o OS) MkdirAll(name string, perm fs.FileMode) error {
	name = filepath.Clean(name)
	if isDir(name) {
		return nil
	}
	parent := filepath.Dir(name)
	if parent != name {
		if err := o.MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	err := os.Mkdir(name, perm)
	switch {
	case err == nil || isDir(name): // another process may have created it
		return o.SyncDir(parent)
	case errors.Is(err, fs.ErrExist):
		return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
	}
	return err
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// SyncDir is fsync(2) of a directory.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
