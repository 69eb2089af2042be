package codec_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ringstore/ringstore/memstore/codec"
)

func TestRound(t *testing.T) {
	f := func(v float64, bits int, want float64) {
		t.Helper()
		if got := codec.Round(v, bits); !same(got, want) {
			t.Errorf("Round(%v, %d) is %v, want %v", v, bits, got, want)
		}
	}
	third := 1.0 / 3
	// Integers and short decimals are not rounded.
	f(0, 1, 0)
	f(math.Copysign(0, -1), 1, math.Copysign(0, -1))
	f(16777217, 24, 16777217)
	f(-(1<<53 - 1), 24, -(1<<53 - 1))
	f(0.1, 24, 0.1)
	f(-2345.6789, 8, -2345.6789)
	f(99999999999.99, 24, 99999999999.99)
	// NaN and infinities are not rounded.
	f(math.Inf(1), 24, math.Inf(1))
	f(math.Inf(-1), 1, math.Inf(-1))
	f(math.NaN(), 24, math.NaN())
	// Others are rounded to nearest, halves to even.
	f(third, 24, float64(float32(third)))
	f(-third, 24, -float64(float32(third)))
	f(third, 1, 0.25)
	f(third, 2, 0.375)
	f(third, 0, 0.25)
	f(third, -7, 0.25)
	f(third, 52, math.Float64frombits(math.Float64bits(third)&^1))
	f(third, 53, third)
	f(third, 64, third)
	f(1+0x1p-24, 24, 1)
	f(1+0x3p-24, 24, 1+0x1p-22)
	f(1+0x1.1p-24, 24, 1+0x1p-23)
	f(2-0x1p-30, 24, 2)
	f(1<<53+2, 24, 1<<53)
	// The ends of the range.
	f(math.MaxFloat64, 24, math.MaxFloat64)
	f(-math.MaxFloat64, 52, -math.MaxFloat64)
	f(math.SmallestNonzeroFloat64, 24, 0)
	f(-math.SmallestNonzeroFloat64, 24, math.Copysign(0, -1))
	f(0x1p-1022-0x1p-1074, 24, 0x1p-1022)
}

func TestRoundIsCloseAndStays(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 200000 {
		v := math.Float64frombits(r.Uint64())
		bits := 1 + r.IntN(60)
		got := codec.Round(v, bits)
		if !same(codec.Round(got, bits), got) {
			t.Fatalf("Round(%v, %d) is %v, and rounded again %v", v, bits, got, codec.Round(got, bits))
		}
		if normal := math.Abs(v) >= 0x1p-1022; normal && math.Abs(got-v) > math.Abs(v)*math.Ldexp(1, -bits) {
			t.Fatalf("Round(%v, %d) is %v", v, bits, got)
		}
	}
}
