package archive

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/guard"
)

// clockArchive is an archive on real files with clocks that the test sets, and a retention of two
// days.
type clockArchive struct {
	*Archive
	t         *testing.T
	dir       string
	parquet   bool
	wall      time.Time
	monotonic time.Duration
	log       strings.Builder
	sent      map[int64]float64 // by second
}

func newClockArchive(t *testing.T, withParquet bool) *clockArchive {
	m := &clockArchive{t: t, dir: t.TempDir(), parquet: withParquet, wall: time.Unix(now, 0), sent: make(map[int64]float64)}
	m.start()
	return m
}

func (m *clockArchive) start() {
	m.t.Helper()
	m.monotonic = 0
	wall := func() time.Time { return m.wall }
	s, err := memstore.New(memstore.Options{
		Metrics:      []memstore.Metric{{Name: "load", Frequency: time.Minute}},
		Retention:    48 * time.Hour,
		KeepUnstored: m.parquet,
		Now:          wall,
		Guard:        guard.New(func() (time.Time, time.Duration) { return m.wall, m.monotonic }),
	})
	ok(m.t, err)
	o := Options{Dir: m.dir, Store: s, Now: wall, Logger: slog.New(slog.NewTextHandler(&m.log, nil))}
	if m.parquet {
		o.Parquet, err = parquet.Open(disk.OS{}, filepath.Join(m.dir, "parquet"), parquet.Compatible)
		ok(m.t, err)
	}
	m.Archive, err = Open(o)
	ok(m.t, err)
	a := m.Archive
	m.t.Cleanup(func() { a.Close() })
	_, err = m.Restore(m.t.Context())
	ok(m.t, err)
}

func (m *clockArchive) restart() {
	m.t.Helper()
	ok(m.t, m.Close())
	m.start()
}

// pass lets time pass, and does what the program does meanwhile.
func (m *clockArchive) pass(d time.Duration) {
	m.t.Helper()
	step := min(d, max(30*time.Minute, d/20))
	for ; d > 0; d -= step {
		m.wall, m.monotonic = m.wall.Add(step), m.monotonic+step
		m.work()
	}
}

// work maintains, stores and cleans up once.
func (m *clockArchive) work() {
	m.t.Helper()
	m.maintain(0)
	ok(m.t, m.Checkpoint())
	ok(m.t, m.Cleanup(m.t.Context(), false))
}

// send sends one sample and returns why it was refused.
func (m *clockArchive) send(at time.Time) string {
	m.t.Helper()
	sr, err := m.Store.Series(memstore.Key{Cluster: "alpha", Host: "n1", Metric: "load"})
	ok(m.t, err)
	v := float64(len(m.sent)) + 0.5
	refused, err := m.Write(m.t.Context(), []memstore.Sample{{Series: sr, Time: at.UnixMilli(), Value: v}})
	ok(m.t, err)
	if len(refused) > 0 {
		return string(refused[0].Reason)
	}
	m.sent[at.Unix()] = v
	return ""
}

// fill sends samples of some hours before now.
func (m *clockArchive) fill(hours int) {
	m.t.Helper()
	for at := m.wall.Add(-time.Duration(hours) * time.Hour); !at.After(m.wall); at = at.Add(time.Minute) {
		if reason := m.send(at); reason != "" {
			m.t.Fatal(reason)
		}
	}
}

// stored returns the samples in memory, by second.
func (m *clockArchive) stored() map[int64]float64 {
	m.t.Helper()
	all := make(map[int64]float64)
	sel := memstore.Selection{Cluster: "alpha", Host: "n1", Metric: "load"}
	got, err := m.Store.Read(m.t.Context(), sel, memstore.Range{From: 0, To: 1 << 40})
	ok(m.t, err)
	for i, v := range got.Values {
		if v == v {
			all[got.From+int64(i)*got.Resolution] = v
		}
	}
	return all
}

