package journal

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/disk/disktest"
)

// sender sends records of its own to a journal and keeps books on what it was
// promised. It is for one goroutine.
type sender struct {
	t       *testing.T
	fsys    *disktest.FS
	mode    SyncMode
	sent    []string
	acked   []string // and neither durable nor dropped
	durable []string // must survive a loss of power, too
	failed  []string
	dropped []string // may be there or not
}

func (s *sender) open() (*Journal, error) {
	j, err := Open(s.t.Context(), Options{FS: s.fsys, Dir: dir, Sync: s.mode, SegmentBytes: 150})
	if err == nil {
		s.t.Cleanup(func() { j.Close() })
	}
	return j, err
}

func (s *sender) append(j *Journal) error {
	record := fmt.Sprintf("record %d %s", len(s.sent), "abcdefghijklmnopqrstuvwxyz"[:len(s.sent)%27])
	s.sent = append(s.sent, record)
	err := j.Append(s.t.Context(), []byte(record))
	switch {
	case err == nil && s.mode == Always:
		s.durable = append(s.durable, record)
	case err == nil:
		s.acked = append(s.acked, record)
	default:
		s.failed = append(s.failed, record)
	}
	return err
}

// synced notes what a success of Sync, Rotate or Close promises.
func (s *sender) synced(err error) error {
	if err == nil {
		s.durable = append(s.durable, s.acked...)
		s.acked = nil
	}
	return err
}

// run is the script: all that a journal does, in little. Errors are noted, and
// it goes on as a server would.
func (s *sender) run(j *Journal) {
	for i := range 14 {
		if s.append(j) != nil {
			time.Sleep(20 * time.Second) // it recovers meanwhile, if it can
		}
		switch i {
		case 3:
			_ = s.synced(j.Sync(s.t.Context()))
		case 6:
			time.Sleep(2 * time.Second)
			if s.mode > 0 {
				_ = s.synced(j.Unavailable())
			}
		case 9:
			n, err := j.Rotate()
			if s.synced(err) == nil {
				s.dropped, s.durable = append(s.dropped, s.durable...), nil
				_ = j.Drop(n)
			}
		}
	}
}

// check compares what comes back with the books.
func (s *sender) check(what string, got, must []string) {
	s.t.Helper()
	at := 0
	for _, record := range got {
		i := slices.Index(s.sent[at:], record)
		if i < 0 {
			s.t.Fatalf("%s: record %q was invented, came twice or too late: %q", what, record, got)
		}
		at += i + 1
	}
	for _, record := range must {
		if !slices.Contains(got, record) {
			s.t.Fatalf("%s: record %q was promised and is lost: %q", what, record, got)
		}
	}
}

// restart opens the journal as it was left, and checks that it replays what it
// must, twice the same, and takes records.
func (s *sender) restart(what string, must []string) {
	s.t.Helper()
	j, err := s.open()
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	defer j.Close()
	first, _ := replay(s.t, j)
	s.check(what, first, must)
	ok(s.t, s.append(j))
	ok(s.t, j.Close())
	second, _ := readAll(s.t, s.fsys, dir)
	if want := append(first, s.sent[len(s.sent)-1]); !slices.Equal(second, want) {
		s.t.Fatalf("%s: after the restart %q, want %q", what, second, want)
	}
}

// end lets the process or the power go.
func (s *sender) end(power bool) (must []string) {
	if power {
		s.fsys.LosePower()
		return s.durable
	}
	s.fsys.Kill()
	return append(s.durable, s.acked...)
}

var ends = []struct {
	name  string
	power bool
}{{"killed", false}, {"power lost", true}}

// before leaves a directory with a journal whose process was killed.
func (s *sender) before() {
	j, err := s.open()
	ok(s.t, err)
	for range 3 {
		ok(s.t, s.append(j))
	}
	ok(s.t, s.synced(j.Sync(s.t.Context())))
	s.fsys.Kill()
	j.Close() // of a dead process: for its goroutines only
}

