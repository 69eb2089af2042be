package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// ticking is a clock that never stands still, so that files differ in name.
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
	return a
}

// fill writes samples of the last minutes for each of some hosts.
func fill(t testing.TB, a *Archive, s *memstore.Store, hosts int) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	var batch []memstore.Sample
	for h := range hosts {
		for _, d := range []memstore.Device{{}, {Type: "hwthread", TypeID: "1"}, {Subtype: "network", SubtypeID: "eth0"}} {
			for _, m := range []string{"load", "power"} {
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

// contents is a store's samples, to the bit, in an order that can be compared.
func contents(s *memstore.Store) map[string]string {
	all := make(map[string]string)
	_ = s.Dump(func(h memstore.HostDump) error {
		for _, x := range h.Series {
			for i, v := range x.Values {
				if !math.IsNaN(v) {
					all[fmt.Sprint(h.Cluster, h.Host, x.Metric, x.Device, x.Start+int64(i)*x.Frequency)] = fmt.Sprintf("%x", math.Float64bits(v))
				}
			}
		}
		return nil
	})
	return all
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t)
	a := open(t, dir, s)
	if r, err := a.Restore(t.Context()); err != nil || r != (Restored{}) {
		t.Fatalf("of an empty directory: %+v, %v", r, err)
	}
	fill(t, a, s, 3)
	want := contents(s)
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
	b := open(t, dir, again)
	r, err := b.Restore(t.Context())
	if err != nil || r.Files != 1 || r.Hosts != 3 || r.Samples.Stored != len(want) || r.Samples.Refused+r.Samples.Unknown > 0 {
		t.Fatalf("%+v, %v; want %d samples", r, err, len(want))
	}
	if got := contents(again); !reflect.DeepEqual(got, want) {
		t.Errorf("%d samples came back, some other than the %d that were stored", len(got), len(want))
	}
}

// A start that is broken off before all is read must not put what it has read
// in the place of what is there.
func TestCloseBeforeRestore(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t)
	a := open(t, dir, s)
	fill(t, a, s, 2)
	if err := errors.Join(a.Checkpoint(), a.Close()); err != nil {
		t.Fatal(err)
	}
	before, _ := a.checkpoints()
	b := open(t, dir, newStore(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Restore(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("restore: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if after, _ := b.checkpoints(); !slices.Equal(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
}

func TestRestoreUnderAnotherConfiguration(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t)
	a := open(t, dir, s)
	fill(t, a, s, 1)
	if err := errors.Join(a.Checkpoint(), a.Close()); err != nil {
		t.Fatal(err)
	}
	again := newStore(t, memstore.Metric{Name: "load", Frequency: 2 * time.Minute})
	r, err := open(t, dir, again).Restore(t.Context())
	if err != nil || r.Samples.Stored == 0 || r.Samples.Unknown == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestTwoProcessesOnOneDirectory(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, newStore(t))
	_, err := Open(Options{Dir: dir, Store: newStore(t)})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("the second is told %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, newStore(t))
}

func TestOldCheckpointsGo(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t)
	a := open(t, dir, s)
	for range 4 {
		if err := a.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := a.checkpoints(); err != nil || len(names) != 2 || names[0] < names[1] {
		t.Errorf("left: %v, %v", names, err)
	}
}

// A checkpoint that cannot be written leaves the ones before it alone.
func TestFailedCheckpoint(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t)
	a := open(t, dir, s)
	fill(t, a, s, 1)
	if err := a.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	before, _ := a.checkpoints()
	a.now = func() time.Time { return time.UnixMilli(1) }
	blocked := filepath.Join(a.dir, "checkpoint-0000000000001.rsc.tmp")
	if err := os.MkdirAll(filepath.Join(blocked, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := a.Checkpoint(); err == nil {
		t.Error("no error")
	}
	if after, _ := a.checkpoints(); !slices.Equal(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
}

func into(s *memstore.Store, h memstore.HostDump) error {
	_, err := s.Restore(h)
	return err
}

func oneCheckpoint(t testing.TB, hosts int) []byte {
	t.Helper()
	s := newStore(t)
	a := open(t, t.TempDir(), s)
	fill(t, a, s, hosts)
	var file bytes.Buffer
	if _, _, err := writeCheckpoint(&file, s); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// Whatever byte is hit, and wherever the file ends: the damage is told with its
// place, and nothing is invented.
func TestDamage(t *testing.T) {
	file := oneCheckpoint(t, 2)
	s := newStore(t)
	if err := readCheckpoint(t.Context(), "f", bytes.NewReader(file), func(h memstore.HostDump) error { return into(s, h) }); err != nil {
		t.Fatal(err)
	}
	want := contents(s)
	f := func(name string, damaged []byte) {
		s := newStore(t)
		err := readCheckpoint(context.Background(), "f", bytes.NewReader(damaged), func(h memstore.HostDump) error { return into(s, h) })
		if _, ok := errors.AsType[*DamageError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
		for k, v := range contents(s) {
			if want[k] != v {
				t.Fatalf("%s: invented %s = %s", name, k, v)
			}
		}
	}
	for i := range file {
		f(fmt.Sprintf("cut at %d", i), file[:i])
	}
	for i := range file {
		hit := bytes.Clone(file)
		hit[i] ^= 0x10
		f(fmt.Sprintf("bit flipped at %d", i), hit)
	}
}

// A damaged newest file is set aside, and the one before it is read.
func TestDamagedFileIsSetAside(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t)
	a := open(t, dir, s)
	fill(t, a, s, 2)
	want := contents(s)
	if err := errors.Join(a.Checkpoint(), a.Checkpoint()); err != nil {
		t.Fatal(err)
	}
	names, _ := a.checkpoints()
	newest := filepath.Join(a.dir, names[0])
	raw, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(newest, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	again := newStore(t)
	a.store = again
	if r, err := a.Restore(t.Context()); err != nil || r.Files != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := contents(again); !reflect.DeepEqual(got, want) {
		t.Errorf("%d of %d samples came back", len(got), len(want))
	}
	if _, err := os.Stat(newest + ".damaged"); err != nil {
		t.Error(err)
	}
}

func FuzzReadCheckpoint(f *testing.F) {
	f.Add(oneCheckpoint(f, 1))
	f.Add([]byte(magic))
	f.Add([]byte(magic + "\xff\xff\xff\x0f\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, file []byte) {
		_ = readCheckpoint(t.Context(), "f", bytes.NewReader(file), func(memstore.HostDump) error { return nil })
		_, _ = parseHost(file)
	})
}

// What goes for want of memory is told, once.
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
	a, err := Open(Options{Dir: t.TempDir(), Store: s, Now: ticking(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	told := a.maintain(0)
	if log.Len() > 0 {
		t.Errorf("with nothing evicted: %s", &log)
	}
	random := rand.New(rand.NewPCG(1, 7))
	for ; s.Evicted() == 0; clock += 60 {
		sr, err := s.Series(memstore.Key{Cluster: "alpha", Host: "n1", Metric: "load"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write(t.Context(), []memstore.Sample{{Series: sr, Time: clock * 1000, Value: random.NormFloat64()}}); err != nil {
			t.Fatal(err)
		}
	}
	if told = a.maintain(told); !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), fmt.Sprintf("windows=%d", s.Evicted())) {
		t.Errorf("not told: %s", &log)
	}
	log.Reset()
	if a.maintain(told); log.Len() > 0 {
		t.Errorf("told again: %s", &log)
	}
}
