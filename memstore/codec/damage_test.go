package codec

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// bitsOf packs fields, each given as a value and a width.
func bitsOf(fields ...uint64) []byte {
	w := bitWriter{}
	for i := 0; i < len(fields); i += 2 {
		w.putWide(fields[i], uint(fields[i+1]))
	}
	return w.close()
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// A damaged column of 64 slots is an error of the right kind. It takes no memory.
func TestDamage(t *testing.T) {
	const n = 64
	level := []byte{formDecimal, 0, 0} // exponent 0, center 0
	var d Decoder
	f := func(name string, want error, src []byte) {
		t.Helper()
		dst := make([]float64, n)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := d.Decode(dst, src)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if _, err := d.Stats(src, n); err != nil && !errors.Is(err, want) {
			t.Errorf("%s: statistics: %v, want %v", name, err, want)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 200*n+8192 {
			t.Errorf("%s: %d bytes allocated", name, used)
		}
	}
	f("nothing", ErrTruncated, nil)
	f("form 6", ErrForm, []byte{6})
	f("form 7", ErrForm, []byte{0xff})
	f("empty with nulls", ErrForm, []byte{formEmpty | tagNulls})
	f("constant with statistics", ErrForm, []byte{formConstant | tagStats, 1})
	f("constant with patches", ErrForm, []byte{formConstant | tagPatched, 1})
	f("dictionary with patches", ErrForm, []byte{formDictionary | tagPatched, 1})
	f("sparse raw", ErrForm, []byte{formRaw | tagSparse})

	f("constant without integer", ErrTruncated, []byte{formConstant | constantInteger})
	f("constant of more than 64 bits", ErrCorrupt, join([]byte{formConstant | constantInteger}, slices.Repeat([]byte{0xff}, 12)))
	f("constant without exponent", ErrTruncated, []byte{formConstant | constantDecimal})
	f("constant with exponent 23", ErrCorrupt, []byte{formConstant | constantDecimal, 23, 2})
	f("constant of 7 bytes", ErrTruncated, []byte{formConstant | constantBits, 1, 2, 3, 4, 5, 6, 7})
	f("constant without samples", ErrCorrupt, join([]byte{formConstant | tagNulls}, bitsOf(1, 1, 0, 4, 5, 4, 1, 2, 31, 5)))

	f("runs too long", ErrCorrupt, join([]byte{formConstant | tagNulls}, bitsOf(0, 1, 6, 4, 0, 4, 1, 2, 0, 6)))
	f("runs too short", ErrCorrupt, join([]byte{formConstant | tagNulls}, bitsOf(0, 1, 5, 4, 0, 4, 0, 6)))
	f("runs without end", ErrCorrupt, join([]byte{formConstant | tagNulls}, slices.Repeat([]byte{0xff}, 100)))

	f("decimal exponent 23", ErrCorrupt, []byte{formDecimal, 23, 0})
	f("decimal head 0x80", ErrCorrupt, []byte{formDecimal, 0x80, 0})
	f("decimal without step", ErrTruncated, []byte{formDecimal, decimalStep})
	f("decimal without center", ErrTruncated, []byte{formDecimal, 0})
	f("decimal without body", ErrTruncated, level)
	f("float of 9 bytes", ErrCorrupt, []byte{formDecimal | tagStats, decimalFloatStats, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	f("float cut off", ErrTruncated, []byte{formDecimal | tagStats, decimalFloatStats, 0, 8, 1, 2, 3})
	f("more patches than samples", ErrCorrupt, join([]byte{formDecimal | tagPatched, 0, 0}, bitsOf(0, 1, 7, 4, 0, 4, 0, 1, 127, 7)))
	f("patches cut off", ErrTruncated, join([]byte{formDecimal | tagPatched, 0, 0}, bitsOf(0, 1, 6, 4, 0, 4, 0, 1, 63, 6, 1, 64)))

	f("code cut off", ErrTruncated, join(level, bitsOf(5, 6)))
	f("code of 9 bits", ErrCorrupt, join(level, bitsOf(0, 6, 0, 1, 1, 7, 0b11, 2, 9, 4, 0, 64)))
	f("code length below zero", ErrCorrupt, join(level, bitsOf(0, 6, 0, 1, 3, 7, 0b11, 2, 0, 4, 0b101, 3, 0, 64)))
	f("code too full", ErrCorrupt, join(level, bitsOf(0, 6, 0, 1, 2, 7, 0b101, 3, 0, 1, 0, 1, 0, 64)))
	f("code with gaps", ErrCorrupt, join(level, bitsOf(0, 6, 0, 1, 2, 7, 0, 1, 0, 1, 0, 1, 0, 64)))
	f("last rung without code", ErrCorrupt, join(level, bitsOf(0, 6, 0, 1, 2, 7, 0b101, 3, 0, 1, 0b11, 2, 0, 4, 0, 64)))
	f("rung beyond 64 bits", ErrCorrupt, join(level, bitsOf(63, 6, 1, 1, 0, 64)))
	f("codes cut off", ErrTruncated, join(level, bitsOf(0, 6, 1, 1, 1<<40-1, 40)))
	f("offsets cut off", ErrTruncated, join(level, bitsOf(10, 6, 0, 1, 0, 7, 5, 20)))

	f("pattern of sign 3", ErrCorrupt, []byte{formPattern, 0xc0, 0, 0})
	f("pattern head 0x80", ErrCorrupt, []byte{formPattern, 0, 0x80, 0})
	f("pattern cut off", ErrTruncated, []byte{formPattern, 0})

	f("dictionary of 1", ErrCorrupt, []byte{formDictionary, 1, formConstant})
	f("dictionary of 65", ErrCorrupt, []byte{formDictionary, 65, formConstant})
	f("dictionary of 2^60", ErrCorrupt, []byte{formDictionary, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10, formConstant})
	f("dictionary in a dictionary", ErrCorrupt, []byte{formDictionary, 2, formDictionary, 2, formConstant})
	f("dictionary without values", ErrCorrupt, []byte{formDictionary, 2})
	f("dictionary of an unknown form", ErrForm, []byte{formDictionary, 2, 7})
	f("index 2 of 2", ErrCorrupt, join([]byte{formDictionary, 2, formConstant, 4}, bitsOf(0, 6, 0, 1, 0, 7, 0, 64)))
	f("index -1", ErrCorrupt, join([]byte{formDictionary, 2, formConstant, 1}, bitsOf(0, 6, 0, 1, 0, 7, 0, 64)))

	f("raw cut off", ErrTruncated, join([]byte{formRaw}, make([]byte, 8*n-1)))
}

// every calls yield with the name and the bytes of a column of each form.
func every(yield func(name string, values []float64, encoded []byte)) {
	var e Encoder
	for _, c := range samplesOfForms() {
		yield(c.name, c.values, e.Append(nil, c.values))
		yield(c.name+", statistics", c.values, e.AppendWithStats(nil, c.values))
	}
}

// A truncated column is an error.
func TestTruncation(t *testing.T) {
	var d Decoder
	every(func(name string, values []float64, encoded []byte) {
		dst := make([]float64, len(values))
		for n := range encoded {
			if _, err := d.Decode(dst, encoded[:n:n]); err == nil {
				t.Errorf("%s: no error with %d bytes of %d", name, n, len(encoded))
			}
		}
	})
}

// Decoding arbitrary bytes does not panic.
func TestFlippedBytes(t *testing.T) {
	var d Decoder
	r := rand.New(rand.NewPCG(4, 4))
	every(func(_ string, values []float64, encoded []byte) {
		dst := make([]float64, len(values))
		for i := range encoded {
			for range 20 {
				damaged := slices.Clone(encoded)
				damaged[i] ^= byte(1 + r.IntN(255))
				_, _ = d.Decode(dst, damaged)
				_, _ = d.Stats(damaged, len(values))
				from := r.IntN(len(values) + 1)
				_ = d.DecodeRange(dst[:r.IntN(len(values)-from+1)], damaged, len(values), from)
			}
		}
	})
}

// form is a column that is always encoded in the same form.
type form struct {
	name   string
	values []float64
}

// samplesOfForms returns short columns that together use every field of the format.
func samplesOfForms() []form {
	column := func(n int, value func(i int) float64) []float64 {
		values := make([]float64, n)
		for i := range values {
			values[i] = value(i)
		}
		return values
	}
	some := func(i int) float64 { return float64(i * i * 7919 % 1009) } // looks random
	odd := func(i int) float64 { return math.Sqrt(2 + some(i)) }
	gappy := func(value func(int) float64) func(int) float64 {
		return func(i int) float64 {
			if i%7 == 2 {
				return math.NaN()
			}
			return value(i)
		}
	}
	float32s := func(i int) float64 { return float64(float32(odd(i))) }
	return []form{
		{"no slots", nil},
		{"no samples", column(9, func(int) float64 { return math.NaN() })},
		{"zero", column(9, func(int) float64 { return 0 })},
		{"2400", column(9, func(int) float64 { return 2400 })},
		{"-0.25", column(9, func(int) float64 { return -0.25 })},
		{"pi", column(9, func(int) float64 { return math.Pi })},
		{"pi with gaps", column(9, gappy(func(int) float64 { return math.Pi }))},
		{"the example of FORMAT.md", []float64{95.01, 95.03, 95.02, 95.03, 95.02, 95.03}},
		{"integers", column(24, some)},
		{"decimals", column(24, func(i int) float64 { return 2600 + some(i)/100 })},
		{"decimals with a step", column(24, func(i int) float64 { return some(i) * 25 / 100 })},
		{"decimals with gaps", column(40, gappy(func(i int) float64 { return some(i) / 10 }))},
		{"counter", column(24, func(i int) float64 { return float64(1000000*i) + some(i) })},
		{"patched", column(40, func(i int) float64 {
			if i%20 == 3 {
				return math.Pi
			}
			return some(i) / 10
		})},
		{"sparse level", column(60, func(i int) float64 { return math.Floor(some(i)/900) * float64(i) })},
		{"sparse delta", column(60, func(i int) float64 { return some(i/20) / 10 })},
		{"own code", column(200, func(i int) float64 { return math.Trunc(some(i%2) * some(i) / 100) })},
		{"pattern", column(24, odd)},
		{"pattern below zero", column(24, func(i int) float64 { return -odd(i) })},
		{"pattern of both signs", column(24, func(i int) float64 { return odd(i) - 22 })},
		{"pattern that rises", column(24, func(i int) float64 { return float64(1e6*float64(i)) + odd(i) })},
		{"pattern with a shift", column(24, float32s)},
		{"pattern patched", column(60, func(i int) float64 {
			if i%30 == 5 {
				return math.Pi
			}
			return float32s(i)
		})},
		{"wide offsets", column(24, func(i int) float64 {
			return math.Float64frombits(uint64(i*i+1) * 0x9e3779b97f4a7c15 >> 1)
		})},
		{"dictionary", column(60, func(i int) float64 { return odd(int(some(i)) % 6) })},
		{"dictionary of decimals", column(60, func(i int) float64 { return []float64{0, 123456.75, 2e14}[int(some(i))%3] })},
		{"raw", column(9, func(i int) float64 { return math.Float64frombits(uint64(i*i+1) * 0x9e3779b97f4a7c15) })},
		{"raw with gaps", column(9, gappy(func(i int) float64 {
			return math.Float64frombits(uint64(i*i+1) * 0x9e3779b97f4a7c15)
		}))},
	}
}
