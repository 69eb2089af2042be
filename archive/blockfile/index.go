package blockfile

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/block"
)

// HostIndex tells what a file holds of a host.
type HostIndex struct {
	Cluster, Host string
	Number        uint32 // by which records of the journal name the host
	Lanes         []LaneIndex

	offset  int64 // of the record in the file
	payload int   // length of the record's, in bytes
}

// LaneIndex tells what a file holds of a lane.
type LaneIndex struct {
	Frequency int64 // milliseconds
	Grid      int64 // Unix milliseconds
	Windows   []WindowIndex
	Freed     []memstore.SlotRange
}

// WindowIndex tells where a window's block is.
type WindowIndex struct {
	block.Header
	Open   bool  // it was being written to: a later run has it again
	Offset int64 // in the file, bytes
	Length int   // bytes
}

const (
	// latest bounds the times of slots, either side of 1970, in milliseconds,
	// as in package block.
	latest = 1 << 62
	// maxBlock is how long a block may be, in bytes.
	maxBlock = 1 << 32
)

// mostSlot returns the highest slot of a lane of a frequency; the lowest is its
// negative.
func mostSlot(frequency int64) int64 { return latest/frequency - 1 }

// indexOf returns the index of a host whose blocks follow each other. The
// error tells of what no lane can hold; appendIndex and parseIndex judge the rest.
func indexOf(h memstore.HostState) (HostIndex, error) {
	x := HostIndex{Cluster: h.Cluster, Host: h.Host, Number: h.Number}
	for _, l := range h.Lanes {
		lane := LaneIndex{Frequency: l.Frequency, Grid: l.Grid, Freed: l.Freed}
		for _, w := range l.Windows {
			if w.Block == nil {
				return x, errors.New("a window without a block")
			}
			if w.Block.Frequency != l.Frequency || w.Block.Grid != l.Grid {
				return x, fmt.Errorf("a block of frequency %d and grid %d in a lane of %d and %d", w.Block.Frequency, w.Block.Grid, l.Frequency, l.Grid)
			}
			lane.Windows = append(lane.Windows, WindowIndex{Header: w.Block.Header, Open: w.Open, Length: len(w.Block.Bytes())})
		}
		x.Lanes = append(x.Lanes, lane)
	}
	return x, nil
}

// place sets where the record stands, and its blocks behind the payload, and
// returns where they end.
func (h *HostIndex) place(offset int64, payload int) int64 {
	h.offset, h.payload = offset, payload
	end := offset + recordHead + int64(payload)
	for _, l := range h.Lanes {
		for i := range l.Windows {
			l.Windows[i].Offset = end
			end += int64(l.Windows[i].Length)
		}
	}
	return end
}

// appendIndex appends what a record and the footer alike have of a host.
func appendIndex(dst []byte, h *HostIndex) []byte {
	dst = appendString(dst, h.Cluster)
	dst = appendString(dst, h.Host)
	dst = binary.AppendUvarint(dst, uint64(h.Number))
	dst = binary.AppendUvarint(dst, uint64(len(h.Lanes)))
	for _, l := range h.Lanes {
		dst = binary.AppendUvarint(dst, uint64(l.Frequency))
		dst = binary.AppendUvarint(dst, uint64(l.Grid))
		dst = binary.AppendUvarint(dst, uint64(len(l.Windows)))
		end := int64(0)
		for _, w := range l.Windows {
			dst = binary.AppendVarint(dst, w.First-end)
			dst = binary.AppendUvarint(dst, uint64(w.Slots))
			dst = append(dst, w.Generation)
			length := uint64(w.Length) << 1
			if w.Open {
				length |= 1
			}
			dst = binary.AppendUvarint(dst, length)
			end = w.First + int64(w.Slots)
		}
		dst = binary.AppendUvarint(dst, uint64(len(l.Freed)))
		for _, r := range l.Freed {
			dst = binary.AppendVarint(dst, r.First)
			dst = binary.AppendUvarint(dst, uint64(r.Slots))
		}
	}
	return dst
}

func parseIndex(f *fields) HostIndex {
	h := HostIndex{
		Cluster: f.pathElement("cluster"),
		Host:    f.pathElement("host"),
		Number:  uint32(f.uvarint(0, 1<<32-1, "number of a host")),
	}
	h.Lanes = make([]LaneIndex, f.count(4, "lanes"))
	frequencies := make([]int64, len(h.Lanes))
	for i := range h.Lanes {
		h.Lanes[i] = parseLane(f)
		frequencies[i] = h.Lanes[i].Frequency
	}
	if f.err == nil && !distinct(frequencies) {
		f.fail("two lanes of one frequency")
	}
	return h
}

func parseLane(f *fields) LaneIndex {
	l := LaneIndex{Frequency: int64(f.uvarint(1000, latest, "frequency"))}
	if l.Frequency%1000 != 0 {
		f.fail("a frequency of %d ms", l.Frequency)
	}
	l.Grid = int64(f.uvarint(0, uint64(l.Frequency-1), "grid"))
	most := mostSlot(l.Frequency)
	if n := f.count(4, "windows"); n > 0 {
		l.Windows = make([]WindowIndex, n)
	}
	end := int64(0)
	for i := range l.Windows {
		first := end + f.varint(-2*most, 2*most, "first slot")
		if i > 0 && first < end {
			f.fail("windows overlap")
		}
		w := WindowIndex{Header: block.Header{
			Frequency: l.Frequency, Grid: l.Grid, First: first,
			Slots:      int(f.uvarint(1, block.MaxSlots, "slots")),
			Generation: f.byte("generation"),
		}}
		length := f.uvarint(0, maxBlock<<1, "length of a block")
		w.Open, w.Length = length&1 == 1, int(length>>1)
		end = first + int64(w.Slots)
		if f.err == nil && (first < -most || end > most) {
			f.fail("a window of slots that no lane has")
		}
		if f.err != nil {
			return l
		}
		l.Windows[i] = w
	}
	if n := f.count(2, "freed ranges"); n > 0 {
		l.Freed = make([]memstore.SlotRange, n)
	}
	for i := range l.Freed {
		l.Freed[i].First = f.varint(-most, most, "first freed slot")
		l.Freed[i].Slots = int(f.uvarint(0, uint64(2*most), "freed slots"))
	}
	return l
}