// However far it came: after every operation of the script, what was promised
// comes back and nothing else.
func TestEndAfterEveryOperation(t *testing.T) {
	for _, m := range modes {
		for _, end := range ends {
			seeds := 1
			if end.power {
				seeds = 4 // it loses differently
			}
			t.Run(m.name+" "+end.name, func(t *testing.T) {
				for n, finished := 1, false; !finished; n++ {
					for seed := range uint64(seeds) {
						synctest.Test(t, func(t *testing.T) {
							s := &sender{t: t, fsys: disktest.New(seed), mode: m.mode}
							s.before()
							s.fsys.StopAfter(n)
							start := s.fsys.Operations()
							if j, err := s.open(); err == nil {
								s.run(j)
								_ = s.synced(j.Close())
							}
							finished = s.fsys.Operations()-start < n
							what := fmt.Sprintf("seed %d, %s after operation %d", seed, end.name, n)
							s.restart(what, s.end(end.power))
						})
					}
				}
			})
		}
	}
}

// Whatever fails, once or for some time: it recovers by itself, and then all
// that was acknowledged is there and nothing that was refused.
func TestFaultAtEveryOperation(t *testing.T) {
	faults := []struct {
		name string
		err  error
	}{
		{"EIO", syscall.EIO},
		{"ENOSPC", &disktest.ShortWrite{Bytes: 17, Err: syscall.ENOSPC}},
	}
	for _, m := range modes {
		for _, end := range ends {
			for _, fault := range faults {
				t.Run(fmt.Sprint(m.name, " ", fault.name, " ", end.name), func(t *testing.T) {
					for _, times := range []int{1, 4} {
						for n, finished := 1, false; !finished; n++ {
							synctest.Test(t, func(t *testing.T) {
								s := &sender{t: t, fsys: disktest.New(uint64(n)), mode: m.mode}
								s.before()
								what := fmt.Sprintf("%s from operation %d on, %d times, then %s", fault.name, n, times, end.name)
								finished = s.faults(what, n, times, fault.err, end.power)
							})
						}
					}
				})
			}
		}
	}
}

// faults runs the script with failures from the n-th operation on. It returns
// true if there was no such operation.
func (s *sender) faults(what string, n, times int, cause error, power bool) bool {
	s.t.Helper()
	start := s.fsys.Operations()
	syncFailed := false
	s.fsys.Inject(func(op disktest.Op) error {
		if at := op.N - start; at < n || at >= n+times {
			return nil
		}
		syncFailed = syncFailed || op.Kind == disktest.Sync
		return cause
	})
	j, err := s.open()
	for tries := 0; err != nil; tries++ {
		if tries == times {
			s.t.Fatalf("%s: %v", what, err)
		}
		j, err = s.open()
	}
	if _, err := j.Replay(s.t.Context(), func(uint64, int64, []byte) error { return nil }); err != nil && !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOSPC) {
		s.t.Fatalf("%s: %v", what, err)
	}
	s.run(j)
	for tries := 0; s.append(j) != nil; tries++ {
		if tries == times {
			s.t.Fatalf("%s: it does not recover: %v", what, j.Unavailable())
		}
		time.Sleep(time.Minute)
	}
	finished := s.fsys.Operations()-start < n
	must := s.end(power)
	_ = j.Close()
	if s.mode == Off && syncFailed {
		must = s.durable
	}
	got, _ := readAll(s.t, s.fsys, dir)
	for _, record := range s.failed {
		if slices.Contains(got, record) {
			s.t.Fatalf("%s: record %q was refused and is there: %q", what, record, got)
		}
	}
	s.restart(what, must)
	return finished
}

