package blockfile

import (
	"bytes"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/synthetic"
)

// clusterHosts returns hosts of the synthetic cluster, all with the same windows. Their 678 series
// are in the order of their first lines.
func clusterHosts(n int, windows []memstore.WindowState) []memstore.HostState {
	cluster := synthetic.New(n, 1)
	series := cluster.Series()
	hosts := make([]memstore.HostState, n)
	for i := range hosts {
		lane := memstore.LaneState{Frequency: 60_000, Grid: int64(i) * 37 % 60_000, Windows: windows}
		for column, at := range cluster.Order(i, 0) {
			s := series[at]
			state := memstore.SeriesState{Column: uint32(column), Metric: s.Metric, First: 29_750_000, Last: 29_760_000 + int64(i)}
			if s.Type != "node" {
				state.Device = memstore.Device{Type: s.Type, TypeID: s.TypeID}
			}
			lane.Series = append(lane.Series, state)
		}
		hosts[i] = memstore.HostState{Cluster: synthetic.Name, Host: cluster.Host(i), Number: uint32(i), Lanes: []memstore.LaneState{lane}}
	}
	return hosts
}

// A host's 678 series take at most 5.5 bytes each, including all strings.
func TestTableSize(t *testing.T) {
	const n = 10
	hosts := clusterHosts(n, nil)
	size := float64(len(write(t, hosts...))) / float64(n*len(hosts[0].Lanes[0].Series))
	t.Logf("%.2f bytes per series", size)
	if size > 5.5 {
		t.Errorf("%.2f bytes per series", size)
	}
}

// longWindows returns windows of 678 series of noise, with blocks of n bytes or slightly more.
func longWindows(n int) []memstore.WindowState {
	r := rand.New(rand.NewPCG(5, 5))
	var windows []memstore.WindowState
	var b block.Builder
	head := block.Header{Frequency: 60_000, First: 29_750_000, Slots: 100, Generation: 1}
	for n > 0 {
		b.Reset(head)
		for id := range uint32(678) {
			values := make([]float64, head.Slots)
			for i := range values {
				values[i] = math.Float64frombits(r.Uint64() >> (id % 2 * 32)) // half noise, half short
			}
			b.Add(block.Column{ID: id}, values)
		}
		w := memstore.WindowState{Block: b.Finish()}
		windows = append(windows, w)
		n -= len(w.Block.Bytes())
		head.First += int64(head.Slots)
	}
	return windows
}

func onDisk(b *testing.B, hosts []memstore.HostState) string {
	name := filepath.Join(b.TempDir(), path)
	ok(b, os.WriteFile(name, write(b, hosts...), 0o600))
	return name
}

// BenchmarkRead opens a file of 20 hosts and 55 MB, and reads all series and blocks.
func BenchmarkRead(b *testing.B) {
	hosts := clusterHosts(20, nil)
	windows := longWindows(55_000_000 / len(hosts))
	for i := range hosts {
		hosts[i].Lanes[0].Grid, hosts[i].Lanes[0].Windows = 0, windows
	}
	for name, cut := range map[string]int{"index": 0, "scan": 1} {
		b.Run(name, func(b *testing.B) {
			file := write(b, hosts...)
			name := filepath.Join(b.TempDir(), path)
			ok(b, os.WriteFile(name, file[:len(file)-cut], 0o600))
			b.SetBytes(int64(len(file)))
			b.ReportAllocs()
			for b.Loop() {
				f, err := Open(disk.OS{}, name)
				ok(b, err)
				for i, h := range f.Hosts {
					_, err := f.Series(i)
					ok(b, err)
					for _, w := range h.Lanes[0].Windows {
						_, err := f.Block(w)
						ok(b, err)
					}
				}
				ok(b, f.Close())
			}
		})
	}
}

// BenchmarkSeries opens a file of 740,000 series and reads the tables.
func BenchmarkSeries(b *testing.B) {
	name := onDisk(b, clusterHosts(1092, nil))
	b.ReportAllocs()
	for b.Loop() {
		f, err := Open(disk.OS{}, name)
		ok(b, err)
		n := 0
		for i := range f.Hosts {
			series, err := f.Series(i)
			ok(b, err)
			n += len(series[0])
		}
		ok(b, f.Close())
		if n < 740_000 {
			b.Fatal(n)
		}
	}
}

// BenchmarkWrite writes the tables of 740,000 series.
func BenchmarkWrite(b *testing.B) {
	hosts := clusterHosts(1092, nil)
	b.ReportAllocs()
	for b.Loop() {
		w, err := NewWriter(io.Discard, testHead)
		ok(b, err)
		for _, h := range hosts {
			add(b, w, h)
		}
		ok(b, w.Close())
		b.SetBytes(w.Size())
	}
}

// BenchmarkSearch searches 55 MB for a record that is not there.
func BenchmarkSearch(b *testing.B) {
	file := write(b)[:headerSize]
	file = append(file, bytes.Repeat([]byte("abcdefg\n"), 7_000_000)...)
	name := filepath.Join(b.TempDir(), path)
	ok(b, os.WriteFile(name, file, 0o600))
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		f, err := Open(disk.OS{}, name)
		ok(b, err)
		ok(b, f.Close())
	}
}
