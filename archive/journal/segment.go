package journal

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore/binfmt"
)

const (
	magic      = "RSJRNL\x00\x01" // the last byte is the version
	headerSize = 40
	// maxSegmentBytes keeps the index of a record within its 32 bits.
	maxSegmentBytes = 1 << 32
	// maxNumber is the highest number of a segment that Open creates: names sort by their 12
	// digits.
	maxNumber = 900_000_000_000

	namePrefix    = "journal-"
	nameSuffix    = ".rsj"
	damagedSuffix = ".damaged"
)

// segmentID identifies a segment. Numbers grow. The salt is random and unknown to senders, so that
// no record can be made to look like a frame. The file's name holds both, so that a damaged header
// does not lose records.
type segmentID struct {
	number uint64
	salt   uint32
}

func newSegmentID(number uint64) segmentID {
	var salt [4]byte
	rand.Read(salt[:]) // never fails
	return segmentID{number, binary.LittleEndian.Uint32(salt[:])}
}

func (id segmentID) path(dir string) string {
	return filepath.Join(dir, fmt.Sprintf("%s%012d-%08x%s", namePrefix, id.number, id.salt, nameSuffix))
}

func parseName(name string) (segmentID, bool) {
	var id segmentID
	rest, isSegment := strings.CutPrefix(name, namePrefix)
	rest, isWhole := strings.CutSuffix(rest, nameSuffix)
	number, salt, ok := strings.Cut(rest, "-")
	if !isSegment || !isWhole || !ok || len(number) != 12 || len(salt) != 8 {
		return id, false
	}
	n, err := strconv.ParseUint(number, 10, 64)
	s, err2 := strconv.ParseUint(salt, 16, 32)
	return segmentID{n, uint32(s)}, err == nil && err2 == nil && n > 0
}

// segment is a file of the journal.
type segment struct {
	segmentID
	after    uint64 // the number of the previous segment; 0 means none
	afterEnd int64  // where that one ends, in bytes; 0 means unknown, as it was not closed
	size     int64  // of the file, in bytes
	err      error  // why the header is invalid
}

// empty reports whether the segment holds no byte of a record. If it is shorter than its header,
// the power was lost while it was being created.
func (s segment) empty() bool {
	return s.size < headerSize || s.size == headerSize && s.err == nil
}

func (s segment) appendHeader(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint64(dst, s.number)
	dst = binary.LittleEndian.AppendUint32(dst, s.salt)
	dst = binary.LittleEndian.AppendUint64(dst, s.after)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.afterEnd))
	return binary.LittleEndian.AppendUint32(dst, binfmt.Checksum(dst[at:]))
}

// versionError is the error for a segment of another format version.
type versionError struct {
	path    string
	version byte
}

func (e *versionError) Error() string {
	return fmt.Sprintf("%s: expected format version %d, got %d", e.path, magic[7], e.version)
}

var errHeader = errors.New("the segment's header is damaged")

// parseHeader parses the header. The ID in it must be that of the file's name, which s holds.
func (s *segment) parseHeader(path string, head []byte) error {
	if len(head) < headerSize || !bytes.Equal(head[:7], []byte(magic[:7])) ||
		binary.LittleEndian.Uint32(head[36:]) != binfmt.Checksum(head[:36]) {
		return errHeader
	}
	if head[7] != magic[7] {
		return &versionError{path, head[7]}
	}
	after, end := binary.LittleEndian.Uint64(head[20:]), binary.LittleEndian.Uint64(head[28:])
	if binary.LittleEndian.Uint64(head[8:]) != s.number || binary.LittleEndian.Uint32(head[16:]) != s.salt ||
		after >= s.number || end > 1<<62 {
		return errHeader
	}
	s.after, s.afterEnd = after, int64(end)
	return nil
}

// list returns the segments of a directory, oldest first. A damaged header is reported in its
// segment's err; another format version is an error.
func list(ctx context.Context, fsys disk.FS, dir string) ([]segment, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var segments []segment
	for _, e := range entries { // sorted by number, as numbers have leading zeros
		id, ok := parseName(e.Name())
		if !ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := segment{segmentID: id}
		if err := s.read(fsys, filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
		segments = append(segments, s)
	}
	return segments, nil
}

// read reads the size and the header. The error is one of opening the file or a *versionError.
func (s *segment) read(fsys disk.FS, path string) error {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s.size = info.Size()
	var head [headerSize]byte
	n, err := f.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
		return nil
	}
	s.err = s.parseHeader(path, head[:n])
	if version, ok := errors.AsType[*versionError](s.err); ok {
		return version
	}
	return nil
}
