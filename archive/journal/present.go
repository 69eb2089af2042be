package journal

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/ringstore/ringstore/archive/disk"
)

// checkPresent returns a *[disk.GoneError] if the name of the current segment no longer leads to its
// file: records written there would be lost with the process. The syncing lock must be held.
func (j *Journal) checkPresent() error {
	path := j.current.path(j.dir)
	open, err := j.file.Stat()
	if err != nil {
		return err
	}
	named, err := j.fs.Stat(path)
	if isGone(err) || err == nil && !disk.SameFile(open, named) {
		return &disk.GoneError{Path: path}
	}
	return err
}

func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// CheckPresent checks that the file of the current segment is still there. If it is not, the journal
// continues in another segment before CheckPresent returns. The error says why it cannot.
func (j *Journal) CheckPresent() error {
	j.writing <- struct{}{}
	j.syncing <- struct{}{}
	defer func() {
		<-j.syncing
		<-j.writing
	}()
	err := j.syncFile()
	if _, gone := errors.AsType[*disk.GoneError](err); gone {
		err = j.reopen()
	}
	return err
}

// restoreDir makes the directory again if the current segment or the directory is gone. The locks are
// those of reopen.
func (j *Journal) restoreDir() error {
	gone, is := errors.AsType[*disk.GoneError](j.unavailable().Err)
	if _, err := j.fs.Stat(j.dir); !is && !isGone(err) {
		return nil
	}
	if !is {
		gone = &disk.GoneError{Path: j.dir}
	}
	err := j.gone(gone)
	if err == nil {
		err = j.fs.MkdirAll(j.dir, 0o750)
	}
	if err != nil {
		return errors.Join(gone, err) // the next try has to know
	}
	return nil
}
