package prometheus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/lineprotocol"
)

// collected is an Ingester that keeps the points, by key.
type collected struct {
	points map[string][]point
	errs   []string
}

func (c *collected) Points(_ context.Context, _ ingest.Source, points ingest.Points, _ int) (ingest.Report, error) {
	var l lineprotocol.Line
	var report ingest.Report
	for n := 1; ; n++ {
		ok, err := points.Next(&l)
		if !ok {
			return report, nil
		}
		if err != nil {
			c.errs = append(c.errs, err.Error())
			report.Rejected, report.RejectedTotal = append(report.Rejected, ingest.Rejected{Line: n, Reason: err.Error()}), report.RejectedTotal+1
			continue
		}
		report.Accepted++
		if c.points == nil {
			c.points = make(map[string][]point)
		}
		c.points[string(l.Key)] = append(c.points[string(l.Key)], point{l.Time, l.Value})
	}
}

var stale = math.Float64frombits(value.StaleNaN)

func testDevices() DeviceLabels {
	return DeviceLabels{Types: map[string]string{"cpu": "hwthread", "gpu": "accelerator"}, Subtypes: map[string]string{"device": "network"}}
}

// submit sends a message as it is, with these headers.
func submit(t testing.TB, body []byte, headers ...string) (*collected, *httptest.ResponseRecorder, error) {
	t.Helper()
	a := newAPI(t)
	a.o.WriteDevices = testDevices()
	r := httptest.NewRequest(http.MethodPost, WritePath, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	c, rec := new(collected), httptest.NewRecorder()
	_, err := a.Write(rec, r, Submission{Body: iotest.OneByteReader(bytes.NewReader(body)), Ingester: c})
	if n := a.writes.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are still accounted for", n)
	}
	return c, rec, err
}

const (
	typeV1 = "application/x-protobuf;proto=prometheus.WriteRequest"
	typeV2 = "application/x-protobuf; proto=io.prometheus.write.v2.Request"
)

type sentSeries struct {
	labels  []string // names and values
	samples []point
}

