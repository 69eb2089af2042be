package memstore

import (
	"math/bits"
	"unsafe"

	"github.com/ringstore/ringstore/memstore/block"
)

// Sizes in bytes, as the allocator rounds them up.
const (
	hostBytes        = 352 + 128 // with its entry in the cluster's map
	clusterBytes     = 256
	laneBytes        = int64(unsafe.Sizeof(lane{}))
	levelBytes       = 112
	seriesBytes      = int64(unsafe.Sizeof(Series{}))
	aggregateBytes   = 48  // of a series in the sets whose sums are kept
	setBytes         = 176 // of what a query remembers of a metric, without its series
	segmentBytes     = 128
	blockBytes       = int64(unsafe.Sizeof(block.Block{})) // without its data
	rowBytes         = 24 + 1                              // its slice header, and whether it is borrowed
	freedWindowBytes = 64
	sampleBytes      = 24 // while a batch is written
)

// allocated returns about how much memory an allocation of n bytes takes: Go rounds up to one of
// its size classes, and large ones to whole pages.
func allocated(n int64) int64 {
	switch {
	case n <= 128:
		return (n + 15) &^ 15
	case n <= 32<<10:
		eighth := int64(1) << (bits.Len64(uint64(n-1)) - 4)
		return (n + eighth - 1) &^ (eighth - 1)
	}
	return (n + 8<<10 - 1) &^ (8<<10 - 1)
}

// sealedBytes returns the memory of a block.
func sealedBytes(b *block.Block) int64 { return blockBytes + allocated(int64(len(b.Bytes()))) }
