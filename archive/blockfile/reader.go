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
	"github.com/ringstore/ringstore/memstore/block"
)

// File is an open file. Its methods may be called by many goroutines; nobody may
// write to its fields.
type File struct {
	Head
	Hosts  []HostIndex
	Damage []*DamageError // met when it was opened

	path   string
	file   disk.File
	size   int64
	marker marker
	close  func() error
}

// Open opens a file and reads its index; if that is damaged, the records are
// looked for, and what is sound of them is in Hosts. The error is [ErrVersion],
// a *[DamageError] if nothing can be read, or one of the file system.
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

func (f *File) damage(offset int64, err error) *DamageError { return &DamageError{f.path, offset, err} }

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
		return errShort // it has shrunk
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

// readFooter reads the index; if the file has lost its header, that is taken
// from there too.
func (f *File) readFooter(headLost bool) error {
	trailer, err := f.read(f.size-trailerSize, trailerSize)
	if err != nil {
		return err
	}
	if string(trailer[trailerSize-len(trailerMagic):]) != trailerMagic {
		return errors.New("no trailer")
	}
	offset := binary.LittleEndian.Uint64(trailer)
	if offset < headerSize || offset > uint64(f.size-trailerSize) {
		return errors.New("trailer: no footer can be where it says")
	}
	footer, err := f.read(int64(offset), f.size-trailerSize-int64(offset)+8)
	if err != nil {
		return err
	}
	if checksum(footer) != binary.LittleEndian.Uint32(trailer[8:]) {
		return fmt.Errorf("footer: %w", errChecksum)
	}
	head, m, err := parseHeader(footer)
	if err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	if !headLost && (head != f.Head || m != f.marker) {
		return errors.New("the footer of another file")
	}
	hosts, err := parseFooter(footer[headerSize:len(footer)-8], int64(offset))
	if err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	f.Head, f.marker, f.Hosts = head, m, hosts
	return nil
}

// parseFooter reads the index of records that end where the footer begins.
func parseFooter(b []byte, end int64) ([]HostIndex, error) {
	r := fields{rest: b}
	hosts := make([]HostIndex, 0, r.count(6, "hosts"))
	names := make(map[hostName]struct{}, cap(hosts))
	at := int64(headerSize)
	for range cap(hosts) {
		payload := int(r.uvarint(1, maxPayload, "length of a record"))
		h := parseIndex(&r)
		if r.err != nil {
			return nil, r.err
		}
		names[hostName{h.Cluster, h.Host}] = struct{}{}
		if at = h.place(at, payload); at > end {
			return nil, errors.New("the records go beyond it")
		}
		hosts = append(hosts, h)
	}
	switch {
	case r.err != nil:
		return nil, r.err
	case len(r.rest) > 0:
		return nil, errors.New("bytes behind the index")
	case at != end:
		return nil, errors.New("it is not behind the last record")
	case len(names) < len(hosts):
		return nil, errors.New("a host twice")
	}
	return hosts, nil
}

// Series returns the series of each lane of host i of the file. Those without a
// sample have the first slot [math.MaxInt64] and the last [math.MinInt64]. The
// error is a *[DamageError].
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
		return nil, errors.New("it is not what the index says")
	}
	r := fields{rest: payload[len(index):]}
	all := parseTables(&r, h.Lanes, func(n int) []memstore.SeriesState { return make([]memstore.SeriesState, n) })
	return all, r.err
}

// Block reads the block of a window of the file, into memory of its size. The
// error is a *[DamageError].
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
		return nil, f.damage(w.Offset, fmt.Errorf("a block of %+v, not of %+v as the index says", b.Header, w.Header))
	}
	return b, nil
}
