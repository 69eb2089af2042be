package ccms

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// Exactly the samples that cc-metric-store acknowledged are read, at their own times.
func TestAcknowledged(t *testing.T) {
	f := func(name string, hosts, series int, same func(got, sent float64) bool) {
		t.Run(name, func(t *testing.T) {
			want := acknowledged(t, filepath.Join("testdata", name, "lines.txt"))
			got := samples{}
			sum, err := Read(t.Context(), os.DirFS(filepath.Join("testdata", name)), Options{}, got.sink)
			if err != nil || sum.Damaged+sum.TornTails > 0 {
				t.Fatal(err, sum)
			}
			for series, at := range want {
				for time, v := range at {
					if g, ok := got[series][time]; !ok || !same(g, v) {
						t.Errorf("%s at %d is %v (%v), want %v", series, time, g, ok, v)
					}
				}
			}
			if got.count() != want.count() || sum.Samples != want.count() || sum.Series != series || len(sum.Hosts) != hosts || sum.Files != hosts {
				t.Errorf("%d samples, want %d: %+v", got.count(), want.count(), sum)
			}
		})
	}
	oneDecimal := func(got, sent float64) bool { return math.Abs(got-sent) < 0.0501 }
	seven := func(got, sent float64) bool { return got == sent } // a float32 holds all digits that were sent
	f("json", 1, 5, oneDecimal)
	f("json-60s", 2, 10, oneDecimal)
	f("bin", 1, 5, seven)
	f("bin-60s", 2, 10, seven)
	f("wal", 1, 5, seven)
}

func acknowledged(t *testing.T, path string) samples {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := samples{}
	for in := bufio.NewScanner(f); in.Scan(); {
		var key, value string
		var time int64
		if _, err := fmt.Sscan(in.Text(), &key, &value, &time); err != nil {
			t.Fatal(err)
		}
		tags := map[string]string{}
		metric, rest, _ := strings.Cut(key, ",")
		for tag := range strings.SplitSeq(rest, ",") {
			k, v, _ := strings.Cut(tag, "=")
			tags[k] = strings.TrimPrefix(v, "node")
		}
		name := strings.Join([]string{tags["cluster"], tags["hostname"], metric, tags["type"], tags["type-id"], "", ""}, "|")
		v, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimPrefix(value, "value="), "i"), 64)
		if err != nil {
			t.Fatal(err)
		}
		if all[name] == nil {
			all[name] = map[int64]float64{}
		}
		all[name][time] = v
	}
	return all
}

// Every format, and any mixture of formats, gives the same samples.
func TestFormatsAgree(t *testing.T) {
	const start, frequency, n = 1_700_000_017, 60, 120
	a, b := host(start, frequency, n), host(start+7, 30, n)
	const from, to = start - 5, start + frequency*n
	want, sum := collect(t, dir(map[string][]byte{
		"c/a/1.json": encodeJSON(from, to, a), "d/b/1.json": encodeJSON(from, to, b),
	}), Options{})
	const series = 9
	if sum.Series != 2*series || want.count() < series*n || sum.Damaged > 0 {
		t.Fatalf("%d samples: %+v", want.count(), sum)
	}
	f := func(name string, files map[string][]byte) {
		t.Run(name, func(t *testing.T) {
			got, sum := collect(t, dir(files), Options{})
			if d := got.diff(want); d != "" || sum.Series != 2*series || sum.Damaged > 0 {
				t.Errorf("%s; %+v", d, sum)
			}
		})
	}
	f("binary", map[string][]byte{"c/a/1.bin": encodeBin(from, to, a), "d/b/1.bin": encodeBin(from, to, b)})
	f("log", map[string][]byte{"c/a/current.wal": encodeLog(a), "d/b/current.wal": encodeLog(b)})
	f("mixed", map[string][]byte{"c/a/1.bin": encodeBin(from, to, a), "c/a/current.wal": encodeLog(a), "d/b/1.json": encodeJSON(from, to, b), "d/b/2.bin": encodeBin(from, to, b)})
	f("members in another order", map[string][]byte{"c/a/1.json": reordered(encodeJSON(from, to, a)), "d/b/1.json": reordered(encodeJSON(from, to, b))})
}

