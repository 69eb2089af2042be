package codec

import "errors"

// Errors of [Decoder], which wraps them with context; compare them with [errors.Is].
var (
	// ErrCorrupt: the bytes are not a column of the requested length.
	ErrCorrupt = errors.New("codec: corrupt column")
	// ErrTruncated: the bytes end before the column does.
	ErrTruncated = errors.New("codec: truncated column")
	// ErrForm: this version does not know the form of the column.
	ErrForm = errors.New("codec: unknown column form")
	// ErrRange: the caller requested slots that do not exist.
	ErrRange = errors.New("codec: slots out of range")
)
