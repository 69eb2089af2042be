package journal

import (
	"errors"

	"github.com/ringstore/ringstore/archive/disk"
)

// checkPresent returns a *[disk.GoneError] if the name of the current segment no longer leads to its
// file: records written there would be lost with the process. The syncing lock must be held.
func (j *Journal) checkPresent() error {
	inPlace, err := j.file.InPlace()
	if err == nil && !inPlace {
		return &disk.GoneError{Path: j.current.path(j.dir)}
	}
	return err
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
	if _, err := j.fs.Stat(j.dir); !is && !disk.IsGone(err) {
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
