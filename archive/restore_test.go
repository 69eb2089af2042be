package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/memstore"
)

// restarts are the ways to restart an archive.
var restarts = []struct {
	name string
	do   func(s *sender) error
}{
	{"closed", (*sender).close},
	{"killed", func(s *sender) error { s.end(false); return nil }},
	{"killed after a checkpoint", func(s *sender) error {
		err := s.checkpoint()
		s.end(false)
		return err
	}},
}

// inRestarts runs a test with each kind of restart, in a synctest bubble.
func inRestarts(t *testing.T, test func(s *sender, restart func())) {
	for _, r := range restarts {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSender(t, 1, journal.SyncMode(time.Second))
				ok(t, s.open())
				test(s, func() {
					t.Helper()
					ok(t, r.do(s))
					ok(t, s.open())
				})
				s.end(false)
			})
		})
	}
}

// Samples of a metric that is removed from the configuration are hidden, and reappear when it is
// added again.
func TestMetricThatLeft(t *testing.T) {
	inRestarts(t, func(s *sender, restart func()) {
		ok(s.t, s.write(s.span(50, 20, 0, 1, 2, 3, 4)...))
		ok(s.t, s.checkpoint())
		ok(s.t, s.write(s.span(20, 0, 0, 1, 2, 3, 4)...))
		want := s.contents()
		all := s.metrics
		s.metrics = all[:1] // load
		restart()
		got := s.contents()
		for p := range want {
			if _, found := got[p]; found != (p.key.Metric == "load") {
				s.t.Fatalf("metric power is not configured: %v is found: %v", p, found)
			}
		}
		restart()
		s.metrics = all
		restart()
		if got := s.contents(); !maps.Equal(got, want) {
			s.t.Errorf("%d samples came back, some other than the %d that were stored", len(got), len(want))
		}
	})
}

// After a change of a metric's frequency, queries answer on the new grid, wherever the samples are
// stored and however often the process is killed.
func TestFrequencyThatChanged(t *testing.T) {
	inRestarts(t, func(s *sender, restart func()) {
		now := time.Now().Unix() / 60 * 60
		key := func(host, device string) memstore.Key {
			return memstore.Key{Cluster: "alpha", Host: host, Metric: "load", Device: memstore.Device{Type: "hwthread", TypeID: device}}
		}
		var all []sample
		write := func(from, to int64, step int64, devices ...string) {
			var batch []sample
			for _, host := range []string{"n1", "n2"} {
				for _, d := range devices {
					for at := now - from*60; at < now-to*60; at += step {
						phase := map[string]int64{"old": 1, "0": 2, "1": 4, "2": 3}[d]
						batch = append(batch, sample{key(host, d), at + phase})
					}
				}
			}
			all = append(all, batch...)
			ok(s.t, s.write(batch...))
		}
		write(58, 57, 60, "old") // leaves the retention soon
		write(50, 30, 60, "0", "1")
		restart()
		write(30, 20, 60, "0", "1", "2")
		s.metrics = []memstore.Metric{{Name: "load", Frequency: 10 * time.Second}, s.metrics[1]}
		restart()
		s.check("changed", s.n)
		write(20, 10, 10, "2", "1", "0", "3")
		restart()
		s.check("changed and written", s.n)
		time.Sleep(5 * time.Minute)
		write(10, 0, 10, "0", "1", "2", "3")
		restart()
		s.check("with the oldest gone", s.n)
		write(0, -1, 10, "4", "1")
		restart()
		s.check("at last", s.n)
	})
}

// Samples that running jobs need are restored even if they are older than the retention, from
// blocks, windows and the journal. No other samples of that age are.
func TestNeededBeyondTheRetention(t *testing.T) {
	inRestarts(t, func(s *sender, restart func()) {
		s.needed = func(_, host string) int64 {
			if host == "n1" {
				return 0
			}
			return memstore.NotNeeded
		}
		ok(s.t, s.write(s.span(58, 30, 0, 1, 2, 3, 4)...))
		ok(s.t, s.checkpoint())
		restart()
		ok(s.t, s.write(s.span(30, 0, 0, 1, 2, 3, 4)...))
		want := s.contents()
		s.end(false)
		time.Sleep(2 * retention)
		ok(s.t, s.open())
		restart()
		got := s.contents()
		for p, v := range want {
			if at, found := got[p]; found != (p.key.Host == "n1") || found && at != v {
				s.t.Fatalf("%v: found %v with %v, stored %v", p, found, at, v)
			}
		}
	})
}

