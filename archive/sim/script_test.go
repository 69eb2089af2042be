package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/memstore"
)

// step is one step of a script. Its details depend on nothing but its own seed and the state of the
// server, so that a script without some of its steps is a script.
type step struct {
	action
	seed uint64
}

// script is what a seed makes.
type script struct {
	seed     uint64
	settings settings
	steps    []step
}

func (c script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %+v:", c.seed, c.settings)
	for _, x := range c.steps {
		fmt.Fprintf(&b, " %s", x.name)
	}
	return b.String()
}

const intervalMode = journal.SyncMode(20 * time.Second)

// action is a kind of step.
type action struct {
	name   string
	weight int
	up     bool // only while the server runs
	do     func(*server, *rand.Rand) error
}

// newScript returns the script of a seed.
func newScript(seed uint64) script {
	r := rand.New(rand.NewPCG(seed, 1))
	c := script{seed: seed}
	c.settings = settings{
		sync:        pick(r, journal.Always, intervalMode, journal.Off),
		frequencies: [...]int64{60, pick(r, int64(10), 30), pick(r, int64(30), 60)},
		retention:   pick(r, time.Hour, 2*time.Hour, 6*time.Hour),
		memory:      pick(r, 0, 0, 0, pick(r, limits...)),
		parquet:     r.IntN(3) == 0,
	}
	all := actions()
	total := 0
	for _, a := range all {
		total += a.weight
	}
	for range 20 + r.IntN(40) {
		n := r.IntN(total)
		for _, a := range all {
			if n -= a.weight; n < 0 {
				c.steps = append(c.steps, step{a, r.Uint64()})
				break
			}
		}
	}
	return c
}

func actions() []action {
	return slices.Concat(basicActions(), operatorActions(), faultActions())
}

// run runs a script in a synctest bubble. The error is the first difference from the model.
func (s *server) run(c script) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("step %d, %s: %w", s.steps, s.stepName(c), err)
		}
		s.end(false)
	}()
	s.settings = c.settings
	time.Sleep(20 * time.Hour) // four hours before midnight
	s.trusted, s.asked = time.Now(), time.Now()
	if err := s.start(); err != nil {
		return err
	}
	for i, x := range c.steps {
		s.steps = i
		if x.up && s.archive == nil {
			continue
		}
		err := x.do(s, rand.New(rand.NewPCG(x.seed, 2)))
		synctest.Wait()
		fmt.Fprintln(s.digest, i, x.name, err != nil)
		if err := s.after(err); err != nil {
			return err
		}
		if *each && s.archive != nil {
			if err := s.check(false); err != nil {
				return err
			}
		}
	}
	s.steps = len(c.steps)
	return s.finish()
}

func (s *server) stepName(c script) string {
	if s.steps < len(c.steps) {
		return c.steps[s.steps].name
	}
	return "the end"
}

// after handles the error of a step, and ends the process if it is time.
func (s *server) after(err error) error {
	if m, is := errors.AsType[*mismatch](err); is {
		return m
	}
	switch {
	case s.ended():
		return s.restart(s.losePower)
	case errors.Is(err, memstore.ErrMemory) && s.memory > 0, s.failing():
		if s.archive == nil { // it was to be stopped
			return s.restart(false)
		}
	case err != nil:
		return fmt.Errorf("without a fault: %w", err)
	}
	return nil
}

// restart ends the process, starts it again, and compares what it holds with the model.
func (s *server) restart(power bool) error {
	s.end(power)
	return s.startAgain(power)
}

// startAgain starts the server after its end and compares what it holds with the model.
func (s *server) startAgain(power bool) error {
	for {
		failing := s.fault.Load() != nil
		err := s.start()
		synctest.Wait()
		if s.ended() { // while it started
			power = power || s.losePower
			s.end(s.losePower)
			continue
		}
		if err == nil {
			break
		}
		if !failing {
			return fmt.Errorf("it does not start: %w", err)
		}
		s.fault.Store(nil) // a supervisor tries again
	}
	s.fault.Store(nil)
	r := s.restored
	if s.torn.Load() > 0 {
		r.Damaged -= r.Journal.DamageTotal
	}
	if r.Foreign+r.Missing+r.Damaged > 0 && !s.changed {
		return fmt.Errorf("files seem to be damaged, missing or foreign: %+v", r)
	}
	v, err := s.view()
	if err == nil {
		err = s.model.check(v, power)
	}
	if err != nil {
		return fmt.Errorf("after a restart (power lost: %v), restored %+v: %w", power, s.restored, err)
	}
	s.model.settle(v, power)
	return nil
}

// finish restarts the server twice and compares.
func (s *server) finish() error {
	if s.archive != nil {
		s.end(false)
	}
	s.stopAt = 0
	s.fault.Store(nil)
	s.memory = 0
	if err := s.startAgain(false); err != nil {
		return err
	}
	for range 2 {
		if err := s.stop(); err != nil {
			return err
		}
		if s.parquet { // whatever is still in blocks
			s.retention = 15 * 24 * time.Hour
		}
		if err := s.startAgain(false); err != nil {
			return fmt.Errorf("stopped and started: %w", err)
		}
	}
	if !s.parquet {
		return nil
	}
	var err error
	s.last, err = s.view()
	return err
}

// someSeries returns some of the series, at least one.
func someSeries(r *rand.Rand) (some []int) {
	all := r.IntN(4) == 0
	for i := range series {
		if all || r.IntN(3) == 0 {
			some = append(some, i)
		}
	}
	if len(some) == 0 {
		some = append(some, r.IntN(len(series)))
	}
	return some
}

// writeSpan writes all samples of some series between two times.
func (s *server) writeSpan(some []int, from, to int64) error {
	var all []sample
	for _, i := range some {
		all = append(all, s.span(i, from, to)...)
	}
	return s.write(all)
}
