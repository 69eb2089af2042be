package archive

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

// An error of reading a file at the start is no damage: for some seconds the start tries again, and
// after that the file stays, also through a checkpoint, and a later start restores it.
func TestUnreadableFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, 1, journal.SyncMode(time.Second))
		files, of := s.runs()
		blocks, windows, segments := of(blocksSuffix), of(windowsSuffix), of(".rsj")
		f := func(name, path string, errno syscall.Errno, kinds []disktest.Kind, passes time.Duration, starts, whole bool) {
			name = fmt.Sprint(name, ", ", errno, ", ", kinds, ", ", passes)
			s.load(files)
			var out bytes.Buffer
			s.log = slog.NewTextHandler(&out, nil)
			begin := time.Now()
			s.fsys.Inject(func(op disktest.Op) error {
				if op.Path == path && slices.Contains(kinds, op.Kind) && time.Since(begin) < passes {
					return errno
				}
				return nil
			})
			err := s.open()
			if (err == nil) != starts {
				t.Fatalf("%s: got error %v", name, err)
			}
			if err == nil {
				r := s.restored
				if r.Damaged > 0 || (r.Unreadable > 0) != (passes > time.Minute) || (r.Unreadable > 0) != (len(s.archive.Notes()) > 0) {
					t.Errorf("%s: restored %+v, notes %v", name, r, s.archive.Notes())
				}
				if lost := s.lost(); (lost == 0) != whole {
					t.Errorf("%s: %d samples are missing", name, lost)
				}
				if !strings.Contains(out.String(), path) && r.Unreadable > 0 {
					t.Errorf("%s: log %s", name, &out)
				}
				ok(t, s.checkpoint())
				ok(t, s.checkpoint())
				s.end(false)
			}
			s.fsys.Inject(nil)
			for path := range s.image() {
				if strings.HasSuffix(path, damagedSuffix) || strings.HasSuffix(path, ".foreign") {
					t.Errorf("%s: there is %s", name, path)
				}
			}
			if _, there := s.image()[blocks[0]]; !there {
				t.Errorf("%s: the block file is gone", name)
			}
			ok(t, s.open())
			if r := s.restored; r.Damaged+r.Missing+r.Foreign+r.Unreadable > 0 {
				t.Errorf("%s: the next start counts %+v", name, r)
			}
			if lost := s.lost(); lost > 0 {
				t.Errorf("%s: after the next start %d samples are missing", name, lost)
			}
			s.end(false)
		}
		opening, reading := []disktest.Kind{disktest.Open}, []disktest.Kind{disktest.Read}
		for _, errno := range []syscall.Errno{syscall.EIO, syscall.EMFILE, syscall.ESTALE} {
			for _, path := range slices.Sorted(maps.Keys(files)) {
				if !strings.HasSuffix(path, lockName) {
					f("for a moment", path, errno, opening, 4*time.Second, true, true)
					f("for a moment", path, errno, reading, 4*time.Second, true, true)
				}
			}
			for _, kinds := range [][]disktest.Kind{opening, reading} {
				f("an old block file", blocks[0], errno, kinds, time.Hour, true, false)
				f("a journal segment", segments[0], errno, kinds, time.Hour, false, false)
				f("the newest windows file", windows[1], errno, kinds, time.Hour, true, true)
			}
		}
	})
}

// Parts of the journal that cannot be read stay through checkpoints, in memory that has newer samples
// meanwhile, and a later start restores them.
func TestUnreadableJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, 1, journal.SyncMode(time.Second))
		files, of := s.runs()
		places := maps.Clone(s.places)
		cases := 0
		for _, errno := range []syscall.Errno{syscall.EIO, syscall.EMFILE, syscall.ESTALE} {
			for _, path := range of(".rsj") {
				s.load(files)
				s.places = maps.Clone(places)
				reads := 0
				s.fsys.Inject(func(op disktest.Op) error {
					if op.Kind != disktest.Read || op.Path != path {
						return nil
					}
					if reads++; reads == 1 { // of the header, without which a start ends
						return nil
					}
					return errno
				})
				for range 2 { // starts
					reads = 0
					ok(t, s.open())
					if r := s.restored; r.Damaged > 0 || r.Journal.Lost > 0 {
						t.Errorf("%s: restored %+v", path, r)
					}
					unreadable := s.restored.Unreadable > 0 // otherwise the segment is not needed
					if unreadable {
						cases++
					}
					if unreadable != (len(s.archive.Notes()) > 0) {
						t.Errorf("%s: notes %q", path, s.archive.Notes())
					}
					ok(t, s.write(s.span(3, 1, 0, 1, 2, 3, 4)...))
					ok(t, s.checkpoint())
					ok(t, s.write(s.span(30, 28, 0, 2)...))
					ok(t, s.checkpoint())
					ok(t, s.checkpoint())
					if _, err := s.fsys.Stat(path); unreadable && err != nil {
						t.Fatal(err)
					}
					_ = s.archive.Close()
				}
				s.fsys.Inject(nil)
				s.end(false)
				ok(t, s.open())
				if r := s.restored; r.Damaged+r.Missing+r.Foreign+r.Unreadable > 0 {
					t.Errorf("%s: the next start counts %+v", path, r)
				}
				s.check(path, s.n)
				if lost := s.lost(); lost > 0 {
					t.Errorf("%s: after the next start %d samples are missing", path, lost)
				}
				s.end(false)
			}
		}
		if cases == 0 {
			t.Error("everything could be read")
		}
	})
}

