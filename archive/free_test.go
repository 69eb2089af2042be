package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
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

// If the newest manifest is damaged, the one before and the journal say what was freed and archived. A
// start and verify report it.
func TestDamagedMarks(t *testing.T) {
	damages := map[string]func([]byte) []byte{
		"a byte is wrong": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"truncated":       func(b []byte) []byte { return b[:len(b)/2] },
		"empty":           func([]byte) []byte { return nil },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			m := newTestArchive(t)
			begin := m.second
			m.advance(20)
			to := begin + 5*3600 + 300 // has left memory
			if _, err := m.Free(t.Context(), [][]string{{"alpha"}, {"n1"}, {"hwthread1"}}, to); err != nil {
				t.Fatal(err)
			}
			for key := range m.sent {
				if key.host == "n1" && key.scope == "hwthread" && key.time <= to {
					delete(m.sent, key)
				}
			}
			for range 3 { // the journal has it no longer
				ok(t, m.Checkpoint())
			}
			m.cleanup(false)
			want := contents(t, m.Store)
			ok(t, m.Close())
			manifests, err := filepath.Glob(filepath.Join(m.dir, subdir, manifestPrefix+"*"))
			ok(t, err)
			newest := manifests[len(manifests)-1]
			b, err := os.ReadFile(newest)
			ok(t, err)
			if !bytes.Contains(b, []byte(`"path"`)) || !bytes.Contains(b, []byte(`"archived"`)) {
				t.Fatalf("nothing to lose: %s", b)
			}
			ok(t, os.WriteFile(newest, damage(b), 0o600))
			v, err := Verify(t.Context(), disk.OS{}, m.dir)
			// Files that were removed since the manifest before are missing.
			if err != nil || len(v.Problems) == 0 || !strings.Contains(v.Problems[0].Error(), manifestPrefix) {
				t.Errorf("verify: %q, %v", v.Problems, err)
			}
			m.start()
			if got := contents(t, m.Store); !maps.Equal(got, want) {
				t.Errorf("%d samples, want %d", len(got), len(want))
			}
			m.advance(15)
			m.cleanup(false)
			m.check("archived", begin+86400, dayName(begin-1, ""), dayName(begin, ""))
		})
	}
}

// Directories without marks in the manifest have a file of them, which is kept until two manifests
// have them. A damaged one is reported, and does not stop the start.
func TestMarksInAFile(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join("testdata", "v3", "directory", subdir, marksName))
	ok(t, err)
	for i := range golden {
		damaged := slices.Clone(golden)
		damaged[i] ^= 1
		if _, err := parseMarks(damaged); err == nil {
			t.Errorf("byte %d is wrong: no error", i)
		}
		if _, err := parseMarks(golden[:i]); err == nil {
			t.Errorf("%d bytes: no error", i)
		}
	}
	for _, damaged := range []bool{false, true} {
		dir := t.TempDir()
		ok(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "v3", "directory"))))
		path := filepath.Join(dir, subdir, marksName)
		problems := 0
		if damaged {
			problems = 1
			ok(t, os.WriteFile(path, golden[:len(golden)-1], 0o600))
		}
		v, err := Verify(t.Context(), disk.OS{}, dir)
		if err != nil || len(v.Problems) != problems {
			t.Errorf("verify: %q, %v", v.Problems, err)
		}
		a, err := Open(Options{Dir: dir, Store: goldenStore(t), Now: ticking()})
		ok(t, err)
		if r, err := a.Restore(t.Context()); err != nil || r.Damaged != problems {
			t.Errorf("damaged %d, %v", r.Damaged, err)
		}
		for n := range 2 {
			if _, err := os.Stat(path); !damaged && err != nil {
				t.Errorf("after %d checkpoints: %v", n, err)
			}
			ok(t, a.Checkpoint())
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file of marks stays: %v", err)
		}
		if _, err := os.Stat(path + damagedSuffix); damaged == (err != nil) {
			t.Errorf("damaged %t: %v", damaged, err)
		}
		ok(t, a.Close())
	}
}
