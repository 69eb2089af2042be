package ingest

import (
	"fmt"
	"runtime"
	"testing"
)

// A series with one sample takes little memory.
func TestMemoryOfOneSample(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 40,000 series")
	}
	const limit = 600 // bytes
	f := func(name string, hosts, devices int) {
		t.Run(name, func(t *testing.T) {
			g, s := newIngester(t, nil, "load")

			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap()
			var batch []byte
			for h := range hosts {
				batch = batch[:0]
				for d := range devices {
					batch = fmt.Appendf(batch, "load,cluster=a,hostname=node%04d,type=hwthread,type-id=%d value=%d.5\n", h, d, d)
				}
				if r, err := g.Batch(t.Context(), Source{}, batch); err != nil || r.Accepted != devices {
					t.Fatal(r, err)
				}
			}
			n := uint64(hosts * devices)
			if got := (heap() - before) / n; got > limit {
				t.Errorf("%d bytes per series, want at most %d", got, limit)
			} else {
				t.Logf("%d bytes per series, %d accounted for", got, uint64(s.Size().Bytes)/n)
			}
			runtime.KeepAlive(g)
		})
	}
	f("devices", 4, 10_000)
}
