package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/ringstore/ringstore/archive/disk"
)

var (
	errFrame = errors.New("not the record that was written")
	errShort = errors.New("the segment ends too early")
)

// takenOut is how many records may be missing beyond those for which there is
// room. Few indexes are possible then, so that few bytes look like a frame.
const takenOut = 1000

// reader reads one segment.
type reader struct {
	ctx     context.Context
	segment segment
	path    string
	limit   int64 // where the segment ends; 0 means that nobody knows
	use     Record
	report  *Report

	window window
	offset int64  // behind the last sound record
	index  uint32 // of the record to come
	hashed int64  // bytes, in search of a sound record behind damage
}

func (r *reader) read(fsys disk.FS) error {
	f, err := fsys.OpenFile(r.path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	r.report.Segments++
	if r.segment.err != nil {
		r.report.damaged(r.path, 0, r.segment.err)
	}
	r.offset = min(headerSize, r.segment.size)
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
			r.tail()
			return nil
		}
		index := binary.LittleEndian.Uint32(frame[4:])
		if at > r.offset || index > r.index {
			r.report.damaged(r.path, r.offset, r.cause())
		}
		r.report.Lost += int(index - r.index)
		r.report.Records++
		r.report.Bytes += int64(len(frame) - frameHead)
		if err := r.use(r.segment.number, at, frame[frameHead:]); err != nil {
			return err
		}
		r.offset, r.index = at+int64(len(frame)), index+1
	}
	if r.offset < r.limit {
		r.report.damaged(r.path, r.offset, errShort)
	}
	return nil
}

// cause is why there is no record.
func (r *reader) cause() error {
	if r.window.err != nil {
		return r.window.err
	}
	return errFrame
}

// tail judges what is behind the last sound record. It is torn if the writer
// did not come to close the segment, and else damaged.
func (r *reader) tail() {
	if r.limit > 0 || r.window.err != nil || r.exhausted() {
		r.report.damaged(r.path, r.offset, r.cause())
		return
	}
	r.report.Torn++
	r.report.TornBytes += r.window.size - r.offset
}

// exhausted bounds the time that bytes made to look like frames can cost.
func (r *reader) exhausted() bool { return r.hashed > 8*r.window.size }

// find returns the next sound frame from the offset on, or nil.
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

// frame returns the frame at an offset if it is sound.
func (r *reader) frame(at int64) []byte {
	head := r.window.bytes(at, frameHead)
	length := int64(binary.LittleEndian.Uint32(head))
	ahead := int64(binary.LittleEndian.Uint32(head[4:])) - int64(r.index)
	if length < 1 || length > min(MaxRecord, r.window.size-at-frameHead) || ahead < 0 || ahead > (at-r.offset)/(frameHead+1)+takenOut {
		return nil
	}
	if at > r.offset {
		r.hashed += length
	}
	frame := r.window.bytes(at, frameHead+int(length))
	if !sound(frame, r.segment.segmentID) {
		return nil
	}
	return frame
}
