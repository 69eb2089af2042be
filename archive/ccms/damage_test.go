package ccms

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const (
	from, to = 990, 1010
	jsonPath = "c/h/990.json"
)

func small() level {
	return level{
		metrics: []metric{{"load", 2, 1000, []float64{1.5, 2.5, 3.5}}, {"mem", 2, 1000, []float64{7, 8, 9}}},
		children: map[string]level{
			"hwthread0": {metrics: []metric{{"ipc", 2, 1000, []float64{0.5, 0.25, 4}}}, children: map[string]level{
				"networketh0": {metrics: []metric{{"rx", 2, 1000, []float64{1, 2}}}},
			}},
		},
	}
}

// Damage is reported with its place, and everything else is kept.
func TestDamage(t *testing.T) {
	f := func(name, content, want string, kept ...string) {
		t.Run(name, func(t *testing.T) {
			got, sum := collect(t, dir(map[string][]byte{name[:strings.Index(name, " ")]: []byte(content), "c/z/1.json": []byte(`{}`)}), Options{})
			var all []string
			for _, d := range sum.Damage {
				all = append(all, d.Error())
			}
			if text := strings.Join(all, "; "); (want == "") != (text == "") || !strings.Contains(text, want) {
				t.Errorf("damage %q, want %q", text, want)
			}
			if sum.Files != 2 || sum.Damaged != len(sum.Damage) {
				t.Errorf("%+v", sum)
			}
			for _, k := range kept {
				if len(got["c|h|"+k+"||||"]) == 0 {
					t.Errorf("%s is lost", k)
				}
			}
			if len(got) != len(kept) {
				t.Errorf("%v, want %v", got, kept)
			}
		})
	}
	good := `{"frequency":2,"start":1000,"data":[1]}`
	f("c/h/990.json empty", "", "c/h/990.json: damaged at byte 0: unexpected EOF")
	f("c/h/990.json null", "null", "")
	f("c/h/990.json list", "[]", "byte 0: a level: expected an object")
	f("c/h/990.json no members", "{}", "")
	f("c/h/990.json null members", `{"metrics":null,"children":null}`, "")
	f("c/h/990.json twice", `{"metrics":{"a":`+good+`}} {}`, "data after the end of the checkpoint", "a")
	f("c/h/990.json rubbish", `{"metrics":{"a":`+good+`,"b":oops}}`, "byte 60", "a")
	f("c/h/990.json metric of another kind", `{"metrics":{"a":`+good+`,"b":7,"c":`+good+`}}`, `"b": expected an object`, "a", "c")
	f("c/h/990.json frequency is not a number", `{"metrics":{"a":{"frequency":"2","start":1000,"data":[1]},"c":`+good+`}}`, `"frequency": expected a number`, "c")
	f("c/h/990.json frequency is zero", `{"metrics":{"a":{"frequency":0,"start":1000,"data":[1]},"c":`+good+`}}`, `expected a frequency of 1 to 31622400 seconds, got 0`, "c")
	f("c/h/990.json frequency is negative", `{"metrics":{"a":{"frequency":-9223372036854775808,"start":1000,"data":[1]},"c":`+good+`}}`, `expected a frequency of 1 to 31622400 seconds, got -`, "c")
	f("c/h/990.json frequency missing", `{"metrics":{"a":{"start":1000,"data":[1]},"c":`+good+`}}`, `expected a frequency of 1 to 31622400 seconds, got 0`, "c")
	f("c/h/990.json start too large", `{"metrics":{"a":{"frequency":2,"start":9223372036854775807,"data":[1]},"c":`+good+`}}`, `expected a start at 1 to 1099511627776, got 9223372036854775807`, "c")
	f("c/h/990.json start overflows", `{"metrics":{"a":{"frequency":2,"start":9223372036854775808,"data":[1]},"c":`+good+`}}`, `out of range`, "c")
	f("c/h/990.json start is fractional", `{"metrics":{"a":{"frequency":2,"start":1000.5,"data":[1]},"c":`+good+`}}`, `invalid syntax`, "c")
	f("c/h/990.json start outside", `{"metrics":{"a":{"frequency":2,"start":2000,"data":[1]},"c":`+good+`},"from":990,"to":1010}`, `expected values at 990 to 1010`, "c")
	f("c/h/990.json too many values", `{"metrics":{"a":{"frequency":20,"start":1000,"data":[1,2,3,4]},"c":`+good+`},"from":990,"to":1010}`, `expected values at 990 to 1010 as in the file's header, got 4 values every 20 seconds from 1000`, "c")
	f("c/h/990.json data of another kind", `{"metrics":{"a":{"frequency":2,"start":1000,"data":{}},"c":`+good+`}}`, `expected an array`, "c")
	f("c/h/990.json a value of another kind", `{"metrics":{"a":{"frequency":2,"start":1000,"data":[1,"2"]},"c":`+good+`}}`, `expected numbers and null`, "c")
	f("c/h/990.json a value out of range", `{"metrics":{"a":{"frequency":2,"start":1000,"data":[1,1e999]},"c":`+good+`}}`, `out of range`, "c")
	f("c/h/990.json no data", `{"metrics":{"a":{"frequency":2,"start":1000,"data":null},"b":{"frequency":2,"start":1000},"c":`+good+`}}`, ``, "c")
	f("c/h/990.json metric without a name", `{"metrics":{"":`+good+`,"c":`+good+`}}`, `expected the name of a metric, got an empty one`, "c")
	f("c/h/990.json too deep", `{"metrics":{"c":`+good+`},"children":{"a1":{"children":{"b2":{"children":{"c3":{}}}}}}}`, `levels below a subtype`, "c")

	bin := string(encodeBin(from, to, level{metrics: []metric{{"c", 2, 1000, []float64{1}}, {"d", 0, 1000, []float64{2}}}}))
	f("c/h/1.bin empty", "", "byte 0: the header: expected 20 bytes, got 0")
	f("c/h/1.bin of another kind", "JSON"+bin[4:], "byte 0: expected the magic number 0xcc5b0001 of a checkpoint, got 0x4e4f534a")
	f("c/h/1.bin an impossible metric", bin, `byte 51: metric "d": expected a frequency of 1 to 31622400 seconds, got 0`, "c")
	f("c/h/1.bin longer", string(encodeBin(from, to, level{metrics: []metric{{"c", 2, 1000, []float64{1}}, {"d", 2, 1000, []float64{2}}}}))+"x", "1 bytes after the end", "c")
	f("c/h/1.bin too deep", string(encodeBin(from, to, level{
		metrics:  []metric{{"c", 2, 1000, []float64{1}}, {"d", 2, 1000, []float64{1}}},
		children: map[string]level{"a1": {children: map[string]level{"b2": {children: map[string]level{"c3": {}}}}}},
	})), "levels below a subtype", "c")

	head, a, b := string(logHead), string(record(1000, "a", 1)), string(record(1000, "b", 1))
	bad := strings.Replace(string(record(1000, "bad", 1)), "bad", "BAD", 1)
	f("c/h/current.wal empty", "", "")
	f("c/h/current.wal head only", head, "")
	f("c/h/current.wal of another kind", "JSON"+a, "byte 0: expected the magic number 0xcc1da701 of a log", "a")
	f("c/h/current.wal without a head", a+b, "byte 0: expected the magic number 0xcc1da701 of a log", "a", "b")
	f("c/h/current.wal bad checksum between", head+a+bad+b, "byte 32: the checksum of a record does not match", "a", "b")
	f("c/h/current.wal bad checksum at the end", head+a+b+bad, "byte 60: the checksum of a record does not match", "a", "b")
	f("c/h/current.wal rubbish between", head+a+"some rubbish"+b, "byte 32: expected a record", "a", "b")
	f("c/h/current.wal rubbish at the end", head+a+b+"rubbish", "byte 60: expected a record", "a", "b")
	f("c/h/current.wal zeros at the end", head+a+b+strings.Repeat("\x00", 200<<10), "byte 60: expected a record", "a", "b")
	f("c/h/current.wal cut within", head+a+bad[:9]+b, "byte 32:", "a", "b")
	f("c/h/current.wal an impossible length", head+a+bad[:4]+"\xff\xff\xff\xff"+bad[8:]+b, "byte 32: expected a record of 15 to 4096 bytes, got 4294967295", "a", "b")
	payload := a[8 : len(a)-4]
	f("c/h/current.wal names that do not fit", head+string(framed([]byte(strings.Replace(payload, "\x01\x00a", "\x09\x00a", 1))))+b, "does not fit its record", "b")
	f("c/h/current.wal levels that are missing", head+string(framed([]byte(strings.Replace(payload, "a\x00", "a\x02", 1))))+b, "ends before the name of a level", "b")
	f("c/h/current.wal levels too deep", head+string(record(1000, "a", 1, "x1", "y2", "z3"))+b, "3 levels below the host", "b")
	f("c/h/current.wal metric without a name", head+string(record(1000, "", 1))+b, "expected the name of a metric, got an empty one", "b")
	f("c/h/current.wal impossible times", head+string(record(-1, "a", 1))+string(record(1<<62, "a", 1))+b, "expected a sample at 1 to 1099511627776, got one at -1", "b")
	f("c/h/current.wal bytes too many", head+string(framed([]byte(strings.Replace(payload, "a\x00", "a\x00zz", 1))))+b, "2 bytes after the names", "b")
}

