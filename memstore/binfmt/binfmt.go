// Package binfmt reads the fields of RingStore's binary formats (blocks, block files, the journal's
// records, the job index) and computes their checksums. A damaged field is reported as a
// [*DamageError].
package binfmt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// DamageError reports bytes that are not what the format requires.
type DamageError struct {
	Offset int64  // of the damaged field, in bytes from the start of the file or block
	Reason string // what was expected and what was found
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("damaged at byte %d: %s", e.Offset, e.Reason)
}

// Damagef returns a [*DamageError].
func Damagef(offset int64, format string, args ...any) error {
	return &DamageError{offset, fmt.Sprintf(format, args...)}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum returns the CRC32C (Castagnoli) of b.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// UpdateChecksum returns the checksum of the bytes that sum covers followed by b.
func UpdateChecksum(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }

// Reader reads fields from the front of a byte slice. The first damaged field sets [Reader.Err] and
// empties Rest, so later calls read nothing and return the minimum of the field, and callers may
// check the error once after several fields. Parameters named what say which field is read, for the
// error.
type Reader struct {
	Rest []byte // the bytes that have not been read yet

	end int64 // offset of the end of Rest
	err error
}

// NewReader returns a reader of b, which starts at an offset in its file or block.
func NewReader(b []byte, offset int64) Reader {
	return Reader{Rest: b, end: offset + int64(len(b))}
}

// Err returns the [*DamageError] of the first damaged field, or nil.
func (r *Reader) Err() error { return r.err }

// Offset returns where Rest starts in the file or block. After an error it is the end of the bytes.
func (r *Reader) Offset() int64 { return r.end - int64(len(r.Rest)) }

// Fail reports damage at the current offset. Only the first call has an effect.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = Damagef(r.Offset(), format, args...)
	}
	r.Rest = nil
}

// Uvarint reads an unsigned varint that must lie in [lowest, highest].
func (r *Reader) Uvarint(lowest, highest uint64, what string) uint64 {
	v, n := binary.Uvarint(r.Rest)
	if n <= 0 || v < lowest || v > highest {
		r.failNumber(n, what, lowest, highest, v)
		return lowest
	}
	r.Rest = r.Rest[n:]
	return v
}

// Varint reads a signed varint that must lie in [lowest, highest].
func (r *Reader) Varint(lowest, highest int64, what string) int64 {
	v, n := binary.Varint(r.Rest)
	if n <= 0 || v < lowest || v > highest {
		r.failNumber(n, what, lowest, highest, v)
		return lowest
	}
	r.Rest = r.Rest[n:]
	return v
}

// failNumber reports a bad varint of which n bytes were read.
func (r *Reader) failNumber(n int, what string, lowest, highest, v any) {
	switch {
	case n == 0:
		r.Fail("%s: expected a number, got the end of the data", what)
	case n < 0:
		r.Fail("%s: expected a number of 64 bits, got a longer one", what)
	default:
		r.Fail("%s: expected %d to %d, got %d", what, lowest, highest, v)
	}
}

// Varints skips n signed varints that must lie in [lowest, highest] and returns their bytes.
func (r *Reader) Varints(n int, lowest, highest int64, what string) []byte {
	all := r.Rest
	for i := 0; i < n && r.err == nil; i++ {
		r.Varint(lowest, highest, what)
	}
	n = len(all) - len(r.Rest)
	return all[:n:n]
}

// Count reads the number of items that follow, each of which takes at least size bytes. The result
// is therefore safe to allocate.
func (r *Reader) Count(size int, what string) int {
	v, n := binary.Uvarint(r.Rest)
	if highest := uint64(len(r.Rest) / size); n <= 0 || v > highest {
		r.failNumber(n, "number of "+what, 0, highest, v)
		return 0
	}
	r.Rest = r.Rest[n:]
	return int(v)
}

// Take reads n bytes. The result shares the memory of the reader's bytes.
func (r *Reader) Take(n int, what string) []byte {
	if n > len(r.Rest) {
		r.Fail("%s: expected %d bytes, got %d", what, n, len(r.Rest))
		return nil
	}
	b := r.Rest[:n:n]
	r.Rest = r.Rest[n:]
	return b
}

// Byte reads one byte.
func (r *Reader) Byte(what string) byte {
	if b := r.Take(1, what); len(b) == 1 {
		return b[0]
	}
	return 0
}

// String reads a string of [lowest, highest] bytes that follows its length.
func (r *Reader) String(lowest, highest int, what string) string {
	v, n := binary.Uvarint(r.Rest)
	if n <= 0 || v < uint64(lowest) || v > uint64(highest) {
		r.failNumber(n, "length of "+what, lowest, highest, v)
		return ""
	}
	r.Rest = r.Rest[n:]
	return string(r.Take(int(v), what))
}

// Finish reports damage if bytes are left.
func (r *Reader) Finish(what string) {
	if len(r.Rest) > 0 {
		r.Fail("%d bytes after the %s", len(r.Rest), what)
	}
}
