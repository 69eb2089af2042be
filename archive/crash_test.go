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

// prepare leaves a directory with blocks, windows and a journal, as after a kill.
func (s *sender) prepare() {
	s.t.Helper()
	ok(s.t, s.open())
	ok(s.t, s.write(s.span(50, 30, 0, 1, 2, 3, 4)...))
	ok(s.t, s.checkpoint())
	ok(s.t, s.write(s.span(30, 20, 0, 1, 2, 3, 4)...))
	ok(s.t, s.write(s.span(46, 44, 0, 1)...)) // late samples
	ok(s.t, s.sync())
	s.end(false)
}

// run is a script with every operation of an archive. After an error it continues, as a server
// would, unless giveUp returns true.
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
		func() error { return s.write(s.span(40, 38, 3)...) }, // in the freed range
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

// By default each mode tests different operations, so that all of them together take some seconds.
var (
	stride = flag.Int("stride", 24, "test only every n-th operation, different ones in each mode")
	seeds  = flag.Int("seeds", 1, "seeds for the loss of power after each tested operation")
)

// If the process or the power ends after any operation of the script, exactly what was acknowledged
// is restored, to the bit.
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
							s.prepare()
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
