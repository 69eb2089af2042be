package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

// measurements are the results for one program.
type measurements struct {
	name    string
	samples int

	loadTime, loadCPU    time.Duration
	control              control
	memoryEmpty          int64 // resident, bytes
	memoryLoaded         int64
	asked                answer
	askTime, askCPU      time.Duration // of one query
	stopTime             time.Duration
	disk                 int64 // bytes of the checkpoints
	readyTime, readyCPU  time.Duration
	memoryRestored       int64
	askedAgain, expected int // values

	journal    int64 // bytes on disk after the load, before any checkpoint
	killed     killed
	everything everything
	writers    writers
}

// measure runs all measurements of one program, each in a new directory whose name starts with dir.
func measure(ctx context.Context, o options, p program, dir string) (measurements, error) {
	f := measurements{name: p.name}
	parts := []func(*bench, context.Context, program, *measurements) error{(*bench).measureStop, (*bench).measureKill}
	if o.checkpoints > 0 {
		parts = append(parts, (*bench).measureCheckpoints)
	}
	for i, part := range parts {
		b, err := newBench(o, fmt.Sprintf("%s-%d", dir, i))
		if err != nil {
			return f, err
		}
		f.samples = o.hosts * o.steps * len(b.cluster.Series())
		err = part(b, ctx, p, &f)
		b.client.CloseIdleConnections()
		if err := errors.Join(err, os.RemoveAll(b.dir)); err != nil {
			return f, err
		}
	}
	return f, nil
}

// measureStop measures the load, a query, a regular stop and the restart.
func (b *bench) measureStop(ctx context.Context, p program, f *measurements) (err error) {
	s, err := b.start(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := b.measureLoad(ctx, s, f); err != nil {
		return s.Explain(err)
	}
	if b.options.query {
		if err := b.measureQuery(ctx, s, f); err != nil {
			return s.Explain(err)
		}
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

// The minimum number of repetitions of the query and their minimum duration, after a warm-up.
const (
	askTimes = 20
	askFor   = 2 * time.Second
)

func (b *bench) measureQuery(ctx context.Context, s *server, f *measurements) (err error) {
	body := b.question()
	f.expected = min(questionHosts, b.options.hosts) * questionSeries * b.options.steps
	if f.asked, err = b.ask(ctx, s.url, body); err != nil {
		return err
	}
	cpu, err := cpuTime(s.PID())
	if err != nil {
		return err
	}
	begin := time.Now()
	n := 0
	for ; n < askTimes || time.Since(begin) < askFor; n++ {
		if err := b.askAndDiscard(ctx, s.url, body); err != nil {
			return err
		}
	}
	f.askTime = time.Since(begin) / time.Duration(n)
	f.askCPU, err = cpuTime(s.PID())
	f.askCPU = (f.askCPU - cpu) / time.Duration(n)
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
	again, err := b.ask(ctx, s.url, b.question())
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
