package memstore

import "github.com/ringstore/ringstore/memstore/block"

// HostState is the state of a host for package archive: the places of its series, and windows of
// their samples.
type HostState struct {
	Cluster, Host string
	Number        uint32 // by which a [Record] names the host
	Lanes         []LaneState
}

// LaneState is the state of a lane. The time of slot n is Grid + n*Frequency.
type LaneState struct {
	Frequency int64         // milliseconds, a whole number of seconds
	Grid      int64         // Unix milliseconds, in [0, Frequency)
	Series    []SeriesState // by column, ascending
	Windows   []WindowState // ascending, without overlap
	Freed     []SlotRange   // what older states hold in these slots was deleted
}

// SeriesState is the place of a series.
type SeriesState struct {
	Column      uint32 // in the blocks of the lane
	Metric      string
	Device      Device
	Offset      int64 // of its samples from the slot times, milliseconds, in [-Frequency/2, Frequency/2)
	First, Last int64 // slots of its first and last sample; Last < First: no sample
}

// WindowState is a window of a lane.
type WindowState struct {
	Block *block.Block
	Open  bool // the window can still change: a later state contains it again
}

// SlotRange is a range of slots of a lane.
type SlotRange struct {
	First int64
	Slots int
}
