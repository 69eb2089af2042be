package memstore

import (
	"context"
	"flag"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

var scaleHosts = flag.Int("scale", 0, "hosts of TestScale, which holds a day of them; 1000 take about three minutes and 3 GB")

// TestScale stores a day of many hosts and queries it while samples arrive. It reports times
// without checking them.
func TestScale(t *testing.T) {
	if *scaleHosts == 0 {
		t.Skip("a long run: -scale 1000")
	}
	const steps = 1440
	c := synthetic.New(*scaleHosts, 1)
	now := int64(base)
	s, hosts := newSynthetic(t, c, &now)
	values, batch := make([]float64, len(c.Series())), make([]Sample, len(c.Series()))
	write := func(h int) {
		for i, sr := range hosts[h] {
			batch[i] = Sample{sr, now * 1000, values[i]}
		}
		if refused, err := s.Write(batch); err != nil || len(refused) > 0 {
			t.Fatal(refused, err)
		}
	}
	var used time.Duration
	for step := range steps {
		now = base + int64(step)*60
		for h := range hosts {
			c.Step(h, step, values)
			begin := cpuTime(t)
			write(h)
			used += cpuTime(t) - begin
		}
		if step%60 == 0 {
			begin := cpuTime(t)
			maintain(t, s)
			used += cpuTime(t) - begin
		}
	}
	samples := steps * len(hosts) * len(batch)
	size := s.Size()
	t.Logf("%d samples, %d series: %.2f bytes a sample by the books, CPU %d ns a sample",
		samples, size.Series, float64(size.Bytes)/float64(samples), used.Nanoseconds()/int64(samples))

	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		const perSecond = 20_000
		tick := time.NewTicker(time.Second * time.Duration(len(batch)) / perSecond)
		defer tick.Stop()
		for h := 0; ; h = (h + 1) % len(hosts) {
			select {
			case <-stop:
				return
			case <-tick.C:
				write(h)
			}
		}
	})
	r := rand.New(rand.NewPCG(1, 1))
	var metrics []synthetic.Metric
	for _, m := range c.Metrics() {
		if m.Aggregation != "" {
			metrics = append(metrics, m)
		}
	}
	var took []time.Duration
	for begin := time.Now(); time.Since(begin) < 20*time.Second; {
		sel := Selection{Cluster: "synthetic", Host: c.Host(r.IntN(len(hosts))), Metric: metrics[r.IntN(len(metrics))].Name}
		at := time.Now()
		if _, err := s.Read(context.Background(), sel, Range{From: base, To: base + 86400, Pad: PadBoth}); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(at))
		time.Sleep(time.Millisecond)
	}
	close(stop)
	writing.Wait()
	slices.Sort(took)
	t.Logf("%d node-scope queries of a day: median %v, p99 %v", len(took), took[len(took)/2], took[len(took)*99/100])
}
