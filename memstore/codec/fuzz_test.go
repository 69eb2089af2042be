package codec_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ringstore/ringstore/memstore/codec"
)

// FuzzRoundTrip uses its bytes as floats, scaled to resemble various metrics.
func FuzzRoundTrip(f *testing.F) {
	for i, k := range kinds {
		var seed []byte
		for _, v := range k.column(rand.New(rand.NewPCG(uint64(i), 13)), 40) {
			seed = binary.LittleEndian.AppendUint64(seed, math.Float64bits(v))
		}
		f.Add(seed, uint8(i%4))
	}
	var e codec.Encoder
	var d codec.Decoder
	f.Fuzz(func(t *testing.T, data []byte, as uint8) {
		var values []float64
		for ; len(data) >= 8; data = data[8:] {
			bits := binary.LittleEndian.Uint64(data)
			v := math.Float64frombits(bits)
			switch as % 4 {
			case 1:
				v = float64(int32(bits)) / 100
			case 2:
				v = float64(int64(bits) >> (bits & 63))
			case 3:
				v = codec.Round(v, 24)
			}
			values = append(values, v)
		}
		encoded := checkRoundTrip(t, &e, &d, values, as&4 != 0)
		if limit := 8*len(values) + len(values)/8 + 40; len(encoded) > limit {
			t.Errorf("%d values take %d bytes, the limit is %d", len(values), len(encoded), limit)
		}
		if len(values) == 0 {
			return
		}
		from := int(as) % len(values)
		part := make([]float64, (len(values)-from+1)/2)
		if err := d.DecodeRange(part, encoded, len(values), from); err != nil {
			t.Fatal(err)
		}
		checkSame(t, part, values[from:from+len(part)])
		got, err := d.Stats(encoded, len(values))
		if want := codec.Summarize(values); err != nil || got.Count != want.Count ||
			want.Count > 0 && (got.Min != want.Min || got.Max != want.Max) || !sumIsClose(got.Sum, values) {
			t.Errorf("statistics are %+v, want %+v; %v", got, want, err)
		}
	})
}

// FuzzDecode decodes hostile bytes. The result is an error or values, never a panic. Decoded values
// can be encoded again.
func FuzzDecode(f *testing.F) {
	var e codec.Encoder
	for i, k := range kinds {
		for _, n := range []int{3, 50} {
			f.Add(e.AppendWithStats(nil, k.column(rand.New(rand.NewPCG(uint64(i), 17)), n)), uint16(n), uint16(n/2))
		}
	}
	var d codec.Decoder
	f.Fuzz(func(t *testing.T, src []byte, n, from uint16) {
		slots := int(n) % 5000
		values := make([]float64, slots)
		tail, err := d.Decode(values, src)
		if err == nil && len(tail) > len(src) {
			t.Fatalf("tail of %d bytes after a column in %d", len(tail), len(src))
		}
		if _, statsErr := d.Stats(src, slots); statsErr != nil && err == nil {
			t.Fatalf("decodes, but has no statistics: %v", statsErr)
		}
		start := int(from) % (slots + 1)
		part := make([]float64, slots-start)
		if rangeErr := d.DecodeRange(part, src, slots, start); err == nil && rangeErr != nil {
			t.Fatalf("decodes, but not from %d: %v", start, rangeErr)
		}
		if err == nil {
			checkSame(t, part, values[start:])
			checkRoundTrip(t, &e, &d, values, false)
		}
	})
}

// FuzzAppendLike encodes a column like arbitrary bytes. They do not affect the decoded values.
func FuzzAppendLike(f *testing.F) {
	var e codec.Encoder
	for i, k := range kinds {
		column := k.column(rand.New(rand.NewPCG(uint64(i), 23)), 80)
		var seed []byte
		for _, v := range column[40:] {
			seed = binary.LittleEndian.AppendUint64(seed, math.Float64bits(v))
		}
		f.Add(e.Append(nil, column[:40]), seed, uint16(40))
		f.Add([]byte{0x02, 0x00, 0x00, 0xff, 0xff}, seed, uint16(i))
	}
	var d codec.Decoder
	f.Fuzz(func(t *testing.T, like, data []byte, n uint16) {
		var values []float64
		for ; len(data) >= 8; data = data[8:] {
			values = append(values, math.Float64frombits(binary.LittleEndian.Uint64(data)))
		}
		encoded := e.AppendLike(nil, values, like, int(n))
		decoded := make([]float64, len(values))
		if tail, err := d.Decode(decoded, encoded); err != nil || len(tail) > 0 {
			t.Fatalf("tail %q, %v", tail, err)
		}
		checkSame(t, decoded, values)
	})
}
