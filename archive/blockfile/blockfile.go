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

	"github.com/ringstore/ringstore/memstore/binfmt"
)

// Version is the format version that is written, and the only one that is read.
const Version = 1

// ErrVersion is the error for a file of another format version.
var ErrVersion = fmt.Errorf("expected a block file of version %d", Version)

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
	Journal uint64 // number of the first journal segment to replay
}

var (
	errChecksum = errors.New("the checksum does not match")
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
	return binary.LittleEndian.AppendUint32(dst, binfmt.Checksum(dst[begin:]))
}

// parseHeader reads the header at the start of b. The error is [ErrVersion], or says what is
// damaged.
func parseHeader(b []byte) (Head, marker, error) {
	var h Head
	var m marker
	switch {
	case len(b) < headerSize:
		return h, m, errShort
	case string(b[:len(headerMagic)]) != headerMagic:
		return h, m, fmt.Errorf("header: expected the magic %q, got %q", headerMagic, b[:len(headerMagic)])
	case binfmt.Checksum(b[:headerSize-4]) != binary.LittleEndian.Uint32(b[headerSize-4:]):
		return h, m, fmt.Errorf("header: %w", errChecksum)
	case b[len(headerMagic)] != Version:
		return h, m, fmt.Errorf("%w, got version %d", ErrVersion, b[len(headerMagic)])
	}
	h.Run = binary.LittleEndian.Uint64(b[8:])
	h.Journal = binary.LittleEndian.Uint64(b[16:])
	copy(m[:], b[24:])
	kind := binary.LittleEndian.Uint32(b[32:])
	if h.Kind = Kind(kind); kind != uint32(Blocks) && kind != uint32(Windows) {
		return h, m, fmt.Errorf("header: expected kind %d or %d, got %d", Blocks, Windows, kind)
	}
	return h, m, nil
}

// recordSum returns the checksum of a record: of its marker and length, which head begins with, and
// of its payload.
func recordSum(head, payload []byte) uint32 {
	return binfmt.UpdateChecksum(binfmt.Checksum(head[:markerSize+4]), payload)
}