// A restore starts with the newest data and stops at the memory limit. Late samples do not hide
// what stays on disk, which is restored once the limit allows.
func TestRestoreWithLittleMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, 1, journal.SyncMode(time.Second))
		ok(t, s.open())
		var hosts []memstore.Key
		for i := range 8 {
			hosts = append(hosts, memstore.Key{Cluster: "alpha", Host: fmt.Sprint("n", i), Metric: "power"})
		}
		gone := memstore.Key{Cluster: "alpha", Host: "gone", Metric: "power"} // stopped half an hour ago
		begin := time.Now().Unix() / 60 * 60
		for at := begin - 3300; at < begin; at += 10 {
			var batch []sample
			for _, k := range hosts {
				batch = append(batch, sample{k, at})
			}
			if at < begin-1800 {
				batch = append(batch, sample{gone, at})
			}
			ok(t, s.write(batch...))
		}
		time.Sleep(2 * time.Minute)
		ok(t, s.store.Maintain())
		ok(t, s.close())
		all := s.contents()
		full := s.store.Size().Bytes

		s.limit = full * 6 / 10
		ok(t, s.open())
		if s.restored.Skipped == 0 || s.store.Size().Bytes > s.limit {
			t.Fatalf("restored %+v: %d of %d bytes", s.restored, s.store.Size().Bytes, s.limit)
		}
		for _, k := range hosts {
			oldest := int64(1 << 62)
			have := s.contents()
			for p := range have {
				if p.key == k {
					oldest = min(oldest, p.second)
				}
			}
			for p := range all {
				if _, found := have[p]; p.key == k && p.second >= oldest && !found {
					t.Fatalf("%v is missing, but older samples are not", p)
				}
			}
		}
		for _, k := range append(hosts, gone) {
			sr, err := s.store.Series(k)
			ok(t, err)
			refused, err := s.archive.Write(t.Context(), []memstore.Sample{{Series: sr, Time: (begin - 3200) * 1000, Value: 1}})
			if err != nil || len(refused) != 1 || refused[0].Reason != memstore.RefusedEvicted {
				t.Errorf("%s: a late sample: %v, %v", k.Host, refused, err)
			}
		}
		ok(t, s.checkpoint())
		ok(t, s.close())
		s.limit = 0
		ok(t, s.open())
		if got := s.contents(); !maps.Equal(got, all) {
			t.Errorf("%d samples came back, some other than the %d that were stored", len(got), len(all))
		}
		s.end(false)
	})
}

// A checkpoint that is interrupted after its block files loses and changes nothing.
func TestTornCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, 1, journal.SyncMode(time.Second))
		s.prepare()
		ok(t, s.open())
		ok(t, s.write(s.span(20, 10, 0, 1, 2, 3, 4)...))
		ok(t, s.free(time.Now().Unix()-45*60, "alpha", "n1"))
		time.Sleep(2 * time.Minute)
		ok(t, s.store.Maintain())
		s.fsys.Inject(func(op disktest.Op) error {
			if op.Kind == disktest.Rename && strings.Contains(op.Path, windowsPrefix) || op.Kind == disktest.Remove {
				return syscall.EIO // so that the blocks stay
			}
			return nil
		})
		if err := s.checkpoint(); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		s.fsys.Inject(nil)
		ok(t, s.write(s.span(42, 40, 0, 1)...)) // late
		ok(t, s.write(s.span(10, 5, 0, 1, 2)...))
		s.end(false)
		ok(t, s.open())
		if s.restored.Damaged > 0 {
			t.Errorf("restored %+v", s.restored)
		}
		s.check("torn", s.n)
		s.end(false)
		s.restart("torn, again")
	})
}

// Old journal segments that cannot be removed do not prevent a start and are not replayed.
func TestOldSegmentsThatStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, 1, journal.SyncMode(time.Second))
		ok(t, s.open())
		ok(t, s.write(s.span(20, 15, 0)...))
		ok(t, s.checkpoint())
		ok(t, s.write(s.span(15, 10, 0)...))
		keep := func(op disktest.Op) error {
			if op.Kind == disktest.Remove && !strings.HasSuffix(op.Path, ".tmp") {
				return syscall.EIO
			}
			return nil
		}
		s.fsys.Inject(keep)
		ok(t, s.free(time.Now().Unix(), "alpha"))
		if err := s.archive.Checkpoint(); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		ok(t, s.write(s.span(20, 15, 0)...))
		s.end(false)
		s.fsys.Inject(keep)
		ok(t, s.open())
		if got, want := s.restored.Samples, 5; got != want {
			t.Errorf("%d samples replayed, want %d", got, want)
		}
		s.check("restarted", s.n)
		s.end(false)
	})
}