// A disk that is full, for hours: writers are told why, the health too, few
// files come of it, and it goes on when there is room.
func TestFullDisk(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var health []error
				fsys := disktest.New(1)
				j := open(t, Options{FS: fsys, Sync: m.mode, Health: func(err error) {
					mu.Lock()
					defer mu.Unlock()
					health = append(health, err)
				}})
				add(t, j, "one", "two")
				fsys.SetCapacity(j.Size() + headerSize + 20) // a header fits
				for range 200 {
					err := j.Append(t.Context(), make([]byte, 100))
					if down, ok := errors.AsType[*UnavailableError](err); !ok || !errors.Is(down, syscall.ENOSPC) {
						t.Fatalf("got error %v, want ENOSPC", err)
					}
					time.Sleep(10 * time.Second)
				}
				if n := len(j.Segments()); n > 3 {
					t.Errorf("%d segments", n)
				}
				fsys.SetCapacity(0)
				time.Sleep(10 * time.Second)
				add(t, j, "three")
				synctest.Wait()
				if err := j.Unavailable(); err != nil {
					t.Errorf("it took a record, and is unavailable: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				for i, err := range health {
					if (err == nil) != (i%2 == 1) || err != nil && !errors.Is(err, syscall.ENOSPC) {
						t.Fatalf("health changed to %v, then %v", health[:i], err)
					}
				}
				if n := len(health); n == 0 || n%2 == 1 {
					t.Errorf("health changed %d times", n)
				}
				fsys.Kill()
				got, report := readAll(t, fsys, dir)
				same(t, got, "one", "two", "three")
				if report.DamageTotal > 0 {
					t.Errorf("got damage %v", report.Damage)
				}
			})
		})
	}
}

// A disk that is full at the start is no reason not to start.
func TestFullDiskAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := disktest.New(1)
		j := open(t, Options{FS: fsys})
		add(t, j, "one")
		ok(t, j.Close())
		fsys.SetCapacity(1)
		j = open(t, Options{FS: fsys})
		got, _ := replay(t, j)
		same(t, got, "one")
		if err := j.Append(t.Context(), []byte("two")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got error %v, want ENOSPC", err)
		}
		if _, err := j.Rotate(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got error %v, want ENOSPC", err)
		}
		fsys.SetCapacity(0)
		time.Sleep(10 * time.Second)
		add(t, j, "three")
		ok(t, j.Close())
		got, _ = readAll(t, fsys, dir)
		same(t, got, "one", "three")
	})
}

// A failed fsync forgets the bytes, though they were acknowledged: they are
// written again elsewhere.
func TestFailedSyncLosesNothing(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			fsys := disktest.New(seed)
			j := open(t, Options{FS: fsys})
			add(t, j, "one")
			ok(t, j.Sync(t.Context()))
			add(t, j, "two", "three")
			fsys.Inject(failOnce(disktest.Sync))
			if err := j.Sync(t.Context()); !errors.Is(err, syscall.EIO) {
				t.Errorf("got error %v, want EIO", err)
			}
			synctest.Wait()
			add(t, j, "four")
			ok(t, j.Sync(t.Context()))
			fsys.LosePower()
			got, report := readAll(t, fsys, dir)
			same(t, got, "one", "two", "three", "four")
			if report.DamageTotal+report.Torn > 0 {
				t.Errorf("got %+v", report)
			}
		})
	}
}

// Who waits for a sync while it fails and recovers is not told that all is
// well: with Always the record is not part of the journal.
func TestWaitAcrossAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := disktest.New(1)
		j := open(t, Options{FS: fsys, Sync: Always})
		add(t, j, "one")
		end, epoch := j.written, j.epoch
		fsys.Inject(failOnce(disktest.Sync))
		if err := j.Append(t.Context(), []byte("two")); !errors.Is(err, syscall.EIO) {
			t.Errorf("got error %v, want EIO", err)
		}
		synctest.Wait()
		add(t, j, "three")
		if _, ok := errors.AsType[*UnavailableError](j.syncTo(t.Context(), end, epoch)); !ok {
			t.Error("a position of before the failure is said to be synced")
		}
		fsys.Kill()
		got, _ := readAll(t, fsys, dir)
		same(t, got, "one", "three")
	})
}