// A file that is truncated anywhere keeps what was before the cut and invents nothing.
func TestCut(t *testing.T) {
	f := func(name string, b []byte, whole func(n int) int) {
		t.Run(name, func(t *testing.T) {
			all, sum := collect(t, dir(map[string][]byte{name: b}), Options{})
			if all.count() != 11 || sum.Damaged > 0 {
				t.Fatalf("%+v", sum)
			}
			for n := range len(b) {
				got, sum := collect(t, dir(map[string][]byte{name: b[:n]}), Options{})
				if d := got.within(all); d != "" {
					t.Fatalf("cut at %d: %s", n, d)
				}
				if got.count() < whole(n) {
					t.Fatalf("cut at %d: %d samples, want %d", n, got.count(), whole(n))
				}
				if name == "c/h/current.wal" {
					atEnd := n == 0 || slices.Contains(ends(b), n)
					if sum.Damaged != 0 || got.count() != whole(n) || (sum.TornTails == 0) != atEnd {
						t.Fatalf("cut at %d: %+v", n, sum)
					}
				} else if sum.Damaged != 1 || sum.Damage[0].Offset > int64(n) {
					t.Fatalf("cut at %d: %+v", n, sum)
				}
			}
		})
	}
	js, bin, log := encodeJSON(from, to, small()), encodeBin(from, to, small()), encodeLog(small())
	firstMetric := func(b []byte, end string) func(int) int {
		i := strings.Index(string(b), end)
		return func(n int) int {
			if n >= i {
				return 3
			}
			return 0
		}
	}
	f(jsonPath, js, firstMetric(js, `,"mem"`))
	f("c/h/990.bin", bin, firstMetric(bin, "\x00\x00\xe0\x40"))
	f("c/h/current.wal", log, func(n int) int { return len(slices.DeleteFunc(ends(log), func(e int) bool { return e > n || e == 4 })) })
}

