package ccms

import (
	"fmt"
	"math"
	"testing"
)

// BenchmarkRead reads an hour of a host with 500 series; MB/s is of the file.
func BenchmarkRead(b *testing.B) {
	const start, frequency, n = 1_700_000_017, 10, 360
	l := level{children: map[string]level{}}
	for i := range 100 {
		var metrics []metric
		for j := range 5 {
			data := make([]float64, n)
			for k := range data {
				data[k] = math.Round(1e5*math.Sin(float64(i*j+k))) / 1e3
			}
			metrics = append(metrics, metric{fmt.Sprint("metric", j), frequency, start, data})
		}
		l.children[fmt.Sprint("hwthread", i)] = level{metrics: metrics}
	}
	f := func(name string, content []byte) {
		b.Run(name, func(b *testing.B) {
			fsys := dir(map[string][]byte{"c/h/" + name: content})
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			var sum Summary
			for b.Loop() {
				var err error
				if sum, err = Read(b.Context(), fsys, Options{}, func(Series) (int, error) { return 0, nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*sum.Samples), "ns/sample")
		})
	}
	f("1.json", encodeJSON(start-1, start+frequency*n, l))
	f("1.bin", encodeBin(start-1, start+frequency*n, l))
	f("current.wal", encodeLog(l))
}
