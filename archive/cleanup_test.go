package archive

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/unixtime"
)

// testArchive is an archive with a clock that the test sets and a retention of ten hours.
type testArchive struct {
	*Archive
	t      *testing.T
	dir    string
	second int64
	sent   map[rowKey]float64
}

// rowKey identifies a row of a Parquet file.
type rowKey struct {
	host, metric, scope, id string
	time                    int64
}

func newTestArchive(t *testing.T) *testArchive {
	m := &testArchive{t: t, dir: t.TempDir(), second: now - now%unixtime.SecondsPerDay, sent: make(map[rowKey]float64)}
	m.start()
	return m
}

// start opens the archive as a program does.
func (m *testArchive) start() {
	m.t.Helper()
	clock := func() time.Time { return time.Unix(m.second, 0) }
	s, err := memstore.New(memstore.Options{
		Metrics:      []memstore.Metric{{Name: "load", Frequency: time.Minute}, {Name: "power", Frequency: 10 * time.Minute}},
		Retention:    10 * time.Hour,
		KeepUnstored: true,
		Now:          clock,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	p, err := parquet.Open(disk.OS{}, filepath.Join(m.dir, "archive"), parquet.Compatible)
	if err != nil {
		m.t.Fatal(err)
	}
	if m.Archive, err = Open(Options{Dir: m.dir, Store: s, Now: clock, Parquet: p}); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { m.Archive.Close() })
	if _, err := m.Restore(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
}

// advance lets hours pass while two hosts send.
func (m *testArchive) advance(hours int) {
	m.t.Helper()
	for range hours * 6 {
		var batch []memstore.Sample
		for _, host := range []string{"n1", "n2"} {
			for i, d := range devices {
				for _, metric := range metrics {
					sr, err := m.Store.Series(memstore.Key{Cluster: "alpha", Host: host, Metric: metric, Device: d})
					if err != nil {
						m.t.Fatal(err)
					}
					// Each source has its own phase; some samples are before midnight.
					at := m.second - int64(i*7)
					v := float64(at) / 10
					batch = append(batch, memstore.Sample{Series: sr, Time: at * 1000, Value: v})
					scope, id := parquet.Scope(d)
					m.sent[rowKey{host, metric, scope, id, at}] = v
				}
			}
		}
		if refused, err := m.Write(m.t.Context(), batch); err != nil || len(refused) > 0 {
			m.t.Fatal(refused, err)
		}
		m.second += 600
		if err := m.Store.Maintain(); err != nil {
			m.t.Fatal(err)
		}
		if m.second%3600 == 0 {
			if err := m.Checkpoint(); err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

func (m *testArchive) cleanup(unfinished bool) {
	m.t.Helper()
	if err := m.Cleanup(m.t.Context(), unfinished); err != nil {
		m.t.Fatal(err)
	}
}

// check compares the Parquet files with the samples before until.
func (m *testArchive) check(what string, until int64, files ...string) {
	m.t.Helper()
	names, err := filepath.Glob(filepath.Join(m.dir, "archive", "alpha", "*"))
	if err != nil {
		m.t.Fatal(err)
	}
	for i, name := range names {
		names[i] = filepath.Base(name)
	}
	if !slices.Equal(names, files) {
		m.t.Errorf("%s: files %q, want %q", what, names, files)
	}
	rows := make(map[rowKey]float64)
	for _, name := range names {
		for _, r := range readRows(m.t, filepath.Join(m.dir, "archive", "alpha", name)) {
			key := rowKey{r.Hostname, r.Metric, r.Scope, r.ScopeID, r.Timestamp}
			if _, twice := rows[key]; twice {
				m.t.Errorf("%s: %+v occurs twice", what, key)
			}
			rows[key] = r.Value
		}
	}
	want := 0
	for key, v := range m.sent {
		if key.time >= until {
			continue
		}
		want++
		if got, ok := rows[key]; !ok || got != v {
			m.t.Errorf("%s: %+v is %v, %t", what, key, got, ok)
			return
		}
	}
	if len(rows) != want {
		m.t.Errorf("%s: %d rows, want %d", what, len(rows), want)
	}
}

type fileRow struct {
	Hostname  string  `parquet:"hostname"`
	Metric    string  `parquet:"metric"`
	Scope     string  `parquet:"scope"`
	ScopeID   string  `parquet:"scope_id"`
	Timestamp int64   `parquet:"timestamp"`
	Value     float64 `parquet:"value"`
}

func readRows(t *testing.T, path string) []fileRow {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := pq.NewGenericReader[fileRow](f)
	defer r.Close()
	rows := make([]fileRow, r.NumRows())
	if n, err := r.Read(rows); n != len(rows) || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("%d of %d rows: %v", n, len(rows), err)
	}
	return rows
}

func dayName(second int64, suffix string) string {
	return fmt.Sprintf("%s%s.parquet", time.Unix(second, 0).UTC().Format("2006-01-02"), suffix)
}

// A day is rowKey once it has left the retention completely, also after a restart. Then its blocks
// are removed.
func TestDaysAreArchived(t *testing.T) {
	m := newTestArchive(t)
	begin := m.second
	first, second := dayName(begin-1, ""), dayName(begin, "") // some of the first samples are before midnight
	m.advance(33)
	m.cleanup(false)
	m.check("an hour before the second day has left", begin, first)
	m.advance(1)
	m.cleanup(false)
	m.check("after it", begin+unixtime.SecondsPerDay, first, second)
	m.cleanup(false)
	m.check("again", begin+unixtime.SecondsPerDay, first, second)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m.start()
	m.cleanup(false)
	m.check("after a restart", begin+unixtime.SecondsPerDay, first, second)
	m.advance(24)
	m.cleanup(false)
	m.check("a day later", begin+2*unixtime.SecondsPerDay, first, second, dayName(begin+unixtime.SecondsPerDay, ""))
	for lane, entries := range m.catalog.lanes {
		for _, e := range entries {
			if e.end <= (begin+2*unixtime.SecondsPerDay)*1000 {
				t.Errorf("%v: the block up to %d still exists", lane, e.end/1000)
			}
		}
	}
}

// On request the part of an unfinished day that has left the retention is rowKey too. The rest of
// that day goes to a file of its own.
func TestUnfinishedDayIsArchived(t *testing.T) {
	m := newTestArchive(t)
	begin := m.second
	m.advance(20)
	m.cleanup(true)
	before := dayName(begin-1, "")
	m.check("after 20 hours", begin+10*3600, before, dayName(begin, ""))
	m.advance(15)
	m.cleanup(false)
	m.check("after 35 hours", begin+unixtime.SecondsPerDay, before, dayName(begin, "-2"), dayName(begin, ""))
}

// Samples that were only in the journal or in open windows when the program ended are rowKey, even
// if their retention is over at the next start.
func TestLongDowntime(t *testing.T) {
	m := newTestArchive(t)
	begin := m.second
	m.advance(3)
	for _, crash := range []bool{true, false} {
		if crash { // only the journal has the last samples
			copied := filepath.Join(t.TempDir(), "copied")
			if err := errors.Join(os.CopyFS(copied, os.DirFS(m.dir)), m.Close()); err != nil {
				t.Fatal(err)
			}
			m.dir = copied
		} else if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		m.second += 48 * 3600
		m.start()
		if err := errors.Join(m.Store.Maintain(), m.Checkpoint(), m.Store.Maintain()); err != nil {
			t.Fatal(err)
		}
		m.cleanup(false)
		if n := m.Store.Size().Blocks; n > 0 {
			t.Errorf("%d blocks are left", n)
		}
		m.advance(1)
	}
	m.check("at the end", begin+3*unixtime.SecondsPerDay, dayName(begin-1, ""), dayName(begin, ""), dayName(begin+2*unixtime.SecondsPerDay, ""))
}

// A crash after a file was published, and before its source was removed, neither loses nor
// duplicates rows.
func TestCleanupIsResumed(t *testing.T) {
	m := newTestArchive(t)
	begin := m.second
	m.advance(35)
	saved := filepath.Join(t.TempDir(), "saved")
	if err := os.CopyFS(saved, os.DirFS(filepath.Join(m.dir, subdir))); err != nil {
		t.Fatal(err)
	}
	m.cleanup(false)
	if err := errors.Join(m.Close(), os.RemoveAll(filepath.Join(m.dir, subdir)), os.CopyFS(filepath.Join(m.dir, subdir), os.DirFS(saved))); err != nil {
		t.Fatal(err)
	}
	m.start()
	m.cleanup(false)
	m.check("again", begin+unixtime.SecondsPerDay, dayName(begin-1, ""), dayName(begin, ""))
}