// What was acknowledged before a failure is not said to be on disk after it: with
// Off there was no copy of it.
func TestSyncPointAcrossAFailure(t *testing.T) {
	for _, mode := range []SyncMode{Off, SyncMode(time.Hour)} {
		synctest.Test(t, func(t *testing.T) {
			fsys := disktest.New(1)
			j := open(t, Options{FS: fsys, Sync: mode})
			before := j.SyncPoint()
			add(t, j, "one")
			ok(t, before(t.Context()))
			add(t, j, "two")
			fsys.Inject(failOnce(disktest.Sync))
			if _, err := j.Rotate(); !errors.Is(err, syscall.EIO) {
				t.Errorf("got error %v, want EIO", err)
			}
			synctest.Wait()
			after := j.SyncPoint()
			add(t, j, "three")
			if _, ok := errors.AsType[*UnavailableError](before(t.Context())); !ok {
				t.Error("what came before the failure is said to be on disk")
			}
			ok(t, after(t.Context()))
		})
	}
}

// What was refused does not come back, even if the process ends before the
// disk works again.
func TestRefusedAndKilled(t *testing.T) {
	f := func(name string, mode SyncMode, fault func(disktest.Op) error) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fsys := disktest.New(1)
				j := open(t, Options{FS: fsys, Sync: mode})
				add(t, j, "one")
				fsys.Inject(fault)
				if err := j.Append(t.Context(), []byte("two")); !errors.Is(err, syscall.EIO) {
					t.Errorf("got error %v, want EIO", err)
				}
				time.Sleep(time.Minute)
				fsys.Kill()
				got, report := readAll(t, fsys, dir)
				same(t, got, "one")
				if report.Torn > 0 {
					t.Errorf("got %+v", report)
				}
			})
		})
	}
	f("a sync failed", Always, func(op disktest.Op) error {
		if op.Kind == disktest.Sync {
			return syscall.EIO
		}
		return nil
	})
	f("half a write", Off, func(op disktest.Op) error {
		if op.Kind == disktest.Write {
			return &disktest.ShortWrite{Bytes: 5, Err: syscall.EIO}
		}
		return nil
	})
}

// failOnce fails the first operation of a kind.
func failOnce(kind disktest.Kind) func(disktest.Op) error {
	failed := false
	return func(op disktest.Op) error {
		if op.Kind == kind && !failed {
			failed = true
			return syscall.EIO
		}
		return nil
	}
}

// An fsync that fails at the end is not the end.
func TestFailedSyncAtClose(t *testing.T) {
	for seed := range uint64(10) {
		fsys := disktest.New(seed)
		j := open(t, Options{FS: fsys, Sync: math.MaxInt64})
		add(t, j, "one", "two")
		fsys.Inject(failOnce(disktest.Sync))
		ok(t, j.Close())
		fsys.LosePower()
		got, _ := readAll(t, fsys, dir)
		same(t, got, "one", "two")
	}
}

// A journal that is closed while it waits for the disk tries once more, and
// leaves no goroutine.
func TestCloseWhileUnavailable(t *testing.T) {
	for _, repaired := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			fsys := disktest.New(1)
			j := open(t, Options{FS: fsys})
			add(t, j, "one")
			fsys.Inject(func(op disktest.Op) error {
				if op.Kind == disktest.Write || op.Kind == disktest.Sync {
					return syscall.EIO
				}
				return nil
			})
			if err := j.Append(t.Context(), []byte("two")); !errors.Is(err, syscall.EIO) {
				t.Errorf("got error %v, want EIO", err)
			}
			time.Sleep(time.Hour)
			if repaired {
				fsys.Inject(nil)
			}
			if err := j.Close(); repaired != (err == nil) {
				t.Errorf("repaired %v: got error %v", repaired, err)
			}
			if repaired {
				fsys.LosePower()
				got, _ := readAll(t, fsys, dir)
				same(t, got, "one")
			}
		})
	}
}
