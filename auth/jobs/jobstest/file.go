// Package jobstest has a job file in memory, for tests.
package jobstest

import (
	"bytes"
	"io"
	"io/fs"
	"testing/fstest"
)

// File is a jobs.File in memory. The zero File does not exist yet.
type File struct {
	Content []byte // nil: there is no file
	Damaged []byte // the content that was set aside last
	// Err, if not nil, fails Replace once write has written more than FailAfter bytes, or at its
	// end.
	Err       error
	FailAfter int
}

const name = "jobs.rsj"

// Open returns the content, as a file.
func (f *File) Open() (fs.File, error) {
	files := fstest.MapFS{}
	if f.Content != nil {
		files[name] = &fstest.MapFile{Data: f.Content}
	}
	return files.Open(name)
}

// Replace replaces the content, or fails with Err.
func (f *File) Replace(write func(io.Writer) error) error {
	w := &writer{file: f}
	if err := write(w); err != nil {
		return err
	}
	if f.Err != nil {
		return f.Err
	}
	f.Content = w.Bytes()
	return nil
}

// SetAside moves the content to Damaged.
func (f *File) SetAside() (string, error) {
	f.Content, f.Damaged = nil, f.Content
	return name + ".damaged", nil
}

// writer fails like its file.
type writer struct {
	bytes.Buffer
	file *File
}

func (w *writer) Write(p []byte) (int, error) {
	if w.file.Err != nil && w.Len()+len(p) > w.file.FailAfter {
		return 0, w.file.Err
	}
	return w.Buffer.Write(p)
}
