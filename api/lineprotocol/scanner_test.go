package lineprotocol

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// scanned is the result of one line.
type scanned struct {
	Line
	reason string // of a rejected line, else empty
}

func scanAll(tb testing.TB, batch []byte) []scanned {
	tb.Helper()
	var s Scanner
	s.Reset(batch)
	var all []scanned
	for {
		var l Line
		ok, err := s.Next(&l)
		if !ok {
			if err != nil {
				tb.Fatalf("an error without a line: %v", err)
			}
			return all
		}
		result := scanned{Line: l}
		if err != nil {
			bad, ok := errors.AsType[*LineError](err)
			if !ok || bad.Line != l.Number || bad.Reason == "" {
				tb.Fatalf("line %d: got error %#v", l.Number, err)
			}
			result.reason = bad.Reason
		}
		all = append(all, result)
	}
}

func TestScannerAccepts(t *testing.T) {
	const none = math.MinInt64
	f := func(line, key string, value float64, time int64) {
		t.Helper()
		got := scanAll(t, []byte(line))
		want := Line{Number: 1, Key: []byte(key), Value: value}
		if time != none {
			want.Time, want.HasTime = time, true
		}
		if len(got) != 1 || got[0].reason != "" {
			t.Errorf("%q: got %+v, want one line", line, got)
			return
		}
		if g := got[0].Line; fmt.Sprintf("%+v", g) != fmt.Sprintf("%+v", want) ||
			math.Float64bits(g.Value) != math.Float64bits(value) {
			t.Errorf("%q:\n got %+v\nwant %+v", line, g, want)
		}
	}

	// The plain shape.
	f("m value=1", "m", 1, none)
	f("m,a=b value=1.5 1700000000\n", "m,a=b", 1.5, 1700000000000)
	f("m,cluster=c,hostname=h value=7i 1\n", "m,cluster=c,hostname=h", 7, 1000)
	f("m value=7u", "m", 7, none)
	f("m value=-7i", "m", -7, none)
	f("m value=-0i", "m", 0, none)
	f("m value=-0", "m", math.Copysign(0, -1), none)
	f("m value=.5", "m", .5, none)
	f("m value=5.", "m", 5, none)
	f("m value=2.418424e+07", "m", 24184240, none)
	f("m value=1E-3", "m", 1e-3, none)
	f("m value=9223372036854775807i", "m", math.MaxInt64, none)
	f("m value=-9223372036854775808i", "m", math.MinInt64, none)
	f("m value=18446744073709551615u", "m", math.MaxUint64, none)
	f("m value=199.97809188009152", "m", 199.97809188009152, none)
	f("m value=1e-999", "m", 0, none)
	f("m value=1e-0000000000000000000000000000000001", "m", .1, none)
	f("m value=0e18446744073709551617", "m", 0, none)
	f("m value=5e-324", "m", 5e-324, none)
	f("m value=1.7976931348623157e308", "m", math.MaxFloat64, none)

	// The unit of a timestamp follows from its size. Times are rounded down.
	f("m value=1 0", "m", 1, 0)
	f("m value=1 99999999999", "m", 1, 99999999999000)
	f("m value=1 100000000000", "m", 1, 100000000000)
	f("m value=1 99999999999999", "m", 1, 99999999999999)
	f("m value=1 100000000000000", "m", 1, 100000000000)
	f("m value=1 1700000000123999", "m", 1, 1700000000123)
	f("m value=1 99999999999999999", "m", 1, 99999999999999)
	f("m value=1 100000000000000000", "m", 1, 100000000000)
	f("m value=1 1795308589282213803", "m", 1, 1795308589282)
	f("m value=1 9223372036854775807", "m", 1, 9223372036854)
	f("m value=1 -1", "m", 1, -1000)
	f("m value=1 -100000000000001", "m", 1, -100000000001)
	f("m value=1 -9223372036854775808", "m", 1, -9223372036855)
	f("m value=1 00000000000000000000000012", "m", 1, 12000)

	// Not plain: the library decodes them.
	f("  m value=1", "m", 1, none)
	f("m   value=1   5   ", "m", 1, 5000)
	f("m value=1 ", "m", 1, none)
	f("m value=1\r\n", "m", 1, none)
	f("m value=1 5\r\n", "m", 1, 5000)
	f(`m,a=b\ c value=1`, `m,a=b\ c`, 1, none)
	f(`m\ value\=1,a=b value=2`, `m\ value\=1,a=b`, 2, none)
	f(`m,a=b\\ value=1 value=2`, `m,a=b\\ value=1`, 2, none)
	f("m other=1,value=2i 5", "m", 2, 5000)
	f(`m value=2,text="a value=3, \"x\" " 5`, "m", 2, 5000)
	f(`m flag=true,value=2`, "m", 2, none)
	f("m value=0x1p-2", "m", .25, none)
	f("m value=1_000", "m", 1000, none)
	f("m value=0.00000000000000000000000000000000000012345678901234567", "m", 1.2345678901234567e-37, none)
}

