package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore"
)

// What is freed while it is evicted does not return when there is room, however the program is
// restarted. What is not freed does.
func TestFreedWhileEvicted(t *testing.T) {
	inRestarts(t, func(s *sender, restart func()) {
		ok(s.t, s.write(s.span(50, 20, 0, 1, 2, 3, 4)...))
		time.Sleep(2 * time.Minute)
		ok(s.t, s.store.Maintain())
		ok(s.t, s.checkpoint())
		all := s.contents()
		s.limit = 1
		restart()
		if got := s.contents(); len(got) > 0 {
			s.t.Fatalf("%d samples fit in a byte", len(got))
		}
		to := time.Now().Unix() - 30*60
		_, err := s.archive.Free(s.t.Context(), [][]string{{"alpha"}, {"n1"}}, to)
		ok(s.t, err)
		s.limit = 0
		for range 3 {
			restart()
			got := s.contents()
			for p := range all {
				freed := p.key.Host == "n1" && p.second <= to
				if near := max(p.second-to, to-p.second) < 60; !near && freed == (got[p] != 0) {
					s.t.Fatalf("%v, freed up to %d: found %v", p, to, got[p])
				}
			}
		}
	})
}

// Free is replayed on other windows than those on which it was called, and deletes the same.
func TestFreeIsReplayedExactly(t *testing.T) {
	inRestarts(t, func(s *sender, restart func()) {
		for i := range 12 {
			ok(s.t, s.write(s.span(50-i*4, 46-i*4, 0, 1, 2, 3, 4)...))
			ok(s.t, s.write(s.span(50-i*2, 49-i*2, 1, 2)...)) // late
			if i%3 == 1 {
				ok(s.t, s.free(time.Now().Unix()-int64(52-i*4)*60, "alpha", "n1"))
			}
			if i%4 == 2 {
				time.Sleep(70 * time.Second)
				ok(s.t, s.store.Maintain())
			}
			want := s.contents()
			restart()
			got := s.contents()
			for p := range s.places {
				if p.second >= time.Now().Add(-retention).Unix() && got[p] != want[p] {
					s.t.Fatalf("round %d: %v holds %v after a restart, and %v before", i, p, got[p], want[p])
				}
			}
		}
	})
}

// Samples that are freed after they have left memory do not enter the Parquet files.
func TestFreedSamplesAreNotArchived(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprint("restarted ", restarted), func(t *testing.T) {
			m := newTestArchive(t)
			begin := m.second
			m.advance(20)
			to := begin + 5*3600 + 300
			if _, err := m.Free(t.Context(), [][]string{{"alpha"}, {"n1"}, {"hwthread1"}}, to); err != nil {
				t.Fatal(err)
			}
			for key := range m.sent {
				if key.host == "n1" && key.scope == "hwthread" && key.time <= to {
					delete(m.sent, key)
				}
			}
			if restarted { // only the journal knows
				copied := filepath.Join(t.TempDir(), "copied")
				if err := errors.Join(os.CopyFS(copied, os.DirFS(m.dir)), m.Close()); err != nil {
					t.Fatal(err)
				}
				m.dir = copied
				m.start()
			}
			m.advance(15)
			m.cleanup(false)
			m.check("at the end", begin+86400, dayName(begin-1, ""), dayName(begin, ""))
			m.advance(24)
			m.cleanup(false)
			if n := len(m.marks.freed); n > 0 {
				t.Errorf("%d tombstones are left without a file that they cover", n)
			}
		})
	}
}

// Damaged marks do not stop the start, and are kept.
func TestDamagedMarks(t *testing.T) {
	m := newTestArchive(t)
	m.advance(12)
	if _, err := m.Free(t.Context(), [][]string{{"alpha"}}, m.second-11*3600); err != nil {
		t.Fatal(err)
	}
	ok(t, m.Close())
	path := filepath.Join(m.dir, subdir, marksName)
	sound, err := os.ReadFile(path)
	ok(t, err)
	for i := range sound {
		damaged := append([]byte(nil), sound...)
		damaged[i] ^= 1
		if err := new(marks).decode(damaged); err == nil {
			t.Errorf("byte %d is wrong: no error", i)
		}
		if err := new(marks).decode(sound[:i]); err == nil {
			t.Errorf("%d bytes: no error", i)
		}
	}
	ok(t, os.WriteFile(path, sound[:len(sound)-1], 0o600))
	s, err := memstore.New(memstore.Options{Metrics: goldenMetrics, Retention: time.Hour, Now: m.Now})
	ok(t, err)
	a, err := Open(Options{Dir: m.dir, Store: s, Now: m.Now})
	ok(t, err)
	defer a.Close()
	if r, err := a.Restore(t.Context()); err != nil || r.Damaged != 1 {
		t.Errorf("damaged %d, %v", r.Damaged, err)
	}
	if _, err := os.Stat(path + damagedSuffix); err != nil {
		t.Error(err)
	}
}