// A freed range stays freed completely if a newer window covers only a part of it, even while the
// older file still exists for other hosts.
func TestFreedAndPartlyWrittenAgain(t *testing.T) {
	f := &file{run: 1}
	freed := &file{run: 2}
	again := &file{run: 3}
	lane := laneKey{"alpha", "n1", 60_000}
	build := func(expired bool) (live []string) {
		c := newCatalog()
		c.put(&entry{file: f, lane: lane, begin: 0, end: 20})
		c.put(&entry{file: freed, lane: lane, begin: 0, end: 20, freed: true})
		if !expired {
			c.put(&entry{file: again, lane: lane, begin: 0, end: 10})
		}
		if freed.live == 0 {
			t.Error("the freed range has been dropped")
		}
		for _, e := range c.blocks() {
			live = append(live, fmt.Sprint(e.file.run, e.begin, e.end))
		}
		return live
	}
	if got := build(false); !slices.Equal(got, []string{"3 0 10"}) {
		t.Errorf("live: %v", got)
	}
	if got := build(true); len(got) > 0 {
		t.Errorf("live: %v", got)
	}
}

// Names that are too long for a directory are refused, and checkpoints work.
func TestLongNames(t *testing.T) {
	s := newStore(t)
	a := open(t, t.TempDir(), s)
	for _, n := range []int{255, 256} {
		sr, err := s.Series(memstore.Key{Cluster: strings.Repeat("c", min(n, 240)), Host: strings.Repeat("h", n), Metric: "load"})
		if (err == nil) != (n <= 255) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if err == nil {
			if _, err := a.Write(t.Context(), []memstore.Sample{{Series: sr, Time: now * 1000, Value: 1}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	ok(t, a.Checkpoint())
}

// list returns the paths of the files below a directory.
func (s *sender) list(dir string) (paths []string) {
	s.t.Helper()
	entries, err := s.fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	ok(s.t, err)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			paths = append(paths, s.list(path)...)
		} else {
			paths = append(paths, path)
		}
	}
	return paths
}

// A lower limit of names keeps what exists, in blocks, in windows files and in the journal; only new
// names are refused.
func TestLowerNameLimit(t *testing.T) {
	dir := t.TempDir()
	limited := func(bytes int) *memstore.Store {
		s, err := memstore.New(memstore.Options{
			Metrics: []memstore.Metric{{Name: "load", Frequency: time.Minute}}, Retention: 24 * time.Hour,
			Limits: memstore.Limits{NameBytes: bytes}, Now: func() time.Time { return time.Unix(now, 0) },
		})
		ok(t, err)
		return s
	}
	long := strings.Repeat("x", 100)
	keys := []memstore.Key{
		{Cluster: long, Host: "n1", Metric: "load"},
		{Cluster: "alpha", Host: long, Metric: "load"},
		{Cluster: "alpha", Host: "n1", Metric: "load", Device: memstore.Device{Type: "hwthread", TypeID: long}},
		{Cluster: "alpha", Host: "n1", Metric: "load", Device: memstore.Device{Subtype: long, SubtypeID: "1"}},
	}
	a := open(t, dir, limited(0))
	for i := range 3 {
		for _, k := range keys {
			sr, err := a.Store.Series(k)
			ok(t, err)
			refused, err := a.Write(t.Context(), []memstore.Sample{{Series: sr, Time: (now - 600 + int64(i)*60) * 1000, Value: float64(i)}})
			if err != nil || len(refused) > 0 {
				t.Fatal(refused, err)
			}
		}
		switch i {
		case 0:
			a.Store.Seal(math.MaxInt64, true)
			ok(t, a.Checkpoint())
		case 1:
			ok(t, a.Checkpoint())
		}
	}
	for range 2 {
		copied := t.TempDir() // the checkpoint at the end would empty the journal
		ok(t, os.CopyFS(copied, os.DirFS(dir)))
		ok(t, a.Close())
		dir = copied
		a = open(t, dir, limited(50))
		n, err := a.Store.Values()
		if err != nil || n != int64(3*len(keys)) {
			t.Errorf("%d samples, want %d; %v", n, 3*len(keys), err)
		}
		for _, k := range keys {
			k.Cluster += "y"
			if _, err := a.Store.Series(k); !errors.Is(err, memstore.ErrName) {
				t.Errorf("a new name: %v", err)
			}
		}
	}
}
