package archive

import (
	"errors"
	"flag"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/memstore"
)

// before leaves a directory with blocks, windows and a journal of a process
// that was killed.
func (s *sender) before() {
	s.t.Helper()
	ok(s.t, s.open())
	ok(s.t, s.write(s.span(50, 30, 0, 1, 2, 3, 4)...))
	ok(s.t, s.checkpoint())
	ok(s.t, s.write(s.span(30, 20, 0, 1, 2, 3, 4)...))
	ok(s.t, s.write(s.span(46, 44, 0, 1)...)) // late, again
	ok(s.t, s.sync())
	s.end(false)
}

// run is the script: all that an archive does, in little. Errors are noted, and
// it goes on as a server would, until it is told to give up.
func (s *sender) run(open func() error, giveUp func(error) bool) {
	s.t.Helper()
	minutes := func(n int) int64 { return time.Now().Unix() - int64(n)*60 }
	other := memstore.Key{Cluster: "beta", Host: "m1", Metric: "load"}
	for _, step := range []func() error{
		func() error { return s.write(s.span(20, 14, 0, 1, 2, 3, 4)...) },
		func() error { s.pause(2 * time.Second); return nil },
		func() error { return s.write(s.span(48, 46, 0, 2)...) }, // late
		s.checkpoint,
		func() error { return s.free(minutes(25), "alpha", "n2") },
		func() error { return s.write(s.span(40, 38, 3)...) }, // where it was freed
		func() error {
			if err := s.free(minutes(0), "beta"); err != nil {
				return err
			}
			return s.write(sample{other, minutes(2)}) // on another grid
		},
		s.sync,
		func() error { return s.write(s.span(14, 6, 0, 1, 2, 3)...) },
		func() error { s.pause(70 * time.Second); return s.store.Maintain() },
		s.checkpoint,
		func() error { return s.write(s.span(44, 43, 0, 1)...) },
		s.close,
		open,
		func() error { return s.write(s.span(8, 2, 0, 1, 2, 3)...) },
		func() error { s.pause(2 * time.Second); return s.store.Maintain() },
		s.checkpoint,
		func() error { return s.write(s.span(2, 0, 0, 1, 2, 3)...) },
	} {
		if err := step(); err != nil && giveUp(err) {
			return
		}
	}
}

// By default the modes take turns, so that they all take some seconds together.
var (
	stride = flag.Int("stride", 24, "end or fail after every so many operations only, in each mode after others")
	seeds  = flag.Int("seeds", 1, "how often to lose power after each of these operations, each time otherwise")
)

// However far it came: after every operation of the script, what was promised is
// restored to the bit and nothing else.
func TestEndAfterEveryOperation(t *testing.T) {
	for i, m := range modes {
		for k, end := range ends {
			t.Run(m.name+" "+end.name, func(t *testing.T) {
				t.Parallel()
				cases := 0
				for n, finished := 1+(i*len(ends)+k)%*stride, false; !finished; n += *stride {
					for seed := range uint64(*seeds) {
						cases++
						synctest.Test(t, func(t *testing.T) {
							s := newSender(t, uint64(n)*1000+seed, m.mode)
							s.before()
							start := s.fsys.Operations()
							s.fsys.StopAfter(n)
							gone := func(err error) bool { return errors.Is(err, disktest.ErrPower) }
							if err := s.open(); err == nil {
								s.run(s.open, gone)
							}
							finished = s.fsys.Operations()-start < n
							s.end(end.power)
							s.restart(describe(m.name, n, seed, end.name))
						})
					}
				}
				t.Log(cases, "ends")
			})
		}
	}
}
