package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

// measurements are the results for one program.
type measurements struct {
	name    string
	samples int

	loadTime, loadCPU   time.Duration
	control             control
	memoryEmpty         int64 // resident, bytes
	memoryLoaded        int64
	stopTime            time.Duration
	disk                int64 // bytes of the checkpoints
	readyTime, readyCPU time.Duration
	memoryRestored      int64
	askedAgain          int // values

	journal    int64 // bytes on disk after the load, before any checkpoint
	killed     killed
	everything everything
	writers    writers

	queries        []queryCost
	queriesControl control
}

// part measures one aspect of a program.
type part func(*bench, context.Context, program, *measurements) error

// measure runs all measurements of all programs, each in a new directory below dir. The programs
// take turns in being first.
func measure(ctx context.Context, o options, programs []program, dir string, progress io.Writer) ([]measurements, error) {
	all := make([]measurements, len(programs))
	for i, p := range programs {
		all[i].name = p.name
	}
	var parts []part
	if !o.only {
		parts = append(parts, (*bench).measureStop, (*bench).measureKill)
		if o.checkpoints > 0 {
			parts = append(parts, (*bench).measureCheckpoints)
		}
	}
	for n, measurePart := range parts {
		for _, i := range turns(len(programs), n) {
			fmt.Fprintf(progress, "measuring %s, part %d\n", programs[i].name, n+1)
			if err := measurePart.run(ctx, o, programs[i], filepath.Join(dir, fmt.Sprintf("%d-%d", i, n)), &all[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", programs[i].name, err)
			}
		}
	}
	if !o.query {
		return all, nil
	}
	fmt.Fprintln(progress, "measuring queries")
	return all, measureQueries(ctx, o, programs, dir, all)
}

func (p part) run(ctx context.Context, o options, of program, dir string, f *measurements) error {
	b, err := newBench(o, dir)
	if err != nil {
		return err
	}
	f.samples = o.hosts * o.steps * len(b.cluster.Series())
	err = p(b, ctx, of, f)
	b.client.CloseIdleConnections()
	return errors.Join(err, os.RemoveAll(b.dir))
}

// turns returns the order of n programs in a round.
func turns(n, round int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = (i + round) % n
	}
	return order
}

// measureStop measures the load, a regular stop and the restart.
func (b *bench) measureStop(ctx context.Context, p program, f *measurements) (err error) {
	s, err := b.start(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := b.measureLoad(ctx, s, f); err != nil {
		return s.Explain(err)
	}
	begin := time.Now()
	if err := s.stop(); err != nil {
		return s.Explain(err)
	}
	f.stopTime = time.Since(begin)
	if f.disk, err = diskUsage(filepath.Join(b.dir, checkpointDir)); err != nil {
		return err
	}
	return b.measureRestart(ctx, p, f)
}

func (b *bench) measureLoad(ctx context.Context, s *server, f *measurements) (err error) {
	if err := f.control.run(b); err != nil {
		return err
	}
	if f.memoryEmpty, err = residentMemory(s.PID()); err != nil {
		return err
	}
	cpu, err := cpuTime(s.PID())
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := b.profiled(ctx, s, func() error { return b.load(ctx, s.url) }); err != nil {
		return err
	}
	f.loadTime = time.Since(begin)
	if f.loadCPU, err = cpuTime(s.PID()); err != nil {
		return err
	}
	f.loadCPU -= cpu
	if err := f.control.run(b); err != nil {
		return err
	}
	// A day of data arrives in seconds; merging and garbage collection follow later.
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(b.settle):
	}
	if f.memoryLoaded, err = residentMemory(s.PID()); err != nil {
		return err
	}
	f.journal, err = diskUsage(filepath.Join(b.dir, checkpointDir))
	return err
}

func (b *bench) measureRestart(ctx context.Context, p program, f *measurements) (err error) {
	begin := time.Now()
	s, err := b.start(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	f.readyTime = time.Since(begin)
	f.readyCPU, f.memoryRestored, f.askedAgain, err = b.restored(ctx, s)
	return err
}

// restored returns the cost of a start and the number of values that a query finds afterwards.
func (b *bench) restored(ctx context.Context, s *server) (cpu time.Duration, memory int64, values int, err error) {
	if cpu, err = cpuTime(s.PID()); err != nil {
		return 0, 0, 0, err
	}
	if memory, err = residentMemory(s.PID()); err != nil || !b.options.query {
		return cpu, memory, 0, err
	}
	again, err := b.ask(ctx, s.url, b.plainSeries().body)
	return cpu, memory, again.values, err
}

// newBench prepares a measurement in a new directory.
func newBench(o options, dir string) (*bench, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	b := &bench{
		options:  o,
		dir:      dir,
		cluster:  synthetic.New(o.hosts, o.seed),
		end:      time.Now().Truncate(synthetic.Frequency),
		interval: 24 * time.Hour, // no checkpoint during a measurement
		client:   newClient(max(o.writers, o.hosts)),
	}
	return b, b.issue()
}
