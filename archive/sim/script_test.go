package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/journal"
)

// step is one step of a script. Its details depend on nothing but its own seed and the state of the
// server, so that a script without some of its steps is a script.
type step struct {
	action string
	seed   uint64
}

func (x step) String() string { return x.action }

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
		fmt.Fprintf(&b, " %s", x.action)
	}
	return b.String()
}

const intervalMode = journal.SyncMode(20 * time.Second)

// action is a kind of step.
type action struct {
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
	}
	total := 0
	for _, name := range names {
		total += actions[name].weight
	}
	for range 20 + r.IntN(40) {
		n := r.IntN(total)
		for _, name := range names {
			if n -= actions[name].weight; n < 0 {
				c.steps = append(c.steps, step{name, r.Uint64()})
				break
			}
		}
	}
	return c
}

// run runs a script in a synctest bubble. The error is the first difference from the model.
func (s *server) run(c script) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("step %d, %s: %w", s.steps, s.action(c), err)
		}
		s.end(false)
	}()
	s.settings = c.settings
	time.Sleep(20 * time.Hour) // four hours before midnight
	if err := s.start(); err != nil {
		return err
	}
	for i, x := range c.steps {
		s.steps = i
		a := actions[x.action]
		if a.up && s.archive == nil {
			continue
		}
		err := a.do(s, rand.New(rand.NewPCG(x.seed, 2)))
		synctest.Wait()
		fmt.Fprintln(s.digest, i, x.action, err)
		if err := s.after(err); err != nil {
			return err
		}
	}
	s.steps = len(c.steps)
	return s.finish()
}

func (s *server) action(c script) string {
	if s.steps < len(c.steps) {
		return c.steps[s.steps].action
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
	case err != nil && s.fault == nil:
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
		err := s.start()
		if s.ended() { // while it started
			power = power || s.losePower
			s.end(s.losePower)
			continue
		}
		if err != nil {
			return fmt.Errorf("it does not start: %w", err)
		}
		break
	}
	r := s.restored
	if s.torn > 0 {
		r.Damaged -= r.Journal.DamageTotal
	}
	if r.Foreign+r.Missing+r.Damaged > 0 && !s.lost {
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
	s.fault, s.stopAt = nil, 0
	if s.archive != nil {
		s.end(false)
	}
	if err := s.startAgain(false); err != nil {
		return err
	}
	for range 2 {
		if err := s.stop(); err != nil {
			return err
		}
		if err := s.startAgain(false); err != nil {
			return fmt.Errorf("stopped and started: %w", err)
		}
	}
	return nil
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

// names are those of all actions, in the order in which a script draws them.
var names = []string{
	"write", "late", "overwrite", "sleep", "wait", "checkpoint", "maintain", "sync", "free", "query",
	"stop", "kill", "power", "kill-later", "power-later",
}

var actions = map[string]action{
	"write": {20, true, func(s *server, r *rand.Rand) error {
		now := s.now().Unix()
		return s.writeSpan(someSeries(r), now-int64(1+r.IntN(15))*60, now)
	}},
	"late": {8, true, func(s *server, r *rand.Rand) error {
		oldest := s.now().Add(-s.retention).Unix() + 60
		from := oldest + r.Int64N(int64(s.retention/time.Second))
		return s.writeSpan(someSeries(r), from, min(from+r.Int64N(900), s.now().Unix()))
	}},
	"overwrite": {6, true, func(s *server, r *rand.Rand) error {
		var all []sample
		oldest := s.now().Add(-s.retention).Unix() + 60
		for _, p := range s.model.sorted() {
			if s.frequencies[series[p.series].metric] == p.frequency && p.second > oldest && p.second <= s.now().Unix() && r.IntN(10) == 0 {
				all = append(all, sample{p.series, p.second})
			}
		}
		return s.write(all[:min(len(all), 200)])
	}},
	"sleep": {12, false, func(s *server, r *rand.Rand) error {
		s.pass(time.Duration(1+r.IntN(120)) * time.Second)
		return nil
	}},
	"wait": {4, false, func(s *server, r *rand.Rand) error {
		s.pass(time.Duration(5+r.IntN(60)) * time.Minute)
		return nil
	}},
	"checkpoint": {8, true, func(s *server, _ *rand.Rand) error { return s.checkpoint() }},
	"maintain":   {8, true, func(s *server, _ *rand.Rand) error { return s.store.Maintain() }},
	"sync":       {3, true, func(s *server, _ *rand.Rand) error { return s.syncPoint() }},
	"free": {4, true, func(s *server, r *rand.Rand) error {
		to := s.now().Unix() - r.Int64N(int64(s.retention/time.Second))
		return s.free(to, pick(r, []string{"alpha"}, []string{"alpha", "n1"}, []string{"alpha", "n2"}, []string{"beta", "m1"})...)
	}},
	"query": {4, true, func(s *server, _ *rand.Rand) error {
		if err := s.check(false); err != nil {
			return &mismatch{err}
		}
		return nil
	}},
	"stop": {4, true, func(s *server, r *rand.Rand) error {
		if err := s.stop(); err != nil {
			return err
		}
		s.pass(time.Duration(r.IntN(600)) * time.Second)
		if err := s.startAgain(false); err != nil {
			return &mismatch{err}
		}
		return nil
	}},
	"kill":        {3, true, func(s *server, r *rand.Rand) error { return s.restartAs(false) }},
	"power":       {3, true, func(s *server, r *rand.Rand) error { return s.restartAs(true) }},
	"kill-later":  {3, true, func(s *server, r *rand.Rand) error { return s.stopLater(r, false) }},
	"power-later": {3, true, func(s *server, r *rand.Rand) error { return s.stopLater(r, true) }},
}

func (s *server) restartAs(power bool) error {
	if err := s.restart(power); err != nil {
		return &mismatch{err}
	}
	return nil
}

// stopLater ends the process after some operations.
func (s *server) stopLater(r *rand.Rand, power bool) error {
	n := 1 + r.IntN(pick(r, 10, 60, 200))
	s.stopAt, s.losePower = s.fsys.Operations()+n, power
	s.fsys.StopAfter(n)
	return nil
}