// files returns the block and Parquet files.
func (m *clockArchive) files() (names []string) {
	for _, pattern := range []string{"ringstore/blocks/*/*.rsb", "parquet/*/*"} {
		found, err := filepath.Glob(filepath.Join(m.dir, pattern))
		ok(m.t, err)
		names = append(names, found...)
	}
	return names
}

// complete checks that everything is in memory and was not archived.
func (m *clockArchive) complete(what string) {
	m.t.Helper()
	got := m.stored()
	for at, v := range m.sent {
		if got[at] != v {
			m.t.Fatalf("%s: the sample of %v is %v, want %v; %d of %d are there", what, time.Unix(at, 0).UTC(), got[at], v, len(got), len(m.sent))
		}
	}
	for _, name := range m.files() {
		if strings.HasSuffix(name, ".parquet") {
			m.t.Fatalf("%s: %s was archived", what, name)
		}
	}
}

// cleanups are the ways in which samples leave the retention.
var cleanups = map[string]bool{"deleted": false, "archived": true}

// A clock that is three days ahead for 14 s deletes nothing.
func TestClockAheadForSeconds(t *testing.T) {
	for name, withParquet := range cleanups {
		t.Run(name, func(t *testing.T) {
			m := newClockArchive(t, withParquet)
			m.fill(40)
			m.work()
			for range 3 {
				m.wall = m.wall.Add(72 * time.Hour)
				m.pass(14 * time.Second)
				m.complete("while the clock is ahead")
				if n := m.Notes(); len(n) != 1 || !strings.Contains(n[0], "clock") {
					t.Errorf("notes: %q", n)
				}
				m.wall = m.wall.Add(-72 * time.Hour)
				m.pass(14 * time.Second)
				m.complete("afterwards")
				if n := m.Notes(); len(n) != 0 {
					t.Errorf("notes: %q", n)
				}
			}
			m.restart()
			m.complete("after a restart")
			if n := strings.Count(m.log.String(), "level=WARN"); n != 3 {
				t.Errorf("%d warnings: %s", n, &m.log)
			}
		})
	}
}

// A start with a clock that is three days ahead deletes nothing, also if it ends soon and repeats.
func TestStartWithClockAhead(t *testing.T) {
	for name, withParquet := range cleanups {
		for _, kill := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " killed ", kill), func(t *testing.T) {
				m := newClockArchive(t, withParquet)
				m.fill(40)
				m.work()
				m.fill(1) // is in the journal
				end := m.restart
				if kill {
					end = func() { m.kill(); m.start() }
				}
				m.wall = m.wall.Add(72 * time.Hour)
				for range 3 {
					end()
					m.complete("after a start with the clock ahead")
					m.pass(14 * time.Second)
					m.complete("and 14 s later")
				}
				m.wall = m.wall.Add(-72 * time.Hour)
				end()
				m.pass(14 * time.Second)
				m.complete("after a start with the right clock")
			})
		}
	}
}

// kill puts a copy of the directory in the place of the one that the archive uses.
func (m *clockArchive) kill() {
	m.t.Helper()
	dir := m.t.TempDir()
	ok(m.t, os.CopyFS(dir, os.DirFS(m.dir)))
	ok(m.t, m.Close())
	m.dir = dir
}

// A machine that was off for a week goes on after an hour.
func TestOffForAWeek(t *testing.T) {
	for name, withParquet := range cleanups {
		t.Run(name, func(t *testing.T) {
			m := newClockArchive(t, withParquet)
			m.fill(40)
			sent := len(m.sent)
			ok(t, m.Close())
			m.wall = m.wall.Add(7 * 24 * time.Hour)
			m.start()
			for range 5 {
				if reason := m.send(m.wall); reason != "" {
					t.Fatal(reason)
				}
				m.pass(10 * time.Minute)
				m.complete("within the hour")
			}
			m.pass(30 * time.Minute)
			if got := m.stored(); len(got) != len(m.sent)-sent {
				t.Errorf("%d samples after the hour, want %d", len(got), len(m.sent)-sent)
			}
			m.expectArchived(withParquet)
			if !strings.Contains(m.log.String(), "level=INFO msg=\"the clock is no longer ahead") {
				t.Errorf("not logged: %s", &m.log)
			}
		})
	}
}

