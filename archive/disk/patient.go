package disk

import (
	"errors"
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	firstPause = 100 * time.Millisecond
	lastPause  = 800 * time.Millisecond
	mostPauses = 64 // together some 25 s
)

// Patient returns a file system that opens and reads again, after a pause, what
// could not be read (EIO): a disk may fail for a moment, and what is taken for
// damage is lost. A disk that has failed too often is not waited for any more.
func Patient(fsys FS) FS {
	p := &patient{FS: fsys}
	p.pauses.Store(mostPauses)
	return p
}

type patient struct {
	FS
	pauses atomic.Int64 // that are left
}

func (p *patient) again(f func() error) error {
	err := f()
	for pause := firstPause; errors.Is(err, syscall.EIO) && pause <= lastPause && p.pauses.Add(-1) >= 0; pause *= 2 {
		time.Sleep(pause)
		err = f()
	}
	return err
}

func (p *patient) OpenFile(name string, flag int, perm fs.FileMode) (f File, err error) {
	err = p.again(func() error { f, err = p.FS.OpenFile(name, flag, perm); return err })
	if err != nil {
		return nil, err
	}
	return patientFile{f, p}, nil
}

type patientFile struct {
	File
	patient *patient
}

func (f patientFile) ReadAt(b []byte, offset int64) (n int, err error) {
	err = f.patient.again(func() error { n, err = f.File.ReadAt(b, offset); return err })
	return n, err
}