// reordered puts the data of every metric before its start.
func reordered(b []byte) []byte {
	parts := strings.Split(string(b), `"frequency":`)
	for i := 1; i < len(parts); i++ {
		head, data, _ := strings.Cut(parts[i], `,"data":`)
		data, rest, _ := strings.Cut(data, "]")
		parts[i] = `"data":` + data + `],"more":{"x":[1,{}]},"frequency":` + head + rest
	}
	return []byte(strings.Join(parts, ""))
}

// A level's name is split into type and id.
func TestDevice(t *testing.T) {
	f := func(levels, want string) {
		t.Helper()
		var names []string
		if levels != "" {
			names = strings.Split(levels, ">")
		}
		d, err := device(names)
		got := strings.Join([]string{d.Type, d.TypeID, d.Subtype, d.SubtypeID}, "|")
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s is %s, want %s", levels, got, want)
		}
	}
	f("socket0>filesystem/home>x", "error")
	f("", "|||")
	f("0", "|||") // type=node,type-id=0
	f("node", "|||")
	f("node0", "|||")
	f("hwthread0", "hwthread|0||")
	f("hwthread127", "hwthread|127||")
	f("core3", "core|3||")
	f("socket1", "socket|1||")
	f("memoryDomain2", "memoryDomain|2||")
	f("accelerator0", "accelerator|0||")
	f("accelerator00000000:49:00.0", "accelerator|00000000:49:00.0||")
	f("acceleratorGPU-a1b2", "accelerator|GPU-a1b2||")
	f("socket", "socket|||")
	f("gpu7", "gpu|7||")
	f("gpu0000:3b:00.0", "gpu|0000:3b:00.0||")
	f("nfs4server12", "nfs4server|12||")
	f("nodelist3", "nodelist|3||")
	f("corewing2", "corewing|2||")
	f("rack", "rack|||")
	f("0000:3b:00.0", "0000:3b:00.0|||")
	f("socket0>filesystem/home", "socket|0|filesystem|/home")
	f("socket0>networketh0", "socket|0|network|eth0")
	f("accelerator1>nvlink3", "accelerator|1|nvlink|3")
	f("0>networkib0", "||network|ib0")
	f("socket0>/scratch", "socket|0|/scratch|")
}

// A start that may be any time in its slot is moved to the time of the slot's samples.
func TestStartIsPutOnTheGrid(t *testing.T) {
	const f60 = 60
	one := func(start int64) level {
		return level{metrics: []metric{{"m", f60, start, []float64{1, 2, 3}}}}
	}
	f := func(name string, files map[string][]byte, want ...int64) {
		t.Run(name, func(t *testing.T) {
			got, sum := collect(t, dir(files), Options{})
			times := slices.Sorted(maps.Keys(got["c|h|m||||"]))
			if !slices.Equal(times, want) || sum.Damaged > 0 {
				t.Errorf("%v, want %v: %+v", times, want, sum)
			}
		})
	}
	f("the first sample is exact", map[string][]byte{"c/h/1000.json": encodeJSON(1000, 1200, one(1007))}, 1007, 1067, 1127)
	f("the grid is unknown", map[string][]byte{"c/h/1000.json": encodeJSON(1000, 1200, one(1000))}, 1000, 1060, 1120)
	f("an older file gives the grid, later", map[string][]byte{
		"c/h/1000.json": encodeJSON(1000, 1187, one(1007)),
		"c/h/1205.json": encodeJSON(1205, 1400, one(1205)),
	}, 1007, 1067, 1127, 1187, 1247, 1307)
	f("an older file gives the grid, earlier", map[string][]byte{
		"c/h/1000.bin": encodeBin(1000, 1187, one(1007)),
		"c/h/1165.bin": encodeBin(1165, 1400, one(1165)),
	}, 1007, 1067, 1127, 1187, 1247, 1307)
	f("halfway is the start of a slot", map[string][]byte{
		"c/h/1000.bin": encodeBin(1000, 1187, one(1007)),
		"c/h/1157.bin": encodeBin(1157, 1400, one(1157)),
	}, 1007, 1067, 1127, 1187, 1247, 1307)
	f("one value in two files is one sample", map[string][]byte{
		"c/h/1000.bin": encodeBin(1000, 1128, one(1007)),
		"c/h/1128.bin": encodeBin(1128, 1400, one(1128)),
	}, 1007, 1067, 1127, 1187, 1247)
	f("the log gives the grid", map[string][]byte{
		"c/h/1205.bin":    encodeBin(1205, 1400, one(1205)),
		"c/h/current.wal": append(slices.Clone(logHead), record(1367, "m", 4)...),
	}, 1187, 1247, 1307, 1367)
	f("a new start is exact again", map[string][]byte{
		"c/h/1000.bin": encodeBin(1000, 1187, one(1007)),
		"c/h/1300.bin": encodeBin(1300, 1600, one(1311)),
		"c/h/1600.bin": encodeBin(1600, 1900, one(1600)),
	}, 1007, 1067, 1127, 1311, 1371, 1431, 1611, 1671, 1731)
}

