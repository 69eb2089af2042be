// Package smallfile reads files as a whole, up to a maximum size.
package smallfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// TooLargeError is returned for content of more than MaxBytes bytes.
type TooLargeError struct{ MaxBytes int64 }

func (e *TooLargeError) Error() string { return fmt.Sprintf("larger than %d bytes", e.MaxBytes) }

// Read reads a file, which may be a pipe. Errors do not name the file. The error is a
// [*TooLargeError] if there are more than maxBytes bytes.
func Read(path string, maxBytes int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := ReadAll(f, maxBytes)
	return data, withoutPath(err)
}

// ReadRegular is [Read] for regular files only: it never blocks on a pipe or a device.
func ReadRegular(path string, maxBytes int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return Read(path, maxBytes)
}

// ReadAll reads r to its end. The error is a [*TooLargeError] if there are more than maxBytes
// bytes; it reads at most one byte more than that.
func ReadAll(r io.Reader, maxBytes int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > maxBytes:
		return nil, &TooLargeError{maxBytes}
	}
	return data, nil
}

func withoutPath(err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err
	}
	return err
}