func TestScannerRejects(t *testing.T) {
	f := func(line, reason string) {
		t.Helper()
		got := scanAll(t, []byte(line))
		if len(got) != 1 || got[0].reason != reason {
			t.Errorf("%.200q:\n got %.300s\nwant %s", line, fmt.Sprintf("%+v", got), reason)
		}
	}

	// No sample.
	f("m", "no field after the metric and its tags")
	f("m,a=b\n", "no field after the metric and its tags")
	f(`m\ value=1`, "no field after the metric and its tags")
	f("\t", "no field after the metric and its tags")
	f("m ", "the line ends where a field is expected")
	f("m 5", `the line ends where a field is expected`)
	f("m values=1", `no field named "value"`)
	f("m Value=1 5", `no field named "value"`)
	f("m value=1,value=2", `field "value" appears twice`)

	// Values.
	f(`m value="1"`, `field "value": a string is not a number`)
	f("m value=true", `field "value": a bool is not a number`)
	f("m value=12x 5", `field "value": "12x" is not a finite number`)
	f("m value=1.5i", `field "value": "1.5" is not a finite number`)
	f("m value=-5u", `field "value": "-5" is not a finite number`)
	f("m value=-", `field "value": "-" is not a finite number`)
	f("m value=.", `field "value": "." is not a finite number`)
	f("m value=1e", `field "value": "1e" is not a finite number`)
	f("m value=1e+", `field "value": "1e+" is not a finite number`)
	f("m value=-inf", `field "value": "-inf" is not a finite number`)
	f("m value=-nan", `field "value": "-nan" is not a finite number`)
	f("m value=1e999", `field "value": "1e999" is out of range`)
	f("m value=-1e309 5", `field "value": "-1e309" is out of range`)
	f("m value=9223372036854775808i", `field "value": "9223372036854775808" is out of range`)
	f("m value=-9223372036854775809i", `field "value": "-9223372036854775809" is out of range`)
	f("m value=18446744073709551616u", `field "value": "18446744073709551616" is out of range`)
	f("m value=1,other=1x", `field "other": "1x" is not a finite number`)
	f("m value=NaN 5", `column 9: malformed field: "NaN 5"`)
	f("m value=+5", `column 9: malformed field: "+5"`)
	f("m value=", "the line ends where a field is expected")
	f("m value", "the line ends where a field is expected")
	f("m value 5", `column 8: malformed field: " 5"`)
	f("m value=1,", "the line ends where a field is expected")
	f(`   m value=1,s="open 5`, `column 16: malformed field: "\"open 5"`)
	f(`m s="a"b,value=1`, `column 8: malformed field: "b,value=1"`)

	// Timestamps.
	f("m value=1 12x", `column 11: malformed timestamp: "12x"`)
	f("m value=1 1.5", `column 11: malformed timestamp: "1.5"`)
	f("m value=1 1e9", `column 11: malformed timestamp: "1e9"`)
	f("m value=1 5 6", `column 13: malformed timestamp: "6"`)
	f("m value=1 -", `timestamp "-" is not an integer`)
	f("m value=1 5-5", `timestamp "5-5" is not an integer`)
	f("m value=1 9223372036854775808", `timestamp "9223372036854775808" is out of range`)
	f("m value=1 \x00", `column 11: malformed timestamp: "\x00"`)
	f("m value=1\r\r\n", `column 10: malformed timestamp: "\r\r"`)

	// Keys of lines that are not plain. ParseKey checks those of plain lines.
	f(" ,a=b value=1", "no metric name")
	f("m,a value=1,b=2", `tag "a" has no '='`)
	f("m,a= values=1", `tag "a" has no value`)

	// Bounds, and input that must be truncated or escaped.
	f("m "+strings.Repeat("x", MaxLine), "the line is longer than 65536 bytes")
	f("#"+strings.Repeat("x", MaxLine), "the line is longer than 65536 bytes")
	f(strings.Repeat("k", MaxKey+1)+" value=1", "the metric and its tags are longer than 4096 bytes")
	f("m value=1"+strings.Repeat("1", 1000)+"x",
		`field "value": "1`+strings.Repeat("1", 58)+`"... is not a finite number`)
	f("m value=1 \x1b[31m\xff", `column 11: malformed timestamp: "\x1b[31m\xff"`)
	f("m \xff=1,value=1", `column 3: malformed field: "\xff=1,value=1"`)
}

