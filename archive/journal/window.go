package journal

import (
	"errors"
	"io"
)

const (
	readBytes   = 1 << 20 // per read
	pageBytes   = 4 << 10 // the unit that a disk loses
	maxBadPages = 64      // unreadable pages of a file before the rest is given up
)

// window reads a file forward. Pages that cannot be read are returned as zeros, which no sound record
// consists of; err says that there were some.
type window struct {
	file  io.ReaderAt
	size  int64 // of the file, in bytes
	buf   []byte
	at    int64 // of buf in the file
	err   error // of the first unreadable page
	errAt int64 // of that page in the file
	bad   int   // unreadable pages
}

// bytes returns n bytes at an offset. They must be within the size, and the offset must not be
// below that of an earlier call. The bytes are valid until the next call.
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
		if w.bad < maxBadPages {
			err = w.readAt(p[:n], off)
		}
		if err != nil {
			w.bad++
			if w.err == nil && !errors.Is(err, errShort) {
				w.err, w.errAt = err, off
			}
		}
		if err != nil || w.bad >= maxBadPages {
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
		return errShort // the file has shrunk since it was listed
	}
	return err
}