// Samples that are written while an old block file cannot even be opened do not hide what it holds,
// neither for known hosts nor for others of its cluster.
func TestNothingHidesAFileThatCannotBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, 1, journal.SyncMode(time.Second))
		files, of := s.runs()
		for _, path := range of(blocksSuffix) {
			s.load(files)
			s.fsys.Inject(func(op disktest.Op) error {
				if op.Path == path && op.Kind == disktest.Open {
					return syscall.EMFILE
				}
				return nil
			})
			ok(t, s.open())
			var batch []memstore.Sample
			for _, x := range s.span(58, 0, 0, 1, 2, 3, 4) {
				sr, err := s.store.Series(x.key)
				ok(t, err)
				batch = append(batch, memstore.Sample{Series: sr, Time: x.second * 1000, Value: s.places[place(x)][0].outcome})
			}
			refused, err := s.archive.Write(t.Context(), batch[:len(batch)/2])
			ok(t, err)
			t.Log(path, len(refused), "of", len(batch)/2, "refused")
			ok(t, s.checkpoint())
			ok(t, s.checkpoint())
			s.fsys.Inject(nil)
			s.end(false)
			ok(t, s.open())
			if lost := s.lost(); lost > 0 {
				t.Errorf("%s: after the next start %d samples are missing", path, lost)
			}
			s.end(false)
		}
	})
}

// lost returns how many samples within the retention are not in the store.
func (s *sender) lost() (n int) {
	got := s.contents()
	for p := range s.places {
		if _, there := got[p]; !there && p.second > time.Now().Add(-retention+2*time.Minute).Unix() {
			n++
		}
	}
	return n
}

// If any operation that reads fails at a start, for some seconds or until that start ends, nothing is
// invented, and once the disk can be read again nothing is lost. A journal segment that stays unreadable
// counts as damaged: its other records are replayed, and it is kept under a second name.
func TestReadErrorAtEveryOperationOfAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, 1, journal.Always)
		s.prepare()
		ok(t, s.open())
		s.run(s.open, func(err error) bool { t.Fatal(err); return true })
		s.end(false)
		files, places := s.image(), s.places
		cases, refused, partial := 0, 0, 0
		for n, finished := 1, false; !finished; n += max(*stride/8, 1) {
			for _, passes := range []time.Duration{4 * time.Second, time.Hour} {
				what := fmt.Sprintf("operation %d fails for %v", n, passes)
				s.load(files)
				s.places = maps.Clone(places)
				fault := readFault{first: s.fsys.Operations() + n, passes: passes}
				s.fsys.Inject(fault.decide)
				err := s.open()
				if finished = fault.failed.N == 0; finished {
					ok(t, err)
					s.end(false)
					break
				}
				cases++
				what = fmt.Sprintf("%s, %s %s", what, fault.failed.Kind, fault.failed.Path)
				journal := s.restored.Journal.DamageTotal > 0
				switch {
				case err != nil && !errors.Is(err, syscall.EIO):
					t.Fatalf("%s: it does not start: %v", what, err)
				case err != nil:
					refused++
				case journal && (passes < time.Hour || !strings.HasSuffix(fault.failed.Path, ".rsj")):
					t.Fatalf("%s: taken for damage: %+v", what, s.restored)
				case s.restored.Unreadable > 0 || journal:
					partial++
					s.checkSent(what)
				default:
					s.check(what, s.n)
				}
				for range 2 {
					if err != nil {
						break
					}
					if err := s.checkpoint(); err != nil && !errors.Is(err, syscall.EIO) { // a file could not be made
						t.Fatalf("%s: %v", what, err)
					}
				}
				s.fsys.Inject(nil)
				s.end(false)
				if journal {
					continue
				}
				s.restart(what + ", and later does not")
			}
		}
		t.Logf("%d read errors: %d starts gave up, %d restored a part", cases, refused, partial)
	})
}

// readFault is an error of one operation that reads, and of those like it, for some time.
type readFault struct {
	first  int // fails at the earliest
	passes time.Duration
	failed disktest.Op
	until  time.Time
}

func (f *readFault) decide(op disktest.Op) error {
	if !slices.Contains([]disktest.Kind{disktest.Open, disktest.Read, disktest.ReadDir, disktest.Stat}, op.Kind) {
		return nil
	}
	if f.failed.N == 0 && op.N >= f.first {
		f.failed, f.until = op, time.Now().Add(f.passes)
	}
	if op.Kind == f.failed.Kind && op.Path == f.failed.Path && time.Now().Before(f.until) {
		return syscall.EIO
	}
	return nil
}

// checkSent checks that the store holds nothing that was not sent for its place.
func (s *sender) checkSent(what string) {
	s.t.Helper()
	for p, v := range s.contents() {
		if !slices.ContainsFunc(s.places[p], func(e event) bool { return e.outcome == v }) {
			s.t.Fatalf("%s: %v holds %v, which was never sent", what, p, v)
		}
	}
}
