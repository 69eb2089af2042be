package journal

import (
	"errors"
	"io"
)

const (
	readBytes = 1 << 20 // of a read
	pageBytes = 4 << 10 // what a disk loses at once
	badPages  = 64      // after so many the rest of a file is given up
)

// window reads a file forward. Pages that cannot be read are zeros, which are
// in no sound record.
type window struct {
	file io.ReaderAt
	size int64 // of the file, in bytes
	buf  []byte
	at   int64 // of buf in the file
	err  error // of the first page that cannot be read
	bad  int
}

// bytes returns n bytes from an offset on, which must be within the size and
// not before those of the call before. They are good until the next call.
func (w *window) bytes(off int64, n int) []byte {
	have := w.at + int64(len(w.buf))
	if off+int64(n) <= have {
		return w.buf[off-w.at:][:n]
	}
	kept := 0
	if off < have {
		kept = copy(w.buf, w.buf[off-w.at:])
	}
	want := int(min(max(int64(n), readBytes), w.size-off))
	if cap(w.buf) < want {
		w.buf = append(make([]byte, 0, want), w.buf[:kept]...)
	}
	w.buf, w.at = w.buf[:want], off
	w.fill(w.buf[kept:], off+int64(kept))
	return w.buf[:n]
}

func (w *window) fill(p []byte, off int64) {
	if w.readAt(p, off) == nil {
		return
	}
	for len(p) > 0 {
		n := min(len(p), pageBytes-int(off%pageBytes))
		var err error
		if w.bad < badPages {
			err = w.readAt(p[:n], off)
		}
		if err != nil {
			w.bad++
			if w.err == nil {
				w.err = err
			}
		}
		if err != nil || w.bad >= badPages {
			clear(p[:n])
		}
		p, off = p[n:], off+int64(n)
	}
}

func (w *window) readAt(p []byte, off int64) error {
	n, err := w.file.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return errShort // it has shrunk since it was listed
	}
	return err
}
