package block_test

import (
	"slices"
	"testing"

	"github.com/ringstore/ringstore/memstore/block"
)

// The overhead of a block, to the byte. All values here are zero, which takes one byte per column.
func TestSize(t *testing.T) {
	f := func(name string, want, columns int, h block.Header, column func(i int) block.Column) {
		t.Helper()
		w := window{head: h}
		for i := range columns {
			w.columns = append(w.columns, column(i))
			w.values = append(w.values, make([]float64, h.Slots))
		}
		if got := len(w.build(new(block.Builder)).Bytes()); got != want {
			t.Errorf("%s: %d bytes, want %d", name, got, want)
		}
	}
	const fixed, zero = 20, 1
	merged := minute(144)
	merged.Generation = 1
	dense := func(i int) block.Column { return block.Column{ID: uint32(i)} }
	f("a column", fixed+4+zero, 1, minute(60), dense)
	f("a column of a longer block", fixed+1+4+zero, 1, minute(144), dense)
	f("statistics of a constant take nothing", fixed+1+4+zero, 1, merged, dense)
	f("a hundred columns", fixed+100*(4+zero), 100, minute(60), dense)
	f("that are not dense", fixed+100*(4+4+zero), 100, minute(60), func(i int) block.Column { return block.Column{ID: uint32(2 * i)} })
	f("offsets below 64 ms", fixed+100*(4+1+zero), 100, minute(60), func(i int) block.Column { return block.Column{ID: uint32(i), Offset: 63 - int64(i)} })
	f("offsets of seconds", fixed+100*(4+3+zero), 100, minute(60), func(i int) block.Column { return block.Column{ID: uint32(i), Offset: 29_999 - int64(i)} })
	f("one offset costs the others a byte", fixed+100*(4+1+zero)+2, 100, minute(60), func(i int) block.Column {
		return block.Column{ID: uint32(i), Offset: []int64{17_000, 0}[min(i, 1)]}
	})
}

// A used builder makes a block with two allocations: the bytes and the Block.
func TestBuilderAllocations(t *testing.T) {
	w := window{head: minute(60)}
	for i := range 100 {
		w.columns = append(w.columns, block.Column{ID: uint32(i)})
		w.values = append(w.values, slices.Repeat([]float64{95.01, 95.02, 2400}, 20))
	}
	var b block.Builder
	w.build(&b)
	if n := testing.AllocsPerRun(10, func() { w.build(&b) }); n > 2 {
		t.Errorf("%v allocations for a block", n)
	}
}
