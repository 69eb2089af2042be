package archive

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore"
)

var update = flag.Bool("update", false, "write the golden directory of a new version")

// goldenVersion is the version of the directory as a whole. It increases with the version of any of
// its formats. The golden directories of older versions stay unchanged.
const goldenVersion = 3

var goldenMetrics = []memstore.Metric{
	{Name: "load", Frequency: time.Minute},
	{Name: "power", Frequency: 10 * time.Second},
	{Name: "flops", Frequency: time.Minute, Aggregation: memstore.AggregateSum},
}

func goldenStore(t *testing.T) *memstore.Store {
	s, err := memstore.New(memstore.Options{
		Metrics:   goldenMetrics,
		Retention: time.Hour,
		Now:       func() time.Time { return time.Unix(now, 0) },
	})
	ok(t, err)
	return s
}

// writeGolden writes a directory with everything it can hold: blocks, also merged and freed ones and
// those with aggregates, open windows, and a journal with late samples, new series and a free.
func writeGolden(t *testing.T, dir string) {
	s := goldenStore(t)
	a := open(t, dir, s)
	send := func(host, metric string, d memstore.Device, from, to, step int64) {
		sr, err := s.Series(memstore.Key{Cluster: "alpha", Host: host, Metric: metric, Device: d})
		ok(t, err)
		var batch []memstore.Sample
		for at := from; at < to; at += step {
			batch = append(batch, memstore.Sample{Series: sr, Time: (now + at) * 1000, Value: float64(at*at) / 8})
		}
		refused, err := a.Write(t.Context(), batch)
		ok(t, err)
		if len(refused) > 0 {
			t.Fatal(refused)
		}
	}
	send("n1", "load", devices[0], -3000, -900, 60)
	send("n1", "load", devices[1], -2995, -900, 60)
	send("n1", "power", devices[2], -3000, -1800, 10)
	send("n2", "load", devices[0], -3000, -1200, 60)
	send("n3", "flops", memstore.Device{Type: "hwthread", TypeID: "0"}, -3000, -900, 60)
	send("n3", "flops", memstore.Device{Type: "hwthread", TypeID: "1"}, -3000, -900, 60)
	ok(t, s.Maintain())
	ok(t, a.Checkpoint())
	_, err := a.Free(t.Context(), [][]string{{"alpha"}, {"n2"}}, now-2000)
	ok(t, err)
	send("n1", "load", devices[0], -900, -300, 60)
	ok(t, a.Checkpoint())
	send("n1", "load", devices[0], -2700, -2600, 60)
	send("n1", "load", devices[2], -300, 0, 60)
	send("n3", "power", devices[1], -60, 0, 10)
	_, err = a.Free(t.Context(), [][]string{{"alpha"}, {"n1"}, {"hwthread1"}}, now-1500)
	ok(t, err)
	ok(t, a.SyncPoint()(t.Context()))
	kill(t, a)
}

// describeContents lists the stored samples.
func describeContents(t *testing.T, s *memstore.Store) string {
	all := contents(t, s)
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		lines = append(lines, key+" "+all[key])
	}
	return strings.Join(lines, "\n") + "\n"
}

// Directories of every version are restored as they were written.
func TestGolden(t *testing.T) {
	latest := filepath.Join("testdata", fmt.Sprint("v", goldenVersion))
	if *update {
		if _, err := os.Stat(latest); err == nil {
			t.Fatalf("%s exists: the golden directory of a version must not change", latest)
		}
		dir := t.TempDir()
		writeGolden(t, dir)
		ok(t, os.RemoveAll(filepath.Join(dir, subdir, lockName)))
		ok(t, os.CopyFS(filepath.Join(latest, "directory"), os.DirFS(dir)))
		s := goldenStore(t)
		open(t, dir, s)
		ok(t, os.WriteFile(filepath.Join(latest, "contents"), []byte(describeContents(t, s)), 0o644))
	}
	versions, err := filepath.Glob("testdata/v*")
	ok(t, err)
	if len(versions) != goldenVersion {
		t.Fatalf("%d versions, want %d", len(versions), goldenVersion)
	}
	for _, version := range versions {
		t.Run(filepath.Base(version), func(t *testing.T) {
			dir := t.TempDir()
			ok(t, os.CopyFS(dir, os.DirFS(filepath.Join(version, "directory"))))
			want, err := os.ReadFile(filepath.Join(version, "contents"))
			ok(t, err)
			for _, what := range []string{"restored", "restored from a new checkpoint"} {
				s := goldenStore(t)
				a := open(t, dir, s)
				if got := describeContents(t, s); got != string(want) {
					t.Errorf("%s: got\n%swant\n%s", what, got, want)
				}
				ok(t, a.Close())
			}
		})
	}
}

// The current code writes what the golden directory of the newest version holds.
func TestGoldenIsCurrent(t *testing.T) {
	dir := t.TempDir()
	writeGolden(t, dir)
	s := goldenStore(t)
	open(t, dir, s)
	want, err := os.ReadFile(fmt.Sprintf("testdata/v%d/contents", goldenVersion))
	ok(t, err)
	if got := describeContents(t, s); got != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if s.Size().Aggregates == 0 {
		t.Error("no block has an aggregate")
	}
}
