package archive

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/memstore"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(restoreOnly); dir != "" {
		child := restoreChild
		if to := os.Getenv(moveTo); to != "" {
			child = func(dir string) error { return archiveChild(dir, to) }
		}
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

const now = 1_795_200_000

func newStore(t testing.TB, metrics ...memstore.Metric) *memstore.Store {
	t.Helper()
	if metrics == nil {
		metrics = []memstore.Metric{{Name: "load", Frequency: time.Minute}, {Name: "power", Frequency: 10 * time.Second}}
	}
	s, err := memstore.New(memstore.Options{
		Metrics:   metrics,
		Retention: 24 * time.Hour,
		Now:       func() time.Time { return time.Unix(now, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ticking returns a clock that advances with each call, so that file names differ.
func ticking() func() time.Time {
	ms := int64(now * 1000)
	return func() time.Time { ms++; return time.UnixMilli(ms) }
}

func open(t testing.TB, dir string, s *memstore.Store) *Archive {
	t.Helper()
	a, err := Open(Options{Dir: dir, Store: s, Now: ticking()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if _, err := a.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

// fill writes samples of the last five minutes for some hosts.
func fill(t testing.TB, a *Archive, s *memstore.Store, hosts int) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	var batch []memstore.Sample
	for h := range hosts {
		for _, d := range devices {
			for _, m := range metrics {
				sr, err := s.Series(memstore.Key{Cluster: "alpha", Host: fmt.Sprint("n", h), Metric: m, Device: d})
				if err != nil {
					t.Fatal(err)
				}
				for range 5 {
					at := int64(now)*1000 - r.Int64N(5*60*1000)
					batch = append(batch, memstore.Sample{Series: sr, Time: at, Value: []float64{r.NormFloat64(), 0, math.Copysign(0, -1), math.Inf(1)}[r.IntN(4)]})
				}
			}
		}
	}
	if refused, err := a.Write(t.Context(), batch); err != nil || len(refused) > 0 {
		t.Fatal(refused, err)
	}
}

var (
	devices = []memstore.Device{{}, {Type: "hwthread", TypeID: "1"}, {Subtype: "network", SubtypeID: "eth0"}}
	metrics = []string{"load", "power"}
)

// contents returns the samples of fill that the store holds, to the bit.
func contents(t testing.TB, s *memstore.Store) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, host := range s.Hosts("alpha") {
		for _, metric := range metrics {
			for _, d := range devices {
				sel := memstore.Selection{Cluster: "alpha", Host: host, Metric: metric, Type: d.Type, Subtype: d.Subtype}
				if d.Type != "" {
					sel.TypeIDs = []string{d.TypeID}
				}
				if d.Subtype != "" {
					sel.SubtypeIDs = []string{d.SubtypeID}
				}
				got, err := s.Read(t.Context(), sel, memstore.Range{From: now - 86400, To: now + 60, Pad: memstore.PadBoth})
				if errors.Is(err, memstore.ErrNotFound) || errors.Is(err, memstore.ErrUnknownMetric) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range got.Values {
					if !math.IsNaN(v) {
						all[fmt.Sprint(host, metric, d, got.From+int64(i)*got.Resolution)] = fmt.Sprintf("%x", math.Float64bits(v))
					}
				}
			}
		}
	}
	return all
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t)
	a := open(t, dir, s)
	fill(t, a, s, 3)
	want := contents(t, s)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a write after Close: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}

	again := newStore(t)
	open(t, dir, again)
	if got := contents(t, again); !reflect.DeepEqual(got, want) {
		t.Errorf("%d samples came back, some other than the %d that were stored", len(got), len(want))
	}
}

func TestTwoProcessesOnOneDirectory(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, newStore(t))
	_, err := Open(Options{Dir: dir, Store: newStore(t)})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a second Open: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, newStore(t))
}

// Evictions at the memory limit are logged once.
func TestEvictionsAreLogged(t *testing.T) {
	clock := int64(now)
	s, err := memstore.New(memstore.Options{
		Metrics:     []memstore.Metric{{Name: "load", Frequency: time.Minute}},
		Retention:   24 * time.Hour,
		MemoryLimit: 20_000,
		Now:         func() time.Time { return time.Unix(clock, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	a := open(t, t.TempDir(), s)
	a.Logger = slog.New(slog.NewTextHandler(&log, nil))
	logged := a.maintain(0)
	if log.Len() > 0 {
		t.Errorf("with nothing evicted: %s", &log)
	}
	random := rand.New(rand.NewPCG(1, 7))
	for ; s.Evicted() == 0; clock += 60 {
		if s.StoreFirst() {
			ok(t, a.Checkpoint())
		}
		sr, err := s.Series(memstore.Key{Cluster: "alpha", Host: "n1", Metric: "load"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write(t.Context(), []memstore.Sample{{Series: sr, Time: clock * 1000, Value: random.NormFloat64()}}); err != nil {
			t.Fatal(err)
		}
	}
	if logged = a.maintain(logged); !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), fmt.Sprintf("windows=%d", s.Evicted())) {
		t.Errorf("not logged: %s", &log)
	}
	log.Reset()
	if a.maintain(logged); log.Len() > 0 {
		t.Errorf("logged again: %s", &log)
	}
}