// Files are read by their times, not in the order of their names, and the log last.
func TestOrder(t *testing.T) {
	one := func(start int64, v float64) level { return level{metrics: []metric{{"m", 1, start, []float64{v}}}} }
	fsys := dir(map[string][]byte{
		"c/h/current.wal": append(slices.Clone(logHead), record(1000, "m", 5)...),
		"c/h/1000.bin":    encodeBin(1000, 1100, one(1000, 4)),
		"c/h/1000.json":   encodeJSON(1000, 1100, one(1000, 3)),
		"c/h/200.bin":     encodeBin(200, 300, one(200, 2)),
		"c/h/99.json":     encodeJSON(99, 200, one(99, 1)),
		"b/h/5.json":      encodeJSON(5, 6, one(5, 0)),
		"c/h/7.json.tmp":  []byte("x"),
		"c/h/x.json":      []byte("x"),
		"c/h/-7.json":     []byte("x"),
		"c/h/1_60.avro":   []byte("x"),
		"c/h/sub/1.json":  []byte("x"),
		"c/1.json":        []byte("x"),
		"1.json":          []byte("x"),
	})
	var got []float64
	sum, err := Read(t.Context(), fsys, Options{}, func(s Series) (int, error) {
		got = append(got, s.Values...)
		return 0, nil
	})
	if err != nil || !slices.Equal(got, []float64{0, 1, 2, 3, 4, 5}) || sum.Files != 6 || sum.Damaged > 0 {
		t.Error(got, sum, err)
	}
	if want := []Host{{"b", "h", 1, 5, 5}, {"c", "h", 5, 99, 1000}}; !slices.Equal(sum.Hosts, want) {
		t.Errorf("%+v", sum.Hosts)
	}
}

// A file that ends before Since is not read, so that damage in it is not reported.
func TestSince(t *testing.T) {
	rotten := []byte(`{"metrics":{{{,"to":300}`)
	l := host(400, 1, 50)
	fsys := dir(map[string][]byte{
		"c/h/100.json": rotten,
		"c/h/200.bin":  encodeBin(200, 300, l)[:binHead],
		"c/h/390.bin":  encodeBin(390, 500, l),
		"c/h/395.json": append(encodeJSON(395, 500, l), " \n"...),
	})
	got, sum := collect(t, fsys, Options{Since: 301})
	if sum.Skipped != 2 || sum.Files != 2 || sum.Damaged != 0 || got.count() == 0 {
		t.Errorf("%+v", sum)
	}
	if _, sum = collect(t, fsys, Options{Since: 300}); sum.Skipped != 0 || sum.Damaged != 2 {
		t.Errorf("%+v", sum)
	}
	if _, sum = collect(t, fsys, Options{Since: 501}); sum.Skipped != 4 || sum.Files != 0 || len(sum.Hosts) != 1 {
		t.Errorf("%+v", sum)
	}
}

