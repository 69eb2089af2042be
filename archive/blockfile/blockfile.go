// Package blockfile reads and writes the files of checkpoints: the blocks of many hosts as they are
// in memory, the tables of the series in their columns, and an index. FORMAT.md describes the
// format.
//
// The package handles one file at a time; which files exist and which of them is newer is up to
// package archive. It decodes a block only to verify it.
package blockfile

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/ringstore/ringstore/memstore/binfmt"
)

// Version is the format version that is written. Older versions are also read.
const Version = 3

// ErrVersion is the error for a file of another format version.
var ErrVersion = fmt.Errorf("expected a block file of version 1 to %d", Version)

// Kind is the kind of a file.
type Kind uint8

// The kinds of files.
const (
	Blocks  Kind = 1 // newly sealed blocks of one cluster
	Windows Kind = 2 // open windows and the series of all hosts; makes the run valid
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

// Head identifies a file.
type Head struct {
	Run     uint64 // of the checkpoint, Unix milliseconds
	Kind    Kind
	Journal uint64    // number of the first journal segment to replay
	Store   uuid.UUID // zero in version 1
}

var (
	errChecksum = errors.New("the checksum does not match")
	errShort    = errors.New("the file ends too early")
)

const (
	headerMagic  = "RSBLKF\x00"
	trailerMagic = "RSBLKEND"

	headerSize  = 60
	headerSize1 = 40 // in version 1; every version begins with the same fields
	markerSize  = 8
	recordHead  = markerSize + 8 // marker, length, checksum
	trailerSize = 20

	maxPayload = 1 << 30 // of a record, in bytes
)

// marker is random and precedes each record of a file, so that names or values from a sender cannot
// be made to look like a record.
type marker [markerSize]byte

// appendHeader appends the header, with which the file and its footer begin.
func appendHeader(dst []byte, h Head, m marker) []byte {
	begin := len(dst)
	dst = append(dst, headerMagic...)
	dst = append(dst, Version)
	dst = binary.LittleEndian.AppendUint64(dst, h.Run)
	dst = binary.LittleEndian.AppendUint64(dst, h.Journal)
	dst = append(dst, m[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.Kind))
	dst = binary.LittleEndian.AppendUint32(dst, binfmt.Checksum(dst[begin:]))
	dst = append(dst, h.Store[:]...)
	return binary.LittleEndian.AppendUint32(dst, binfmt.Checksum(dst[begin:]))
}

// parseHeader reads the header at the start of b and returns its size. The error is [ErrVersion],
// or says what is damaged.
func parseHeader(b []byte) (h Head, m marker, size int64, err error) {
	size = headerSize1
	isSound := func(size int64) bool {
		return binfmt.Checksum(b[:size-4]) == binary.LittleEndian.Uint32(b[size-4:])
	}
	switch {
	case len(b) < headerSize1:
		return h, m, size, errShort
	case string(b[:len(headerMagic)]) != headerMagic:
		return h, m, size, fmt.Errorf("header: expected the magic %q, got %q", headerMagic, b[:len(headerMagic)])
	case !isSound(headerSize1):
		return h, m, size, fmt.Errorf("header: %w", errChecksum)
	}
	switch version := b[len(headerMagic)]; version {
	case 1:
	case 2, Version: // in version 3, blocks may have aggregates
		size = headerSize
		if len(b) < headerSize {
			return h, m, size, errShort
		}
		if !isSound(headerSize) {
			return h, m, size, fmt.Errorf("header: %w", errChecksum)
		}
		h.Store = uuid.UUID(b[headerSize1:])
	default:
		return h, m, size, fmt.Errorf("%w, got version %d", ErrVersion, version)
	}
	h.Run = binary.LittleEndian.Uint64(b[8:])
	h.Journal = binary.LittleEndian.Uint64(b[16:])
	copy(m[:], b[24:])
	kind := binary.LittleEndian.Uint32(b[32:])
	if h.Kind = Kind(kind); kind != uint32(Blocks) && kind != uint32(Windows) {
		return h, m, size, fmt.Errorf("header: expected kind %d or %d, got %d", Blocks, Windows, kind)
	}
	return h, m, size, nil
}

// recordSum returns the checksum of a record: of its marker and length, which head begins with, and
// of its payload.
func recordSum(head, payload []byte) uint32 {
	return binfmt.UpdateChecksum(binfmt.Checksum(head[:markerSize+4]), payload)
}
