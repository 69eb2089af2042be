package codec_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ringstore/ringstore/memstore/codec"
)

var lengths = []int{0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 60, 64, 100, 288, 1000, 1440, 2000}

// same reports whether two values are identical to the bit, or both NaN.
func same(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || a != a && b != b
}

// checkRoundTrip encodes values after other bytes, decodes them with and without other bytes after
// them, and compares.
func checkRoundTrip(t *testing.T, e *codec.Encoder, d *codec.Decoder, values []float64, stats bool) (encoded []byte) {
	t.Helper()
	encode := e.Append
	if stats {
		encode = e.AppendWithStats
	}
	buffer := encode([]byte("front"), values)
	if string(buffer[:5]) != "front" {
		t.Fatalf("%d values: front is %q", len(values), buffer[:5])
	}
	encoded = buffer[5:]
	decoded := make([]float64, len(values))
	tail, err := d.Decode(decoded, append(encoded[:len(encoded):len(encoded)], "behind it"...))
	if err != nil || string(tail) != "behind it" {
		t.Fatalf("%d values: tail %q, %v", len(values), tail, err)
	}
	checkSame(t, decoded, values)
	clear(decoded)
	if tail, err := d.Decode(decoded, encoded[:len(encoded):len(encoded)]); err != nil || len(tail) > 0 {
		t.Fatalf("%d values, nothing after them: tail %q, %v", len(values), tail, err)
	}
	checkSame(t, decoded, values)
	return encoded
}

func checkSame(t *testing.T, got, want []float64) {
	t.Helper()
	for i, v := range want {
		if !same(v, got[i]) {
			t.Fatalf("value %d of %d is %v (%#x), was %v (%#x)", i, len(want),
				got[i], math.Float64bits(got[i]), v, math.Float64bits(v))
		}
	}
}

func TestRoundTrip(t *testing.T) {
	var e codec.Encoder
	var d codec.Decoder
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			for seed, n := range lengths {
				values := k.column(rand.New(rand.NewPCG(uint64(seed), 7)), n)
				encoded := checkRoundTrip(t, &e, &d, values, false)
				checkRoundTrip(t, &e, &d, values, true)
				if limit := 8*n + n/8 + 8; len(encoded) > limit {
					t.Errorf("%d values take %d bytes, the limit is %d", n, len(encoded), limit)
				}
			}
		})
	}
}

// Columns whose kind changes: concatenated pieces of all kinds.
func TestRoundTripMixture(t *testing.T) {
	var e codec.Encoder
	var d codec.Decoder
	for seed := range 300 {
		r := rand.New(rand.NewPCG(uint64(seed), 11))
		var values []float64
		for range 1 + r.IntN(5) {
			k := kinds[r.IntN(len(kinds))]
			values = append(values, k.column(r, r.IntN(120))...)
		}
		checkRoundTrip(t, &e, &d, values, seed&1 == 1)
	}
}

func TestEmmyRoundTrip(t *testing.T) {
	var e codec.Encoder
	var d codec.Decoder
	for metric, columns := range emmy(t) {
		for _, set := range [][][]float64{columns, roundTo24(columns)} {
			for i, column := range set {
				if i%8 == 0 {
					checkRoundTrip(t, &e, &d, column, true)
				}
			}
			for _, column := range windows(set[:2], 60) {
				checkRoundTrip(t, &e, &d, column, true)
			}
		}
		if t.Failed() {
			t.Fatal(metric)
		}
	}
}

func TestNaNPayloadIsDropped(t *testing.T) {
	var e codec.Encoder
	var d codec.Decoder
	values := []float64{1, math.Float64frombits(0xfff8_0000_dead_beef), math.Float64frombits(0x7ff0_0000_0000_0001), 2}
	encoded := e.Append(nil, values)
	if _, err := d.Decode(values, encoded); err != nil {
		t.Fatal(err)
	}
	for _, v := range values[1:3] {
		if math.Float64bits(v) != math.Float64bits(math.NaN()) {
			t.Errorf("NaN is decoded as %#x", math.Float64bits(v))
		}
	}
}

func TestDecodeRange(t *testing.T) {
	var e codec.Encoder
	var d codec.Decoder
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 3))
			for _, n := range []int{1, 2, 60, 300} {
				values := k.column(r, n)
				encoded := e.Append(nil, values)
				for range 40 {
					from := r.IntN(n + 1)
					to := from + r.IntN(n-from+1)
					part := make([]float64, to-from)
					if err := d.DecodeRange(part, encoded, n, from); err != nil {
						t.Fatalf("[%d, %d) of %d: %v", from, to, n, err)
					}
					checkSame(t, part, values[from:to])
				}
			}
		})
	}
}

func TestRangeErrors(t *testing.T) {
	var e codec.Encoder
	var d codec.Decoder
	encoded := e.Append(nil, []float64{1, 2, 3})
	f := func(n, from, count int) {
		t.Helper()
		if err := d.DecodeRange(make([]float64, count), encoded, n, from); !errors.Is(err, codec.ErrRange) {
			t.Errorf("[%d, %d) of %d: %v", from, from+count, n, err)
		}
	}
	f(3, -1, 1)
	f(3, 4, 0)
	f(3, 2, 2)
	f(-1, 0, 0)
	f(codec.MaxSlots+1, 0, 1)
	f(3, math.MaxInt, 1)
}

func TestNoAllocationWhenReused(t *testing.T) {
	var e codec.Encoder
	var d codec.Decoder
	for _, k := range kinds {
		values := k.column(rand.New(rand.NewPCG(5, 5)), 300)
		buffer := e.AppendWithStats(nil, values)
		decoded := make([]float64, len(values))
		encode := testing.AllocsPerRun(10, func() { buffer = e.AppendWithStats(buffer[:0], values) })
		decode := testing.AllocsPerRun(10, func() { _, _ = d.Decode(decoded, buffer) })
		stats := testing.AllocsPerRun(10, func() { _, _ = d.Stats(buffer, len(values)) })
		if encode+decode+stats > 0 {
			t.Errorf("%s: %v allocations to encode, %v to decode, %v for the statistics", k.name, encode, decode, stats)
		}
	}
}

func TestAppendRefusesLongColumns(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	new(codec.Encoder).Append(nil, make([]float64, codec.MaxSlots+1))
}

func TestLongestColumn(t *testing.T) {
	var e codec.Encoder
	var d codec.Decoder
	values := gaps(walk(95, .5, 2), scattered(.1))(rand.New(rand.NewPCG(6, 6)), codec.MaxSlots)
	checkRoundTrip(t, &e, &d, values, true)
}