// Samples that the sink refuses are counted. An error of the sink or the context stops the reading.
func TestSinkDecides(t *testing.T) {
	fsys := dir(map[string][]byte{
		"c/a/1.json":      encodeJSON(900, 2000, host(1000, 1, 60)),
		"c/b/1.bin":       encodeBin(900, 2000, host(1000, 1, 60)),
		"c/d/current.wal": encodeLog(host(1000, 1, 60)),
	})
	sum, err := Read(t.Context(), fsys, Options{}, func(s Series) (int, error) { return len(s.Times), nil })
	if err != nil || sum.Refused != sum.Samples || sum.Samples == 0 {
		t.Error(sum, err)
	}
	for _, host := range []string{"a", "b", "d"} {
		full := errors.New("full")
		calls := 0
		_, err := Read(t.Context(), fsys, Options{}, func(s Series) (int, error) {
			if s.Key.Host != host {
				return 0, nil
			}
			calls++
			return 0, full
		})
		if !errors.Is(err, full) || calls != 1 {
			t.Errorf("%s: %v after %d calls", host, err, calls)
		}
		ctx, cancel := context.WithCancel(t.Context())
		calls = 0
		_, err = Read(ctx, fsys, Options{}, func(s Series) (int, error) {
			if s.Key.Host == host {
				calls++
				cancel()
			}
			return 0, nil
		})
		if !errors.Is(err, context.Canceled) || calls != 1 {
			t.Errorf("%s: %v after %d calls", host, err, calls)
		}
	}
}

