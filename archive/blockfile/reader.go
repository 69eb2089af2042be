package blockfile

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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

	// Unreadable are the parts that Open could not read. Hosts may lack some then.
	Unreadable []*disk.ReadError

	path   string
	file   disk.File
	size   int64
	header int64  // its size
	sum    uint32 // see Sum
	marker marker
	close  func() error
}

// Open opens a file and reads its index. If the index is damaged, Open searches for the records,
// and Hosts lists the sound ones. The error is [ErrVersion], a *[disk.DamageError] if the file holds
// nothing sound, a *[disk.ReadError] if it cannot be read now, or one of opening the file.
func Open(fsys disk.FS, path string) (*File, error) {
	file, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, &disk.ReadError{Path: path, Err: err}
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
		return f.failure(0, cmp.Or(readError(headErr), readError(footErr), headErr))
	}
	if headErr != nil {
		f.report(0, headErr)
	}
	if footErr != nil {
		f.scan(footErr)
	}
	return nil
}

// fileSum returns a file's checksum. The checksum of the footer alone does not depend on the header,
// because that ends with its own.
func fileSum(m marker, footerSum []byte) uint32 {
	return max(binfmt.Checksum(append(m[:], footerSum...)), 1) // 0: unknown
}

// Sum returns a checksum of the marker and of the footer's checksum, which differs from that of any
// other file; 0 if the footer is damaged or unreadable.
func (f *File) Sum() uint32 { return f.sum }

// failure returns the error of a part of the file: a *[disk.ReadError], or a *[disk.DamageError] if
// the part could be read.
func (f *File) failure(offset int64, err error) error {
	if err := readError(err); err != nil {
		return err
	}
	return &disk.DamageError{Path: f.path, Offset: offset, Err: err}
}

// readError returns the *[disk.ReadError] that an error wraps, or nil.
func readError(err error) error {
	if r, ok := errors.AsType[*disk.ReadError](err); ok {
		return r
	}
	return nil
}

// report adds the error of a part of the file to Damage or Unreadable.
func (f *File) report(offset int64, err error) {
	switch err := f.failure(offset, err).(type) {
	case *disk.ReadError:
		f.Unreadable = append(f.Unreadable, err)
	case *disk.DamageError:
		f.Damage = append(f.Damage, err)
	}
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
		return &disk.ReadError{Path: f.path, Offset: offset, Err: err}
	}
}

func (f *File) readHeader() error {
	b, err := f.read(0, min(f.size, headerSize))
	if err != nil {
		return err
	}
	f.Head, f.marker, f.header, err = parseHeader(b)
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
	if offset < headerSize1 || offset > uint64(f.size-trailerSize) {
		return fmt.Errorf("trailer: expected a footer at byte %d to %d, got %d", headerSize1, f.size-trailerSize, offset)
	}
	footer, err := f.read(int64(offset), f.size-trailerSize-int64(offset)+8)
	if err != nil {
		return err
	}
	if binfmt.Checksum(footer) != binary.LittleEndian.Uint32(trailer[8:]) {
		return fmt.Errorf("footer: %w", errChecksum)
	}
	head, m, size, err := parseHeader(footer)
	if err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	if !headLost && (head != f.Head || m != f.marker) {
		return errors.New("footer: expected the file's header, got that of another file")
	}
	if size > int64(len(footer)-8) {
		return errShort
	}
	hosts, err := parseFooter(footer[size:len(footer)-8], size, int64(offset))
	if err != nil {
		return fmt.Errorf("footer %w", err)
	}
	f.Head, f.marker, f.header, f.Hosts = head, m, size, hosts
	f.sum = fileSum(m, trailer[8:12])
	return nil
}

// parseFooter reads the index, which is the part of the footer after its header. The records begin
// behind the file's header, at begin, and end at end, the offset of the footer.
func parseFooter(b []byte, begin, end int64) ([]HostIndex, error) {
	r := binfmt.NewReader(b, begin)
	hosts := make([]HostIndex, 0, r.Count(6, "hosts"))
	names := make(map[hostName]struct{}, cap(hosts))
	at := begin
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
// first slot [math.MaxInt64] and the last [math.MinInt64]. The error is a *[disk.DamageError] or a
// *[disk.ReadError].
func (f *File) Series(i int) ([][]memstore.SeriesState, error) {
	h := &f.Hosts[i]
	record, err := f.read(h.offset, recordHead+int64(h.payload))
	if err == nil {
		var all [][]memstore.SeriesState
		if all, err = f.parseRecord(h, record); err == nil {
			return all, nil
		}
	}
	return nil, f.failure(h.offset, err)
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
// *[disk.DamageError] or a *[disk.ReadError].
func (f *File) Block(w WindowIndex) (*block.Block, error) {
	data, err := f.read(w.Offset, int64(w.Length))
	if err != nil {
		return nil, f.failure(w.Offset, err)
	}
	b, err := block.Open(data)
	switch {
	case err != nil:
		return nil, f.failure(w.Offset, err)
	case b.Header != w.Header:
		return nil, f.failure(w.Offset, fmt.Errorf("expected a block of %+v as in the index, got one of %+v", w.Header, b.Header))
	}
	return b, nil
}

// Check reads all series and blocks and returns the first error: that of Open, Series or Block. It
// does not decode the blocks.
func (f *File) Check(ctx context.Context) error {
	if len(f.Unreadable) > 0 {
		return f.Unreadable[0]
	}
	if len(f.Damage) > 0 {
		return f.Damage[0]
	}
	var buf []byte
	read := func(offset int64, n int) error {
		buf = slices.Grow(buf[:0], n)[:n]
		if int64(n) > f.size-offset {
			return errShort
		}
		return f.readAt(buf, offset)
	}
	for i := range f.Hosts {
		h := &f.Hosts[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		err := read(h.offset, recordHead+h.payload)
		if err == nil && recordSum(buf, buf[recordHead:]) != binary.LittleEndian.Uint32(buf[markerSize+4:]) {
			err = errChecksum
		}
		if err != nil {
			return f.failure(h.offset, err)
		}
		for _, l := range h.Lanes {
			for _, w := range l.Windows {
				err := read(w.Offset, w.Length)
				if err == nil {
					_, err = block.Open(buf)
				}
				if err != nil {
					return f.failure(w.Offset, err)
				}
			}
		}
	}
	return nil
}
