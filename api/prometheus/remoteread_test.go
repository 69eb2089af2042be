package prometheus

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// read sends a request for remote read.
func (w *twin) read(t testing.TB, body []byte, limit int) (*httptest.ResponseRecorder, error) {
	t.Helper()
	rec := httptest.NewRecorder()
	err := w.api.remoteRead(rec, httptest.NewRequest(http.MethodPost, "/api/v1/read", bytes.NewReader(body)), Caller{Reader: w.reader, MaxSamples: limit})
	return rec, err
}

func readRequest(t testing.TB, types ...prompb.ReadRequest_ResponseType) []byte {
	t.Helper()
	req := prompb.ReadRequest{AcceptedResponseTypes: types, Queries: []*prompb.Query{
		{StartTimestampMs: base * 1000, EndTimestampMs: now * 1000, Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_RE, Name: "__name__", Value: "load|ipc|flops_any|ib_recv_total"}}},
		{StartTimestampMs: (base + 1000) * 1000, EndTimestampMs: (base + 2000) * 1000, Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_EQ, Name: "cluster", Value: "c2"}, {Type: prompb.LabelMatcher_NEQ, Name: "type", Value: ""}}},
	}}
	message, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, message)
}

type points map[string][]prompb.Sample

func (p points) add(name []prompb.Label, samples ...prompb.Sample) {
	b := labels.NewScratchBuilder(0)
	for _, l := range name {
		b.Add(l.Name, l.Value)
	}
	key := b.Labels().String()
	p[key] = append(p[key], samples...)
}

// stored returns what Prometheus' own storage holds for the queries of readRequest.
func (w *twin) stored(t testing.TB) []points {
	t.Helper()
	all := []points{{}, {}}
	for i, q := range []struct {
		from, to int64
		matchers []*labels.Matcher
	}{
		{base * 1000, now * 1000, []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+")}},
		{(base + 1000) * 1000, (base + 2000) * 1000, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "cluster", "c2")}},
	} {
		querier, err := w.tsdb.Querier(q.from, q.to)
		if err != nil {
			t.Fatal(err)
		}
		for set := querier.Select(t.Context(), true, nil, q.matchers...); set.Next(); {
			s := set.At()
			for it := s.Iterator(nil); it.Next() != chunkenc.ValNone; {
				at, v := it.At()
				all[i].add(prompb.FromLabels(s.Labels(), nil), prompb.Sample{Timestamp: at, Value: v})
			}
		}
		if err := querier.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func compare(t *testing.T, got, want points) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %d series, want %d", len(got), len(want))
	}
	for name, samples := range want {
		if len(got[name]) != len(samples) {
			t.Errorf("%s: got %d samples, want %d", name, len(got[name]), len(samples))
			continue
		}
		for i, s := range samples {
			g := got[name][i]
			same := g.Value == s.Value || math.Float64bits(g.Value) == math.Float64bits(s.Value) // proto3 sends -0 as 0
			if g.Timestamp != s.Timestamp || !same {
				t.Errorf("%s: got %v, want %v", name, g, s)
				break
			}
		}
	}
}

