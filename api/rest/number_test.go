package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestNumbers(t *testing.T) {
	f := func(v float64, want string) {
		t.Helper()
		if got := string(appendFloat(nil, v)); got != want {
			t.Errorf("%g: %s, want %s", v, got, want)
		}
	}
	f(0, "0")
	f(math.Copysign(0, -1), "-0")
	f(1, "1")
	f(-1, "-1")
	f(0.5, "0.5")
	f(-0.25, "-0.25")
	f(-2400, "-2400")
	f(-1e15, "-1000000000000000")
	f(-(1<<53 - 1), "-9007199254740991")
	f(12345678, "12345678")
	f(100000000, "100000000")
	f(123456789012.5, "123456789012.5")
	f(9999.9999, "9999.9999")
	f(7.3000, "7.3")
	f(7.0300, "7.03")
	f(7.0030, "7.003")
	f(0.0004, "0.0004")
	f(10011.979, "10011.979")
	f(0.1+0.2, "0.3")
	f(199.97809188009152, "199.978091880092")
	f(123456789012345, "123456789012345")
	f(1<<53-1, "9007199254740991")
	f(1e15+0.5, "1000000000000000.5")
	f(1e21, "1e+21")
	f(0.00001, "0.00001")
	f(0.000009, "0.000009")
	f(0.0000009, "9e-07")
	f(0.00001249588896365, "0.00001249588896365")
	f(99999.99999999999, "100000")
	f(-0.09999999999999999, "-0.1")
	f(0.012345678901234567, "0.0123456789012346")
	f(0.0000012345678901234567, "0.00000123456789012346")
	f(9.9999999999999999, "10")
	f(1.00000000000001, "1.00000000000001")
	f(1e-300, "1e-300")
	f(5e-324, "5e-324")
	f(math.MaxFloat64, "1.7976931348623157e+308")
	f(math.NaN(), "null")
	f(math.Inf(1), "null")
	f(math.Inf(-1), "null")
}

// A decimal of up to 15 digits is preserved. Every finite number is valid JSON with at least 15
// correct digits.
func TestNumbersReadBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300_000 {
		text := fmt.Sprintf("%de%d", r.Int64N(int64(math.Pow10(1+r.IntN(15)))), r.IntN(25)-20)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		got := appendFloat(nil, v)
		if back, err := strconv.ParseFloat(string(got), 64); err != nil || back != v {
			t.Fatalf("%s: got %s", text, got)
		}
	}
	for range 300_000 {
		v := math.Float64frombits(r.Uint64())
		if r.IntN(2) == 0 {
			v = r.NormFloat64() * math.Pow(10, float64(r.IntN(40)-20))
		}
		got := appendFloat(nil, v)
		var back any
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatalf("%g: %s: %v", v, got, err)
		}
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		if math.Abs(back.(float64)-v) > math.Abs(v)*6e-15 {
			t.Fatalf("%g: got %s", v, got)
		}
	}
}

// A number that is no short decimal has the digits of the integer that it is when multiplied by the
// power of ten for 15 digits.
func TestNumbersHaveFifteenDigits(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 300_000 {
		v := (1 + 9*r.Float64()) * math.Pow(10, float64(r.IntN(20)-6))
		places := significant - 1 - int(math.Floor(math.Log10(v)))
		digits := strconv.FormatInt(int64(v*math.Pow10(places)+0.5), 10)
		if v >= 1e11 && v == math.Floor(v) || len(digits) != significant {
			continue
		}
		if pad := places + 1 - len(digits); pad > 0 {
			digits = strings.Repeat("0", pad) + digits
		}
		point := len(digits) - places
		want := digits[:point]
		if fraction := strings.TrimRight(digits[point:], "0"); fraction != "" {
			want += "." + fraction
		}
		if got := string(appendFloat(nil, v)); got != want {
			t.Fatalf("%g: got %s, want %s", v, got, want)
		}
	}
}

// A list has the same text whether its values repeat or not.
func TestValues(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		values := make([]float64, r.IntN(300))
		v := 0.0
		for i := range values {
			if i == 0 || r.IntN(90) == 0 {
				v = []float64{math.NaN(), math.Copysign(0, -1), r.NormFloat64() * 1e9, 2400, -1e300, r.Float64()}[r.IntN(6)]
			}
			values[i] = v
		}
		scale := []float64{1, 0.001, -3}[r.IntN(3)]
		want := []byte("before")
		for i, v := range values {
			want = appendFloat(append(want, "[,"[min(i, 1)]), v*scale)
		}
		if got := appendValues([]byte("before"), values, scale, '['); !bytes.Equal(got, want) {
			t.Fatalf("%g times %g:\n%s, want\n%s", values, scale, got, want)
		}
	}
}

// Decimals with up to four places, and the numbers next to them, have the text of 15 significant
// digits.
func TestSmallDecimals(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 300_000 {
		v := float64(r.IntN(int(math.Pow10(1+r.IntN(8))))) / 1e4
		for range r.IntN(2) {
			v = math.Nextafter(v, 1e9*float64(1-2*r.IntN(2)))
		}
		if math.Abs(v) < smallestFixed {
			continue
		}
		rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', significant, 64), 64)
		if err != nil {
			t.Fatal(err)
		}
		want := strconv.FormatFloat(rounded, 'f', -1, 64)
		if got := string(appendFloat(nil, v)); got != want {
			t.Fatalf("%b: got %s, want %s", v, got, want)
		}
		if got := string(appendFloat(nil, -v)); got != "-"+want {
			t.Fatalf("%b: got %s, want -%s", -v, got, want)
		}
	}
}

func BenchmarkAppendValues(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for name, next := range map[string]func() float64{
		"constant":    func() float64 { return 2400 },
		"walk":        func() float64 { return math.Round(r.Float64()*10000) / 100 },
		"noise":       func() float64 { return 2345.6 * (1 + 0.1*r.NormFloat64()) },
		"large noise": func() float64 { return 1e9 * (1 + 0.1*r.NormFloat64()) },
	} {
		values := make([]float64, 4096)
		for i := range values {
			values[i] = next()
		}
		b.Run(name, func(b *testing.B) {
			var buf []byte
			begin := cpuTime(b)
			for b.Loop() {
				buf = appendValues(buf[:0], values, 1, '[')
			}
			b.ReportMetric(float64(cpuTime(b)-begin)/float64(b.N)/float64(len(values)), "cpu-ns/value")
		})
	}
}

// cpuTime returns the CPU time of this process in ns.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
