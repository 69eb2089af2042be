package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// series is a series as it is sent.
type series struct {
	labels  []prompb.Label // sorted
	samples []prompb.Sample
}

func newSeries(metric, cluster, host, kind, id, subtype, subtypeID string) series {
	var s series
	for _, l := range [...][2]string{
		{"__name__", metric}, {"cluster", cluster}, {"hostname", host}, {"stype", subtype}, {"stype_id", subtypeID}, {"type", kind}, {"type_id", id},
	} {
		if l[1] != "" {
			s.labels = append(s.labels, prompb.Label{Name: l[0], Value: l[1]})
		}
	}
	return s
}

// fill gives a series random samples from one time to another, in Unix milliseconds, with gaps. The
// first slot of a gap has a stale marker, as a Prometheus sends it.
func (s *series) fill(r *rand.Rand, from, to, every int64) {
	phase := r.Int64N(every) * int64(r.IntN(2))
	counter := s.labels[0].Value == "ib_recv_total"
	v, present := 0.0, false
	for at := from + phase; at < to; at += every {
		if r.IntN(12) == 0 {
			if present {
				s.samples = append(s.samples, prompb.Sample{Timestamp: at, Value: math.Float64frombits(value.StaleNaN)})
			}
			present = false
			at += every * r.Int64N(8)
			continue
		}
		switch {
		case counter && r.IntN(50) == 0:
			v = 0
		case counter:
			v += float64(r.IntN(1000))
		default:
			v = math.Round(1000*r.NormFloat64()) / 10
		}
		present = true
		s.samples = append(s.samples, prompb.Sample{Timestamp: at, Value: v})
	}
}

// smallSite returns the series that answers are compared with.
func smallSite(from, to int64) (all []series) {
	r := rand.New(rand.NewPCG(1, 2))
	add := func(every int64, s series) {
		s.fill(r, from, to, every*1000)
		all = append(all, s)
	}
	for _, host := range [...][2]string{{"c1", "n1"}, {"c1", "n2"}, {"c1", "n3"}, {"c2", "n1"}} {
		add(60, newSeries("load", host[0], host[1], "node", "", "", ""))
		add(60, newSeries("load", host[0], host[1], "socket", "0", "network", "eth0"))
		for i := range 2 {
			add(60, newSeries("ib_recv_total", host[0], host[1], "node", "", "network", fmt.Sprint("mlx5_", i)))
		}
		for i := range 4 {
			add(60, newSeries("flops_any", host[0], host[1], "hwthread", fmt.Sprint(i), "", ""))
			add(30, newSeries("ipc", host[0], host[1], "hwthread", fmt.Sprint(i), "", ""))
		}
	}
	return all
}

// feed sends series to servers, a part of the time after the other, because Prometheus takes no sample
// that is much older than its newest one. Every other message is of version 2.0.
func feed(ctx context.Context, all []series, from, to int64, servers ...*server) error {
	const part, most = 600_000, 2000 // milliseconds of a part; series of a message
	next := make([]int, len(all))
	messages := 0
	for begin := from; begin < to; begin += part {
		for first := 0; first < len(all); first += most {
			var batch []series
			for i := first; i < min(first+most, len(all)); i++ {
				s := all[i].samples[next[i]:]
				n := 0
				for n < len(s) && s[n].Timestamp < begin+part {
					n++
				}
				next[i] += n
				if n > 0 {
					batch = append(batch, series{all[i].labels, s[:n]})
				}
			}
			messages++
			for _, server := range servers {
				if err := send(ctx, server, batch, messages%2 == 0); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func send(ctx context.Context, to *server, batch []series, second bool) error {
	message, kind, version := encode1(batch), "application/x-protobuf", "0.1.0"
	if second {
		message, kind, version = encode2(batch), "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, message)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", version)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(resp.Body)
		return to.Explain(fmt.Errorf("remote write to %s: %s: %s", to.url, resp.Status, text))
	}
	return nil
}

func encode1(batch []series) []byte {
	var req prompb.WriteRequest
	for _, s := range batch {
		req.Timeseries = append(req.Timeseries, prompb.TimeSeries{Labels: s.labels, Samples: s.samples})
	}
	message, err := req.Marshal()
	if err != nil {
		panic(err) // labels and numbers only
	}
	return message
}

func encode2(batch []series) []byte {
	var req writev2.Request
	symbols := writev2.NewSymbolTable()
	for _, s := range batch {
		var ts writev2.TimeSeries
		for _, l := range s.labels {
			ts.LabelsRefs = append(ts.LabelsRefs, symbols.Symbolize(l.Name), symbols.Symbolize(l.Value))
		}
		for _, p := range s.samples {
			ts.Samples = append(ts.Samples, writev2.Sample{Timestamp: p.Timestamp, Value: p.Value})
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	req.Symbols = symbols.Symbols()
	message, err := req.Marshal()
	if err != nil {
		panic(err) // labels and numbers only
	}
	return message
}
