package archive

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/memstore"
)

// The Parquet library has decoders that a synctest bubble cannot share with another. So the files are
// read outside the bubbles.
var (
	parquetFiles = make(chan []byte)
	parquetRows  = make(chan []fileRow)
)

// readParquet reads the files that the test's bubbles ask for until it ends; none of a damaged one.
func readParquet(t *testing.T) {
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		for {
			select {
			case content := <-parquetFiles:
				rows, _ := pq.Read[fileRow](bytes.NewReader(content), int64(len(content)))
				parquetRows <- rows
			case <-done:
				return
			}
		}
	}()
}

// rows returns the rows of all Parquet files, by place; each place must have one.
func (s *sender) rows(what string) map[place]float64 {
	s.t.Helper()
	all := make(map[place]float64)
	for _, path := range s.list("/parquet") {
		if !strings.HasSuffix(path, ".parquet") {
			continue
		}
		content, err := readWhole(s.fsys, path)
		ok(s.t, err)
		parquetFiles <- content
		rows := <-parquetRows
		for _, row := range rows {
			p := place{second: row.Timestamp}
			for q := range s.places {
				scope, id := parquet.Scope(q.key.Device)
				if q.key.Host == row.Hostname && q.key.Metric == row.Metric && scope == row.Scope && id == row.ScopeID {
					p.key = q.key
				}
			}
			if _, twice := all[p]; twice {
				s.t.Fatalf("%s: %v occurs twice, also in %s", what, p, path)
			}
			all[p] = row.Value
		}
	}
	return all
}

// checkRows checks that all acknowledged samples before a time are in the Parquet files, once.
func (s *sender) checkRows(what string, before int64) {
	s.t.Helper()
	rows := s.rows(what)
	missing := 0
	for p, events := range s.places {
		v, found := rows[p]
		acked := slices.ContainsFunc(events, func(e event) bool { return e.acked })
		if p.second < before && acked && !found {
			missing++
		}
		if found && !slices.Contains(s.allowed(p, s.n), v) {
			s.t.Fatalf("%s: %v is %v, want one of %v", what, p, v, s.allowed(p, s.n))
		}
	}
	if missing > 0 {
		s.t.Fatalf("%s: of %d samples %d are missing", what, len(s.places), missing)
	}
}

// newBoundary returns a sender with an archive that starts an hour before midnight.
func newBoundary(t *testing.T, seed uint64) *sender {
	s := newSender(t, seed, journal.Always)
	s.parquet = true
	time.Sleep(23 * time.Hour)
	return s
}

// Samples in open and reopened windows and in the journal are archived when the program was killed
// and started again much later, even if checkpoints fail at first.
func TestOpenWindowsAreArchived(t *testing.T) {
	readParquet(t)
	for _, failing := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newBoundary(t, 1)
			ok(t, s.open())
			for range 10 {
				ok(t, s.write(s.span(5, 0, 0, 1, 2, 3, 4)...))
				time.Sleep(5 * time.Minute)
				ok(t, s.store.Maintain())
			}
			ok(t, s.checkpoint())
			ok(t, s.write(s.span(40, 35, 0, 1, 2)...)) // late
			ok(t, s.write(s.span(5, 0, 0, 1, 2, 3, 4)...))
			s.end(false)
			time.Sleep(26 * time.Hour)
			ok(t, s.open())
			if failing {
				s.fsys.Inject(func(op disktest.Op) error {
					if op.Kind == disktest.Rename && strings.Contains(op.Path, windowsPrefix) {
						return syscall.EIO
					}
					return nil
				})
				if err := errors.Join(s.archive.Checkpoint(), s.archive.Cleanup(t.Context(), true)); !errors.Is(err, syscall.EIO) {
					t.Fatal(err)
				}
				s.fsys.Inject(nil)
				s.end(false)
				ok(t, s.open())
			}
			ok(t, errors.Join(s.archive.Checkpoint(), s.archive.Cleanup(t.Context(), true), s.archive.Close()))
			s.checkRows("at last", time.Now().Unix())
			ok(t, s.open())
			ok(t, s.archive.Cleanup(t.Context(), true))
			s.checkRows("again", time.Now().Unix())
			s.end(false)
		})
	}
}

// archiveRun archives two days, of which the first gets samples later.
func (s *sender) archiveRun(open func() error, giveUp func(error) bool) {
	cleanup := func(unfinished bool) func() error {
		return func() error { return s.archive.Cleanup(context.Background(), unfinished) }
	}
	wait := func(d time.Duration) func() error {
		return func() error { s.pause(d); return s.store.Maintain() }
	}
	retain := func(d time.Duration) func() error {
		return func() error {
			if err := s.close(); err != nil {
				return err
			}
			s.kept = d
			return open()
		}
	}
	for _, step := range []func() error{
		func() error { return s.write(s.span(30, 0, 0, 1, 2)...) },
		wait(70 * time.Minute),
		s.checkpoint,
		func() error { return s.write(s.span(50, 0, 0, 1, 3)...) },
		wait(30 * time.Minute),
		s.checkpoint,
		cleanup(false), // too early for a part
		wait(40 * time.Minute),
		s.checkpoint,
		cleanup(false),
		retain(6 * time.Hour),
		func() error { return s.write(s.span(200, 175, 3)...) }, // for the archived day
		func() error { return s.write(s.span(130, 120, 2)...) }, // in windows of which a part is archived
		wait(2 * time.Minute),
		s.checkpoint,
		cleanup(true),
		retain(time.Hour),
		wait(3 * time.Hour),
		s.checkpoint,
		cleanup(true),
	} {
		if err := step(); err != nil && giveUp(err) {
			return
		}
	}
}

