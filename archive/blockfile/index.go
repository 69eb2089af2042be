package blockfile

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/binfmt"
	"github.com/ringstore/ringstore/memstore/block"
)

// HostIndex lists what a file holds of a host.
type HostIndex struct {
	Cluster, Host string
	Number        uint32 // of the host in records of the journal
	Lanes         []LaneIndex

	offset  int64 // of the record in the file
	payload int   // length of the record's payload, in bytes
}

// LaneIndex lists what a file holds of a lane.
type LaneIndex struct {
	Frequency int64 // milliseconds
	Grid      int64 // Unix milliseconds
	Windows   []WindowIndex
	Freed     []memstore.SlotRange
}

// WindowIndex is the place of a window's block.
type WindowIndex struct {
	block.Header
	Open   bool  // the window was writable; a later run has it again
	Offset int64 // in the file, bytes
	Length int   // bytes
}

const (
	// maxTime bounds the distance of a slot from 1970, before and after, in milliseconds; package
	// block has the same bound.
	maxTime = 1 << 62
	// maxBlock is the maximum length of a block in bytes.
	maxBlock = 1 << 32
)

// maxSlot returns the highest slot of a lane with a frequency; the lowest is its negative.
func maxSlot(frequency int64) int64 { return maxTime/frequency - 1 }

// indexOf returns the index of a host. It checks only the blocks against their lane;
// [Writer.encode] checks the rest.
func indexOf(h memstore.HostState) (HostIndex, error) {
	x := HostIndex{Cluster: h.Cluster, Host: h.Host, Number: h.Number}
	for _, l := range h.Lanes {
		lane := LaneIndex{Frequency: l.Frequency, Grid: l.Grid, Freed: l.Freed}
		for _, w := range l.Windows {
			if w.Block == nil {
				return x, errors.New("expected a block in each window, got a window without a block")
			}
			if w.Block.Frequency != l.Frequency || w.Block.Grid != l.Grid {
				return x, fmt.Errorf("expected blocks of the lane's frequency %d and grid %d, got %d and %d", l.Frequency, l.Grid, w.Block.Frequency, w.Block.Grid)
			}
			lane.Windows = append(lane.Windows, WindowIndex{Header: w.Block.Header, Open: w.Open, Length: len(w.Block.Bytes())})
		}
		x.Lanes = append(x.Lanes, lane)
	}
	return x, nil
}

// place sets the offsets of the record and of its blocks, and returns where the blocks end.
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

// appendIndex appends a host's index, which is the same in its record and in the footer.
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

func parseIndex(r *binfmt.Reader) HostIndex {
	h := HostIndex{
		Cluster: readFileName(r, "cluster"),
		Host:    readFileName(r, "host"),
		Number:  uint32(r.Uvarint(0, 1<<32-1, "number of a host")),
	}
	h.Lanes = make([]LaneIndex, r.Count(4, "lanes"))
	frequencies := make([]int64, len(h.Lanes))
	for i := range h.Lanes {
		h.Lanes[i] = parseLane(r)
		frequencies[i] = h.Lanes[i].Frequency
	}
	if r.Err() == nil && !areDistinct(frequencies) {
		r.Fail("expected one lane per frequency, got two lanes of one frequency")
	}
	return h
}

func parseLane(r *binfmt.Reader) LaneIndex {
	l := LaneIndex{Frequency: int64(r.Uvarint(1000, maxTime, "frequency"))}
	if l.Frequency%1000 != 0 {
		r.Fail("frequency: expected whole seconds, got %d ms", l.Frequency)
	}
	l.Grid = int64(r.Uvarint(0, uint64(l.Frequency-1), "grid"))
	last := maxSlot(l.Frequency)
	if n := r.Count(4, "windows"); n > 0 {
		l.Windows = make([]WindowIndex, n)
	}
	end := int64(0)
	for i := range l.Windows {
		first := end + r.Varint(-2*last, 2*last, "first slot")
		if i > 0 && first < end {
			r.Fail("windows overlap: expected slot %d or later, got %d", end, first)
		}
		w := WindowIndex{Header: block.Header{
			Frequency: l.Frequency, Grid: l.Grid, First: first,
			Slots:      int(r.Uvarint(1, block.MaxSlots, "slots")),
			Generation: r.Byte("generation"),
		}}
		length := r.Uvarint(0, maxBlock<<1, "length of a block")
		w.Open, w.Length = length&1 == 1, int(length>>1)
		end = first + int64(w.Slots)
		if first < -last || end > last {
			r.Fail("window: expected slots within %d to %d, got %d to %d", -last, last, first, end)
		}
		if r.Err() != nil {
			return l
		}
		l.Windows[i] = w
	}
	if n := r.Count(2, "freed ranges"); n > 0 {
		l.Freed = make([]memstore.SlotRange, n)
	}
	for i := range l.Freed {
		l.Freed[i].First = r.Varint(-last, last, "first freed slot")
		l.Freed[i].Slots = int(r.Uvarint(0, uint64(2*last), "freed slots"))
	}
	return l
}