// ends returns the offsets at which the head and the records of a log end.
func ends(log []byte) []int {
	all := []int{4}
	for i := 4; i < len(log); {
		i += 8 + int(log[i+4]) + 4
		all = append(all, i)
	}
	return all
}

// A flipped bit in a log loses the record that contains it, and nothing else.
func TestFlippedBitInLog(t *testing.T) {
	log := encodeLog(small())
	all, _ := collect(t, dir(map[string][]byte{"c/h/current.wal": log}), Options{})
	for bit := range 8 * len(log) {
		b := slices.Clone(log)
		b[bit/8] ^= 1 << (bit % 8)
		got, sum := collect(t, dir(map[string][]byte{"c/h/current.wal": b}), Options{})
		want, damage := all.count()-1, 1
		if bit < 8*4 {
			want = all.count()
		}
		if sum.TornTails == 1 { // the last record's length
			damage = 0
		}
		if d := got.within(all); d != "" || got.count() != want || sum.Damaged != damage {
			t.Fatalf("bit %d of byte %d: %d samples, want %d: %s; %+v", bit%8, bit/8, got.count(), want, d, sum)
		}
	}
}

// A flipped bit in a checkpoint, which has no checksum, may change a value, but no time leaves the
// span of the file and no samples are added.
func TestFlippedBitInCheckpoint(t *testing.T) {
	for name, b := range map[string][]byte{"c/h/990.bin": encodeBin(from, to, small()), jsonPath: encodeJSON(from, to, small())} {
		span, commas := 8*20, 0 // the header of the binary form; a flip there changes the span
		if name == jsonPath {
			span, commas = 0, 1 // a point, flipped to a comma, makes two values of one
		}
		for bit := range 8 * len(b) {
			c := slices.Clone(b)
			c[bit/8] ^= 1 << (bit % 8)
			got, sum := collect(t, dir(map[string][]byte{name: c}), Options{})
			where := fmt.Sprintf("%s: bit %d of byte %d", name, bit%8, bit/8)
			if got.count() > 11+commas {
				t.Fatalf("%s: %d samples", where, got.count())
			}
			known := name != jsonPath || strings.HasSuffix(string(c), `,"to":1010}`)
			if sum.Samples > 0 && bit >= span && known && (sum.Hosts[0].From < from-20 || sum.Hosts[0].To > to+20) {
				t.Fatalf("%s: %+v", where, sum.Hosts[0])
			}
		}
	}
}

