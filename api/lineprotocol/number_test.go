package lineprotocol

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// checkFloat compares parseNumber with strconv if it accepts all of s as a float.
func checkFloat(tb testing.TB, s string) (accepted bool) {
	tb.Helper()
	got, n, ok := parseNumber([]byte(s))
	if !ok || n != len(s) || strings.ContainsAny(s, "iu") {
		return false
	}
	want, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Float64bits(got) != math.Float64bits(want) {
		tb.Fatalf("%q: got %v (%#x), strconv %v (%#x), %v",
			s, got, math.Float64bits(got), want, math.Float64bits(want), err)
	}
	return true
}

func TestFloatsAreLikeStrconvs(t *testing.T) {
	for _, s := range []string{
		"0", "-0", "0.0", "-0e5", "00", "1", "-1", "10", ".5", "5.", "-.5e1", "1e22", "1e23", "1e-22", "1e-23",
		// Near 2^53 and 2^64, where the algorithm changes.
		"9007199254740991", "9007199254740992", "9007199254740993", "9007199254740995", "9007199254740993.0",
		"900719925474099.3", "9007199254740993e1", "9007199254740993e-19", "9007199254740993e-20",
		"9223372036854775807", "9999999999999999999", "1.8446744073709551615", "18446744073709551616",
		// Halfway between two floats, and next to it.
		"9007199254740994.5", "18014398509481986", "18014398509481990.0", "4503599627370496.5",
		"4503599627370497.5", "4503599627370497.499", "4503599627370497.501", "1125899906842624.125", "1125899906842624.375",
		// The ends of the range.
		"1.7976931348623157e308", "2.2250738585072011e-308", "2.2250738585072014e-308", "5e-324", "2e-324", "1e-9999",
		// From collectors.
		"199.97809188009152", "0.19997809188009152", "3.4359738367e+10", "197.9783109612906", "2.418424e+07",
	} {
		if !checkFloat(t, s) {
			t.Errorf("%q was rejected", s)
		}
	}
}

func TestRandomFloatsAreLikeStrconvs(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	for range 50_000 {
		mantissa := r.Uint64() >> r.IntN(64)
		digits := strconv.FormatUint(mantissa, 10)
		point := r.IntN(len(digits) + 1)
		decimal := digits[:point] + "." + digits[point:]
		v := math.Float64frombits(r.Uint64())
		for _, s := range []string{
			decimal,
			fmt.Sprintf("%se%d", decimal, r.IntN(60)-30),
			strconv.FormatFloat(r.NormFloat64()*1000, 'f', -1, 64),
			strconv.FormatFloat(r.Float64(), 'e', r.IntN(20), 64),
		} {
			if !checkFloat(t, s) {
				t.Fatalf("%q was rejected", s)
			}
		}
		if !math.IsNaN(v) && !math.IsInf(v, 0) && !checkFloat(t, strconv.FormatFloat(v, 'g', -1, 64)) {
			t.Fatalf("%v was rejected", v)
		}
	}
}

func TestDigitsStopAtAnyOtherByte(t *testing.T) {
	for run := range 20 {
		want := uint64(0)
		for i := range run {
			want = want*10 + uint64(i%9+1)
		}
		for stop := range 256 {
			if '0' <= stop && stop <= '9' {
				continue
			}
			b := []byte("12345678912345678912"[:run])
			b = append(b, byte(stop))
			b = append(b, "99999999\xff"...)
			if got, count := digits(b, 0); count != run || got != want {
				t.Fatalf("%q: got %d of %d digits", b, got, count)
			}
			if got, count := digits(b[:run+1], 0); count != run || got != want {
				t.Fatalf("%q at the end: got %d of %d digits", b[:run+1], got, count)
			}
		}
	}
}

func FuzzFloat(f *testing.F) {
	for _, seed := range []string{
		"1", "-0.5", "199.97809188009152", "9007199254740993e-5", "1e308", "1e309", "0.000000000000000000001", "1_0", "0x1p4", "12i", ".e1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) { checkFloat(t, s) })
}

// The unit that a message names is the one that the time was read in.
func TestUnitOfATimestamp(t *testing.T) {
	for _, limit := range []int64{0, endSeconds, endMilliseconds, endMicroseconds, math.MaxInt64 - 1} {
		for _, stamp := range []int64{limit - 1, limit, limit + 1, -limit - 1, -limit, -limit + 1} {
			want := Milliseconds(stamp)
			got, ok := Dialect{Unit: Dialect{}.unit(stamp)}.milliseconds(stamp)
			if !ok || got != want {
				t.Errorf("%d in %v is %d ms, but was read as %d ms", stamp, Dialect{}.unit(stamp), got, want)
			}
		}
	}
	f := func(line, stamp, unit string, ok bool) {
		t.Helper()
		if gotStamp, gotUnit, gotOK := (Dialect{}).Timestamp([]byte(line)); gotStamp != stamp || gotUnit != unit || gotOK != ok {
			t.Errorf("%q: %q, %q, %v", line, gotStamp, gotUnit, gotOK)
		}
	}
	f("m value=1 5", "5", "seconds", true)
	f("m value=1   -1700000000123  \r", "-1700000000123", "milliseconds", true)
	f("m value=1 "+strings.Repeat("0", 60_000)+"7", "7", "seconds", true)
	f("m value=1", "", "", false)
	f(`m value=1,s="a 5"`, "", "", false)
	f("", "", "", false)
}
