package blockfile

import (
	"bytes"
	"encoding/binary"
	"errors"
)

const (
	searchBytes = 1 << 20 // read at a time in search of a marker
	pageBytes   = 4 << 10 // what a disk loses at once
	badPages    = 64      // after so many the rest of a file is given up
)

var errNoRecord = errors.New("not the record that was written")

// scanner finds the records of a file whose index is lost, from front to back.
type scanner struct {
	*File
	names   map[hostName]struct{}
	payload []byte
	chunk   []byte // of the file, in which a marker is looked for
	chunkAt int64
	wasted  int64 // bytes behind markers that no sound record was found at
	bad     int   // pages that cannot be read
}

// scan fills Hosts and Damage with what the records say. The cause is what is
// wrong with the index.
func (f *File) scan(cause error) {
	s := scanner{File: f, names: make(map[hostName]struct{})}
	for at := int64(headerSize); ; {
		h, err := s.record(at)
		if err != nil {
			from := at
			if at, h = s.next(at + 1); at == f.size {
				f.Damage = append(f.Damage, f.damage(from, cause))
				return
			}
			f.Damage = append(f.Damage, f.damage(from, err))
		}
		end := h.place(at, h.payload)
		s.names[hostName{h.Cluster, h.Host}] = struct{}{}
		f.Hosts = append(f.Hosts, h)
		if end <= f.size {
			at = end
		} else { // blocks were cut out, of this record or of one behind it
			f.Damage = append(f.Damage, f.damage(at, errShort))
			at += recordHead + int64(h.payload)
		}
	}
}

// next returns the first sound record from an offset on, or the file's size if
// there is none.
func (s *scanner) next(at int64) (int64, HostIndex) {
	for {
		if at = s.search(at); at == s.size {
			return at, HostIndex{}
		}
		h, err := s.record(at)
		if err == nil {
			return at, h
		}
		// A file of nothing but markers must not cost a read for each byte.
		if s.wasted += max(int64(len(s.payload)), pageBytes); s.wasted > 8*s.size {
			return s.size, HostIndex{}
		}
		at++
	}
}

// record reads the record at an offset. Its series are not looked at.
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
	f := fields{rest: s.payload}
	h := parseIndex(&f)
	h.payload = int(length)
	if _, twice := s.names[hostName{h.Cluster, h.Host}]; twice && f.err == nil {
		f.fail("a host twice")
	}
	return h, f.err
}

// search returns where the next marker is from an offset on, or the file's size
// if there is none.
func (s *scanner) search(at int64) int64 {
	for s.size-at >= markerSize {
		if have := s.chunkAt + int64(len(s.chunk)); at < s.chunkAt || have-at < markerSize {
			if !s.fill(at) {
				at = (at/pageBytes + 1) * pageBytes
				if s.bad++; s.bad >= badPages {
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

// fill reads a chunk from an offset on, and tells if there is room for a marker
// in what can be read of it.
func (s *scanner) fill(at int64) bool {
	want := int(min(searchBytes, s.size-at))
	if cap(s.chunk) < want {
		s.chunk = make([]byte, want)
	}
	n, _ := s.file.ReadAt(s.chunk[:want], at)
	s.chunk, s.chunkAt = s.chunk[:n], at
	return n >= markerSize
}