// The list of damage is bounded; the count is complete.
func TestDamageIsCounted(t *testing.T) {
	log := slices.Clone(logHead)
	for range 1000 {
		log = append(append(log, "rubbish"...), record(1000, "a", 1)...)
	}
	_, sum := collect(t, dir(map[string][]byte{"c/h/current.wal": log}), Options{})
	if sum.Damaged != 1000 || len(sum.Damage) != maxDamage || sum.Samples != 1000 {
		t.Error(sum.Damaged, len(sum.Damage), sum.Samples)
	}
}

func FuzzJSON(f *testing.F) {
	f.Add(encodeJSON(from, to, small()))
	f.Add([]byte(`{"metrics":{"m":{"data":[1,null,-1e3],"start":1000,"frequency":2}},"to":1010}`))
	fuzz(f, jsonPath)
}

func FuzzBin(f *testing.F) {
	f.Add(encodeBin(from, to, small()))
	fuzz(f, "c/h/990.bin")
}

func FuzzLog(f *testing.F) {
	f.Add(encodeLog(small()))
	f.Add(slices.Concat(logHead, record(1000, "a", 1, "socket0", "networketh0"), record(1001, "b", 2), []byte("rubbish"), record(1001, "a", 2)))
	fuzz(f, "c/h/current.wal")
}

// fuzz checks that reading does not panic, that runs are well-formed, and that a file gives no more
// samples than its size allows.
func fuzz(f *testing.F, name string) {
	f.Fuzz(func(t *testing.T, b []byte) {
		got, sum := collect(t, dir(map[string][]byte{name: b}), Options{})
		if sum.Files != 1 || 2*got.count() > len(b) || got.count() > sum.Samples {
			t.Errorf("%d samples of %d bytes: %+v", got.count(), len(b), sum)
		}
		if sum.Damaged < len(sum.Damage) || len(sum.Damage) > maxDamage {
			t.Errorf("%+v", sum)
		}
	})
}
