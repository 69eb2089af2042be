package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/ringstore/ringstore/archive/disk"
)

var (
	errFrame = errors.New("expected the record that was written here")
	errShort = errors.New("the segment ends too early")
	errEnd   = errors.New("expected the last record that the next segment names")
)

// maxIndexGap is how many records may be missing behind damage beyond those that the damaged bytes
// have room for. The bound leaves few valid indexes, so that few bytes look like a frame.
const maxIndexGap = 1000

// reader reads one segment.
type reader struct {
	ctx     context.Context
	segment segment
	path    string
	next    segment // says where the segment ends
	handle  RecordFunc
	report  *Report

	window window
	limit  int64  // where the segment ends; 0 means unknown
	offset int64  // end of the last sound record
	sum    uint32 // of that record, or of the header
	index  uint32 // of the next record
	hashed int64  // bytes hashed in search of a sound record behind damage
}

func (r *reader) read(fsys disk.FS) error {
	f, err := fsys.OpenFile(r.path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	r.report.Segments++
	if r.segment.err != nil {
		r.report.addDamage(r.path, 0, r.segment.err)
	}
	r.limit = r.next.afterEnd
	r.offset = min(r.segment.header, r.segment.size)
	if r.segment.err == nil {
		r.sum = r.segment.headerSum()
	}
	r.window = window{file: f, size: r.segment.size}
	if r.limit > 0 {
		r.window.size = min(r.window.size, r.limit)
	}
	for r.offset < r.window.size {
		at, frame, err := r.find()
		if err != nil {
			return err
		}
		if frame == nil {
			r.reportTail()
			return nil
		}
		index := binary.LittleEndian.Uint32(frame[4:])
		if (at > r.offset || index > r.index) && !r.isHeader(at) && r.window.err == nil {
			r.report.addDamage(r.path, r.offset, errFrame)
		}
		if r.window.err == nil {
			r.report.Lost += int(index - r.index)
		}
		r.report.Records++
		r.report.Bytes += int64(len(frame) - frameHead)
		if err := r.handle(r.segment.number, at, frame[frameHead:]); err != nil {
			return err
		}
		r.offset, r.index, r.sum = at+int64(len(frame)), index+1, binary.LittleEndian.Uint32(frame[8:])
	}
	switch {
	case r.window.err != nil:
	case r.offset < r.limit:
		r.report.addDamage(r.path, r.offset, errShort)
	case r.limit > 0 && r.next.after.salt != 0 && r.sum != r.next.afterSum && r.segment.err == nil:
		r.report.addDamage(r.path, r.offset, errEnd)
	}
	return nil
}

// isHeader reports whether all bytes before an offset are those of a damaged header, which is
// reported already.
func (r *reader) isHeader(at int64) bool {
	return r.segment.err != nil && r.index == 0 && at == headerSize
}

// reportTail reports the bytes behind the last sound record, as torn or as damage, unless a part of
// the segment could not be read.
func (r *reader) reportTail() {
	if r.window.err != nil {
		return
	}
	torn := r.limit == 0 && !r.exhausted() && r.isTorn()
	if r.window.err != nil {
		return
	}
	if !torn {
		r.report.addDamage(r.path, r.offset, errFrame)
		return
	}
	r.report.Torn++
	r.report.TornBytes += r.window.size - r.offset
}

// isTorn reports whether the bytes behind the last sound record are as a write leaves them that the
// end of the process or a loss of power has interrupted: the end of a frame is missing or consists
// of zeros. A frame that is complete but has a wrong checksum is damaged instead.
func (r *reader) isTorn() bool {
	const zeros = 4 // no record of the store ends with so many
	rest := r.window.size - r.offset
	if rest <= frameHead {
		return true
	}
	w := window{file: r.window.file, size: r.window.size} // r.window only moves forward
	head := w.bytes(r.offset, frameHead)
	length := int64(binary.LittleEndian.Uint32(head))
	damaged := 0 < length && length <= rest-frameHead
	if !damaged && rest <= frameHead+MaxRecord { // the length may be what is damaged
		frame := w.bytes(r.offset, int(rest))
		binary.LittleEndian.PutUint32(frame, uint32(rest-frameHead))
		damaged = isSound(frame, r.segment.segmentID)
	}
	end := w.bytes(r.window.size-zeros, zeros)
	r.window.err, r.window.errAt = w.err, w.errAt
	return w.err == nil && (!damaged || len(bytes.Trim(end, "\x00")) == 0)
}

// exhausted bounds the time spent on bytes that were made to look like frames.
func (r *reader) exhausted() bool { return r.hashed > 8*r.window.size }

// find returns the next sound frame at or behind the offset, or nil.
func (r *reader) find() (int64, []byte, error) {
	for at := r.offset; at+frameHead < r.window.size && !r.exhausted(); at++ {
		if at&0xffff == 0 || at == r.offset {
			if err := r.ctx.Err(); err != nil {
				return 0, nil, err
			}
		}
		if frame := r.frame(at); frame != nil {
			return at, frame, nil
		}
	}
	return 0, nil, nil
}

// frame returns the frame at an offset if it is sound, else nil.
func (r *reader) frame(at int64) []byte {
	head := r.window.bytes(at, frameHead)
	length := int64(binary.LittleEndian.Uint32(head))
	ahead := int64(binary.LittleEndian.Uint32(head[4:])) - int64(r.index)
	if length < 1 || length > min(MaxRecord, r.window.size-at-frameHead) || ahead < 0 || ahead > (at-r.offset)/(frameHead+1)+maxIndexGap {
		return nil
	}
	if at > r.offset {
		r.hashed += length
	}
	frame := r.window.bytes(at, frameHead+int(length))
	if !isSound(frame, r.segment.segmentID) {
		return nil
	}
	return frame
}