func TestScannerContinuesAfterABadLine(t *testing.T) {
	long := strings.Repeat("x", 3*MaxLine)
	batch := "a value=1\n" + // 1
		"\n" +
		"# comment\n" +
		"  # indented comment, with a \t\n" +
		"b value=\n" + // 5
		"c value=\"open\n" +
		"d value=2 5\n" +
		long + "\n" +
		"  \n\r\n" +
		"e value=3" // 11
	var got []string
	for _, s := range scanAll(t, []byte(batch)) {
		got = append(got, fmt.Sprintf("%d %s %v %s", s.Number, s.Key, s.Value, s.reason))
	}
	want := []string{
		"1 a 1 ",
		"5  0 the line ends where a field is expected",
		`6  0 column 9: malformed field: "\"open"`,
		"7 d 2 ",
		"8  0 the line is longer than 65536 bytes",
		"11 e 3 ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestScannerBoundsAreInclusive(t *testing.T) {
	key := strings.Repeat("k", MaxKey)
	comment := `m value=1,s="` + strings.Repeat("x", MaxLine-len(`m value=1,s=""`)) + `"`
	for _, line := range []string{key + " value=1", comment} {
		if got := scanAll(t, []byte(line)); len(got) != 1 || got[0].reason != "" {
			t.Errorf("%d bytes: got %.200s", len(line), fmt.Sprintf("%+v", got))
		}
	}
}

func TestScannerIsReusable(t *testing.T) {
	var s Scanner
	var l Line
	if ok, err := s.Next(&l); ok || err != nil {
		t.Errorf("zero scanner: got %v, %v", ok, err)
	}
	for _, batch := range []string{"a value=1 1700000000\n#\n", "b value=1 1700000000\n#\n"} {
		s.Reset([]byte(batch))
		if ok, err := s.Next(&l); !ok || err != nil || string(l.Key) != batch[:1] || l.Number != 1 {
			t.Errorf("%q: got %v, %v, %+v", batch, ok, err, l)
		}
		if ok, err := s.Next(&l); ok || err != nil || s.Lines() != 2 {
			t.Errorf("%q: got %v, %v after %d lines", batch, ok, err, s.Lines())
		}
	}
}

func TestScannerKeysAliasTheBatch(t *testing.T) {
	batch := []byte("  a,b=c value=1")
	got := scanAll(t, batch)
	batch[2] = 'z'
	if string(got[0].Key) != "z,b=c" {
		t.Errorf("got key %q", got[0].Key)
	}
}

func TestScannerAllocatesNothingOnPlainLines(t *testing.T) {
	batch := append(sample(t), synthetic()...)
	var s Scanner
	var l Line
	allocs := testing.AllocsPerRun(5, func() {
		s.Reset(batch)
		for ok, err := s.Next(&l); ok; ok, err = s.Next(&l) {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations in %d lines", allocs, s.Lines())
	}
}

func TestCut(t *testing.T) {
	f := func(buf, complete, rest string) {
		t.Helper()
		c, r := Cut([]byte(buf))
		if string(c) != complete || string(r) != rest {
			t.Errorf("%q: got %q, %q", buf, c, r)
		}
	}
	f("", "", "")
	f("a", "", "a")
	f("a\n", "a\n", "")
	f("a\nb\nc", "a\nb\n", "c")
	f("a s=\"x\ny\" 5", "a s=\"x\n", "y\" 5")
}

func TestQuoteIsBounded(t *testing.T) {
	for _, unit := range []string{"a", "\x00", "\xff", "\"", "é", "\U000e0001"} {
		for n := range 100 {
			input := bytes.Repeat([]byte(unit), n)
			if q := quote(input); len(q) > maxQuoted || strings.ContainsRune(q, 0) || !utf8.ValidString(q) {
				t.Errorf("%q repeated %d times: %d bytes: %s", unit, n, len(q), q)
			}
		}
	}
}
