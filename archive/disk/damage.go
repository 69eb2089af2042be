package disk

import "fmt"

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
