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

	"github.com/google/uuid"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore/binfmt"
)

const (
	magic       = "RSJRNL\x00\x02" // the last byte is the version
	headerSize  = 76
	headerSize1 = 40 // in version 1; every version begins with the same fields
	// HeaderBytes is the size of a segment without records.
	HeaderBytes = headerSize
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
	rand.Read(salt[:])                                                    // never fails
	return segmentID{number, max(binary.LittleEndian.Uint32(salt[:]), 1)} // 0: unknown
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
	after     segmentID // the previous segment; number 0 means none
	afterEnd  int64     // where that one ends, in bytes; 0 means unknown, as it was not closed
	size      int64     // of the file, in bytes
	header    int64     // length of the header, in bytes
	err       error     // why the header is invalid
	extension           // zero in version 1
}

// extension is what the header has since version 2. It also holds the salt in after.
type extension struct {
	store    uuid.UUID
	created  int64  // Unix milliseconds
	afterSum uint32 // the checksum of the previous segment's last frame, or of its header if it has none; if afterEnd is known
}

// empty reports whether the segment holds no byte of a record. If it is shorter than its header,
// the power was lost while it was being created.
func (s segment) empty() bool {
	return s.size < s.header || s.size == s.header && s.err == nil
}

func (s segment) appendHeader(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint64(dst, s.number)
	dst = binary.LittleEndian.AppendUint32(dst, s.salt)
	dst = binary.LittleEndian.AppendUint64(dst, s.after.number)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.afterEnd))
	dst = binary.LittleEndian.AppendUint32(dst, binfmt.Checksum(dst[at:]))
	dst = append(dst, s.store[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.created))
	dst = binary.LittleEndian.AppendUint32(dst, s.after.salt)
	dst = binary.LittleEndian.AppendUint32(dst, s.afterSum)
	return binary.LittleEndian.AppendUint32(dst, binfmt.Checksum(dst[at:]))
}

// headerSum returns the checksum of a segment's header.
func (s segment) headerSum() uint32 { return sumOf(s.appendHeader(nil)) }

func sumOf(header []byte) uint32 { return binary.LittleEndian.Uint32(header[len(header)-4:]) }

// versionError is the error for a segment of another format version.
type versionError struct {
	path    string
	version byte
}

func (e *versionError) Error() string {
	return fmt.Sprintf("%s: expected format version 1 or %d, got %d", e.path, magic[7], e.version)
}

var errHeader = errors.New("the segment's header is damaged")

// parseHeader parses the header. The ID in it must be that of the file's name, which s holds.
func (s *segment) parseHeader(path string, head []byte) error {
	// A file whose version is unknown may have records behind the shorter header.
	s.header = headerSize1
	if len(head) < headerSize1 || !bytes.Equal(head[:7], []byte(magic[:7])) ||
		sumOf(head[:headerSize1]) != binfmt.Checksum(head[:headerSize1-4]) {
		return errHeader
	}
	switch head[7] {
	case 1:
	case magic[7]:
		s.header = headerSize
		if len(head) < headerSize || sumOf(head) != binfmt.Checksum(head[:headerSize-4]) {
			return errHeader
		}
		s.extension = extension{
			store:    uuid.UUID(head[40:56]),
			created:  int64(binary.LittleEndian.Uint64(head[56:])),
			afterSum: binary.LittleEndian.Uint32(head[68:]),
		}
		s.after.salt = binary.LittleEndian.Uint32(head[64:])
	default:
		return &versionError{path, head[7]}
	}
	after, end := binary.LittleEndian.Uint64(head[20:]), binary.LittleEndian.Uint64(head[28:])
	if binary.LittleEndian.Uint64(head[8:]) != s.number || binary.LittleEndian.Uint32(head[16:]) != s.salt ||
		after >= s.number || end > 1<<62 {
		return errHeader
	}
	s.after.number, s.afterEnd = after, int64(end)
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

// read reads the size and the header. The error is one of opening or reading the file, or a
// *versionError.
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
		return err // to which store it belongs would be unknown
	}
	s.err = s.parseHeader(path, head[:n])
	if version, ok := errors.AsType[*versionError](s.err); ok {
		return version
	}
	return nil
}
