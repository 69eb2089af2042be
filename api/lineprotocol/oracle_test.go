package lineprotocol

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	influx "github.com/influxdata/line-protocol/v2/lineprotocol"
)

// entry is what the library reads from a line.
type entry struct {
	metric string
	tags   []Tag
	fields []field
	time   string // empty: none
}

type field struct {
	name  string
	value influx.Value
}

// entries reads a batch with the library alone. A nil entry is a syntax error.
func entries(batch []byte) []*entry {
	var all []*entry
	for d := influx.NewDecoderWithBytes(bytes.Clone(batch)); d.Next(); {
		e, err := readEntry(d)
		if err != nil {
			e = nil
		}
		all = append(all, e)
	}
	return all
}

func readEntry(d *influx.Decoder) (*entry, error) {
	metric, err := d.Measurement()
	if err != nil {
		return nil, err
	}
	e := &entry{metric: string(metric)}
	for {
		name, value, err := d.NextTag()
		if err != nil {
			return nil, err
		}
		if name == nil {
			break
		}
		e.tags = append(e.tags, Tag{string(name), string(value)})
	}
	for {
		name, value, err := d.NextField()
		if err != nil {
			return nil, err
		}
		if name == nil {
			break
		}
		if value.Kind() == influx.String {
			value = influx.MustNewValue(value.StringV()) // a copy
		}
		e.fields = append(e.fields, field{string(name), value})
	}
	stamp, err := d.TimeBytes()
	if err != nil {
		return nil, err
	}
	e.time = string(stamp)
	if e.time != "" {
		_, err = strconv.ParseInt(e.time, 10, 64)
	}
	return e, err
}

// difference is a reason to reject a line that the library accepts.
type difference struct {
	why     string
	example string
	applies func(line []byte, e *entry) bool
}

// stricter lists all differences. They are decided by what the library read, so that none can hide
// a bug of ours.
var stricter = []difference{
	{
		"a line has exactly one field named value",
		"m value=1,value=2",
		func(_ []byte, e *entry) bool { return len(e.samples()) != 1 },
	},
	{
		"the value is a number",
		`m value="1"`,
		func(_ []byte, e *entry) bool {
			samples := e.samples()
			return len(samples) == 1 && math.IsNaN(asFloat(samples[0]))
		},
	},
	{
		"memory is bounded: the line",
		"m value=1" + strings.Repeat(" ", MaxLine),
		func(line []byte, _ *entry) bool { return len(line) > MaxLine },
	},
	{
		"memory is bounded: the key",
		"m" + strings.Repeat("m", MaxKey) + " value=1",
		func(line []byte, _ *entry) bool { return keyEnd(bytes.TrimLeft(line, " ")) > MaxKey },
	},
	{
		"memory is bounded: the tags",
		manyTags(MaxTags+1) + " value=1",
		func(_ []byte, e *entry) bool { return len(e.tags) > MaxTags },
	},
	{
		"a tag that appears twice is ambiguous",
		"m,a=1,a=2 value=1",
		func(_ []byte, e *entry) bool {
			names := map[string]bool{}
			for _, tag := range e.tags {
				names[tag.Name] = true
			}
			return len(names) < len(e.tags)
		},
	},
	{
		"a type-id needs a type",
		"m,type-id=0 value=1",
		func(_ []byte, e *entry) bool { return e.tag("type-id") != "" && e.tag("type") == "" },
	},
	{
		"a stype-id needs a stype",
		"m,stype-id=0 value=1",
		func(_ []byte, e *entry) bool { return e.tag("stype-id") != "" && e.tag("stype") == "" },
	},
}

// laxComment reports whether a line is a comment. A comment may contain control characters, which
// the library rejects; in nothing else are we less strict.
func laxComment(line []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(line, " "), []byte("#"))
}

func (e *entry) samples() []influx.Value {
	var values []influx.Value
	for _, f := range e.fields {
		if f.name == "value" {
			values = append(values, f.value)
		}
	}
	return values
}

func (e *entry) tag(name string) string {
	if i := slices.IndexFunc(e.tags, func(t Tag) bool { return t.Name == name }); i >= 0 {
		return e.tags[i].Value
	}
	return ""
}

// asFloat returns NaN for a value that is not a number. The library never accepts NaN itself.
func asFloat(v influx.Value) float64 {
	switch x := v.Interface().(type) {
	case float64:
		return x
	case int64:
		return float64(x)
	case uint64:
		return float64(x)
	}
	return math.NaN()
}

