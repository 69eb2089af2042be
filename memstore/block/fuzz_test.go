package block_test

import (
	"encoding/binary"
	"math"
	"runtime"
	"testing"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// FuzzOpen opens hostile bytes, unchanged and with a corrected checksum. The result is an error or
// a block, never a panic, and the memory is proportional to the bytes. Decoding a column, or a part
// of it, gives the same values or an error.
func FuzzOpen(f *testing.F) {
	for _, w := range goldens() {
		data := w.build(new(block.Builder)).Bytes()
		f.Add(data[:len(data)-4])
	}
	f.Add([]byte{})
	f.Add([]byte("RSB\x01\x01\x00\x01\x01\x3c\x00\x00\x01\x00\x00\x00\x01"))
	d := sound()
	d.columns = block.MaxColumns
	f.Add(d.bytes())
	f.Fuzz(func(t *testing.T, content []byte) {
		_, err := block.Open(content)
		checkCorrupt(t, err, len(content))
		data := sealed(content)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b, err := block.Open(data)
		if err == nil {
			b.Offsets()
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(16*len(data))+1<<20 { // other goroutines allocate a little
			t.Fatalf("%d bytes are allocated for a block of %d", used, len(data))
		}
		checkCorrupt(t, err, len(data))
		if err != nil || b.Slots > 1<<14 { // legal, but slow
			return
		}
		checkHostile(t, b)
	})
}

// checkHostile reads everything in a block that may be hostile.
func checkHostile(t *testing.T, b *block.Block) {
	var d codec.Decoder
	sound := 0
	for i := range min(b.Columns(), 50) {
		if at, ok := b.Find(b.ID(i)); !ok || at != i {
			t.Fatalf("column %d, number %d, is found at %d, %t", i, b.ID(i), at, ok)
		}
		values := make([]float64, b.Slots)
		err := b.Decode(&d, values, i, 0)
		checkCorrupt(t, err, len(b.Bytes()))
		if err != nil {
			continue
		}
		sound++
		if _, err := b.Stats(&d, i); err != nil {
			t.Fatalf("column %d decodes, but has no statistics: %v", i, err)
		}
		from := b.Slots / 3
		checkSame(t, decode(t, &d, b, i, from, b.Slots-from), values[from:])
	}
	even := func(id uint32) bool { return id%2 == 0 }
	less := b.Without(even)
	if less == nil {
		return
	}
	again, err := block.Open(less.Bytes())
	if err != nil {
		t.Fatalf("without some columns: %v", err)
	}
	for i := range min(again.Columns(), 50) {
		from, ok := b.Find(again.ID(i))
		if !ok || even(again.ID(i)) || at(again.Offsets(), i) != at(b.Offsets(), from) {
			t.Fatalf("column %d of the remaining ones is %d, %t", i, again.ID(i), ok)
		}
	}
}

// FuzzRoundTrip uses its bytes as the values of the columns of a window.
func FuzzRoundTrip(f *testing.F) {
	for i, w := range []string{"example", "dense", "sparse", "limits"} {
		var seed []byte
		for _, values := range goldens()[w].values {
			for _, v := range values {
				seed = binary.LittleEndian.AppendUint64(seed, math.Float64bits(v))
			}
		}
		f.Add(seed, uint16(goldens()[w].head.Slots), uint8(i), uint32(17_000), int64(29_750_000-i), int32(i*7919))
	}
	var w block.Builder
	f.Fuzz(func(t *testing.T, data []byte, slots uint16, generation uint8, grid uint32, first int64, spread int32) {
		want := window{head: block.Header{
			Frequency: 60_000, Grid: int64(grid % 60_000), First: first % (1 << 40),
			Slots: 1 + int(slots)%300, Generation: generation,
		}}
		var values []float64
		id := uint32(0)
		for len(data) >= 8 {
			values = append(values, math.Float64frombits(binary.LittleEndian.Uint64(data)))
			data = data[8:]
			if len(values) == want.head.Slots || len(data) < 8 {
				for len(values) < want.head.Slots {
					values = append(values, nan)
				}
				want.columns = append(want.columns, block.Column{ID: id, Offset: int64(spread) * int64(id) % 30_000})
				want.values = append(want.values, values)
				values = nil
				id += 1 + uint32(spread)&0xff
			}
		}
		checkBlock(t, want.build(&w), want)
	})
}
