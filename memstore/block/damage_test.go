package block_test

import (
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/memstore/binfmt"
	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// A truncated block is an error.
func TestTruncated(t *testing.T) {
	for name, w := range goldens() {
		data := w.build(new(block.Builder)).Bytes()
		for n := range data {
			_, err := block.Open(data[:n:n])
			checkCorrupt(t, err, n)
			if err == nil {
				t.Errorf("%s: no error with %d bytes of %d", name, n, len(data))
			}
		}
	}
}

// A single flipped bit is an error.
func TestFlippedBits(t *testing.T) {
	for name, w := range goldens() {
		data := w.build(new(block.Builder)).Bytes()
		for i := range data {
			for bit := range 8 {
				damaged := slices.Clone(data)
				damaged[i] ^= 1 << bit
				_, err := block.Open(damaged)
				checkCorrupt(t, err, len(damaged))
				if err == nil {
					t.Errorf("%s: no error with bit %d of byte %d flipped", name, bit, i)
				}
			}
		}
	}
}

// Two blocks, and bytes before or after a block, are errors.
func TestMoreThanABlock(t *testing.T) {
	data := goldens()["example"].build(new(block.Builder)).Bytes()
	for _, more := range [][]byte{slices.Concat(data, data), slices.Concat(data, []byte{0}), slices.Concat([]byte{0}, data)} {
		_, err := block.Open(more)
		checkCorrupt(t, err, len(more))
		if err == nil {
			t.Errorf("no error with %d bytes around a block", len(more)-len(data))
		}
	}
}

// checkCorrupt checks that an error, unless it is nil, has an offset inside the block.
func checkCorrupt(t *testing.T, err error, size int) {
	t.Helper()
	if err == nil {
		return
	}
	corrupt, ok := errors.AsType[*binfmt.DamageError](err)
	switch {
	case !ok:
		t.Errorf("%v is a %T", err, err)
	case corrupt.Offset < 0 || corrupt.Offset > int64(size):
		t.Errorf("%v: there are %d bytes", err, size)
	}
}

// draft is a block with arbitrary fields and a correct checksum.
type draft struct {
	magic                           string
	version, flags, generation      byte
	slots, columns, frequency, grid uint64
	first                           int64
	ends, ids                       []uint32
	offsets                         []int64
	body                            []byte

	sums     []draftAggregate // with flag 4
	sumCount uint64           // 0: that of sums
	noSums   bool             // not even their number
}

func (d draft) bytes() []byte {
	out := append([]byte(d.magic), d.version, d.flags, d.generation)
	for _, v := range []uint64{d.slots, d.columns, d.frequency, d.grid} {
		out = binary.AppendUvarint(out, v)
	}
	out = binary.AppendVarint(out, d.first)
	for _, v := range slices.Concat(d.ends, d.ids) {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	for _, v := range d.offsets {
		out = binary.AppendVarint(out, v)
	}
	out = append(out, d.body...)
	if len(d.sums) > 0 || d.flags&4 != 0 && !d.noSums {
		if d.sumCount == 0 {
			d.sumCount = uint64(len(d.sums))
		}
		out = appendDraftAggregates(out, d.sumCount, d.sums)
	}
	return sealed(out)
}

// sound is a block of two slots: three columns with the numbers 1, 4 and 5.
func sound() draft {
	return draft{
		magic: "RSB", version: 1, flags: 2, generation: 0,
		slots: 2, columns: 3, frequency: 60, grid: 17, first: 5,
		ends: []uint32{1, 3, 4}, ids: []uint32{1, 4, 5}, offsets: []int64{0, -2, 3},
		body: []byte{1, 0x21, 2, 1}, // 0, 1, 0
	}
}

const (
	endsAt    = 11 // in a sound draft
	idsAt     = endsAt + 12
	offsetsAt = idsAt + 12
	bodyAt    = offsetsAt + 3
)

func TestSoundDraft(t *testing.T) {
	data := sound().bytes()
	b, err := block.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	checkWindow(t, b, window{
		block.Header{Frequency: 60_000, Grid: 17, First: 5, Slots: 2},
		[]block.Column{{ID: 1}, {ID: 4, Offset: -2}, {ID: 5, Offset: 3}},
		[][]float64{{0, 0}, {1, 1}, {0, 0}},
		nil,
	})
	if bodyAt+4+4 != len(data) {
		t.Errorf("%d bytes", len(data))
	}
}

// A damaged block with a correct checksum is an error with the offset of the damage. It takes no
// memory.
func TestDamaged(t *testing.T) {
	f := func(name string, offset int, reason string, change func(d *draft)) {
		t.Run(name, func(t *testing.T) {
			d := sound()
			change(&d)
			data := d.bytes()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := block.Open(data)
			runtime.ReadMemStats(&after)
			corrupt, ok := errors.AsType[*binfmt.DamageError](err)
			if !ok || corrupt.Offset != int64(offset) || !strings.Contains(corrupt.Reason, reason) {
				t.Errorf("got %v, want %q at byte %d", err, reason, offset)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<16 {
				t.Errorf("%d bytes are allocated for a block of %d", used, len(data))
			}
		})
	}
	f("no magic", 0, "start of a block", func(d *draft) { d.magic = "RSA" })
	f("version 0", 3, "version 0", func(d *draft) { d.version = 0 })
	f("version 2", 3, "version 2", func(d *draft) { d.version = 2 })
	f("a flag of the future", 4, "flags 0x8", func(d *draft) { d.flags |= 8 })
	f("all flags", 4, "flags 0xf8", func(d *draft) { d.flags = 0xff })

	f("no slots", 6, "slots", func(d *draft) { d.slots = 0 })
	f("a slot too many", 6, "slots", func(d *draft) { d.slots = block.MaxSlots + 1 })
	f("2^64-1 slots", 6, "slots", func(d *draft) { d.slots = math.MaxUint64 })
	f("no columns", 7, "columns", func(d *draft) { d.columns = 0 })
	f("a column too many", 7, "columns", func(d *draft) { d.columns = block.MaxColumns + 1 })
	f("2^63 columns", 7, "columns", func(d *draft) { d.columns = 1 << 63 })
	f("no frequency", 8, "frequency", func(d *draft) { d.frequency = 0 })
	f("a frequency that overflows", 8, "frequency", func(d *draft) { d.frequency = math.MaxInt64/1000 + 1 })
	f("a grid of a frequency", 9, "grid", func(d *draft) { d.grid = 60_000 })
	f("a grid of 2^64-1", 9, "grid", func(d *draft) { d.grid = math.MaxUint64 })
	f("a first slot whose time overflows", 10, "first slot", func(d *draft) { d.first = math.MaxInt64 })
	f("a first slot whose time is too early", 10, "first slot", func(d *draft) { d.first = math.MinInt64 })
	f("a last slot whose time overflows", 10, "first slot", func(d *draft) { d.first = 1<<62/60_000 - 1 })

	f("the maximum number of columns", endsAt+3, "directory", func(d *draft) { d.columns = block.MaxColumns })
	f("one column too many", endsAt+16, "column numbers", func(d *draft) { d.columns = 4 })
	f("one column too few", endsAt+12, "column 1 of 2 has a number", func(d *draft) { d.columns = 2 })
	f("the directory ends early", endsAt, "directory", func(d *draft) { d.ends, d.ids, d.offsets, d.body = d.ends[:2], nil, nil, nil })
	f("the numbers end early", idsAt, "column numbers", func(d *draft) { d.ids, d.offsets, d.body = d.ids[:2], nil, nil })
	f("the offsets end early", offsetsAt+2, "offset", func(d *draft) { d.offsets, d.body = d.offsets[:2], nil })
	f("an endless offset", offsetsAt+2, "offset", func(d *draft) { d.offsets, d.body = d.offsets[:2], slices.Repeat([]byte{0xff}, 20) })
	f("an offset of half a frequency", offsetsAt+1, "offset", func(d *draft) { d.offsets[1] = 30_000 })
	f("an offset below minus half a frequency", offsetsAt+1, "offset", func(d *draft) { d.offsets[1] = -30_001 })

	f("a column of no bytes", endsAt, "column 0 of 3 ends", func(d *draft) { d.ends[0] = 0 })
	f("columns that share their bytes", endsAt+4, "column 1 of 3 ends", func(d *draft) { d.ends[1] = 1 })
	f("a directory that descends", endsAt+8, "column 2 of 3 ends", func(d *draft) { d.ends[2] = 2 })
	f("a column beyond the block", endsAt+8, "column 2 of 3 ends", func(d *draft) { d.ends[2] = 5 })
	f("a column beyond 2^31", endsAt+8, "column 2 of 3 ends", func(d *draft) { d.ends[2] = 1 << 31 })
	f("a column that ends at 2^32-1", endsAt+4, "column 1 of 3 ends", func(d *draft) { d.ends[1] = math.MaxUint32 })
	f("a number twice", idsAt+8, "column 2 of 3 has a number", func(d *draft) { d.ids[2] = 4 })
	f("numbers that descend", idsAt+4, "column 1 of 3 has a number", func(d *draft) { d.ids[1] = 0 })
	f("a number too high", idsAt+8, "column 2 of 3 has a number", func(d *draft) { d.ids[2] = block.MaxColumns })
	f("the number 2^32-1, then 0", idsAt+4, "column 1 of 3 has a number", func(d *draft) { d.ids[1], d.ids[2] = math.MaxUint32, 0 })
	f("bytes after the columns", bodyAt+4, "after the last column", func(d *draft) { d.body = append(d.body, 0) })
}

// A damaged column in a block with a correct checksum is an error when it is decoded. The other
// columns are not affected.
func TestDamagedColumn(t *testing.T) {
	f := func(name string, column ...byte) {
		t.Run(name, func(t *testing.T) {
			d := sound()
			d.body = slices.Concat([]byte{1}, column, []byte{1})
			d.ends = []uint32{1, uint32(1 + len(column)), uint32(2 + len(column))}
			b, err := block.Open(d.bytes())
			if err != nil {
				t.Fatal(err)
			}
			var dec codec.Decoder
			err = b.Decode(&dec, make([]float64, 2), 1, 0)
			corrupt, ok := errors.AsType[*binfmt.DamageError](err)
			if !ok || corrupt.Offset != bodyAt+1 || !strings.Contains(corrupt.Reason, "column 4") {
				t.Errorf("got %v, want column 4 at byte %d", err, bodyAt+1)
			}
			checkSame(t, decode(t, &dec, b, 0, 0, 2), []float64{0, 0})
			checkSame(t, decode(t, &dec, b, 2, 0, 2), []float64{0, 0})
		})
	}
	f("of an unknown form", 7)
	f("truncated", 0x21)
	f("with bytes after its values", 0x21, 2, 0)
	f("of two columns", 0x21, 2, 0x21, 2)
}
