package lineprotocol

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// each scans a batch with EachField and returns what it found as "line key field=value @ms".
func each(batch string, unit time.Duration) (found []string) {
	var s Scanner
	s.ResetTo(Dialect{EachField: true, Unit: unit}, []byte(batch))
	for {
		var l Line
		ok, err := s.Next(&l)
		switch {
		case !ok:
			return found
		case err != nil:
			found = append(found, err.Error())
			continue
		}
		text := fmt.Sprintf("%d %s %s=%v", l.Number, l.Key, l.Field, l.Value)
		if l.HasTime {
			text += fmt.Sprint(" @", l.Time)
		}
		found = append(found, text)
	}
}

func TestEachFieldIsASample(t *testing.T) {
	f := func(batch string, want ...string) {
		t.Helper()
		if got := each(batch, 0); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%q:\n%s\nwant\n%s", batch, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	f("")
	f("# nothing\n\n \r\n")
	f("cpu,host=n1 user=1.5", "1 cpu,host=n1 user=1.5")
	f("cpu,host=n1 user=1.5,system=2i,idle=3u 1700000000", "1 cpu,host=n1 user=1.5 @1700000000000",
		"1 cpu,host=n1 system=2 @1700000000000", "1 cpu,host=n1 idle=3 @1700000000000")
	f("load,host=n1 value=1,load5=2", "1 load,host=n1 =1", "1 load,host=n1 load5=2")
	f("up,host=n1 a=t,b=true,c=T,d=f,e=FALSE 1700000000000000000", "1 up,host=n1 a=1 @1700000000000",
		"1 up,host=n1 b=1 @1700000000000", "1 up,host=n1 c=1 @1700000000000", "1 up,host=n1 d=0 @1700000000000", "1 up,host=n1 e=0 @1700000000000")
	f("system,host=n1 uptime_format=\"1 day, 2:03\",uptime=5i\nx v=1", "1 system,host=n1 uptime=5", "2 x v=1")
	f(`system,host=n1 text="only"`)
	f(`m,host=a\ b f\ g=1,h=2`, `1 m,host=a\ b f g=1`, `1 m,host=a\ b h=2`)
	f("m a=1\n\nm a=2\r\nm a=3", "1 m a=1", "3 m a=2", "4 m a=3")

	// A bad field rejects its whole line, and no other line.
	f("m a=1,b=NaN,c=3\nm a=4", `line 1: column 9: malformed field: "NaN,c=3"`, "2 m a=4")
	f("m a=1,b=1e999\nm a=4", `line 1: field "b": "1e999" is out of range`, "2 m a=4")
	f("m a=1,\nm a=4", "line 1: the line ends where a field is expected", "2 m a=4")
	f("m a=1,b\nm a=4", `line 1: the line ends where a field is expected`, "2 m a=4")
	f("m a=1 12x\nm a=4", `line 1: column 7: malformed timestamp: "12x"`, "2 m a=4")
	f("m\nm a=4", "line 1: no field after the metric and its tags", "2 m a=4")
	f(",x=1 a=t", "line 1: no metric name")
	f("m a=1 99999999999999999999", `line 1: timestamp "99999999999999999999" is out of range`)
	f("m a="+strings.Repeat("1", MaxLine), fmt.Sprintf("line 1: the line is longer than %d bytes", MaxLine))
}

func TestUnitsOfTimestamps(t *testing.T) {
	f := func(stamp string, unit time.Duration, want string) {
		t.Helper()
		// A plain line, and one for the library.
		for _, field := range []string{"a=1", `a=1,b="text"`} {
			if got := each("m "+field+" "+stamp, unit); len(got) != 1 || got[0] != want {
				t.Errorf("%s in units of %v: %q, want %q", stamp, unit, got, want)
			}
		}
	}
	f("1700000000123456789", time.Nanosecond, "1 m a=1 @1700000000123")
	f("1700000000123456", time.Microsecond, "1 m a=1 @1700000000123")
	f("1700000000123", time.Millisecond, "1 m a=1 @1700000000123")
	f("1700000000", time.Second, "1 m a=1 @1700000000000")
	f("28333333", time.Minute, "1 m a=1 @1699999980000")
	f("472222", time.Hour, "1 m a=1 @1699999200000")
	f("1700000000", time.Nanosecond, "1 m a=1 @1700") // the unit does not follow from the size
	f("-1", time.Nanosecond, "1 m a=1 @-1")
	f("9223372036854775807", time.Second, `line 1: timestamp "9223372036854775807" is out of range`)
	f("-9223372036854775808", time.Hour, `line 1: timestamp "-9223372036854775808" is out of range`)
}

// The library reads every plain line like the plain path.
func FuzzEachField(f *testing.F) {
	for _, seed := range []string{
		"cpu,host=n1 value=1.5 1700000000", "m a=1,b=2i,c=3u 5", `m a="x, y",b=1`, "m a=1,b=t", "m a=1,a=2", "m a=1,", "m =1", "m a==1",
		`m a\=b=1`, `m a\,b=1`, "m \x01=1", "m \xff=1", "m a=1 ", "m a=1  5", " m a=1", "m a=1\r", "m a=1 5\r", `m "a"=1`, "m a=-0,b=1e5,c=.5",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "\n") {
			return
		}
		var plain, other Scanner
		plain.ResetTo(Dialect{EachField: true}, nil)
		plain.number, other.number = 1, 1
		if ignorable([]byte(line)) || !plain.scanPlainFields([]byte(line)) {
			return
		}
		key := plain.fields.all[0].Key
		if _, err := ParseKey(key); err != nil {
			return // Next does not parse keys
		}
		if err := other.scanOtherFields([]byte(line)); err != nil {
			t.Fatalf("%q: the library rejects it: %v", line, err)
		}
		if len(plain.fields.all) != len(other.fields.all) {
			t.Fatalf("%q: %d fields, the library has %d", line, len(plain.fields.all), len(other.fields.all))
		}
		for i, p := range plain.fields.all {
			o := other.fields.all[i]
			if string(p.Field) != string(o.Field) || math.Float64bits(p.Value) != math.Float64bits(o.Value) || p.Time != o.Time || p.HasTime != o.HasTime || string(p.Key) != string(o.Key) {
				t.Fatalf("%q: field %d: %+v, the library has %+v", line, i, p, o)
			}
		}
	})
}