func TestPresent(t *testing.T) {
	f := func(want bool, files ...string) {
		t.Helper()
		fsys := fstest.MapFS{}
		for _, name := range files {
			fsys[name] = &fstest.MapFile{}
		}
		if got, err := Present(fsys); got != want || err != nil {
			t.Errorf("%v is %v, %v", files, got, err)
		}
	}
	f(false)
	f(false, "c/h/notes.txt", "c/1.json", "1.bin", "c/h/d/1.json", "c/h/1.parquet")
	f(false, "ringstore/LOCK", "ringstore/h/1.json")
	f(true, "ringstore/LOCK", "c/h/1.json")
	f(true, "c/a/x", "c/h/1.bin")
	f(true, "c/h/current.wal")
	if got, err := Present(os.DirFS(filepath.Join(t.TempDir(), "none"))); got || err != nil {
		t.Error(got, err)
	}
	if _, err := Read(t.Context(), os.DirFS(filepath.Join(t.TempDir(), "none")), Options{}, samples{}.sink); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Only regular files are opened, and symbolic links are followed.
func TestKindsOfFiles(t *testing.T) {
	fsys := dir(map[string][]byte{"c/h/2.json": encodeJSON(2, 9, host(3, 1, 3))})
	fsys["c/h/1.json"] = &fstest.MapFile{Mode: fs.ModeNamedPipe}
	fsys["c/h/3.bin"] = &fstest.MapFile{Mode: fs.ModeDevice}
	if _, sum := collect(t, fsys, Options{}); sum.Files != 1 || sum.Damaged != 0 {
		t.Errorf("%+v", sum)
	}
	root := t.TempDir()
	real, err := filepath.Abs("testdata/bin/alpha")
	if err == nil {
		err = os.Symlink(real, filepath.Join(root, "beta"))
	}
	if err == nil {
		err = os.Symlink("nowhere", filepath.Join(root, "gamma"))
	}
	if err != nil {
		t.Fatal(err)
	}
	sum, err := Read(t.Context(), os.DirFS(root), Options{}, samples{}.sink)
	if err != nil || sum.Files != 1 || sum.Hosts[0].Cluster != "beta" {
		t.Errorf("%+v %v", sum, err)
	}
}

// A large length in a small file allocates no memory.
func TestMemoryIsBounded(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff}
	head := encodeBin(100, 1<<33, level{})[:binHead]
	fsys := dir(map[string][]byte{
		"c/h/1.bin":       append(slices.Clone(head), huge...),
		"c/h/2.bin":       append(slices.Clone(head), 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff),
		"c/h/3.bin":       append(append(slices.Clone(head), encodeBin(1, 2, level{metrics: []metric{{"m", 1, 200, nil}}})[binHead:binHead+4+2+1+16]...), huge...),
		"c/h/4.json":      []byte(strings.Repeat(`{"children":{"a":`, 100_000)),
		"c/h/5.json":      []byte(`{"x":` + strings.Repeat(`[`, 100_000)),
		"c/h/current.wal": append(slices.Clone(logHead), append(slices.Clone(recordStart), huge...)...),
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, sum := collect(t, fsys, Options{})
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 || sum.Damaged != 6 {
		t.Errorf("%d bytes, %+v", n, sum)
	}
}

// All series of a slice of time are passed on before the next slice, whatever their frequencies.
func TestSeriesComeTogether(t *testing.T) {
	l := host(100_007, 10, 1000)
	l.metrics = append(l.metrics, metric{"slow", 60, 100_020, make([]float64, 160)}, metric{"once", 3600, 100_030, make([]float64, 3)})
	for name, b := range map[string][]byte{"1.json": encodeJSON(100_000, 120_000, l), "1.bin": encodeBin(100_000, 120_000, l), "current.wal": encodeLog(host(100_007, 10, 1000))} {
		newest := int64(0)
		sum, err := Read(t.Context(), dir(map[string][]byte{"c/h/" + name: b}), Options{}, func(s Series) (int, error) {
			if s.Times[0] < newest-sliceSlots*10 && name != "current.wal" || !slices.IsSorted(s.Times) {
				t.Fatalf("%s: %v at %d after %d", name, s.Key, s.Times[0], newest)
			}
			newest = max(newest, s.Times[len(s.Times)-1])
			return 0, nil
		})
		if err != nil || sum.Samples == 0 || sum.Damaged > 0 {
			t.Error(sum, err)
		}
	}
}

// Long runs are split.
func TestRunsAreBounded(t *testing.T) {
	l := level{metrics: []metric{{"m", 1, 1000, make([]float64, 3*RunSamples+5)}}}
	log := slices.Clone(logHead)
	for i := range l.metrics[0].data {
		log = append(log, record(1000+int64(i), "m", 0)...)
	}
	for name, b := range map[string][]byte{"1.json": encodeJSON(999, 99999, l), "1.bin": encodeBin(999, 99999, l), "current.wal": log} {
		got, sum := collect(t, dir(map[string][]byte{"c/h/" + name: b}), Options{})
		if got.count() != 3*RunSamples+5 || sum.Series != 1 || sum.Damaged > 0 {
			t.Errorf("%s: %d samples: %+v", name, got.count(), sum)
		}
	}
}

// A float32 becomes the decimal that was sent.
func TestWiden(t *testing.T) {
	for _, v := range []float64{60.13, 1008.474, 0.0004, -3.5e-7, 1.5e30, 300, -0.1, 16777216, 28807894, 1e-40, math.Inf(1), math.Inf(-1), math.Copysign(0, -1)} {
		if got := widen(float32(v)); got != v || math.Signbit(got) != math.Signbit(v) {
			t.Errorf("%v is %v", v, got)
		}
	}
	if !math.IsNaN(widen(float32(math.NaN()))) {
		t.Error("NaN")
	}
	for i := range uint32(100_000) {
		v := math.Float32frombits(i * 42_949)
		if got := widen(v); float32(got) != v && !math.IsNaN(got) {
			t.Fatalf("%v is %v", v, got)
		}
		v = float32(i) / 1000 // with few decimals
		if got := widen(v); got != shortest(v) {
			t.Fatalf("%v is %v, not %v", v, got, shortest(v))
		}
	}
}
