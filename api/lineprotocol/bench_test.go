package lineprotocol

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	influx "github.com/influxdata/line-protocol/v2/lineprotocol"
)

func BenchmarkScanner(b *testing.B) {
	batches := []struct {
		name  string
		batch []byte
	}{
		{"collector", sample(b)},
		{"synthetic", synthetic()},
	}
	for _, c := range batches {
		b.Run(c.name, func(b *testing.B) { benchmarkScanner(b, c.batch) })
		b.Run(c.name+"-library", func(b *testing.B) { benchmarkLibrary(b, c.batch) })
	}
}

func benchmarkScanner(b *testing.B, batch []byte) {
	var s Scanner
	var l Line
	lines := 0
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		s.Reset(batch)
		for {
			ok, err := s.Next(&l)
			if err != nil {
				b.Fatal(err)
			}
			if !ok {
				break
			}
		}
		lines += s.Lines()
	}
	reportPerLine(b, lines)
}

// benchmarkLibrary decodes the first field and the timestamp, the minimum that the library offers.
func benchmarkLibrary(b *testing.B, batch []byte) {
	lines := 0
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		d := influx.NewDecoderWithBytes(batch)
		for d.Next() {
			if _, _, err := d.NextField(); err != nil {
				b.Fatal(err)
			}
			if _, err := d.TimeBytes(); err != nil {
				b.Fatal(err)
			}
			lines++
		}
	}
	reportPerLine(b, lines)
}

func reportPerLine(b *testing.B, lines int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(lines), "ns/line")
}

func BenchmarkParseKey(b *testing.B) {
	key := []byte("cpu_user,cluster=testcluster,hostname=vm,type=hwthread,type-id=0,unit=Percent")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseKey(key); err != nil {
			b.Fatal(err)
		}
	}
}

func sample(tb testing.TB) []byte {
	batch, err := os.ReadFile("testdata/collector-sample.txt")
	if err != nil {
		tb.Fatal(err)
	}
	return batch
}

// synthetic returns one interval of a host: 64 hwthreads with 10 metrics each, 16 node metrics, 2
// sockets with 3 and 4 accelerators with 4. These are 678 lines, with values of up to 17 digits.
func synthetic() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var batch []byte
	device := func(kind string, devices, metrics int) {
		for id := range devices {
			for m := range metrics {
				batch = fmt.Appendf(batch, "%s_metric_%d,cluster=testcluster,hostname=node%04d,type=%s,type-id=%d,unit=Percent value=",
					kind, m, 1, kind, id)
				batch = strconv.AppendFloat(batch, 2345.6*(1+0.1*r.NormFloat64()), 'g', -1, 64)
				batch = append(batch, " 1795308589282213803\n"...)
			}
		}
	}
	device("hwthread", 64, 10)
	device("node", 1, 16)
	device("socket", 2, 3)
	device("accelerator", 4, 4)
	return batch
}
