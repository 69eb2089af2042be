package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ringstore/ringstore/archive/ccms"
	"github.com/ringstore/ringstore/memstore"
)

// cancelingFS calls stop when a name is opened.
type cancelingFS struct {
	fs.FS
	at   string
	stop context.CancelFunc
}

func (s cancelingFS) Open(name string) (fs.File, error) {
	if name == s.at {
		s.stop()
	}
	return s.FS.Open(name)
}

// An interrupted import leaves nothing on disk, so that the next start repeats it and does not
// mistake a part of the history for all of it.
func TestInterruptedImport(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, newImporter(t))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	from := cancelingFS{os.DirFS("ccms/testdata/bin-60s"), "alpha/n2", stop}
	if _, err := a.Import(ctx, from); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if a.Store.Size().Series == 0 {
		t.Fatal("nothing was imported before the end")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(Options{Dir: dir, Store: newImporter(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	r, err := again.Restore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Files+r.Journal.Records > 0 || again.Store.Size().Series > 0 {
		t.Errorf("%d files, %d series", r.Files, again.Store.Size().Series)
	}
}

// Every sample that is not kept is counted with its reason and metric.
func TestImportLosses(t *testing.T) {
	const begin = 1_795_300_000
	files := fstest.MapFS{
		"alpha/n1/1795300000.json": {Data: checkpointFile(begin, map[string]int{"cpu_load": 600, "flops_any": 3, "unknown": 5})},
		"alpha/n2/1795300000.json": {Data: checkpointFile(begin-7200, map[string]int{"cpu_load": 7})},
	}
	store, err := memstore.New(memstore.Options{
		Metrics:   []memstore.Metric{{Name: "cpu_load", Frequency: time.Minute}, {Name: "flops_any", Frequency: time.Second}},
		Retention: time.Hour,
		Now:       func() time.Time { return time.Unix(begin+600, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	a := open(t, t.TempDir(), store)
	defer a.Close()
	got, err := a.Import(t.Context(), withoutTimes{files})
	if err != nil {
		t.Fatal(err)
	}
	values, err := store.Values()
	if err != nil {
		t.Fatal(err)
	}
	shared := int(603 - values) // those of cpu_load and flops_any that the store received
	if shared < 588 || shared > 591 {
		t.Errorf("%d samples replaced another", shared)
	}
	want := []Loss{
		{lossSharedSlot, shared, []MetricLoss{{"cpu_load", shared}}},
		{string(memstore.RefusedOld), 7, []MetricLoss{{"cpu_load", 7}}},
		{lossUnknownMetric, 5, []MetricLoss{{"unknown", 5}}},
	}
	if !reflect.DeepEqual(got.Losses, want) || got.Samples != 615 || got.Refused != 12 {
		t.Errorf("%d samples, %d refused, got %+v, want %+v", got.Samples, got.Refused, got.Losses, want)
	}
}

// Samples at the configured frequency share no slot, even if they are late or early at times, come
// in several runs, or were read before.
func TestImportLosesNothing(t *testing.T) {
	store := newImporter(t)
	m := importer{store: store, losses: map[string]map[string]int{}}
	key := memstore.Key{Cluster: "alpha", Host: "n1", Metric: "cpu_load"}
	for _, times := range [][]int64{{1_795_300_031, 1_795_300_089, 1_795_300_155}, {1_795_300_214}, {1_795_300_089, 1_795_300_155, 1_795_300_214}} {
		if _, err := m.write(ccms.Series{Key: key, Times: times, Values: make([]float64, len(times))}); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.summary(); got != nil {
		t.Errorf("%+v", got)
	}
}

// The number of metrics that are remembered is bounded, as is the length of their names.
func TestImportLossesAreBounded(t *testing.T) {
	m := importer{losses: map[string]map[string]int{}}
	for i := range 3000 {
		m.lose(lossUnknownMetric, fmt.Sprint(i, strings.Repeat("x", 1000)), 1)
	}
	got := m.summary()
	if len(got) != 1 || got[0].Samples != 3000 || len(got[0].Metrics) != maxLossMetrics+1 || got[0].Metrics[0] != (MetricLoss{"", 2000}) {
		t.Fatalf("%d losses", len(got))
	}
	if n := len(got[0].Metrics[1].Metric); n > maxLossName+3 {
		t.Errorf("a name of %d bytes", n)
	}
}

// checkpointFile returns a JSON checkpoint with one sample a second of each metric.
func checkpointFile(from int64, samples map[string]int) []byte {
	var metrics []string
	longest := 0
	for name, n := range samples {
		data := strings.TrimSuffix(strings.Repeat("1.5,", n), ",")
		metrics = append(metrics, fmt.Sprintf(`%q:{"frequency":1,"start":%d,"data":[%s]}`, name, from, data))
		longest = max(longest, n)
	}
	return fmt.Appendf(nil, `{"metrics":{%s},"children":{},"from":%d,"to":%d}`, strings.Join(metrics, ","), from, from+int64(longest))
}

// withoutTimes hides the ends of checkpoints, so that no file is skipped unread.
type withoutTimes struct{ fs.FS }

func (w withoutTimes) Open(name string) (fs.File, error) {
	f, err := w.FS.Open(name)
	if dir, ok := f.(fs.ReadDirFile); ok {
		return dir, err
	}
	return struct{ fs.File }{f}, err
}

// newImporter returns a store whose retention includes the recordings.
func newImporter(t *testing.T) *memstore.Store {
	t.Helper()
	s, err := memstore.New(memstore.Options{
		Metrics:   []memstore.Metric{{Name: "cpu_load", Frequency: time.Minute}, {Name: "flops_any", Frequency: time.Minute}},
		Retention: 100 * 365 * 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What the store holds already stays: an import fills the slots around it, in memory and in blocks.
// Importing the same again changes nothing and loses nothing.
func TestImportKeepsLiveValues(t *testing.T) {
	const begin = 1_795_300_020
	dir := t.TempDir()
	newStore := func() *memstore.Store {
		store, err := memstore.New(memstore.Options{
			Metrics:   []memstore.Metric{{Name: "cpu_load", Frequency: time.Minute}},
			Retention: 24 * time.Hour,
			Now:       func() time.Time { return time.Unix(begin+3600, 0) },
		})
		ok(t, err)
		return store
	}
	a := open(t, dir, newStore())
	write := func(from, n int) {
		sr, err := a.Store.Series(memstore.Key{Cluster: "alpha", Host: "n1", Metric: "cpu_load"})
		ok(t, err)
		var batch []memstore.Sample
		for i := range n {
			batch = append(batch, memstore.Sample{Series: sr, Time: (begin + int64(from+i)*60) * 1000, Value: 100 + float64(from+i)})
		}
		refused, err := a.Write(t.Context(), batch)
		if err != nil || len(refused) > 0 {
			t.Fatal(refused, err)
		}
	}
	write(5, 10)
	a.Store.Seal(math.MaxInt64, true)
	write(20, 5)
	file := fmt.Sprintf(`{"metrics":{"cpu_load":{"frequency":60,"start":%d,"data":[%s]}},"children":{},"from":%d,"to":%d}`,
		begin, strings.TrimSuffix(strings.Repeat("1.5,", 40), ","), begin, begin+2400)
	files := fstest.MapFS{fmt.Sprintf("alpha/n1/%d.json", begin): {Data: []byte(file)}}
	check := func(what string) {
		t.Helper()
		sel := memstore.Selection{Cluster: "alpha", Host: "n1", Metric: "cpu_load"}
		got, err := a.Store.Read(t.Context(), sel, memstore.Range{From: begin, To: begin + 2400})
		ok(t, err)
		if len(got.Values) != 40 {
			t.Fatalf("%s: %d values", what, len(got.Values))
		}
		for i, v := range got.Values {
			want := 1.5
			if i >= 5 && i < 15 || i >= 20 && i < 25 {
				want = 100 + float64(i)
			}
			if v != want {
				t.Errorf("%s: slot %d holds %v, want %v", what, i, v, want)
			}
		}
	}
	for _, what := range []string{"imported", "imported again"} {
		got, err := a.Import(t.Context(), withoutTimes{files})
		ok(t, err)
		want := []Loss{{string(memstore.RefusedHeld), 15, []MetricLoss{{"cpu_load", 15}}}}
		if !reflect.DeepEqual(got.Losses, want) || got.Samples != 40 || got.Refused != 15 {
			t.Errorf("%s: %d samples, %d refused, got %+v, want %+v", what, got.Samples, got.Refused, got.Losses, want)
		}
		check(what)
	}
	ok(t, a.Close())
	a = open(t, dir, newStore())
	check("after a restart")
}