func encodeV1(t testing.TB, all ...sentSeries) []byte {
	t.Helper()
	var req prompb.WriteRequest
	for _, s := range all {
		var ts prompb.TimeSeries
		for i := 0; i < len(s.labels); i += 2 {
			ts.Labels = append(ts.Labels, prompb.Label{Name: s.labels[i], Value: s.labels[i+1]})
		}
		for _, p := range s.samples {
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: p.time, Value: p.value})
		}
		ts.Exemplars = []prompb.Exemplar{{Value: 1, Labels: ts.Labels}}
		ts.Histograms = []prompb.Histogram{{Timestamp: 1}}
		req.Timeseries = append(req.Timeseries, ts)
	}
	req.Metadata = []prompb.MetricMetadata{{MetricFamilyName: "x", Help: "help"}}
	message, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func encodeV2(t testing.TB, all ...sentSeries) []byte {
	t.Helper()
	symbols := writev2.NewSymbolTable()
	var req writev2.Request
	for _, s := range all {
		var ts writev2.TimeSeries
		for _, text := range s.labels {
			ts.LabelsRefs = append(ts.LabelsRefs, symbols.Symbolize(text))
		}
		for _, p := range s.samples {
			ts.Samples = append(ts.Samples, writev2.Sample{Timestamp: p.time, Value: p.value, StartTimestamp: 5})
		}
		ts.Exemplars = []writev2.Exemplar{{Value: 1, LabelsRefs: ts.LabelsRefs}}
		ts.Histograms = []writev2.Histogram{{Timestamp: 1}}
		ts.Metadata.HelpRef = 1
		req.Timeseries = append(req.Timeseries, ts)
	}
	req.Symbols = symbols.Symbols()
	message, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func TestWrite(t *testing.T) {
	f := func(name string, all []sentSeries, want map[string][]point, rejected ...string) {
		t.Run(name, func(t *testing.T) {
			for version, message := range [][]byte{encodeV1(t, all...), encodeV2(t, all...)} {
				kind := []string{typeV1, typeV2}[version]
				got, rec, err := submit(t, snappy.Encode(nil, message), "Content-Type", kind, "Content-Encoding", "snappy")
				if !maps.EqualFunc(got.points, want, slices.Equal[[]point]) || !slices.Equal(got.errs, rejected) {
					t.Errorf("version %d: got %v, %q\nwant %v, %q", version+1, got.points, got.errs, want, rejected)
				}
				if len(rejected) == 0 && (err != nil || rec.Code != http.StatusNoContent) {
					t.Errorf("version %d: %v, %d", version+1, err, rec.Code)
				}
				var failure *Error
				if len(rejected) > 0 && (!errors.As(err, &failure) || failure.Status != http.StatusBadRequest || !strings.Contains(failure.Public, rejected[0])) {
					t.Errorf("version %d: %v", version+1, err)
				}
				written := ""
				if version == 1 {
					n := 0
					for _, s := range all {
						n += len(s.samples)
					}
					written = fmt.Sprint(n - len(rejected))
				}
				if got := rec.Header().Get("X-Prometheus-Remote-Write-Samples-Written"); got != written {
					t.Errorf("version %d: %q samples written, want %q", version+1, got, written)
				}
			}
		})
	}
	one := []point{{1000, 1.5}}
	accepted := func(name, key string, labels ...string) {
		f(name, []sentSeries{{labels, one}}, map[string][]point{key: one})
	}
	rejected := func(name, why string, labels ...string) { f(name, []sentSeries{{labels, one}}, nil, why) }

	accepted("a host from instance", "up,hostname=n1,job=node", "__name__", "up", "instance", "n1:9100", "job", "node")
	accepted("without a port", "up,hostname=n1", "__name__", "up", "instance", "n1")
	accepted("IPv6", "up,hostname=fe80::1", "__name__", "up", "instance", "[fe80::1]:9100")
	accepted("IPv6 without a port", "up,hostname=fe80::1", "__name__", "up", "instance", "fe80::1")
	accepted("a URL", "up,hostname=http://n1/x", "__name__", "up", "instance", "http://n1/x")
	accepted("hostname before instance", "up,hostname=n1,instance=n2:9100", "__name__", "up", "hostname", "n1", "instance", "n2:9100")
	accepted("the labels of our queries", "load,hostname=n1,cluster=c,stype=network,stype-id=eth0,type=socket,type-id=0",
		"__name__", "load", "cluster", "c", "hostname", "n1", "stype", "network", "stype_id", "eth0", "type", "socket", "type_id", "0")
	accepted("a device", "seconds,hostname=n1,type=hwthread,type-id=3", "__name__", "seconds", "cpu", "3", "instance", "n1")
	accepted("a device and a part", "x,hostname=n1,type=hwthread,type-id=3,stype=network,stype-id=eth0", "__name__", "x", "cpu", "3", "device", "eth0", "instance", "n1")
	accepted("an empty label", "up,hostname=n1", "__name__", "up", "cpu", "", "instance", "n1", "x", "")
	accepted("no host", "up", "__name__", "up")
	accepted("special bytes", `a\,\ b,hostname=n\ 1,x\=\,=\=\\,y`, "__name__", "a, b", "instance", "n 1", "x=,", `=\,y`)
	rejected("no name", "no label __name__", "instance", "n1")
	rejected("an empty name", "no label __name__", "__name__", "", "instance", "n1")
	rejected("two devices", `two labels name a hwthread or accelerator: the second is "gpu"`, "__name__", "x", "cpu", "1", "gpu", "2")
	rejected("a backslash at the end", `a label ends with a backslash: "n1\\"`, "__name__", "x", "instance", `n1\`)
	rejected("long labels", "the labels are longer than 4096 bytes", "__name__", "x", "y", strings.Repeat("y", 4096))
	var many []string
	for i := range 65 {
		many = append(many, fmt.Sprintf("l%d", i), "x")
	}
	rejected("many labels", "more than 64 labels", many...)
	f("several", []sentSeries{
		{[]string{"__name__", "a"}, []point{{1, 1}, {2, stale}, {3, math.NaN()}, {-4, math.Inf(1)}}},
		{[]string{"__name__", "b"}, []point{{1, stale}}},
		{[]string{"no", "name"}, nil},
		{[]string{"__name__", "c"}, []point{{math.MaxInt64, -0.5}, {0, 0}}},
	}, map[string][]point{"a": {{1, 1}, {-4, math.Inf(1)}}, "c": {{math.MaxInt64, -0.5}, {0, 0}}})
	f("none", nil, nil)
}

func TestWriteRefuses(t *testing.T) {
	good := snappy.Encode(nil, encodeV1(t, sentSeries{[]string{"__name__", "a"}, []point{{1, 1}}}))
	f := func(name string, status int, body []byte, headers ...string) {
		t.Run(name, func(t *testing.T) {
			got, _, err := submit(t, body, headers...)
			var failure *Error
			if !errors.As(err, &failure) || failure.Status != status || len(got.points) > 0 {
				t.Errorf("%v, %v; want status %d", err, got.points, status)
			}
		})
	}
	f("not Snappy", 400, []byte("hello"))
	f("empty", 400, nil)
	f("gzip", 415, good, "Content-Encoding", "gzip")
	f("zstd", 415, good, "Content-Encoding", "zstd")
	f("JSON", 415, good, "Content-Type", "application/json")
	f("another message", 415, good, "Content-Type", "application/x-protobuf;proto=io.prometheus.write.v3.Request")
	f("a broken type", 415, good, "Content-Type", "application/x-protobuf;;=")
	f("too large for its size", 400, append(binary.AppendUvarint(nil, 60<<20), make([]byte, 1000)...))
	f("too large", 413, snappy.Encode(nil, make([]byte, maxWriteMessage+1)))
	f("a length beyond 32 bits", 400, binary.AppendUvarint(nil, 1<<40))
	f("version 1 as 2", 400, good, "Content-Type", typeV2)
	raw := func(name string, message string, headers ...string) {
		f(name, 400, snappy.Encode(nil, []byte(message)), headers...)
	}
	raw("cut off", "\x0a\x10\x0a")
	raw("a series that is a number", "\x08\x01")
	raw("a label that is a number", "\x0a\x02\x08\x01")
	raw("a sample that is a number", "\x0a\x02\x10\x01")
	raw("a value that is a number", "\x0a\x04\x12\x02\x08\x01")
	raw("a group without an end", "\x0b")
	raw("field 0", "\x02\x00")
	raw("a symbol that is a number", "\x20\x01", "Content-Type", typeV2)
	raw("a reference to no symbol", "\x22\x00\x2a\x04\x0a\x02\x00\x01", "Content-Type", typeV2)
	raw("a name without a value", "\x22\x00\x2a\x03\x0a\x01\x00", "Content-Type", typeV2)
	raw("a reference that is cut off", "\x22\x00\x2a\x03\x0a\x01\x80", "Content-Type", typeV2)
}

// Field order is free, and references need not be packed.
func TestWriteOtherEncodings(t *testing.T) {
	var b []byte
	b = append(b, 0x2a, 8, 0x08, 1, 0x08, 2, 0x12, 2, 0x10, 7) // labels 1 and 2, a sample with only a time
	b = append(b, 0x22, 0)
	b = append(b, 0x22, 8)
	b = append(b, "__name__"...)
	b = append(b, 0x22, 1, 'x')
	got, _, err := submit(t, snappy.Encode(nil, b), "Content-Type", typeV2)
	if err != nil || !slices.Equal(got.points["x"], []point{{7, 0}}) {
		t.Errorf("%v, %v", got.points, err)
	}
}

// A message that is made to take much memory takes little more than its bytes.
func TestWriteTakesBoundedMemory(t *testing.T) {
	a := newAPI(t)
	f := func(name, kind string, message []byte) {
		body := snappy.Encode(nil, message)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := httptest.NewRequest(http.MethodPost, WritePath, nil)
		r.Header.Set("Content-Type", kind)
		_, err := a.Write(httptest.NewRecorder(), r, Submission{Body: bytes.NewReader(body), Ingester: new(collected)})
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 4*uint64(len(message)) {
			t.Errorf("%s: %d bytes for a message of %d", name, used, len(message))
		}
	}
	f("empty series", typeV1, bytes.Repeat([]byte{0x0a, 0}, 1<<20))
	f("empty series", typeV2, append([]byte{0x22, 0}, bytes.Repeat([]byte{0x2a, 0}, 1<<20)...))
	f("empty symbols", typeV2, bytes.Repeat([]byte{0x22, 0}, 1<<20))
	f("empty labels", typeV1, bytes.Repeat([]byte{0x0a, 2, 0x0a, 0}, 1<<19))
	f("unknown fields", typeV1, bytes.Repeat([]byte{0x7a, 0}, 1<<20))
}

// Submissions that together take too much are to be sent again later.
func TestWritesAtOnce(t *testing.T) {
	a := newAPI(t)
	a.writes.bytes.Store(maxWritesAtOnce - firstWriteBuffer)
	f := func(body []byte, want int) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, WritePath, nil)
		_, err := a.Write(httptest.NewRecorder(), r, Submission{Body: bytes.NewReader(body), Ingester: new(collected)})
		var failure *Error
		if errors.As(err, &failure); want != 0 && (failure == nil || failure.Status != want) || want == 0 && err != nil {
			t.Errorf("%v, want status %d", err, want)
		}
		if n := a.writes.bytes.Load(); n != maxWritesAtOnce-firstWriteBuffer {
			t.Errorf("%d bytes are accounted for", n)
		}
	}
	f(snappy.Encode(nil, nil), 0)
	f(snappy.Encode(nil, make([]byte, 1)), 503)
	a.writes.bytes.Store(0)
	a.writes.bytes.Store(maxWritesAtOnce - firstWriteBuffer)
	f(make([]byte, firstWriteBuffer+1), 503)
}

// FuzzWriteMessage compares the reader with the library's on messages of both versions: it accepts
// what the library accepts, apart from wrong references to symbols, and reads the same samples. A key that it
// makes means the labels that the message has.
func FuzzWriteMessage(f *testing.F) {
	all := []sentSeries{
		{[]string{"__name__", "a", "instance", "n1:9100", "cpu", "3"}, []point{{1, 1}, {2, stale}}},
		{[]string{"__name__", "a b", "hostname", `x\ y`, "k=", ","}, []point{{-1, math.Inf(-1)}}},
	}
	f.Add(false, encodeV1(f, all...))
	f.Add(true, encodeV2(f, all...))
	f.Add(false, []byte("\x0a\x04\x12\x02\x10\x07"))
	f.Add(true, []byte("\x2a\x08\x08\x01\x08\x02\x12\x02\x10\x07\x22\x00\x22\x08__name__\x22\x01x"))
	f.Add(true, []byte("\x22\x00\x2a\x03\x0a\x01\x00"))
	f.Add(false, []byte("\x0b\x0c"))
	f.Fuzz(func(t *testing.T, second bool, message []byte) {
		m := &writeMessage{version: 1, bytes: message}
		want, err := decodeV1(message)
		if second {
			m.version = 2
			want, err = decodeV2(message)
		}
		gotErr := m.check()
		if gotErr != nil && err == nil && !errors.Is(gotErr, errOddRefs) && !errors.Is(gotErr, errSymbol) && !errors.Is(gotErr, errSymbols) {
			t.Fatalf("check: %v", gotErr)
		}
		if err != nil || gotErr != nil {
			return // the library also checks what is skipped here
		}
		r := newSeriesReader(m, DeviceLabels{})
		var l lineprotocol.Line
		n := 0
		for _, s := range want {
			for _, p := range s.samples {
				n++
				if p.value != p.value {
					continue
				}
				ok, err := r.Next(&l)
				if !ok || l.Time != p.time && err == nil || math.Float64bits(l.Value) != math.Float64bits(p.value) && err == nil {
					t.Fatalf("got %v %+v, want %v", ok, l, p)
				}
				if err == nil {
					checkKey(t, l.Key, s.labels)
				}
			}
		}
		if ok, _ := r.Next(&l); ok || m.samples != n {
			t.Fatalf("a sample too much, or %d samples instead of %d", m.samples, n)
		}
	})
}

func decodeV1(message []byte) (all []sentSeries, err error) {
	var req prompb.WriteRequest
	if err := req.Unmarshal(message); err != nil {
		return nil, err
	}
	for _, ts := range req.Timeseries {
		var s sentSeries
		for _, l := range ts.Labels {
			s.labels = append(s.labels, l.Name, l.Value)
		}
		for _, p := range ts.Samples {
			s.samples = append(s.samples, point{p.Timestamp, p.Value})
		}
		all = append(all, s)
	}
	return all, nil
}

func decodeV2(message []byte) (all []sentSeries, err error) {
	var req writev2.Request
	if err := req.Unmarshal(message); err != nil {
		return nil, err
	}
	for _, ts := range req.Timeseries {
		var s sentSeries
		for _, ref := range ts.LabelsRefs {
			if int(ref) >= len(req.Symbols) {
				return nil, errSymbol
			}
			s.labels = append(s.labels, req.Symbols[ref])
		}
		for _, p := range ts.Samples {
			s.samples = append(s.samples, point{p.Timestamp, p.Value})
		}
		all = append(all, s)
	}
	return all, nil
}

// checkKey checks that a key is read as the labels from which it was made, if it can be read.
func checkKey(t *testing.T, key []byte, labels []string) {
	t.Helper()
	parsed, err := lineprotocol.ParseKey(key)
	if err != nil {
		return
	}
	want := make(map[string]string)
	for i := 0; i < len(labels); i += 2 {
		if labels[i+1] != "" {
			want[labels[i]] = labels[i+1]
		}
	}
	if parsed.Metric != want[nameLabel] {
		t.Fatalf("%q: metric %q, want %q", key, parsed.Metric, want[nameLabel])
	}
	for _, tag := range parsed.Extra {
		if want[tag.Name] != tag.Value {
			t.Fatalf("%q: label %q is %q, want %q", key, tag.Name, tag.Value, want[tag.Name])
		}
	}
	host := want[hostLabel]
	if host == "" {
		host = string(hostOf([]byte(want["instance"])))
	}
	if host == "" {
		host = want["host"]
	}
	if parsed.Host != host || parsed.Cluster != want[clusterLabel] {
		t.Fatalf("%q: host %q, cluster %q, want %q, %q", key, parsed.Host, parsed.Cluster, host, want[clusterLabel])
	}
}

// TestLongLabelsAreNotCopied: the labels of a series may all refer to one long symbol.
func TestLongLabelsAreNotCopied(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 1<<20)
	labels := []label{{[]byte(nameLabel), []byte("m")}}
	for len(labels) < maxLabels {
		labels = append(labels, label{long, long})
	}
	key, err := DeviceLabels{}.appendKey(nil, labels)
	if !errors.Is(err, errLongLabels) || cap(key) > lineprotocol.MaxKey {
		t.Errorf("%v, with a key of %d bytes", err, cap(key))
	}
}
