package disk

import (
	"fmt"
	"time"
)

// DamageError says that a file does not hold what was written at a place.
type DamageError struct {
	Path   string
	Offset int64 // of the damaged part, in bytes
	Err    error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s: damaged at byte %d: %v", e.Path, e.Offset, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }

// ForeignError says that a file does not belong to the directory that it is in.
type ForeignError struct {
	Path string
	Err  error // why
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s: does not belong to this directory: %v", e.Path, e.Err)
}

func (e *ForeignError) Unwrap() error { return e.Err }

// MissingError says that a file is missing.
type MissingError struct {
	Path     string
	From, To time.Time // of the samples in it; zero: unknown
}

func (e *MissingError) Error() string {
	if e.To.IsZero() {
		return e.Path + ": is missing"
	}
	return fmt.Sprintf("%s: is missing; it held samples from %s to %s", e.Path, e.From.UTC().Format(time.RFC3339), e.To.UTC().Format(time.RFC3339))
}

// ReadError says that a part of a file cannot be read now. That is no damage: the part may be
// readable later.
type ReadError struct {
	Path   string
	Offset int64 // of the part, in bytes
	Err    error // of the file system
}

func (e *ReadError) Error() string {
	return fmt.Sprintf("%s: cannot be read at byte %d: %v", e.Path, e.Offset, e.Err)
}

func (e *ReadError) Unwrap() error { return e.Err }

// GoneError says that a file was removed or replaced while it was in use.
type GoneError struct{ Path string }

func (e *GoneError) Error() string { return e.Path + ": was removed or replaced while it was in use" }
