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
)

// Writer writes a file. It is for one goroutine. What it keeps in memory is the
// index, and the series of one host at a time.
type Writer struct {
	w      io.Writer
	head   Head
	marker marker
	size   int64
	err    error // of the first write that failed; the file is of no use

	hosts  map[hostName]struct{}
	index  []byte // of the footer
	tables tables
	record []byte
	series []memstore.SeriesState // of a lane, read back
}

type hostName struct{ cluster, host string }

// NewWriter writes a file's header. The writer is best a buffered one: what is
// not blocks comes in small pieces.
func NewWriter(w io.Writer, h Head) (*Writer, error) {
	var m marker
	_, _ = rand.Read(m[:]) // it does not fail, see its documentation
	return newWriter(w, h, m)
}

func newWriter(w io.Writer, h Head, m marker) (*Writer, error) {
	b := &Writer{w: w, head: h, marker: m, hosts: make(map[hostName]struct{})}
	header := appendHeader(nil, h, m)
	if back, _, err := parseHeader(header); err != nil || back != h {
		return nil, fmt.Errorf("block file: a header of %+v", h)
	}
	return b, b.write(header)
}

// Size returns how many bytes were written.
func (w *Writer) Size() int64 { return w.size }

// Add writes a host. An error that tells that the state cannot be written
// leaves the file as it was; after one of the underlying writer it is of no use,
// and all that follows fails.
func (w *Writer) Add(h memstore.HostState) error {
	if w.err != nil {
		return w.err
	}
	name := hostName{h.Cluster, h.Host}
	index, err := w.seal(h)
	if _, twice := w.hosts[name]; err == nil && twice {
		err = errors.New("it was added before")
	}
	if err != nil {
		return fmt.Errorf("block file: host %q of cluster %q: %w", h.Host, h.Cluster, err)
	}
	w.hosts[name] = struct{}{}
	w.index = binary.AppendUvarint(w.index, uint64(len(w.record)-recordHead))
	w.index = appendIndex(w.index, &index)
	if err := w.write(w.record); err != nil {
		return err
	}
	for _, l := range h.Lanes {
		for _, x := range l.Windows {
			if err := w.write(x.Block.Bytes()); err != nil {
				return err
			}
		}
	}
	return nil
}

// seal makes the record of a host up to its blocks. What the reader would
// refuse is not written: it is asked.
func (w *Writer) seal(h memstore.HostState) (HostIndex, error) {
	index, err := indexOf(h)
	if err != nil {
		return index, err
	}
	w.record = append(append(w.record[:0], w.marker[:]...), make([]byte, recordHead-markerSize)...)
	w.record = appendIndex(w.record, &index)
	w.record = w.tables.append(w.record, h.Lanes)
	payload := w.record[recordHead:]
	if len(payload) > maxPayload {
		return index, fmt.Errorf("%d bytes of series", len(payload))
	}
	f := fields{rest: payload}
	back := parseIndex(&f)
	parseTables(&f, back.Lanes, func(n int) []memstore.SeriesState {
		w.series = slices.Grow(w.series[:0], n)[:n]
		return w.series
	})
	if f.err != nil {
		return index, f.err
	}
	binary.LittleEndian.PutUint32(w.record[markerSize:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(w.record[markerSize+4:], recordSum(w.record, payload))
	return index, nil
}

// Close writes the footer and the trailer. It does not close the underlying
// writer. A second Close does nothing.
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
		w.err = fmt.Errorf("block file: an index of %d bytes", len(footer))
		return w.err
	}
	footer = binary.LittleEndian.AppendUint64(footer, uint64(w.size))
	footer = binary.LittleEndian.AppendUint32(footer, checksum(footer))
	if err := w.write(append(footer, trailerMagic...)); err != nil {
		return err
	}
	w.err = errClosed
	return nil
}

var errClosed = errors.New("block file: it is closed")

func (w *Writer) write(b []byte) error {
	n, err := w.w.Write(b)
	w.size += int64(n)
	if err != nil {
		w.err = fmt.Errorf("block file: %w", err)
	}
	return w.err
}
