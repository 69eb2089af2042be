package archive

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/memstore"
)

// needsSpace lists the operations that fail on a full disk.
var needsSpace = map[disktest.Kind]bool{
	disktest.Write: true, disktest.Sync: true, disktest.SyncDir: true, disktest.Rename: true,
	disktest.Link: true, disktest.Truncate: true, disktest.Mkdir: true,
}

// faulty runs the script and makes operations fail from the n-th on. It returns whether there was
// an n-th operation.
func (s *sender) faulty(what string, n, times int, cause error, power bool) bool {
	s.t.Helper()
	start := s.fsys.Operations()
	errno := syscall.EIO
	errors.As(cause, &errno)
	s.fsys.Inject(func(op disktest.Op) error {
		// If reads fail for longer, a restore takes the data for damaged.
		last := n + times
		if s.starting.Load() {
			last = min(last, n+4)
		}
		if at := op.N - start; at < n || at >= last || errno == syscall.ENOSPC && !needsSpace[op.Kind] {
			return nil
		}
		s.unsynced = s.unsynced || op.Kind == disktest.Sync && s.mode == journal.Off
		return cause
	})
	open := func() error {
		err := s.open()
		for tries := 0; err != nil; tries++ {
			if !errors.Is(err, errno) || tries == times {
				s.t.Fatalf("%s: it does not start: %v", what, err)
			}
			err = s.open() // as systemd would
		}
		return nil
	}
	ok(s.t, open())
	s.run(open, func(err error) bool {
		if !errors.Is(err, errno) {
			s.t.Fatalf("%s: the error does not wrap the cause: %v", what, err)
		}
		s.check(what+", meanwhile", s.n) // queries still work
		time.Sleep(20 * time.Second)
		return false
	})
	for tries := 0; s.write(s.span(1, 0, 0)...) != nil; tries++ {
		if tries == times {
			s.t.Fatalf("%s: it does not recover: %v", what, s.archive.Unavailable())
		}
		time.Sleep(time.Minute)
	}
	s.check(what+", afterwards", s.n)
	finished := s.fsys.Operations()-start < n
	s.end(power)
	return !finished
}

// Whatever fails, once or repeatedly: writes are refused with the reason, queries still work, the
// archive recovers by itself, and no acknowledged sample is lost.
func TestFaultAtEveryOperation(t *testing.T) {
	faults := []struct {
		name string
		err  error
	}{
		{"EIO", syscall.EIO},
		{"ENOSPC", &disktest.ShortWrite{Bytes: 17, Err: syscall.ENOSPC}},
	}
	all := len(modes) * len(ends) * len(faults)
	for i, m := range modes {
		for k, end := range ends {
			for l, fault := range faults {
				t.Run(fmt.Sprint(m.name, " ", fault.name, " ", end.name), func(t *testing.T) {
					t.Parallel()
					step := *stride * 3
					first := 1 + ((i*len(ends)+k)*len(faults)+l)*step/all
					for n, failed := first, true; failed; n += step {
						for _, times := range []int{1, 4, 15} {
							synctest.Test(t, func(t *testing.T) {
								s := newSender(t, uint64(n), m.mode)
								s.prepare()
								what := fmt.Sprintf("%s, %s from operation %d on, %d times, then %s", m.name, fault.name, n, times, end.name)
								failed = s.faulty(what, n, times, fault.err, end.power)
								s.restart(what)
							})
						}
					}
				})
			}
		}
	}
}

// While a disk is full, nothing is lost and failed checkpoints leave no files. Once there is space,
// the archive works again.
func TestFullDisk(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSender(t, 1, m.mode)
				s.prepare()
				ok(t, s.open())
				ok(t, s.write(s.span(20, 10, 0, 1, 2, 3, 4)...))
				for free := int64(0); free < 6000; free += 500 {
					used := s.fsys.Used()
					s.fsys.SetCapacity(used + free)
					for range 10 {
						if err := s.checkpoint(); err == nil {
							break
						} else if !errors.Is(err, syscall.ENOSPC) {
							t.Fatal(err)
						}
						if left := s.fsys.Used(); left > used+1000 {
							t.Fatalf("a checkpoint that failed left %d bytes", left-used)
						}
						time.Sleep(time.Minute)
					}
					s.check("full", s.n)
				}
				s.fsys.SetCapacity(0)
				time.Sleep(time.Minute)
				ok(t, s.write(sample{memstore.Key{Cluster: "alpha", Host: "n1", Metric: "load"}, time.Now().Unix()/60*60 + 3}))
				ok(t, s.checkpoint())
				s.end(true)
				s.restart("after a full disk")
			})
		})
	}
}
