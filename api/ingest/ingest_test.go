package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const now = 1_795_308_600

// direct is a Writer that keeps no journal.
type direct struct{ *memstore.Store }

func (d direct) WriteFrom(_ context.Context, _ memstore.Origin, batch []memstore.Sample) ([]memstore.Refusal, error) {
	return d.Store.Write(batch)
}

func newIngester(t testing.TB, extra map[string][]string, metrics ...string) (*Ingester, *memstore.Store) {
	t.Helper()
	clock := func() time.Time { return time.Unix(now, 0) }
	o := memstore.Options{Retention: time.Hour, Now: clock, Limits: memstore.Limits{Hosts: 100, DevicesPerHost: 10_000}}
	for _, name := range metrics {
		o.Metrics = append(o.Metrics, memstore.Metric{Name: name, Frequency: 5 * time.Second, Aggregation: memstore.AggregateSum})
	}
	s, err := memstore.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Store: s, Writer: direct{s}, ExtraTags: extra, Now: clock}), s
}

// at returns the value of a selection at a time, and whether there is one.
func at(s *memstore.Store, sel memstore.Selection, seconds int64) (float64, bool) {
	d, err := s.Read(context.Background(), sel, memstore.Range{From: seconds, To: seconds + 5, Pad: memstore.PadBoth})
	if err != nil || len(d.Values) == 0 {
		return 0, false
	}
	return d.Values[0], d.Values[0] == d.Values[0]
}

