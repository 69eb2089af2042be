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

// sender appends unique records to a journal and tracks what was acknowledged. It is for one
// goroutine.
type sender struct {
	t       *testing.T
	fsys    *disktest.FS
	mode    SyncMode
	sent    []string
	acked   []string // neither durable nor dropped
	durable []string // must survive a loss of power
	failed  []string
	dropped []string // may be replayed or not
}

func (s *sender) open() (*Journal, error) {
	j, err := Open(s.t.Context(), Options{FS: s.fsys, Dir: dir, Sync: s.mode, SegmentBytes: 150 + headerSize - headerSize1})
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

// synced records what a successful Sync, Rotate or Close promises.
func (s *sender) synced(err error) error {
	if err == nil {
		s.durable = append(s.durable, s.acked...)
		s.acked = nil
	}
	return err
}

// run is a script with every operation of a journal. It continues after errors, as a server would.
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

// check compares the replayed records with what was acknowledged.
func (s *sender) check(what string, got, must []string) {
	s.t.Helper()
	at := 0
	for _, record := range got {
		i := slices.Index(s.sent[at:], record)
		if i < 0 {
			s.t.Fatalf("%s: record %q was never sent, or is replayed twice or out of order: %q", what, record, got)
		}
		at += i + 1
	}
	for _, record := range must {
		if !slices.Contains(got, record) {
			s.t.Fatalf("%s: record %q was acknowledged and is lost: %q", what, record, got)
		}
	}
}

// restart opens the journal and checks that it replays what it must, twice the same, and accepts
// records.
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

// end ends the process, with or without a loss of power.
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

// prepare leaves a directory with a journal, as after a kill.
func (s *sender) prepare() {
	j, err := s.open()
	ok(s.t, err)
	for range 3 {
		ok(s.t, s.append(j))
	}
	ok(s.t, s.synced(j.Sync(s.t.Context())))
	s.fsys.Kill()
	j.Close() // ends its goroutines; the process is dead
}

// If the process or the power ends after any operation of the script, exactly what was acknowledged
// is replayed.
func TestEndAfterEveryOperation(t *testing.T) {
	for _, m := range modes {
		for _, end := range ends {
			seeds := 1
			if end.power {
				seeds = 4 // each loses other data
			}
			t.Run(m.name+" "+end.name, func(t *testing.T) {
				for n, finished := 1, false; !finished; n++ {
					for seed := range uint64(seeds) {
						synctest.Test(t, func(t *testing.T) {
							s := &sender{t: t, fsys: disktest.New(seed), mode: m.mode}
							s.prepare()
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

// Whatever fails, once or repeatedly: the journal recovers by itself, and then replays everything
// that was acknowledged and nothing that was refused.
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
								s.prepare()
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

// faults runs the script and makes operations fail from the n-th on. It returns whether there was
// no n-th operation.
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
	if _, err := j.Replay(s.t.Context(), 0, func(uint64, int64, []byte) error { return nil }); err != nil && !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOSPC) {
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
			s.t.Fatalf("%s: record %q was refused and is replayed: %q", what, record, got)
		}
	}
	s.restart(what, must)
	return finished
}

// While a disk is full, writers and Health get the reason, and few files are created. Once there is
// space, the journal recovers.
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
					t.Errorf("it accepted a record, and is unavailable: %v", err)
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

// Open succeeds on a full disk.
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

// A failed fsync loses acknowledged bytes; they are written again to another segment.
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

// A sync that fails while a caller waits returns an error, even if the journal has recovered by
// then: in mode Always the record is not part of the journal.
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
			t.Error("a position from before the failure is reported as synced")
		}
		fsys.Kill()
		got, _ := readAll(t, fsys, dir)
		same(t, got, "one", "three")
	})
}

// After a failure, records that were acknowledged before it are not reported as synced: in mode Off
// there is no copy of them.
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
				t.Error("a record from before the failure is reported as synced")
			}
			ok(t, after(t.Context()))
		})
	}
}

// A refused record is not replayed, even if the process ends before the disk works again.
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

// What was acknowledged before a kill is on disk once the journal is open again: a loss of power
// later does not lose it.
func TestPowerLostAfterAKill(t *testing.T) {
	for _, mode := range []SyncMode{Always, SyncMode(time.Hour), Off} {
		for seed := range uint64(20) {
			fsys := disktest.New(seed)
			j := open(t, Options{FS: fsys, Dir: "/j", Sync: mode})
			add(t, j, "one", "two")
			fsys.StopAfter(0)
			_ = j.Close() // ends its goroutine
			fsys.Kill()
			j = open(t, Options{FS: fsys, Dir: "/j", Sync: mode})
			got, _ := replay(t, j)
			same(t, got, "one", "two")
			fsys.StopAfter(0)
			_ = j.Close()
			fsys.LosePower()
			got, _ = readAll(t, fsys, "/j")
			same(t, got, "one", "two")
		}
	}
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

// If the fsync of Close fails, Close publishes the unsynced records in a new segment.
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

// A record that has no place in the journal is no [Added], for which nobody must wait.
func TestNothingIsAddedWhileUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := disktest.New(1)
		j := open(t, Options{FS: fsys})
		fsys.Inject(func(disktest.Op) error { return syscall.EIO })
		if err := j.Append(t.Context(), []byte("one")); !errors.Is(err, syscall.EIO) {
			t.Errorf("got error %v, want EIO", err)
		}
		added, err := j.Add(t.Context(), j.Segment(), []byte("two"))
		if _, down := errors.AsType[*UnavailableError](err); !down || added != (Added{}) {
			t.Errorf("got %+v, %v", added, err)
		}
		fsys.Inject(nil)
		ok(t, j.Close())
	})
}

// A journal that is closed while it is unavailable retries once, and leaves no goroutine.
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