// compareLine compares our result for one line, without its newline, with the library's.
func compareLine(t *testing.T, line []byte) {
	t.Helper()
	ours := scanAll(t, line)
	theirs := entries(line)
	switch {
	case laxComment(line) && len(line) <= MaxLine:
		if len(ours) != 0 {
			t.Fatalf("%q: got %+v for a comment", line, ours)
		}
		return
	case len(theirs) == 0 && len(line) <= MaxLine:
		if len(ours) != 0 {
			t.Fatalf("%q: got %+v, the library ignores it", line, ours)
		}
		return
	case len(ours) != 1:
		t.Fatalf("%q: got %+v for one line", line, ours)
	}
	key, reason := ours[0].Key, ours[0].reason
	if reason == "" {
		if _, err := ParseKey(key); err != nil {
			reason = err.Error()
		}
	}
	if reason != "" {
		checkReason(t, reason)
		compareRejected(t, line, reason, theirs)
		return
	}
	if len(theirs) != 1 || theirs[0] == nil {
		t.Fatalf("%q: got %+v, the library rejects it", line, ours)
	}
	compareAccepted(t, line, ours[0].Line, theirs[0])
}

func compareRejected(t *testing.T, line []byte, reason string, theirs []*entry) {
	t.Helper()
	if len(theirs) != 1 || theirs[0] == nil {
		return
	}
	for _, s := range stricter {
		if s.applies(line, theirs[0]) {
			return
		}
	}
	t.Fatalf("%q: rejected (%s), the library accepts it", line, reason)
}

func compareAccepted(t *testing.T, line []byte, l Line, e *entry) {
	t.Helper()
	for _, s := range stricter {
		if s.applies(line, e) {
			t.Fatalf("%q: accepted, but %s", line, s.why)
		}
	}
	metric, tags, err := splitKey(l.Key)
	if err != nil || metric != e.metric || !slices.Equal(tags, e.tags) {
		t.Fatalf("%q: got metric %q, tags %q, %v, want %q, %q", line, metric, tags, err, e.metric, e.tags)
	}
	want := asFloat(e.samples()[0])
	if math.Float64bits(l.Value) != math.Float64bits(want) {
		t.Fatalf("%q: got value %v, want %v", line, l.Value, want)
	}
	if l.HasTime != (e.time != "") {
		t.Fatalf("%q: got a timestamp: %v, want %q", line, l.HasTime, e.time)
	}
	if l.HasTime {
		n, _ := strconv.ParseInt(e.time, 10, 64) // readEntry checked it
		if l.Time != Milliseconds(n) {
			t.Fatalf("%q: got time %d, want %d", line, l.Time, Milliseconds(n))
		}
	}
}

