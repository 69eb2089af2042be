package memstore

import (
	"context"
	"testing"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

// syntheticDay returns a store with a day of the synthetic cluster, maintained as in operation.
func syntheticDay(b *testing.B, c *synthetic.Cluster) *Store {
	b.Helper()
	now := int64(base)
	s, hosts := newSynthetic(b, c, &now)
	values, batch := make([]float64, len(c.Series())), make([]Sample, len(c.Series()))
	for step := range 1440 {
		now = base + int64(step)*60
		for h, series := range hosts {
			c.Step(h, step, values)
			for i, sr := range series {
				batch[i] = Sample{sr, now * 1000, values[i]}
			}
			if refused, err := s.Write(batch); err != nil || len(refused) > 0 {
				b.Fatal(refused, err)
			}
		}
		if step%30 == 0 {
			maintain(b, s)
		}
	}
	maintain(b, s)
	return s
}

// nodeMetrics returns up to n metrics that a selection of the whole host can have: those of the node
// itself, and those of devices that have an aggregation.
func nodeMetrics(c *synthetic.Cluster, n int) (names []string) {
	node := make(map[string]bool)
	for _, d := range c.Series() {
		node[d.Metric] = d.Type == "node"
	}
	for _, m := range c.Metrics() {
		if len(names) < n && (node[m.Name] || m.Aggregation != "") {
			names = append(names, m.Name)
		}
	}
	return names
}

// BenchmarkNodeScope answers requests for aggregates of a day of the synthetic cluster, as
// cc-backend sends them, without the transport. It reports the CPU time per request.
func BenchmarkNodeScope(b *testing.B) {
	c := synthetic.New(20, 1)
	s := syntheticDay(b, c)
	threads := make(map[string][]string)
	var metrics []string
	for _, d := range c.Series() {
		if d.Type == "hwthread" {
			if threads[d.Metric] == nil {
				metrics = append(metrics, d.Metric)
			}
			threads[d.Metric] = append(threads[d.Metric], d.TypeID)
		}
	}
	day := Range{From: base, To: base + 86400, Pad: PadFront}
	run := func(name string, sels []Selection, r Range) {
		b.Run(name, func(b *testing.B) {
			begin := cpuTime(b)
			for b.Loop() {
				for _, sel := range sels {
					d, err := s.Read(context.Background(), sel, r)
					if err != nil {
						b.Fatal(err)
					}
					if !r.StatsOnly {
						r.Buffer = d.Values
					}
				}
			}
			b.ReportMetric((cpuTime(b)-begin).Seconds()*1000/float64(b.N), "cpu-ms/request")
		})
	}
	var sels []Selection
	for h := range 4 {
		for _, m := range metrics[:10] {
			sels = append(sels, Selection{Cluster: "synthetic", Host: c.Host(h), Metric: m, Type: "hwthread", TypeIDs: threads[m]})
		}
	}
	coarse := day
	coarse.Resolution = 600
	run("threads", sels, coarse)
	head := coarse
	head.From = base + 1400*60
	run("threads of the open window", sels, head)
	sels = nil
	for h := range 8 {
		for _, m := range nodeMetrics(c, 26) {
			sels = append(sels, Selection{Cluster: "synthetic", Host: c.Host(h), Metric: m})
		}
	}
	stats := day
	stats.StatsOnly = true
	run("statistics", sels, stats)
	sels = nil
	for h := range 20 {
		for _, m := range metrics[4:10] {
			sels = append(sels, Selection{Cluster: "synthetic", Host: c.Host(h), Metric: m})
		}
	}
	run("all nodes", sels, day)
}
