package rest_test

import (
	"math"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/memstore"
)

// sent is a sample of remote write with the labels of its series, as name=value separated by blanks.
type sent struct {
	labels string
	at     int64 // seconds after base
	v      float64
}

func remoteWriteV1(all ...sent) string {
	var req prompb.WriteRequest
	for _, s := range all {
		ts := prompb.TimeSeries{Samples: []prompb.Sample{{Timestamp: (base + s.at) * 1000, Value: s.v}}}
		for _, l := range strings.Fields(s.labels) {
			name, v, _ := strings.Cut(l, "=")
			ts.Labels = append(ts.Labels, prompb.Label{Name: name, Value: v})
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	message, err := req.Marshal()
	if err != nil {
		panic(err)
	}
	return string(snappy.Encode(nil, message))
}

func remoteWriteV2(all ...sent) string {
	symbols := writev2.NewSymbolTable()
	var req writev2.Request
	for _, s := range all {
		ts := writev2.TimeSeries{Samples: []writev2.Sample{{Timestamp: (base + s.at) * 1000, Value: s.v}}}
		for _, l := range strings.Fields(s.labels) {
			name, v, _ := strings.Cut(l, "=")
			ts.LabelsRefs = append(ts.LabelsRefs, symbols.Symbolize(name), symbols.Symbolize(v))
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	req.Symbols = symbols.Symbols()
	message, err := req.Marshal()
	if err != nil {
		panic(err)
	}
	return string(snappy.Encode(nil, message))
}

const (
	asV1 = "application/x-protobuf"
	asV2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"

	remoteWritten = "X-Prometheus-Remote-Write-Samples-Written"
)

func TestRemoteWrite(t *testing.T) {
	d := open(t)
	for _, path := range []string{"/api/v1/write", "/api/v1/write?cluster=alpha", "/prometheus/api/v1/write/"} {
		if strings.HasPrefix(path, "/prometheus") {
			d.skipContract() // it describes the paths without the prefix
		}
		batch := []sent{
			{"__name__=cpu_load cluster=alpha instance=n1:9100 job=node", 0, 1.5},
			{"__name__=cpu_load cluster=alpha instance=n1:9100 job=node", 60, math.Float64frombits(value.StaleNaN)},
			{"__name__=ipc cluster=alpha hostname=n1 type=hwthread type_id=3", 0, 2},
			{"__name__=not_configured cluster=alpha instance=n1:9100", 0, 2},
		}
		if got := d.sendBody(t, path, remoteWriteV1(batch...), false, "Content-Type", asV1, "Content-Encoding", "snappy"); got.status != 204 || got.body != "" || got.header.Get(remoteWritten) != "" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
		if got := d.sendBody(t, path, remoteWriteV2(batch...), true, "Content-Type", asV2, "Content-Encoding", "snappy"); got.status != 204 || got.header.Get(remoteWritten) != "4" {
			t.Errorf("%s: %d %s, %v", path, got.status, got.body, got.header)
		}
	}
	got := d.send(t, "POST", "/api/query", atBase(`{"cluster": "alpha", "from": {0}, "to": {120}, "queries": [
		{"metric": "cpu_load", "host": "n1"}, {"metric": "ipc", "host": "n1", "type": "hwthread", "type-ids": ["3"]}]}`)).answer(t)
	for i, want := range []float64{1.5, 2} {
		if byTime := got.Results[i][0].ByTime(); len(byTime) != 1 || byTime[base] != want {
			t.Errorf("query %d: %v, want %v", i, byTime, want)
		}
	}
}

// What cannot be stored is refused with its reasons; the rest is stored. The sender must not send the
// message again.
func TestRemoteWritePartly(t *testing.T) {
	d := open(t)
	batch := []sent{
		{"__name__=cpu_load instance=n1:9100", 0, 1},
		{"__name__=cpu_load cluster=alpha", 0, 1},
		{"__name__=cpu_load cluster=alpha instance=n1:9100", 999_999, 1},
		{"__name__=cpu_load cluster=alpha instance=n1:9100", 0, 3},
		{"instance=n1:9100", 0, 1},
		{"__name__=cpu_load cluster=.. instance=n1:9100", 0, 1},
	}
	want := []string{
		`"errorType":"bad_data"`, "5 samples rejected, 1 stored", "sample 1: no cluster", "sample 2: no hostname", "sample 3: the timestamp is too far in the future",
		"sample 5: no label __name__", "sample 6: bad name",
	}
	for _, version := range []string{asV1, asV2} {
		body := remoteWriteV1(batch...)
		if version == asV2 {
			body = remoteWriteV2(batch...)
		}
		got := d.sendBody(t, "/api/v1/write", body, false, "Content-Type", version, "Content-Encoding", "snappy")
		for _, part := range want {
			if !strings.Contains(got.body, part) {
				t.Errorf("no %q in %s", part, got.body)
			}
		}
		if got.status != 400 || version == asV2 && got.header.Get(remoteWritten) != "1" {
			t.Errorf("%d %v", got.status, got.header)
		}
	}
}

func TestRemoteWriteNeedsTheRole(t *testing.T) {
	d := open(t)
	body := remoteWriteV1(sent{"__name__=cpu_load cluster=alpha instance=n1", 0, 1})
	for _, c := range []struct {
		role string
		want int
	}{{"admin", 204}, {"api", 204}, {"support", 403}, {"manager", 403}, {"user", 403}, {"", 403}} {
		got := d.sendReader(t, "POST", "/api/v1/write", strings.NewReader(body), c.role, []string{"Content-Encoding", "snappy"})
		if got.status != c.want {
			t.Errorf("%q: %d, want %d", c.role, got.status, c.want)
		}
	}
	// A principal that is restricted to clusters writes to these only, and the refusal is audited.
	d = restricted(t, "alpha")
	body = remoteWriteV2(sent{"__name__=cpu_load cluster=alpha instance=n1", 0, 1}, sent{"__name__=cpu_load cluster=beta instance=n1", 0, 1})
	got := d.sendBody(t, "/api/v1/write", body, false, "Content-Type", asV2)
	if got.status != 400 || got.header.Get(remoteWritten) != "1" || !strings.Contains(got.body, "sample 2: not permitted on this cluster") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if !strings.Contains(d.audit.String(), "other_cluster") {
		t.Errorf("not audited: %s", d.audit.String())
	}
}

// A failing disk is retried, and the answer says what was stored before.
func TestRemoteWriteWithAFailingDisk(t *testing.T) {
	d := open(t, func(o *rest.Options) {
		o.Ingester = faultyIngester{syscall.ENOSPC, ingest.Report{Accepted: 7}}
	})
	body := remoteWriteV2(sent{"__name__=cpu_load cluster=alpha instance=n1", 0, 1})
	got := d.sendBody(t, "/api/v1/write", body, false, "Content-Type", asV2)
	if got.status != 503 || got.header.Get("Retry-After") == "" || got.header.Get(remoteWritten) != "7" || !strings.Contains(got.body, "the disk is full") {
		t.Errorf("%d %v %s", got.status, got.header, got.body)
	}
}

// Bodies that are no messages, or too large before or after decompression.
func TestRemoteWriteHostileBodies(t *testing.T) {
	d := open(t, func(o *rest.Options) {
		s := o.Store.(*memstore.Store)
		o.Ingester = ingest.New(ingest.Options{Store: s, Writer: storage{s}, Now: clock})
		o.Limits.BodyBytes = 1 << 20
	})
	f := func(name, body string, want int, headers ...string) {
		t.Helper()
		if got := d.sendBody(t, "/api/v1/write", body, true, headers...); got.status != want {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, want)
		}
	}
	f("a bomb", string(snappy.Encode(nil, make([]byte, 2<<20))), 413)
	f("a large body", strings.Repeat("\xff", 2<<20), 413)
	f("a claim", "\xff\xff\x3f", 400)
	f("text", "hello", 400)
	f("gzip", gzipped("hello"), 415, "Content-Encoding", "gzip")
	f("JSON", "{}", 415, "Content-Type", "application/json")
	f("nothing", "", 400)
}