// compareBatch checks that a batch gives the same results as its lines one by one. If no string can
// span a newline, it also checks that the library finds as many samples in it.
func compareBatch(t *testing.T, batch []byte) {
	t.Helper()
	var want []string
	special := false // some line means something else to the library
	for i, line := range bytes.Split(batch, []byte("\n")) {
		compareLine(t, line)
		for _, s := range scanAll(t, line) {
			s.Number = i + 1
			want = append(want, fmt.Sprintf("%+v", s))
		}
		special = special || bytes.ContainsRune(line, '"') || laxComment(line) || len(line) > MaxKey
	}
	var got []string
	good := 0
	for _, s := range scanAll(t, batch) {
		got = append(got, fmt.Sprintf("%+v", s))
		if _, err := ParseKey(s.Key); err == nil && s.reason == "" {
			good++
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%q:\n got %q\nwant %q", batch, got, want)
	}
	accepted := 0
	for _, e := range entries(batch) {
		if e != nil && !slices.ContainsFunc(stricter, func(s difference) bool { return s.applies(nil, e) }) {
			accepted++
		}
	}
	if !special && accepted != good {
		t.Fatalf("%q: got %d samples, the library %d", batch, good, accepted)
	}
}

func checkReason(t *testing.T, reason string) {
	t.Helper()
	printable := func(r rune) bool { return r == ' ' || strconv.IsPrint(r) }
	if !utf8.ValidString(reason) || len(reason) > 200 || strings.ContainsFunc(reason, func(r rune) bool { return !printable(r) }) {
		t.Fatalf("a reason is too long or not printable: %q", reason)
	}
}

func TestEveryStricterRuleIsEnforced(t *testing.T) {
	for _, s := range stricter {
		line := []byte(s.example)
		theirs := entries(line)
		if len(theirs) != 1 || theirs[0] == nil || !s.applies(line, theirs[0]) {
			t.Errorf("%s: the library rejects the example %.100q", s.why, line)
			continue
		}
		if ours := scanAll(t, line); len(ours) == 1 && ours[0].reason == "" {
			if _, err := ParseKey(ours[0].Key); err == nil {
				t.Errorf("%s: but %.100q is accepted", s.why, line)
			}
		}
	}
}

// A newline ends a quoted string. To the library the first two lines here are one, and an open
// quote would swallow the rest of the batch.
func TestNewlineEndsAString(t *testing.T) {
	batch := []byte("a s=\"x\ny\",value=1\nb value=2\n")
	if theirs := entries(batch); len(theirs) != 2 || theirs[0] == nil {
		t.Errorf("the library reads %+v", theirs)
	}
	ours := scanAll(t, batch)
	if len(ours) != 3 || ours[0].reason == "" || ours[1].reason == "" || ours[2].reason != "" {
		t.Errorf("got %+v", ours)
	}
}

func TestSampleAgainstTheLibrary(t *testing.T) {
	compareBatch(t, sample(t))
	compareBatch(t, synthetic())
}

// TestRandomLinesAgainstTheLibrary builds lines from parts that matter to the grammar, which
// reaches more cases than random bytes.
func TestRandomLinesAgainstTheLibrary(t *testing.T) {
	const seed = 3
	r := rand.New(rand.NewPCG(seed, seed))
	pick := func(options ...string) string { return options[r.IntN(len(options))] }
	junk := func() string {
		return pick(",", "=", " ", `\`, `"`, "\r", "\r\n", "\n", "\t", "#", "\x00", "\xff", "é", "i", "u", "e", "-", ".", "0", "value")
	}
	parts := []func() string{
		func() string { return pick("m", "m", "m", `m\ x`, `m\,`, "m=", "#", " m", "") },
		func() string {
			return pick("", "", ",", ",a=", ",=") + pick(",cluster=c", ",type=node", ",type-id=0", `,b\==\ `, `,b=\\`)
		},
		func() string { return pick(",host=h", ",hostname=h", ",stype=s", ",stype-id=0", "", "", `\`) },
		func() string { return pick(" ", " ", " ", "  ", ",", "") },
		func() string {
			return pick("value=", "value=", "value=", `s="a\" `, `s="a b",value=`, "x=1,value=", "values=")
		},
		func() string {
			return pick("", "", "-", "+") + pick("0", "7", "1795308589282213803", "9007199254740993", "199.97809188009152", ".5", "5.", "t", `"s"`, "nan")
		},
		func() string {
			return pick("", "", "", "i", "u", "e3", "e-7", "e+400", "e", "_1", ",y=2", ",y=x", ",value=1")
		},
		func() string { return pick(" ", " ", "  ", "", "\r\n") },
		func() string {
			return pick("1", "1700000000", "1795308589282213803", "-5", "99999999999999999999", "-", "", "")
		},
		func() string { return pick("\n", "\n", "\n", "\n\n", "\r\n", " ", " 5", "") },
	}
	for range 5_000 {
		var batch []byte
		for range 1 + r.IntN(3) {
			for _, part := range parts {
				batch = append(batch, part()...)
			}
		}
		if at := r.IntN(4 * len(batch)); at < len(batch) {
			batch = slices.Insert(batch, at, []byte(junk())...)
		}
		compareBatch(t, batch)
	}
}

// FuzzScanner compares the results for any batch with the library's, apart from the differences
// above.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		"", "\n", " \r\n", "#\n", "# c\t\n", "  # x", "\r", "\r\r\n", "a",
		"m,cluster=c,hostname=h,type=hwthread,type-id=0,unit=Percent value=0.19997809188009152 1795308589282213803\n",
		"m,hostname=h,type=node value=28807894i 1700000000\nm,hostname=h value=253u 1700000000000\n",
		"m value=1\r\nm value=2 5\r\n", "m value=1 \rx\nm value=2", "m value=1\r\r\n", "m value=-0i\nm value=-0",
		`m\ x,a\,=b\=\\ value=1 5`, `m,a=\ value=1`, `m,a=b\\ value=1`, `m\\,a=b value=1`, `m,a=b\`, `m,a\=b=c value=1`,
		`m value=1,s="a b\"c" 5`, "m s=\"a\nb\",value=1\nc value=2", `m s="open,value=1`, `m value="1"`, "m value=t",
		"m value=1e5", "m value=1e999", "m value=-inf", "m value=0x1p-2", "m value=1_0", "m value=1.i", "m value=.e1",
		"m value=9223372036854775808i", "m value=-9223372036854775808i", "m value=18446744073709551615u",
		"m value=9007199254740993.0", "m value=9999999999999999999e-19", "m value=1e-23", "m value=123456789012345678901234567890",
		"m value=1 -5", "m value=1 --5", "m value=1 9223372036854775808", "m value=1 -9223372036854775808", "m value=1 007",
		"m value=1  5 ", "m  value=1", " m value=1", "m,a=b,a=c value=1", "m,=b value=1", "m,a=b=c value=1", "m,a=b, value=1",
		"m,host=a,hostname=b value=1", "m,type-id=1 value=1", "m value=1,value=2", "m other=1", "m,a=\xff value=1", "m\x00 value=1",
		"m v\xffx=1,value=1", "m value=1,s=\"\xff\"", "\xef\xbb\xbfm value=1", "m,a=b\tc value=1", "m value=1\t5", "m\x7f value=1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, batch []byte) { compareBatch(t, batch) })
}
