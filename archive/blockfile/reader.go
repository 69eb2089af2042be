package blockfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/binfmt"
	"github.com/ringstore/ringstore/memstore/block"
)

// File is an open file. Its methods are safe for concurrent use; its fields must not be modified.
type File struct {
	Head
	Hosts  []HostIndex
	Damage []*disk.DamageError // found by Open

	path   string
	file   disk.File
	size   int64
	marker marker
	close  func() error
}

// Open opens a file and reads its index. If the index is damaged, Open searches for the records,
// and Hosts lists the sound ones. The error is [ErrVersion], a *[disk.DamageError] if nothing is
// readable, or one of the file system.
func Open(fsys disk.FS, path string) (*File, error) {
	file, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("block file: %w", err)
	}
	f := &File{path: path, file: file, close: sync.OnceValue(file.Close)}
	if err := f.open(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close closes the file. A second Close does nothing.
func (f *File) Close() error { return f.close() }

// Size returns the size of the file in bytes.
func (f *File) Size() int64 { return f.size }

func (f *File) open() error {
	info, err := f.file.Stat()
	if err != nil {
		return fmt.Errorf("block file: %w", err)
	}
	f.size = info.Size()
	headErr := f.readHeader()
	if errors.Is(headErr, ErrVersion) {
		return fmt.Errorf("%s: %w", f.path, headErr)
	}
	footErr := f.readFooter(headErr != nil)
	if headErr != nil && footErr != nil {
		return f.damage(0, headErr)
	}
	if headErr != nil {
		f.Damage = append(f.Damage, f.damage(0, headErr))
	}
	if footErr != nil {
		f.scan(footErr)
	}
	return nil
}

func (f *File) damage(offset int64, err error) *disk.DamageError {
	return &disk.DamageError{Path: f.path, Offset: offset, Err: err}
}

// read returns n bytes of the file.
func (f *File) read(offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 || n > f.size-offset {
		return nil, errShort
	}
	b := make([]byte, n)
	return b, f.readAt(b, offset)
}

func (f *File) readAt(b []byte, offset int64) error {
	n, err := f.file.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return errShort // the file has shrunk
	default:
		return err
	}
}

func (f *File) readHeader() error {
	b, err := f.read(0, headerSize)
	if err != nil {
		return err
	}
	f.Head, f.marker, err = parseHeader(b)
	return err
}

// readFooter reads the index, and the copy of the header that precedes it. If the file's own header
// is intact, both must be equal.
func (f *File) readFooter(headLost bool) error {
	trailer, err := f.read(f.size-trailerSize, trailerSize)
	if err != nil {
		return err
	}
	if string(trailer[trailerSize-len(trailerMagic):]) != trailerMagic {
		return errors.New("no trailer at the end of the file")
	}
	offset := binary.LittleEndian.Uint64(trailer)
	if offset < headerSize || offset > uint64(f.size-trailerSize) {
		return fmt.Errorf("trailer: expected a footer at byte %d to %d, got %d", headerSize, f.size-trailerSize, offset)
	}
	footer, err := f.read(int64(offset), f.size-trailerSize-int64(offset)+8)
	if err != nil {
		return err
	}
	if binfmt.Checksum(footer) != binary.LittleEndian.Uint32(trailer[8:]) {
		return fmt.Errorf("footer: %w", errChecksum)
	}
	head, m, err := parseHeader(footer)
	if err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	if !headLost && (head != f.Head || m != f.marker) {
		return errors.New("footer: expected the file's header, got that of another file")
	}
	hosts, err := parseFooter(footer[headerSize:len(footer)-8], int64(offset))
	if err != nil {
		return fmt.Errorf("footer %w", err)
	}
	f.Head, f.marker, f.Hosts = head, m, hosts
	return nil
}

// parseFooter reads the index, which is the part of the footer after its header. The last record
// must end at end, the offset of the footer in the file.
func parseFooter(b []byte, end int64) ([]HostIndex, error) {
	r := binfmt.NewReader(b, headerSize)
	hosts := make([]HostIndex, 0, r.Count(6, "hosts"))
	names := make(map[hostName]struct{}, cap(hosts))
	at := int64(headerSize)
	for range cap(hosts) {
		payload := int(r.Uvarint(1, maxPayload, "length of a record"))
		h := parseIndex(&r)
		if r.Err() != nil {
			return nil, r.Err()
		}
		names[hostName{h.Cluster, h.Host}] = struct{}{}
		if at = h.place(at, payload); at > end {
			r.Fail("expected records up to byte %d of the file, got one up to byte %d", end, at)
			return nil, r.Err()
		}
		hosts = append(hosts, h)
	}
	r.Finish("index")
	switch {
	case r.Err() != nil:
	case at != end:
		r.Fail("expected records up to byte %d of the file, got records up to byte %d", end, at)
	case len(names) < len(hosts):
		r.Fail("a host is listed twice")
	}
	if r.Err() != nil {
		return nil, r.Err()
	}
	return hosts, nil
}

// Series returns the series of each lane of host i of the file. A series without a sample has the
// first slot [math.MaxInt64] and the last [math.MinInt64]. The error is a *[disk.DamageError].
func (f *File) Series(i int) ([][]memstore.SeriesState, error) {
	h := &f.Hosts[i]
	record, err := f.read(h.offset, recordHead+int64(h.payload))
	if err == nil {
		var all [][]memstore.SeriesState
		if all, err = f.parseRecord(h, record); err == nil {
			return all, nil
		}
	}
	return nil, f.damage(h.offset, err)
}

func (f *File) parseRecord(h *HostIndex, record []byte) ([][]memstore.SeriesState, error) {
	payload := record[recordHead:]
	switch {
	case marker(record[:markerSize]) != f.marker || int(binary.LittleEndian.Uint32(record[markerSize:])) != len(payload):
		return nil, errNoRecord
	case recordSum(record, payload) != binary.LittleEndian.Uint32(record[markerSize+4:]):
		return nil, errChecksum
	}
	index := appendIndex(nil, h)
	if !bytes.HasPrefix(payload, index) {
		return nil, fmt.Errorf("the record of %s/%s does not match the index", h.Cluster, h.Host)
	}
	r := binfmt.NewReader(payload[len(index):], int64(recordHead+len(index)))
	all := parseTables(&r, h.Lanes, func(n int) []memstore.SeriesState { return make([]memstore.SeriesState, n) })
	return all, recordError(&r)
}

// recordError returns a reader's error, whose offset is relative to the record.
func recordError(r *binfmt.Reader) error {
	if r.Err() != nil {
		return fmt.Errorf("record %w", r.Err())
	}
	return nil
}

// Block reads the block of a window of the file into an allocation of its size. The error is a
// *[disk.DamageError].
func (f *File) Block(w WindowIndex) (*block.Block, error) {
	data, err := f.read(w.Offset, int64(w.Length))
	if err != nil {
		return nil, f.damage(w.Offset, err)
	}
	b, err := block.Open(data)
	switch {
	case err != nil:
		return nil, f.damage(w.Offset, err)
	case b.Header != w.Header:
		return nil, f.damage(w.Offset, fmt.Errorf("expected a block of %+v as in the index, got one of %+v", w.Header, b.Header))
	}
	return b, nil
}
