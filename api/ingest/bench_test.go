package ingest

import (
	"fmt"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/synthetic"
)

// BenchmarkBatch stores the synthetic cluster in a store without a journal. A batch is one interval
// of one host, its lines shuffled; an operation is one sample. With more hosts, fewer of the series
// are in the processor's caches.
func BenchmarkBatch(b *testing.B) {
	f := func(hosts, variants int) {
		b.Run(fmt.Sprint(hosts), func(b *testing.B) {
			const base = 1_700_000_040
			c := synthetic.New(hosts, 1)
			unix := int64(base)
			clock := func() time.Time { return time.Unix(unix, 0) }
			o := memstore.Options{Retention: 24 * time.Hour, Now: clock}
			for _, m := range c.Metrics() {
				o.Metrics = append(o.Metrics, memstore.Metric{Name: m.Name, Frequency: m.Frequency})
			}
			s, err := memstore.New(o)
			if err != nil {
				b.Fatal(err)
			}
			g := New(Options{Store: s, Writer: direct{s}, Now: clock})

			values := make([]float64, len(c.Series()))
			bodies := make([][]byte, hosts*variants)
			for i := range bodies {
				host, variant := i%hosts, i/hosts
				c.Step(host, variant, values)
				bodies[i] = c.AppendLines(nil, host, values, c.Order(host, variant), base)
			}
			next := 0
			store := func() int {
				body := bodies[next%len(bodies)]
				synthetic.Restamp(body, unix)
				r, err := g.Batch(b.Context(), Source{}, body)
				if err != nil || r.Accepted != len(values) {
					b.Fatal(r, err)
				}
				if next++; next%hosts == 0 {
					unix += 60
				}
				return r.Accepted
			}
			for range hosts { // so that no key is new
				store()
			}
			b.ResetTimer()
			for done := 0; done < b.N; {
				done += store()
			}
		})
	}
	f(20, 8)
	f(1000, 1)
}
