package memstore

import (
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore/codec"
)

// emmyJob is a job on 32 hosts of NHR@FAU's cluster Emmy: values by metric and host, one per
// minute, NaN for a missing sample.
type emmyJob map[string]map[string][]float64

// loadEmmy reads the job. It is not in the repository; without it, the test is skipped.
func loadEmmy(t testing.TB) emmyJob {
	t.Helper()
	dir := os.Getenv("RINGSTORE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	f, err := os.Open(filepath.Join(dir, "emmy", "1403244.json.gz"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the Emmy job is not here, RINGSTORE_DATA may name its folder: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]struct {
		Node struct {
			Timestep int
			Series   []struct {
				Hostname string
				Data     []*float64
			}
		}
	}
	if err := json.NewDecoder(z).Decode(&file); err != nil {
		t.Fatal(err)
	}
	job := make(emmyJob)
	for metric, m := range file {
		if m.Node.Timestep != 60 {
			t.Fatalf("%s has a timestep of %d s", metric, m.Node.Timestep)
		}
		job[metric] = make(map[string][]float64)
		for _, s := range m.Node.Series {
			values := make([]float64, len(s.Data))
			for i, v := range s.Data {
				if values[i] = math.NaN(); v != nil {
					values[i] = *v
				}
			}
			job[metric][s.Hostname] = values
		}
	}
	return job
}

// as returns the job with converted values.
func (j emmyJob) as(f func(v float64) float64) emmyJob {
	other := make(emmyJob)
	for _, metric := range slices.Sorted(maps.Keys(j)) {
		other[metric] = make(map[string][]float64)
		for _, host := range slices.Sorted(maps.Keys(j[metric])) {
			values := slices.Clone(j[metric][host])
			for i, v := range values {
				values[i] = f(v)
			}
			other[metric][host] = values
		}
	}
	return other
}

// hosts returns the names of the job's hosts, and its duration in minutes.
func (j emmyJob) hosts() (names []string, minutes int) {
	seen := make(map[string]bool)
	for _, hosts := range j {
		for host, values := range hosts {
			seen[host], minutes = true, max(minutes, len(values))
		}
	}
	return slices.Sorted(maps.Keys(seen)), minutes
}

// store writes the job minute by minute, as its collectors sent it, and returns the store after the
// last minute.
func (j emmyJob) store(t testing.TB) *Store {
	t.Helper()
	now := int64(base)
	o := Options{Retention: 24 * time.Hour, Now: func() time.Time { return time.Unix(now, 0) }}
	metrics := slices.Sorted(maps.Keys(j))
	for _, metric := range metrics {
		o.Metrics = append(o.Metrics, Metric{Name: metric, Frequency: time.Minute})
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	hosts, minutes := j.hosts()
	for minute := range minutes {
		now = base + int64(minute)*60
		for _, host := range hosts {
			var batch []Sample
			for _, metric := range metrics {
				if v := j[metric][host][minute]; v == v {
					sr, err := s.Series(Key{Cluster: "emmy", Host: host, Metric: metric})
					if err != nil {
						t.Fatal(err)
					}
					batch = append(batch, Sample{sr, now * 1000, v})
				}
			}
			if refused, err := s.Write(batch); err != nil || len(refused) > 0 {
				t.Fatal(refused, err)
			}
		}
		maintain(t, s)
	}
	return s
}

// sealedSize returns the size of the store's blocks, including the series tables that are necessary
// to read them, and their number of values.
func sealedSize(t testing.TB, s *Store) (size, values int) {
	t.Helper()
	var d codec.Decoder
	for _, h := range s.allHosts() {
		size += seriesTableSize(h)
		for _, l := range h.lanes {
			for _, g := range l.segments {
				if g.sealed == nil {
					continue
				}
				size += len(g.sealed.Bytes())
				for i := range g.sealed.Columns() {
					stats, err := g.sealed.Stats(&d, i)
					if err != nil {
						t.Fatal(err)
					}
					values += stats.Count
				}
			}
		}
	}
	return size, values
}

// seriesTableSize returns the size of the series tables of a host: every name once per host, with
// its length, and the numbers of each lane's series.
func seriesTableSize(h *host) (size int) {
	text := func(s string) { size += len(binary.AppendUvarint(nil, uint64(len(s)))) + len(s) }
	text(h.cluster)
	text(h.name)
	for sr := range h.tree.all() {
		d := sr.level.device
		for _, name := range []string{sr.metric.Name, d.Type, d.TypeID, d.Subtype, d.SubtypeID} {
			text(name)
		}
		size += len(binary.AppendUvarint(nil, uint64(sr.column)))
	}
	return size
}

// TestEmmy stores the job and checks the promised size of its sealed blocks, after merging. The
// heads count neither for the bytes nor for the values.
func TestEmmy(t *testing.T) {
	job := loadEmmy(t)
	f := func(name string, limit float64, job emmyJob) {
		t.Run(name, func(t *testing.T) {
			s := job.store(t)
			size, values := sealedSize(t, s)
			got := float64(size) / float64(values)
			t.Logf("%d bytes for %d values: %.4f a value", size, values, got)
			if got > limit {
				t.Errorf("%.4f bytes per value, the limit is %.2f", got, limit)
			}
			if all := job.values(); values < all*8/10 {
				t.Errorf("only %d of %d values are in blocks", values, all)
			}
			job.compare(t, s)
		})
	}
	f("lossless", 1.6, job)
	r := rand.New(rand.NewPCG(42, 42))
	f("noise, rounded to 24 bits", 3.2, job.as(func(v float64) float64 { return codec.Round(v+0.01*(r.Float64()-0.5), 24) }))
}

func (j emmyJob) values() (n int) {
	for _, hosts := range j {
		for _, values := range hosts {
			n += count(values)
		}
	}
	return n
}

// compare reads every series and compares it with the job, to the bit.
func (j emmyJob) compare(t *testing.T, s *Store) {
	t.Helper()
	_, minutes := j.hosts()
	for metric, hosts := range j {
		for host, want := range hosts {
			d, err := s.Read(context.Background(), Selection{Cluster: "emmy", Host: host, Metric: metric}, Range{From: base, To: base + int64(minutes)*60, Pad: PadBoth})
			if err != nil {
				t.Fatal(err)
			}
			if !same(d.Values, want) {
				t.Fatalf("%s of %s differs from the stored values", metric, host)
			}
		}
	}
}
