package memstore

import (
	"context"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

// cpuTime returns the CPU time of the process so far.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// newSynthetic returns a store for the synthetic cluster, whose clock the caller sets, and the
// series of each host in the cluster's order.
func newSynthetic(t testing.TB, c *synthetic.Cluster, now *int64) (*Store, [][]*Series) {
	t.Helper()
	o := Options{Retention: 24 * time.Hour, Now: func() time.Time { return time.Unix(*now, 0) }}
	aggregations := map[string]Aggregation{"sum": AggregateSum, "avg": AggregateAvg}
	for _, m := range c.Metrics() {
		o.Metrics = append(o.Metrics, Metric{Name: m.Name, Frequency: time.Minute, Aggregation: aggregations[m.Aggregation]})
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	hosts := make([][]*Series, c.Hosts())
	for h := range hosts {
		for _, d := range c.Series() {
			k := Key{Cluster: "synthetic", Host: c.Host(h), Metric: d.Metric}
			if d.Type != "node" {
				k.Device = Device{Type: d.Type, TypeID: d.TypeID}
			}
			sr, err := s.Series(k)
			if err != nil {
				t.Fatal(err)
			}
			hosts[h] = append(hosts[h], sr)
		}
	}
	return s, hosts
}

// BenchmarkIngest stores a day of the synthetic cluster, with resolved series, in order, including
// the sealing. It reports the CPU time per sample, without and with maintenance, the bytes of
// sealed blocks per value, and the heap bytes per sample.
func BenchmarkIngest(b *testing.B) {
	const steps = 1440
	for b.Loop() {
		runtime.GC()
		var before, after runtime.MemStats
		c := synthetic.New(20, 1)
		runtime.ReadMemStats(&before)
		now := int64(base)
		s, hosts := newSynthetic(b, c, &now)
		values := make([]float64, len(c.Series()))
		batches := make([][]Sample, len(hosts))
		for h := range batches {
			batches[h] = make([]Sample, len(values))
		}
		var samples int
		var ingest, maintenance time.Duration
		for step := range steps {
			now = base + int64(step)*60
			for h, series := range hosts {
				c.Step(h, step, values)
				for i, sr := range series {
					batches[h][i] = Sample{sr, now * 1000, values[i]}
				}
			}
			begin := cpuTime(b)
			for _, batch := range batches {
				if refused, err := s.Write(batch); err != nil || len(refused) > 0 {
					b.Fatal(refused, err)
				}
				samples += len(batch)
			}
			ingest += cpuTime(b) - begin
			if step%30 == 0 {
				begin := cpuTime(b)
				maintain(b, s)
				maintenance += cpuTime(b) - begin
			}
		}
		maintain(b, s)
		size := s.Size()
		runtime.GC()
		runtime.ReadMemStats(&after)
		sealed := 0
		for _, h := range s.allHosts() {
			for _, l := range h.lanes {
				for _, g := range l.segments {
					if g.sealed != nil {
						sealed += g.sealed.Columns() * g.slots
					}
				}
			}
		}
		b.ReportMetric(float64(ingest.Nanoseconds())/float64(samples), "cpu-ns/sample")
		b.ReportMetric(float64(maintenance.Nanoseconds())/float64(samples), "cpu-ns/sample-maintained")
		b.ReportMetric(float64(size.BlockBytes)/float64(sealed), "block-B/value")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(samples), "heap-B/sample")
		b.ReportMetric(float64(size.Bytes)/float64(samples), "accounted-B/sample")
		runtime.KeepAlive(s)
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRead reads a day of all hwthread series of four hosts, one by one.
func BenchmarkRead(b *testing.B) {
	c := synthetic.New(4, 1)
	now := int64(base)
	s, hosts := newSynthetic(b, c, &now)
	values := make([]float64, len(c.Series()))
	for step := range 1440 {
		now = base + int64(step)*60
		for h, series := range hosts {
			c.Step(h, step, values)
			for i, sr := range series {
				if refused, err := s.Write([]Sample{{sr, now * 1000, values[i]}}); err != nil || len(refused) > 0 {
					b.Fatal(refused, err)
				}
			}
		}
	}
	maintain(b, s)
	var read int
	begin := cpuTime(b)
	for b.Loop() {
		for h := range hosts {
			for _, d := range c.Series() {
				sel := Selection{Cluster: "synthetic", Host: c.Host(h), Metric: d.Metric, Type: d.Type, TypeIDs: []string{d.TypeID}}
				got, err := s.Read(context.Background(), sel, Range{From: base, To: base + 86400, Pad: PadBoth})
				if err != nil {
					b.Fatal(err)
				}
				read += len(got.Values)
			}
		}
	}
	b.ReportMetric(float64((cpuTime(b)-begin).Nanoseconds())/float64(read), "cpu-ns/value")
}

// BenchmarkReplay replays the records of a day of the synthetic cluster with shuffled lines. It
// reports the CPU time and the elapsed time per sample.
func BenchmarkReplay(b *testing.B) {
	const steps = 1440
	c := synthetic.New(20, 1)
	now := int64(base)
	s, hosts := newSynthetic(b, c, &now)
	values := make([]float64, len(c.Series()))
	batch := make([]Sample, len(values))
	random := rand.New(rand.NewPCG(1, 1))
	var records [][]byte
	for step := range steps {
		now = base + int64(step)*60
		for h, series := range hosts {
			c.Step(h, step, values)
			for i, k := range random.Perm(len(series)) {
				batch[i] = Sample{series[k], now * 1000, values[k]}
			}
			var r Record
			if refused, err := s.WriteRecord(batch, &r, func(*Record) error { return nil }); err != nil || len(refused) > 0 {
				b.Fatal(refused, err)
			}
			r.Commit()
			records = append(records, r.Bytes())
		}
	}
	samples := float64(b.N * steps * len(hosts) * len(values))
	begin, cpu := time.Now(), cpuTime(b)
	b.ResetTimer()
	for range b.N {
		again, _ := newSynthetic(b, synthetic.New(0, 1), &now)
		r := again.Restore()
		for _, record := range records {
			if err := r.Record(record); err != nil {
				b.Fatal(err)
			}
		}
		r.Done()
		if r.Samples != steps*len(hosts)*len(values) {
			b.Fatalf("%+v", r.Restored)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/samples, "cpu-ns/sample")
	b.ReportMetric(float64(time.Since(begin))/samples, "wall-ns/sample")
	b.ReportMetric(0, "ns/op")
}