func TestReport(t *testing.T) {
	f := func(name, cluster, batch string, want Report) {
		t.Run(name, func(t *testing.T) {
			g, _ := newIngester(t, map[string][]string{"kept": {"device"}}, "load", "kept")
			got, err := g.Batch(t.Context(), Source{Cluster: cluster, Transport: "http"}, []byte(batch))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
	rejected := func(accepted int, bad ...Rejected) Report {
		return Report{Accepted: accepted, Rejected: bad, RejectedTotal: len(bad)}
	}
	const good = "load,cluster=a,hostname=n1 value=1 1795308600\n"
	f("an empty batch", "", "", Report{})
	f("comments and empty lines", "", "\n# hello\n\n", Report{})
	f("no newline at the end", "", strings.TrimSpace(good), Report{Accepted: 1})
	f("no timestamp means now", "", "load,cluster=a,hostname=n1 value=1", Report{Accepted: 1})
	f("the good lines of a bad batch", "", good+"load,cluster=a,hostname=n1 value=\n"+good,
		rejected(2, Rejected{2, "the line ends where a field is expected"}))
	f("no cluster", "", "load,hostname=n1 value=1", rejected(0, Rejected{1, "no cluster: neither a tag nor a default"}))
	f("default cluster", "a", "load,hostname=n1 value=1", Report{Accepted: 1})
	f("no hostname", "a", good+"load,type=node value=1", rejected(1, Rejected{2, "no hostname tag"}))
	f("unknown metrics are skipped", "a", "nope,hostname=n1 value=1\n"+good+"nope,hostname=n1 value=2\n", Report{Accepted: 1, Unknown: 2})
	f("a host that is a parent directory", "a", "load,hostname=.. value=1", rejected(0, Rejected{1, `bad name: host may not be ".."`}))
	f("a cluster with a slash", "", "load,cluster=a/b,hostname=n value=1", rejected(0, Rejected{1, "bad name: cluster contains a slash"}))
	oldAndNew := rejected(0,
		Rejected{1, string(memstore.RefusedOld) + ": 1 read as seconds is 1970-01-01T00:00:01Z"},
		Rejected{2, string(memstore.RefusedFuture) + ": 1795309999 read as seconds is 2026-11-22T01:13:19Z"})
	oldAndNew.Future = 1
	f("too old and too new", "a", "load,hostname=n value=1 1\nload,hostname=n value=1 1795309999\n", oldAndNew)
	f("lines that differ in an ignored tag", "a", "load,hostname=n,device=x value=1\nload,hostname=n,device=y value=1\nload,hostname=n,device=x value=1 1795308595\n",
		Report{Accepted: 3, Duplicates: 1})
	f("lines that differ in an extra tag", "a", "kept,hostname=n,device=x value=1\nkept,hostname=n,device=y value=1\n", Report{Accepted: 2})
}

// Each field of a line is a metric with the line's tags, whether the cache knows it or not.
func TestEachFieldIsAMetric(t *testing.T) {
	g, s := newIngester(t, map[string][]string{"net_in": {"device"}}, "net_in", "net_out", "net", "net_a=b")
	src := Source{Cluster: "a", Dialect: lineprotocol.Dialect{EachField: true, Unit: time.Second}}
	batch := "net,host=n,device=eth0 in=1,out=2,value=3,nope=4 1795308600\n" +
		"net,host=n,device=eth1 in=10,out=20i 1795308595\n" +
		`net,host=n a\=b=5,note="x" 1795308600` + "\nnet in=1\n"
	for range 2 {
		report, err := g.Batch(t.Context(), src, []byte(batch))
		want := Report{Accepted: 6, Unknown: 1, Rejected: []Rejected{{4, "no hostname tag"}}, RejectedTotal: 1}
		if err != nil || !reflect.DeepEqual(report, want) {
			t.Fatalf("%+v, %v, want %+v", report, err, want)
		}
	}
	// The same key in the other dialect is the metric of the measurement.
	if report, err := g.Batch(t.Context(), Source{Cluster: "a"}, []byte("net,host=n,device=eth0 value=6,in=7 1795308590\n")); err != nil || report.Accepted != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	f := func(metric, device string, seconds int64, want float64) {
		t.Helper()
		sel := memstore.Selection{Cluster: "a", Host: "n", Metric: metric}
		if device != "" {
			sel.Type, sel.Subtype, sel.SubtypeIDs = "node", "device", []string{device}
		}
		if got, ok := at(s, sel, seconds); !ok || got != want {
			t.Errorf("%s %s: %v, want %v", metric, device, got, want)
		}
	}
	f("net_in", "eth0", 1795308600, 1)
	f("net_in", "eth1", 1795308595, 10)
	f("net_out", "", 1795308600, 2)
	f("net_out", "", 1795308595, 20)
	f("net", "", 1795308600, 3)
	f("net_a=b", "", 1795308600, 5)
	f("net", "", 1795308590, 6)
}

// An alias means the metric in every dialect, with the metric's extra tags. The metric keeps its
// own name.
func TestAliases(t *testing.T) {
	g, s := newIngester(t, map[string][]string{"net": {"device"}}, "net", "load")
	g.Aliases = map[string]string{"net_rx": "net", "system_load1": "load", "rx": "gone"}
	influx := Source{Cluster: "a", Dialect: lineprotocol.Dialect{EachField: true, Unit: time.Second}}
	for range 2 {
		report, err := g.Batch(t.Context(), influx, []byte("net,host=n,device=eth0 rx=1,tx=2 1795308600\nsystem,host=n load1=3 1795308600\nrx,host=n value=1 1795308600\n"))
		if err != nil || report.Accepted != 2 || report.Unknown != 2 || report.RejectedTotal != 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		report, err = g.Batch(t.Context(), Source{Cluster: "a"}, []byte("system_load1,host=m value=4 1795308600\nload,host=o value=5 1795308600\n"))
		if err != nil || report.Accepted != 2 {
			t.Fatalf("%+v, %v", report, err)
		}
	}
	f := func(sel memstore.Selection, want float64) {
		t.Helper()
		if got, ok := at(s, sel, 1795308600); !ok || got != want {
			t.Errorf("%+v: %v, want %v", sel, got, want)
		}
	}
	f(memstore.Selection{Cluster: "a", Host: "n", Metric: "net", Type: "node", Subtype: "device", SubtypeIDs: []string{"eth0"}}, 1)
	f(memstore.Selection{Cluster: "a", Host: "n", Metric: "load"}, 3)
	f(memstore.Selection{Cluster: "a", Host: "m", Metric: "load"}, 4)
	f(memstore.Selection{Cluster: "a", Host: "o", Metric: "load"}, 5)
}

// A report lists the first hundred bad lines, whether scanning them or resolving their keys failed.
func TestReportsTheFirstHundred(t *testing.T) {
	g, _ := newIngester(t, nil, "load")
	var batch strings.Builder
	for i := range 200 {
		if i%2 == 0 {
			fmt.Fprintf(&batch, "load,cluster=a,hostname=.. value=%d\n", i)
		} else {
			fmt.Fprintf(&batch, "load,cluster=a,hostname=n value=x\n")
		}
	}
	report, err := g.Batch(t.Context(), Source{}, []byte(batch.String()))
	if err != nil || report.RejectedTotal != 200 || len(report.Rejected) != 100 {
		t.Fatalf("%d of %d, %v", len(report.Rejected), report.RejectedTotal, err)
	}
	for i, r := range report.Rejected {
		if r.Line != i+1 {
			t.Errorf("line %d is listed as number %d", r.Line, i+1)
		}
	}
}

// Rejected lines are listed in their order, whichever step rejected them.
func TestRejectedLinesAreInOrder(t *testing.T) {
	g, _ := newIngester(t, nil, "load")
	batch := "load,hostname=n value=1\n" + // no cluster: found when its key is resolved
		"load,cluster=a,hostname=n value=x\n" + // when it is scanned
		"load,cluster=a,hostname=n value=1 1\n" + // when it is stored
		"load,cluster=a,hostname=n value=\n" +
		"load,hostname=n value=1\n"
	for range 2 {
		report, err := g.Batch(t.Context(), Source{}, []byte(batch))
		if err != nil || report.RejectedTotal != 5 {
			t.Fatalf("%+v, %v", report, err)
		}
		for i, r := range report.Rejected {
			if r.Line != i+1 {
				t.Errorf("line %d is listed as number %d: %s", r.Line, i+1, r.Reason)
			}
		}
	}
	report := Report{}
	for i := range 3 * maxReported {
		report.reject((i*7919)%(3*maxReported)+1, "")
	}
	for i, r := range report.Rejected {
		if r.Line != i+1 || len(report.Rejected) != maxReported {
			t.Fatalf("line %d is number %d of %d", r.Line, i+1, len(report.Rejected))
		}
	}
}

// A refused timestamp is told as it was read, with the unit that was assumed or asked for.
func TestRefusalsSayWhichMomentWasRead(t *testing.T) {
	f := func(stamp string, unit time.Duration, want string) {
		t.Helper()
		g, _ := newIngester(t, nil, "load")
		for _, dialect := range []lineprotocol.Dialect{{Unit: unit}, {Unit: unit, EachField: true}} {
			// Good lines and a previous piece stand before it.
			batch := strings.Repeat("# a comment\n\nload,hostname=n value=1\n", chunkBytes/30) + "load,hostname=n value=1,note=\"a b\" " + stamp + " \r\n"
			report, err := g.Batch(t.Context(), Source{Cluster: "a", Dialect: dialect}, []byte(batch))
			if err != nil || len(report.Rejected) != 1 || report.Rejected[0].Line != strings.Count(batch, "\n") || report.Rejected[0].Reason != want {
				t.Errorf("%s: %+v, %v; want %s", stamp, report, err, want)
			}
		}
	}
	const old, future = "the timestamp is older than the retention: ", "the timestamp is too far in the future: "
	f("1795308", 0, old+"1795308 read as seconds is 1970-01-21T18:41:48Z")
	f("1795304999", 0, old+"1795304999 read as seconds is 2026-11-21T23:49:59Z")
	f("1795304999000", 0, old+"1795304999000 read as milliseconds is 2026-11-21T23:49:59Z")
	f("1795304999000000", 0, old+"1795304999000000 read as microseconds is 2026-11-21T23:49:59Z")
	f("1795304999000000000", 0, old+"1795304999000000000 read as nanoseconds is 2026-11-21T23:49:59Z")
	f("-0005", 0, old+"-5 read as seconds is 1969-12-31T23:59:55Z")
	f("1795308600", time.Nanosecond, old+"1795308600 read as nanoseconds is 1970-01-01T00:00:01Z")
	f("1795308600", time.Microsecond, old+"1795308600 read as microseconds is 1970-01-01T00:29:55Z")
	f("1795308600", time.Millisecond, old+"1795308600 read as milliseconds is 1970-01-21T18:41:48Z")
	f("1795308600000", time.Second, future+"1795308600000 read as seconds is 58861-01-23T17:20:00Z")
	f("1795308600", time.Minute, future+"1795308600 read as minutes is 5383-06-19T02:00:00Z")
	f("1795308600", time.Hour, future+"1795308600 read as hours is 206777-11-01T00:00:00Z")
}

func TestExtraTagsAreASubtype(t *testing.T) {
	g, s := newIngester(t, map[string][]string{"net": {"device", "port"}}, "net")
	batch := "net,cluster=a,hostname=n,device=mlx5_0,port=1 value=1\n" +
		"net,cluster=a,hostname=n,port=2,device=mlx5_0 value=2\n" +
		"net,cluster=a,hostname=n,stype=network,stype-id=ib0,port=2 value=4\n"
	if _, err := g.Batch(t.Context(), Source{}, []byte(batch)); err != nil {
		t.Fatal(err)
	}
	f := func(subtype, id string, want float64) {
		sel := memstore.Selection{Cluster: "a", Host: "n", Metric: "net", Type: "node", Subtype: subtype, SubtypeIDs: []string{id}}
		if v, ok := at(s, sel, now); !ok || v != want {
			t.Errorf("%s %s is %v, %t; want %v", subtype, id, v, ok, want)
		}
	}
	f("device,port", "mlx5_0,1", 1)
	f("device,port", "mlx5_0,2", 2)
	f("network,port", "ib0,2", 4)
}

// TestCollectorSample stores a real collector's batch and reads every line back.
func TestCollectorSample(t *testing.T) {
	sample, err := os.ReadFile("../lineprotocol/testdata/collector-sample.txt")
	if err != nil {
		t.Fatal(err)
	}
	var metrics []string
	seen := map[string]bool{}
	for line := range strings.Lines(string(sample)) {
		name, _, _ := strings.Cut(line, ",")
		if !seen[name] {
			seen[name] = true
			metrics = append(metrics, name)
		}
	}
	g, s := newIngester(t, nil, metrics...)
	report, err := g.Stream(t.Context(), Source{Transport: "http"}, bytes.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Count(sample, []byte("\n"))
	if report.Accepted != lines || report.RejectedTotal+report.Unknown+report.Duplicates != 0 {
		t.Fatalf("of %d lines: %+v", lines, report)
	}
	for line := range strings.Lines(string(sample)) {
		var value float64
		var ns int64
		key, rest, _ := strings.Cut(strings.TrimSpace(line), " value=")
		if _, err := fmt.Sscanf(strings.NewReplacer("i ", " ", "u ", " ").Replace(rest), "%g %d", &value, &ns); err != nil {
			t.Fatal(line, err)
		}
		sel := memstore.Selection{Cluster: "testcluster", Host: "vm"}
		for i, part := range strings.Split(key, ",") {
			name, v, _ := strings.Cut(part, "=")
			switch {
			case i == 0:
				sel.Metric = name
			case name == "type":
				sel.Type = v
			case name == "type-id":
				sel.TypeIDs = []string{v}
			case name == "stype":
				sel.Subtype = v
			case name == "stype-id":
				sel.SubtypeIDs = []string{v}
			}
		}
		if got, ok := at(s, sel, ns/1e9); !ok || got != value {
			t.Errorf("%s: stored %v (%t), sent %v", key, got, ok, value)
		}
	}
}

// A stream is stored like the same bytes in one batch, however its reads are split.
func TestStreamIsBatch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var batch bytes.Buffer
	for batch.Len() < 3*chunkBytes {
		switch r.IntN(40) {
		case 0:
			batch.WriteString("load,cluster=a,hostname=n value=\n")
		case 1:
			batch.WriteString("load,cluster=a,hostname=" + strings.Repeat("x", 70_000+r.IntN(500_000)) + " value=1\n")
		case 2:
			batch.WriteString("\n# comment\n")
		default:
			fmt.Fprintf(&batch, "load,cluster=a,hostname=n%d,type=hwthread,type-id=%d value=%d %d\n", r.IntN(50), r.IntN(9), r.IntN(100), now-r.IntN(600))
		}
	}
	store := func(in func(g *Ingester) (Report, error)) (Report, memstore.Size, int64) {
		g, s := newIngester(t, nil, "load")
		report, err := in(g)
		if err != nil {
			t.Fatal(err)
		}
		values, err := s.Values()
		if err != nil {
			t.Fatal(err)
		}
		return report, s.Size(), values
	}
	want, size, values := store(func(g *Ingester) (Report, error) { return g.Batch(t.Context(), Source{}, batch.Bytes()) })
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole":      func(r io.Reader) io.Reader { return r },
		"halves":     iotest.HalfReader,
		"data + EOF": iotest.DataErrReader,
		"no newline": func(io.Reader) io.Reader { return bytes.NewReader(bytes.TrimRight(batch.Bytes(), "\n")) },
	} {
		got, gotSize, gotValues := store(func(g *Ingester) (Report, error) {
			return g.Stream(t.Context(), Source{}, wrap(bytes.NewReader(batch.Bytes())))
		})
		if !reflect.DeepEqual(got, want) || gotSize != size || gotValues != values {
			t.Errorf("%s: got %d stored, %d rejected, %d values, %+v; want %d, %d, %d, %+v", name, got.Accepted, got.RejectedTotal, gotValues, gotSize, want.Accepted, want.RejectedTotal, values, size)
		}
	}
}

func TestStreamPassesOnErrors(t *testing.T) {
	g, _ := newIngester(t, nil, "load")
	broken := errors.New("connection lost")
	if _, err := g.Stream(t.Context(), Source{}, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("a reader's error: %v", err)
	}
	if _, err := g.Stream(t.Context(), Source{}, io.MultiReader(strings.NewReader("load,cluster=a,hostname=n value=1"), iotest.ErrReader(io.ErrUnexpectedEOF))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a truncated body: %v", err)
	}
	g.Writer = full{}
	report, err := g.Batch(t.Context(), Source{}, []byte("load,cluster=a,hostname=n value=1"))
	if !errors.Is(err, errFull) || report.Accepted != 0 {
		t.Errorf("a writer's error: %v, %+v", err, report)
	}
}

var errFull = errors.New("no space left on device")

type full struct{}

func (full) WriteFrom(context.Context, memstore.Origin, []memstore.Sample) ([]memstore.Refusal, error) {
	return nil, errFull
}

// In a batch of many groups, each with lines of every kind, every line gets its own result, whether
// the cache knows its key or not.
func TestReportOfManyLines(t *testing.T) {
	g, s := newIngester(t, nil, "load")
	const rounds = 100
	var batch []byte
	want := Report{Unknown: rounds, Forbidden: rounds, RejectedTotal: 2 * rounds}
	for i := range rounds {
		batch = fmt.Appendf(batch, "load,cluster=a,hostname=n,type=core,type-id=%d value=%d %d\n", i, i, now)
		batch = fmt.Appendf(batch, "load,cluster=a,hostname=n,type=core,type-id=%d value=x %d\n", i, now)
		batch = fmt.Appendf(batch, "none,cluster=a,hostname=n,type=core,type-id=%d value=1 %d\n", i, now)
		batch = fmt.Appendf(batch, "load,cluster=b,hostname=n,type=core,type-id=%d value=1 %d\n\n", i, now)
		want.Accepted++
	}
	mayA := Source{May: func(cluster string) bool { return cluster == "a" }}
	if _, err := g.Batch(t.Context(), Source{}, []byte(fmt.Sprintf("load,cluster=b,hostname=n,type=core,type-id=0 value=7 %d", now))); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"new keys", "cached keys"} {
		got, err := g.Batch(t.Context(), mayA, batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got.Rejected {
			if kind := (r.Line - 1) % 5; kind != 1 && kind != 3 {
				t.Errorf("%s: line %d is rejected: %s", when, r.Line, r.Reason)
			}
		}
		if len(got.Rejected) != maxReported {
			t.Errorf("%s: %d rejected lines are listed", when, len(got.Rejected))
		}
		got.Rejected = nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", when, got, want)
		}
	}
	for i := range rounds {
		of := func(cluster string) memstore.Selection {
			return memstore.Selection{Cluster: cluster, Host: "n", Metric: "load", Type: "core", TypeIDs: []string{fmt.Sprint(i)}}
		}
		if v, ok := at(s, of("a"), now); !ok || v != float64(i) {
			t.Errorf("core %d: %v, %v", i, v, ok)
		}
		if v, ok := at(s, of("b"), now); ok && (i != 0 || v != 7) {
			t.Errorf("core %d of b: %v", i, v)
		}
	}
}

// After a series has left the store, the next line of its key creates it again.
func TestSeriesThatLeft(t *testing.T) {
	g, s := newIngester(t, nil, "load")
	line := []byte("load,cluster=a,hostname=n value=1")
	for range 3 {
		if report, err := g.Batch(t.Context(), Source{}, line); err != nil || report.Accepted != 1 {
			t.Fatal(report, err)
		}
		if n := s.Free([][]string{{"a"}}, now); n != 1 {
			t.Fatalf("freed %d", n)
		}
	}
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte("load,cluster=a,hostname=n value=1 1795308600\nload value=\n"))
	f.Add([]byte("load,hostname=n,type=hwthread,type-id=3,unit=\\ x value=1i\n\xff"))
	f.Add([]byte("load,hostname=n value=\"a\nb\",value=2"))
	f.Fuzz(func(t *testing.T, batch []byte) {
		g, s := newIngester(t, nil, "load")
		report, err := g.Stream(t.Context(), Source{Cluster: "c"}, bytes.NewReader(batch))
		if err != nil {
			t.Fatal(err)
		}
		if n := report.Accepted + report.RejectedTotal + report.Unknown; n > bytes.Count(batch, []byte("\n"))+1 {
			t.Errorf("%d lines of %d", n, bytes.Count(batch, []byte("\n"))+1)
		}
		if report.Accepted > 0 != (s.Size().Series > 0) {
			t.Errorf("%d accepted, %d series", report.Accepted, s.Size().Series)
		}
	})
}