// TestRemoteReadAnswersTheSamples, with stale markers, as Prometheus' own storage has them.
func TestRemoteReadAnswersTheSamples(t *testing.T) {
	w := newTwin(t, 3)
	rec, err := w.read(t, readRequest(t), 0)
	if err != nil || rec.Header().Get("Content-Encoding") != "snappy" {
		t.Fatal(err, rec.Header())
	}
	message, err := snappy.Decode(nil, rec.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var resp prompb.ReadResponse
	if err := resp.Unmarshal(message); err != nil {
		t.Fatal(err)
	}
	for i, want := range w.stored(t) {
		got := points{}
		for _, s := range resp.Results[i].Timeseries {
			got.add(s.Labels, s.Samples...)
		}
		compare(t, got, want)
	}
}

func TestRemoteReadStreamsChunks(t *testing.T) {
	w := newTwin(t, 3)
	rec, err := w.read(t, readRequest(t, prompb.ReadRequest_STREAMED_XOR_CHUNKS, prompb.ReadRequest_SAMPLES), 0)
	if err != nil {
		t.Fatal(err)
	}
	got := []points{{}, {}}
	for body := bufio.NewReader(rec.Body); ; {
		size, err := binary.ReadUvarint(body)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		frame := make([]byte, 4+size)
		if _, err := io.ReadFull(body, frame); err != nil {
			t.Fatal(err)
		}
		if sum := crc32.Checksum(frame[4:], crc32.MakeTable(crc32.Castagnoli)); sum != binary.BigEndian.Uint32(frame) {
			t.Fatal("a frame has a wrong checksum")
		}
		var resp prompb.ChunkedReadResponse
		if err := resp.Unmarshal(frame[4:]); err != nil {
			t.Fatal(err)
		}
		for _, s := range resp.ChunkedSeries {
			for _, c := range s.Chunks {
				chunk, err := chunkenc.FromData(chunkenc.EncXOR, c.Data)
				if err != nil {
					t.Fatal(err)
				}
				for it := chunk.Iterator(nil); it.Next() != chunkenc.ValNone; {
					at, v := it.At()
					if at < c.MinTimeMs || at > c.MaxTimeMs {
						t.Errorf("a sample at %d in a chunk from %d to %d", at, c.MinTimeMs, c.MaxTimeMs)
					}
					got[resp.QueryIndex].add(s.Labels, prompb.Sample{Timestamp: at, Value: v})
				}
			}
		}
	}
	for i, want := range w.stored(t) {
		compare(t, got[i], want)
	}
}

func TestMalformedRemoteReads(t *testing.T) {
	w := newTwin(t, 3)
	for name, c := range map[string]struct {
		body  []byte
		limit int
		want  string
	}{
		"not compressed":            {[]byte("{}"), 0, "Snappy"},
		"a bomb":                    {append(binary.AppendUvarint(nil, 1<<31), 1, 2, 3), 0, "at most 1048576 bytes"},
		"too large":                 {make([]byte, maxReadRequest+1), 0, "larger than 1048576 bytes"},
		"not a message":             {snappy.Encode(nil, []byte{0xff, 0xff}), 0, "not a prometheus.ReadRequest"},
		"an unknown response type":  {readRequest(t, 7), 0, "accepted_response_types: expected SAMPLES"},
		"a bad regular expression":  {matcherRequest(t, prompb.LabelMatcher_RE, "("), 0, `matcher of "hostname"`},
		"an unknown kind of match":  {matcherRequest(t, 9, "x"), 0, `matcher of "hostname": unknown type 9`},
		"more samples than allowed": {readRequest(t), 100, "too many samples"},
	} {
		_, err := w.read(t, c.body, c.limit)
		if failure, ok := err.(*Error); !ok || failure.Status >= 500 || !strings.Contains(failure.Public, c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func matcherRequest(t testing.TB, kind prompb.LabelMatcher_Type, value string) []byte {
	t.Helper()
	req := prompb.ReadRequest{Queries: []*prompb.Query{{EndTimestampMs: now * 1000, Matchers: []*prompb.LabelMatcher{{Type: kind, Name: "hostname", Value: value}}}}}
	message, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, message)
}

func FuzzReadRequest(f *testing.F) {
	f.Add(readRequest(f))
	f.Add([]byte{})
	f.Add(append(binary.AppendUvarint(nil, 1<<31), 1, 2, 3))
	f.Add(snappy.Encode(nil, []byte{0x0a, 0x00}))
	w := newTwin(f, 3)
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := w.read(t, body, 10_000); err != nil {
			if failure, ok := err.(*Error); !ok || failure.Status >= 500 {
				t.Errorf("got %v", err)
			}
		}
	})
}
