package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

// figures are what was measured of one program.
type figures struct {
	name    string
	samples int

	loadTime, loadCPU    time.Duration
	memoryEmpty          int64 // resident, bytes
	memoryLoaded         int64
	asked                answer
	askTime, askCPU      time.Duration // of one query
	stopTime             time.Duration
	disk                 int64 // bytes of the checkpoints
	readyTime, readyCPU  time.Duration
	memoryRestored       int64
	askedAgain, expected int // values
}

// measure runs one program through all of it, in a directory that it makes.
func measure(ctx context.Context, o options, p program, dir string) (f figures, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return f, err
	}
	b, err := newBench(o, dir)
	if err != nil {
		return f, err
	}
	defer b.client.CloseIdleConnections()
	f.name, f.samples = p.name, o.hosts*o.steps*len(b.cluster.Series())

	s, err := b.start(ctx, p)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := b.measureLoad(ctx, s, &f); err != nil {
		return f, s.explain(err)
	}
	if o.query {
		if err := b.measureQuery(ctx, s, &f); err != nil {
			return f, s.explain(err)
		}
	}
	if err := b.measureStop(s, dir, &f); err != nil {
		return f, s.explain(err)
	}
	return f, b.measureRestart(ctx, p, &f)
}

func (b *bench) measureLoad(ctx context.Context, s *server, f *figures) (err error) {
	if f.memoryEmpty, err = residentMemory(s.pid()); err != nil {
		return err
	}
	cpu, err := cpuTime(s.pid())
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := b.load(ctx, s.url); err != nil {
		return err
	}
	f.loadTime = time.Since(begin)
	if f.loadCPU, err = cpuTime(s.pid()); err != nil {
		return err
	}
	f.loadCPU -= cpu
	f.memoryLoaded, err = residentMemory(s.pid())
	return err
}

// The query is asked this often and this long at least, after once to warm up.
const (
	askTimes = 20
	askFor   = 2 * time.Second
)

func (b *bench) measureQuery(ctx context.Context, s *server, f *figures) (err error) {
	body := b.question()
	f.expected = min(questionHosts, b.options.hosts) * questionSeries * b.options.steps
	if f.asked, err = b.ask(ctx, s.url, body); err != nil {
		return err
	}
	cpu, err := cpuTime(s.pid())
	if err != nil {
		return err
	}
	begin := time.Now()
	n := 0
	for ; n < askTimes || time.Since(begin) < askFor; n++ {
		if err := b.askAndForget(ctx, s.url, body); err != nil {
			return err
		}
	}
	f.askTime = time.Since(begin) / time.Duration(n)
	f.askCPU, err = cpuTime(s.pid())
	f.askCPU = (f.askCPU - cpu) / time.Duration(n)
	return err
}

func (b *bench) measureStop(s *server, dir string, f *figures) (err error) {
	begin := time.Now()
	if err := s.stop(); err != nil {
		return err
	}
	f.stopTime = time.Since(begin)
	f.disk, err = diskUsage(filepath.Join(dir, checkpointDir))
	return err
}

func (b *bench) measureRestart(ctx context.Context, p program, f *figures) (err error) {
	begin := time.Now()
	s, err := b.start(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	f.readyTime = time.Since(begin)
	if f.readyCPU, err = cpuTime(s.pid()); err != nil {
		return err
	}
	if f.memoryRestored, err = residentMemory(s.pid()); err != nil || !b.options.query {
		return err
	}
	again, err := b.ask(ctx, s.url, b.question())
	f.askedAgain = again.values
	return err
}

// newBench prepares what all of a program's runs share.
func newBench(o options, dir string) (*bench, error) {
	b := &bench{
		options: o,
		dir:     dir,
		cluster: synthetic.New(o.hosts, o.seed),
		end:     time.Now().Truncate(synthetic.Frequency),
		client:  newClient(o.writers),
	}
	return b, b.issue()
}
