package ccms

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// metric and level describe a checkpoint of cc-metric-store.
type metric struct {
	name             string
	frequency, start int64
	data             []float64 // NaN for none
}

type level struct {
	metrics  []metric
	children map[string]level
}

func encodeJSON(from, to int64, l level) []byte {
	return appendJSON(nil, from, to, l)
}

func appendJSON(b []byte, from, to int64, l level) []byte {
	b = append(b, `{"metrics":{`...)
	for i, m := range l.metrics {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `%q:{"frequency":%d,"start":%d,"data":[`, m.name, m.frequency, m.start)
		for i, v := range m.data {
			if i > 0 {
				b = append(b, ',')
			}
			if math.IsNaN(v) {
				b = append(b, "null"...)
			} else {
				b = strconv.AppendFloat(b, v, 'f', 1, 32)
			}
		}
		b = append(b, "]}"...)
	}
	b = append(b, `},"children":{`...)
	for i, name := range slices.Sorted(maps.Keys(l.children)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, name), ':')
		b = appendJSON(b, from, to, l.children[name])
	}
	return fmt.Appendf(b, `},"from":%d,"to":%d}`, from, to)
}

func encodeBin(from, to int64, l level) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0xCC5B0001)
	b = binary.LittleEndian.AppendUint64(b, uint64(from))
	b = binary.LittleEndian.AppendUint64(b, uint64(to))
	return appendBin(b, l)
}

func appendBin(b []byte, l level) []byte {
	name := func(s string) { b = append(binary.LittleEndian.AppendUint16(b, uint16(len(s))), s...) }
	b = binary.LittleEndian.AppendUint32(b, uint32(len(l.metrics)))
	for _, m := range l.metrics {
		name(m.name)
		b = binary.LittleEndian.AppendUint64(b, uint64(m.frequency))
		b = binary.LittleEndian.AppendUint64(b, uint64(m.start))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(m.data)))
		for _, v := range m.data {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
		}
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(l.children)))
	for _, child := range slices.Sorted(maps.Keys(l.children)) {
		name(child)
		b = appendBin(b, l.children[child])
	}
	return b
}

var logHead = []byte{0x01, 0xa7, 0x1d, 0xcc}

func record(t int64, metric string, value float64, levels ...string) []byte {
	p := binary.LittleEndian.AppendUint64(nil, uint64(t))
	p = append(binary.LittleEndian.AppendUint16(p, uint16(len(metric))), metric...)
	p = append(p, byte(len(levels)))
	for _, l := range levels {
		p = append(append(p, byte(len(l))), l...)
	}
	p = binary.LittleEndian.AppendUint32(p, math.Float32bits(float32(value)))
	return framed(p)
}

func framed(payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0xCC1DA7A1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	return binary.LittleEndian.AppendUint32(append(b, payload...), crc32.ChecksumIEEE(payload))
}

// encodeLog writes the samples of a level interval by interval.
func encodeLog(l level) []byte {
	b := slices.Clone(logHead)
	for i := range 1000 {
		b = appendInterval(b, i, l)
	}
	return b
}

func appendInterval(b []byte, i int, l level, path ...string) []byte {
	for _, m := range l.metrics {
		if i < len(m.data) && !math.IsNaN(m.data[i]) {
			b = append(b, record(m.start+int64(i)*m.frequency, m.name, m.data[i], path...)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.children)) {
		b = appendInterval(b, i, l.children[name], append(path, name)...)
	}
	return b
}

// host is a small host with a device of every kind.
func host(start, frequency int64, n int) level {
	seed := 0
	values := func() []float64 {
		data := make([]float64, n)
		seed++
		for i := range data {
			data[i] = math.Round(1000*math.Sin(float64(seed*n+i))) / 10
			if (i+seed)%7 == 0 {
				data[i] = math.NaN()
			}
		}
		return data
	}
	m := func(name string) metric { return metric{name, frequency, start, values()} }
	return level{
		metrics: []metric{m("cpu_load"), m("mem_used")},
		children: map[string]level{
			"hwthread0":                   {metrics: []metric{m("flops_any"), m("ipc")}},
			"hwthread11":                  {metrics: []metric{m("flops_any"), m("ipc")}},
			"socket1":                     {metrics: []metric{m("power")}, children: map[string]level{"filesystem/home": {metrics: []metric{m("io")}}}},
			"accelerator00000000:49:00.0": {metrics: []metric{m("acc_power")}},
		},
	}
}

func dir(files map[string][]byte) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, b := range files {
		fsys[name] = &fstest.MapFile{Data: b}
	}
	return fsys
}

type samples map[string]map[int64]float64

// collect reads a directory into a map; a later sample wins.
func collect(t testing.TB, fsys fstest.MapFS, o Options) (samples, Summary) {
	t.Helper()
	got := samples{}
	sum, err := Read(t.Context(), fsys, o, got.sink)
	if err != nil {
		t.Fatal(err)
	}
	return got, sum
}

func (s samples) sink(run Series) (int, error) {
	d := run.Key.Device
	name := strings.Join([]string{run.Key.Cluster, run.Key.Host, run.Key.Metric, d.Type, d.TypeID, d.Subtype, d.SubtypeID}, "|")
	if s[name] == nil {
		s[name] = map[int64]float64{}
	}
	if len(run.Times) == 0 || len(run.Times) > RunSamples || len(run.Times) != len(run.Values) {
		return 0, fmt.Errorf("a run of %d times and %d values", len(run.Times), len(run.Values))
	}
	for i, v := range run.Values {
		if math.IsNaN(v) {
			return 0, fmt.Errorf("%s: NaN", name)
		}
		s[name][run.Times[i]] = v
	}
	return 0, nil
}

func (s samples) count() int {
	n := 0
	for _, m := range s {
		n += len(m)
	}
	return n
}

// diff describes the first difference, or returns "".
func (s samples) diff(want samples) string {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		for _, t := range slices.Sorted(maps.Keys(want[name])) {
			if v, ok := s[name][t]; !ok || v != want[name][t] {
				return fmt.Sprintf("%s at %d is %v (%v), want %v", name, t, v, ok, want[name][t])
			}
		}
	}
	return s.within(want)
}

// within describes the first sample of s that want does not have, or returns "".
func (s samples) within(want samples) string {
	for _, name := range slices.Sorted(maps.Keys(s)) {
		for t, v := range s[name] {
			if w, ok := want[name][t]; !ok || v != w {
				return fmt.Sprintf("%s at %d is %v, want %v (%v)", name, t, v, w, ok)
			}
		}
	}
	return ""
}
