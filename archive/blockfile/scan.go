package blockfile

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/ringstore/ringstore/memstore/binfmt"
)

const (
	searchBytes = 1 << 20 // read at a time when searching for a marker
	pageBytes   = 4 << 10 // the unit that a disk loses
	maxBadPages = 64      // unreadable pages of a file before the rest is given up
)

var errNoRecord = errors.New("expected a record with the file's marker")

// scanner finds the records of a file whose index is damaged, from front to back.
type scanner struct {
	*File
	names   map[hostName]struct{}
	payload []byte
	chunk   []byte // a part of the file that is searched for a marker
	chunkAt int64  // its offset
	wasted  int64  // bytes read at markers without a sound record
	bad     int    // unreadable pages
}

// scan fills Hosts and Damage from the records. cause says why the index is unusable.
func (f *File) scan(cause error) {
	s := scanner{File: f, names: make(map[hostName]struct{})}
	for at := f.header; ; {
		h, err := s.record(at)
		if err != nil {
			from := at
			if at, h = s.next(at + 1); at == f.size {
				f.report(from, cause)
				return
			}
			f.report(from, err)
		}
		end := h.place(at, h.payload)
		s.names[hostName{h.Cluster, h.Host}] = struct{}{}
		f.Hosts = append(f.Hosts, h)
		if end <= f.size {
			at = end
		} else { // the blocks of this record or of a later one were cut off
			f.report(at, errShort)
			at += recordHead + int64(h.payload)
		}
	}
}

// next returns the offset and the index of the first sound record at or behind an offset. If there
// is none, the offset is the file's size.
func (s *scanner) next(at int64) (int64, HostIndex) {
	for {
		if at = s.search(at); at == s.size {
			return at, HostIndex{}
		}
		h, err := s.record(at)
		if err == nil {
			return at, h
		}
		// A file full of markers must not cost a read per byte.
		if s.wasted += max(int64(len(s.payload)), pageBytes); s.wasted > 8*s.size {
			return s.size, HostIndex{}
		}
		at++
	}
}

// record reads the index in the record at an offset. It does not parse the series.
func (s *scanner) record(at int64) (HostIndex, error) {
	s.payload = s.payload[:0]
	head, err := s.read(at, recordHead)
	if err != nil {
		return HostIndex{}, err
	}
	length := int64(binary.LittleEndian.Uint32(head[markerSize:]))
	if marker(head[:markerSize]) != s.marker || length < 1 || length > min(maxPayload, s.size-at-recordHead) {
		return HostIndex{}, errNoRecord
	}
	if int64(cap(s.payload)) < length {
		s.payload = make([]byte, length)
	}
	s.payload = s.payload[:length]
	if err := s.readAt(s.payload, at+recordHead); err != nil {
		return HostIndex{}, err
	}
	if recordSum(head, s.payload) != binary.LittleEndian.Uint32(head[markerSize+4:]) {
		return HostIndex{}, errChecksum
	}
	r := binfmt.NewReader(s.payload, recordHead)
	h := parseIndex(&r)
	h.payload = int(length)
	if _, found := s.names[hostName{h.Cluster, h.Host}]; found {
		r.Fail("%s/%s has a second record; it occurs twice", h.Cluster, h.Host)
	}
	return h, recordError(&r)
}

// search returns the offset of the first marker at or behind an offset, or the file's size if there
// is none.
func (s *scanner) search(at int64) int64 {
	for s.size-at >= markerSize {
		if have := s.chunkAt + int64(len(s.chunk)); at < s.chunkAt || have-at < markerSize {
			if !s.fill(at) {
				at = (at/pageBytes + 1) * pageBytes
				if s.bad++; s.bad >= maxBadPages {
					break
				}
				continue
			}
		}
		if i := bytes.Index(s.chunk[at-s.chunkAt:], s.marker[:]); i >= 0 {
			return at + int64(i)
		}
		at = s.chunkAt + int64(len(s.chunk)) - markerSize + 1
	}
	return s.size
}

// fill reads a chunk at an offset, and reports whether the readable part of it can hold a marker.
func (s *scanner) fill(at int64) bool {
	want := int(min(searchBytes, s.size-at))
	if cap(s.chunk) < want {
		s.chunk = make([]byte, want)
	}
	n, _ := s.file.ReadAt(s.chunk[:want], at)
	s.chunk, s.chunkAt = s.chunk[:n], at
	return n >= markerSize
}
