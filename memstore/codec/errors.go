package codec

import "errors"

// The errors of [Decoder]. They are wrapped in context; use [errors.Is].
var (
	// ErrCorrupt says that the bytes are not a column of the asked length.
	ErrCorrupt = errors.New("codec: corrupt column")
	// ErrTruncated says that the bytes end before the column does.
	ErrTruncated = errors.New("codec: truncated column")
	// ErrForm says that a column is in a form that this version does not know.
	ErrForm = errors.New("codec: unknown column form")
	// ErrRange says that the caller asked for slots that cannot be.
	ErrRange = errors.New("codec: slots out of range")
)