// Each sample is archived exactly once, however often the program is killed meanwhile: also what
// arrives after its day was archived, and if the files are moved away.
func TestArchiveThroughKills(t *testing.T) {
	readParquet(t)
	cases := 0
	for n, finished := 1+*stride/2, false; !finished; n += max(*stride/4, 1) {
		cases++
		synctest.Test(t, func(t *testing.T) {
			s := newBoundary(t, uint64(n))
			start := s.fsys.Operations()
			s.fsys.StopAfter(n)
			if err := s.open(); err == nil {
				s.archiveRun(s.open, func(err error) bool { return errors.Is(err, disktest.ErrPower) })
			}
			finished = s.fsys.Operations()-start < n
			s.end(n%2 == 0)
			ok(t, s.open())
			ok(t, errors.Join(s.archive.Checkpoint(), s.archive.Cleanup(t.Context(), true)))
			ok(t, s.close())
			s.kept = time.Hour
			time.Sleep(8 * time.Hour)
			ok(t, s.open())
			ok(t, errors.Join(s.archive.Checkpoint(), s.archive.Cleanup(t.Context(), true)))
			s.checkRows(describe("archive", n, 0, "killed"), time.Now().Unix())
			s.end(false)
		})
	}
	t.Log(cases, "kills")
}

// Parquet files that were moved away are remembered: their rows are not written again, and late
// samples still go to another file.
func TestArchiveFilesThatWereMovedAway(t *testing.T) {
	readParquet(t)
	synctest.Test(t, func(t *testing.T) {
		s := newBoundary(t, 1)
		ok(t, s.open())
		ok(t, s.write(s.span(50, 0, 0, 1, 2)...))
		time.Sleep(3 * time.Hour)
		ok(t, errors.Join(s.store.Maintain(), s.checkpoint()))
		s.kept = 12 * time.Hour // from the next start on
		ok(t, s.archive.Cleanup(t.Context(), false))
		moved := s.rows("before")
		if len(moved) != len(s.places) {
			t.Fatalf("%d of %d rows", len(moved), len(s.places))
		}
		for _, path := range s.list("/parquet") {
			ok(t, s.fsys.Remove(path))
		}
		ok(t, s.close())
		ok(t, s.open())
		ok(t, s.write(s.span(230, 225, 3)...))
		time.Sleep(13 * time.Hour)
		ok(t, s.store.Maintain())
		ok(t, errors.Join(s.checkpoint(), s.archive.Cleanup(t.Context(), true)))
		for p := range s.rows("after") {
			if _, again := moved[p]; again {
				t.Fatalf("%v is archived again", p)
			}
			moved[p] = 1
		}
		if len(moved) != len(s.places) {
			t.Errorf("%d of %d rows", len(moved), len(s.places))
		}
		s.end(false)
	})
}

// A cluster that cannot be archived does not stop the others, and is logged once. A damaged or
// foreign file stops nothing.
func TestOneClusterDoesNotStopTheArchive(t *testing.T) {
	m := newTestArchive(t)
	var log bytes.Buffer
	m.Logger = slog.New(slog.NewTextHandler(&log, nil))
	for _, cluster := range []string{"aaa", strings.Repeat("ä", 40)} {
		sr, err := m.Store.Series(memstore.Key{Cluster: cluster, Host: "n1", Metric: "load"})
		ok(t, err)
		_, err = m.Write(t.Context(), []memstore.Sample{{Series: sr, Time: m.second * 1000, Value: 1}})
		ok(t, err)
	}
	begin := m.second
	damaged := dayName(begin, "")
	dir := filepath.Join(m.dir, "archive")
	ok(t, errors.Join(os.MkdirAll(filepath.Join(dir, "alpha"), 0o700),
		os.WriteFile(filepath.Join(dir, "alpha", damaged), []byte("not Parquet, though it is long enough"), 0o600),
		os.WriteFile(filepath.Join(dir, "aaa"), nil, 0o600))) // no folder can be made
	m.advance(35)
	for range 3 {
		if err := m.Cleanup(t.Context(), false); err == nil || !strings.Contains(err.Error(), "aaa") {
			t.Errorf("cleanup: %v", err)
		}
	}
	for what, want := range map[string]int{"level=ERROR": 2, damaged: 2, "cluster aaa": 1} {
		if n := strings.Count(log.String(), what); n != want {
			t.Errorf("%q is in the log %d times, want %d:\n%s", what, n, want, &log)
		}
	}
	ok(t, os.Remove(filepath.Join(dir, "alpha", damaged)))
	m.check("the other", begin+86400, dayName(begin-1, ""), dayName(begin, "-2"))
	if folders, err := os.ReadDir(dir); err != nil || len(folders) != 3 {
		t.Errorf("folders %v, %v", folders, err)
	}
	for lane, entries := range m.catalog.lanes {
		for _, e := range entries {
			if lane.cluster != "aaa" && e.end < begin*1000 {
				t.Errorf("%v: the block up to %d still exists", lane, e.end/1000)
			}
		}
	}
	ok(t, os.Remove(filepath.Join(dir, "aaa")))
	m.cleanup(false)
	if files, err := os.ReadDir(filepath.Join(dir, "aaa")); err != nil || len(files) != 1 {
		t.Errorf("files %v, %v", files, err)
	}
}
