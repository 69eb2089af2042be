package blockfile

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/binfmt"
)

// Writer writes a file. It is for one goroutine. It keeps the encoded index in memory, and the
// series of one host at a time.
type Writer struct {
	w      io.Writer
	head   Head
	marker marker
	size   int64
	sum    uint32 // see Sum
	err    error  // of the first failed write; the file is unusable

	hosts  map[hostName]struct{}
	index  []byte // of the footer
	tables tables
	record []byte
	series []memstore.SeriesState // of a lane, read back
}

type hostName struct{ cluster, host string }

// NewWriter writes a file's header. w should be buffered, as everything but blocks is written in
// small pieces.
func NewWriter(w io.Writer, h Head) (*Writer, error) {
	var m marker
	_, _ = rand.Read(m[:]) // never fails
	return newWriter(w, h, m)
}

func newWriter(w io.Writer, h Head, m marker) (*Writer, error) {
	b := &Writer{w: w, head: h, marker: m, hosts: make(map[hostName]struct{})}
	header := appendHeader(nil, h, m)
	if back, _, _, err := parseHeader(header); err != nil || back != h {
		return nil, fmt.Errorf("block file: invalid header %+v", h)
	}
	return b, b.write(header)
}

// Sum returns what [File.Sum] will return, once the writer is closed.
func (w *Writer) Sum() uint32 { return w.sum }

// Size returns how many bytes were written.
func (w *Writer) Size() int64 { return w.size }

// Add writes a host and returns its index entry, as [Open] will return it. If the state is invalid,
// the error says why and the file is unchanged. After an error of the underlying writer the file is
// unusable, and every later call fails.
func (w *Writer) Add(h memstore.HostState) (HostIndex, error) {
	if w.err != nil {
		return HostIndex{}, w.err
	}
	name := hostName{h.Cluster, h.Host}
	index, err := w.encode(h)
	if _, added := w.hosts[name]; err == nil && added {
		err = errors.New("the host was added before")
	}
	if err != nil {
		return HostIndex{}, fmt.Errorf("block file: host %q of cluster %q: %w", h.Host, h.Cluster, err)
	}
	w.hosts[name] = struct{}{}
	w.index = binary.AppendUvarint(w.index, uint64(len(w.record)-recordHead))
	w.index = appendIndex(w.index, &index)
	index.place(w.size, len(w.record)-recordHead)
	if err := w.write(w.record); err != nil {
		return HostIndex{}, err
	}
	for _, l := range h.Lanes {
		for _, x := range l.Windows {
			if err := w.write(x.Block.Bytes()); err != nil {
				return HostIndex{}, err
			}
		}
	}
	return index, nil
}

// encode encodes a host's record, without its blocks, into w.record. It decodes the record again,
// so that nothing is written that a reader would reject, and returns the decoded index.
func (w *Writer) encode(h memstore.HostState) (HostIndex, error) {
	index, err := indexOf(h)
	if err != nil {
		return index, err
	}
	w.record = append(append(w.record[:0], w.marker[:]...), make([]byte, recordHead-markerSize)...)
	w.record = appendIndex(w.record, &index)
	w.record = w.tables.append(w.record, h.Lanes)
	payload := w.record[recordHead:]
	if len(payload) > maxPayload {
		return index, fmt.Errorf("expected at most %d bytes of series, got %d", maxPayload, len(payload))
	}
	r := binfmt.NewReader(payload, recordHead)
	decoded := parseIndex(&r)
	parseTables(&r, decoded.Lanes, func(n int) []memstore.SeriesState {
		w.series = slices.Grow(w.series[:0], n)[:n]
		return w.series
	})
	if r.Err() != nil {
		return index, fmt.Errorf("its record would be %w", r.Err())
	}
	binary.LittleEndian.PutUint32(w.record[markerSize:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(w.record[markerSize+4:], recordSum(w.record, payload))
	return decoded, nil
}

// Close writes the footer and the trailer. It does not close the underlying writer. A second Close
// does nothing.
func (w *Writer) Close() error {
	if errors.Is(w.err, errClosed) {
		return nil
	}
	if w.err != nil {
		return w.err
	}
	footer := appendHeader(nil, w.head, w.marker)
	footer = binary.AppendUvarint(footer, uint64(len(w.hosts)))
	footer = append(footer, w.index...)
	if len(footer) > math.MaxInt32 {
		w.err = fmt.Errorf("block file: expected an index of at most %d bytes, got %d", math.MaxInt32, len(footer))
		return w.err
	}
	footer = binary.LittleEndian.AppendUint64(footer, uint64(w.size))
	footer = binary.LittleEndian.AppendUint32(footer, binfmt.Checksum(footer))
	w.sum = fileSum(w.marker, footer[len(footer)-4:])
	if err := w.write(append(footer, trailerMagic...)); err != nil {
		return err
	}
	w.err = errClosed
	return nil
}

var errClosed = errors.New("block file: the writer is closed")

func (w *Writer) write(b []byte) error {
	n, err := w.w.Write(b)
	w.size += int64(n)
	if err != nil {
		w.err = fmt.Errorf("block file: %w", err)
	}
	return w.err
}