func (m *clockArchive) expectArchived(want bool) {
	m.t.Helper()
	archived := strings.Contains(strings.Join(m.files(), " "), ".parquet")
	if archived != want {
		m.t.Errorf("archived: %t, want %t: %q", archived, want, m.files())
	}
}

// An administrator confirms the clock.
func TestConfirmClock(t *testing.T) {
	m := newClockArchive(t, true)
	m.fill(40)
	m.wall = m.wall.Add(7 * 24 * time.Hour)
	m.work()
	m.complete("before")
	if before := m.ConfirmClock(); before.Ahead != 7*24*time.Hour {
		t.Errorf("%+v", before)
	}
	m.work()
	m.expectArchived(true)
	if n := m.Notes(); len(n) != 0 {
		t.Errorf("notes: %q", n)
	}
}

// A step back refuses nothing that was accepted before, and nothing that was stored is lost.
func TestClockSetBack(t *testing.T) {
	for name, withParquet := range cleanups {
		t.Run(name, func(t *testing.T) {
			m := newClockArchive(t, withParquet)
			m.fill(40)
			m.work()
			right := m.wall
			m.wall = m.wall.Add(-72 * time.Hour)
			for i := range 3 {
				if reason := m.send(right.Add(time.Duration(i) * time.Minute)); reason != "" {
					t.Errorf("a sample with the right time: %s", reason)
				}
				if reason := m.send(m.wall.Add(time.Duration(i) * time.Minute)); reason != "" {
					t.Errorf("a sample with the time of the clock: %s", reason)
				}
			}
			m.pass(14 * time.Second)
			m.complete("set back")
			m.restart()
			m.complete("after a restart")
			m.wall = m.wall.Add(72 * time.Hour)
			m.pass(14 * time.Second)
			m.complete("right again")
		})
	}
}

// A late sample of a window that has left memory for its age, but is not archived, does not hide
// that window, although the clock was set back.
func TestLateSampleAfterClockSetBack(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			m := newClockArchive(t, true)
			m.wall = m.wall.Truncate(24 * time.Hour).Add(time.Hour)
			m.ConfirmClock()
			begin := m.wall
			m.fill(0)
			for range 4 * 60 { // of one day
				m.wall, m.monotonic = m.wall.Add(time.Minute), m.monotonic+time.Minute
				if reason := m.send(m.wall); reason != "" {
					t.Fatal(reason)
				}
			}
			want := make(map[int64]float64)
			for at, v := range m.sent {
				want[at] = v
			}
			m.work()
			m.pass(60 * time.Hour)
			if len(m.Store.Hosts("alpha")) > 0 {
				t.Fatal("the samples are still in memory")
			}
			m.expectArchived(false) // the day has not left the retention
			if restart {
				m.restart()
			}
			m.wall = m.wall.Add(-24 * time.Hour)
			for i := range 4 * 60 {
				at := begin.Add(time.Duration(i)*time.Minute + 10*time.Second)
				if reason := m.send(at); reason == "" {
					t.Errorf("a late sample of %v was accepted", at)
					break
				}
			}
			m.work()
			m.restart()
			m.wall = m.wall.Add(24 * time.Hour)
			m.ConfirmClock()
			m.pass(30 * time.Hour)
			rows := make(map[int64]float64)
			for _, name := range m.files() {
				if strings.HasSuffix(name, ".parquet") {
					for _, r := range readRows(t, name) {
						rows[r.Timestamp] = r.Value
					}
				}
			}
			for at, v := range want {
				if rows[at] != v {
					t.Fatalf("the row of %v is %v, want %v; %d rows", time.Unix(at, 0).UTC(), rows[at], v, len(rows))
				}
			}
		})
	}
}
