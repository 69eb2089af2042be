// Package blockfile is the format of the files that checkpoints write: blocks
// of many hosts as they are in memory, with the tables of the series that their
// columns belong to, and an index. FORMAT.md draws it.
//
// It knows what a host's state looks like and how a file can be damaged. It
// does not know which file is newer or what else lies in the directory, and it
// decodes no block but to verify it.
package blockfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Version is the version that is written, and the only one that is read.
const Version = 1

// ErrVersion is the error of a file of another version.
var ErrVersion = errors.New("block file of a version that is not known")

// Kind is what a file holds.
type Kind uint8

// The kinds of files.
const (
	Blocks  Kind = 1 // newly sealed blocks of one cluster
	Windows Kind = 2 // open windows and the series of all hosts: the run's commit record
)

func (k Kind) String() string {
	switch k {
	case Blocks:
		return "blocks"
	case Windows:
		return "windows"
	default:
		return fmt.Sprintf("kind %d", uint8(k))
	}
}

// Head tells what a file is.
type Head struct {
	Run     uint64 // of the checkpoint, Unix milliseconds
	Kind    Kind
	Journal uint64 // number of the journal segment from which on to replay
}

// DamageError tells where a file does not hold what was written.
type DamageError struct {
	Path   string
	Offset int64 // of the part that is damaged, in bytes
	Err    error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s: damaged at byte %d: %v", e.Path, e.Offset, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }

var (
	errChecksum = errors.New("the checksum is wrong")
	errShort    = errors.New("the file ends too early")
)

const (
	headerMagic  = "RSBLKF\x00"
	trailerMagic = "RSBLKEND"

	headerSize  = 40
	markerSize  = 8
	recordHead  = markerSize + 8 // marker, length, checksum
	trailerSize = 20

	maxPayload = 1 << 30 // of a record, in bytes
)

// marker is random and stands before each record of a file, so that nobody who
// has a say in names or values can make bytes that pass for a record.
type marker [markerSize]byte

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// appendHeader appends what a file begins with, and its footer.
func appendHeader(dst []byte, h Head, m marker) []byte {
	begin := len(dst)
	dst = append(dst, headerMagic...)
	dst = append(dst, Version)
	dst = binary.LittleEndian.AppendUint64(dst, h.Run)
	dst = binary.LittleEndian.AppendUint64(dst, h.Journal)
	dst = append(dst, m[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.Kind))
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[begin:]))
}

// parseHeader reads the header at the begin of b. The error is [ErrVersion], or
// one that says what is damaged.
func parseHeader(b []byte) (Head, marker, error) {
	var h Head
	var m marker
	switch {
	case len(b) < headerSize:
		return h, m, errShort
	case string(b[:len(headerMagic)]) != headerMagic:
		return h, m, errors.New("no block file begins here")
	case checksum(b[:headerSize-4]) != binary.LittleEndian.Uint32(b[headerSize-4:]):
		return h, m, fmt.Errorf("header: %w", errChecksum)
	case b[len(headerMagic)] != Version:
		return h, m, fmt.Errorf("%w: %d", ErrVersion, b[len(headerMagic)])
	}
	h.Run = binary.LittleEndian.Uint64(b[8:])
	h.Journal = binary.LittleEndian.Uint64(b[16:])
	copy(m[:], b[24:])
	kind := binary.LittleEndian.Uint32(b[32:])
	if h.Kind = Kind(kind); kind != uint32(Blocks) && kind != uint32(Windows) {
		return h, m, fmt.Errorf("header: kind %d is not known", kind)
	}
	return h, m, nil
}

// recordSum is the checksum of a record's payload and of what is before the
// checksum.
func recordSum(head, payload []byte) uint32 {
	return crc32.Update(checksum(head[:markerSize+4]), castagnoli, payload)
}
