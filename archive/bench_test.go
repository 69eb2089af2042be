package archive

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/memstore"
)

// BenchmarkWrite writes batches of one host, and of many.
func BenchmarkWrite(b *testing.B) {
	for _, hosts := range []int{1, 15} {
		b.Run(fmt.Sprint("hosts=", hosts), func(b *testing.B) {
			at := int64(now)
			s, err := memstore.New(memstore.Options{
				Metrics:   []memstore.Metric{{Name: "load", Frequency: time.Minute}},
				Retention: 24 * time.Hour,
				Now:       func() time.Time { return time.Unix(at, 0) },
			})
			if err != nil {
				b.Fatal(err)
			}
			a, err := Open(Options{Dir: b.TempDir(), Store: s, Sync: journal.Off})
			if err != nil {
				b.Fatal(err)
			}
			defer a.Close()
			if _, err := a.Restore(b.Context()); err != nil {
				b.Fatal(err)
			}
			const samples = 1500
			batch := make([]memstore.Sample, samples)
			for i := range batch {
				sr, err := s.Series(memstore.Key{Cluster: "c", Host: fmt.Sprint("h", i*hosts/samples), Metric: "load", Device: memstore.Device{Type: "hwthread", TypeID: fmt.Sprint(i)}})
				if err != nil {
					b.Fatal(err)
				}
				batch[i].Series = sr
			}
			begin := cpuTime(b)
			b.ResetTimer()
			for range b.N {
				at += 60
				for i := range batch {
					batch[i].Time, batch[i].Value = at*1000, float64(at%1000)+0.25
				}
				if refused, err := a.Write(b.Context(), batch); err != nil || len(refused) > 0 {
					b.Fatal(refused, err)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-begin)/float64(b.N*samples), "cpu-ns/sample")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
