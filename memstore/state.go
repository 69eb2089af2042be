package memstore

import "github.com/ringstore/ringstore/memstore/block"

// HostState is a host as package archive keeps it: the places of its series and
// windows of what they hold.
type HostState struct {
	Cluster, Host string
	Number        uint32 // by which records name the host, see [Store.Write]
	Lanes         []LaneState
}

// LaneState is the grid that a host's series of one frequency share, and what
// lies on it. Slot n is the moment Grid + n*Frequency.
type LaneState struct {
	Frequency int64         // milliseconds, a whole number of seconds
	Grid      int64         // Unix milliseconds, in [0, Frequency)
	Series    []SeriesState // by column, ascending
	Windows   []WindowState // by time; they do not overlap
	Freed     []SlotRange   // what older states hold there is forgotten
}

// SeriesState is the place of a series.
type SeriesState struct {
	Column      uint32 // in the blocks of the lane
	Metric      string
	Device      Device
	Offset      int64 // of its samples from the slots' moments, milliseconds, in [-Frequency/2, Frequency/2)
	First, Last int64 // slots of its first and last sample; Last < First: it has none
}

// WindowState is a window of a lane.
type WindowState struct {
	Block *block.Block
	Open  bool // it was being written to: a later state has it again
}

// SlotRange is a run of slots of a lane.
type SlotRange struct {
	First int64
	Slots int
}
