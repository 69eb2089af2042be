package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

// writers are the measurements of writers at a steady pace.
type writers struct {
	share           float64   // CPU use of the program in cores
	checkpoints     durations // during the writes, from the program's log
	during, between durations // requests that overlap a checkpoint, and the others
}

// checkpointsMeasured is the number of checkpoints during measureCheckpoints.
const checkpointsMeasured = 12

// measureCheckpoints continues to write after the load, one interval of a host per request, much
// faster than in real time. So the load ends in the past, and the writes end now.
func (b *bench) measureCheckpoints(ctx context.Context, p program, f *measurements) (err error) {
	steps := max(1, int(b.checkpoints.Seconds()*float64(b.pace))/b.hosts)
	b.end = b.end.Add(-time.Duration(steps) * synthetic.Frequency)
	b.interval = b.checkpoints / checkpointsMeasured
	b.args = []string{"-loglevel", "info"}
	s, err := b.start(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := b.load(ctx, s.url); err != nil {
		return s.Explain(err)
	}
	cpu, err := cpuTime(s.PID())
	if err != nil {
		return err
	}
	begin := time.Now()
	requests, err := b.writeSteadily(ctx, s.url, steps)
	if err != nil {
		return s.Explain(err)
	}
	took := time.Since(begin)
	used, err := cpuTime(s.PID())
	if err != nil {
		return err
	}
	log, err := os.Open(s.Log())
	if err != nil {
		return err
	}
	defer log.Close()
	checkpoints, err := readCheckpoints(log)
	f.writers = compare(requests, checkpoints)
	f.writers.share = (used - cpu).Seconds() / took.Seconds()
	return err
}

// span is a range of time.
type span struct{ begin, end time.Time }

func (s span) took() time.Duration { return s.end.Sub(s.begin) }

func (s span) overlaps(t span) bool { return s.begin.Before(t.end) && t.begin.Before(s.end) }

// writeSteadily writes the intervals of each host one after the other, with the hosts staggered.
// The time of a request starts when it is due, so it includes waiting for the previous request of
// the host, as for a collector.
func (b *bench) writeSteadily(ctx context.Context, url string, steps int) ([]span, error) {
	every := time.Duration(b.hosts) * time.Second / time.Duration(b.pace)
	begin := time.Now()
	all := make([][]span, b.hosts)
	g, ctx := errgroup.WithContext(ctx)
	for host := range b.hosts {
		first := begin.Add(every * time.Duration(host) / time.Duration(b.hosts))
		g.Go(func() (err error) {
			all[host], err = b.writeHost(ctx, url, host, steps, first, every)
			return err
		})
	}
	err := g.Wait()
	return slices.Concat(all...), err
}

func (b *bench) writeHost(ctx context.Context, url string, host, steps int, due time.Time, every time.Duration) ([]span, error) {
	values := make([]float64, len(b.cluster.Series()))
	requests := make([]span, 0, steps)
	var body []byte
	for step := range steps {
		body = b.renderHost(body[:0], host, b.steps+step, values)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Until(due)):
		}
		if err := b.write(ctx, url, body); err != nil {
			return nil, fmt.Errorf("host %d: %w", host, err)
		}
		requests = append(requests, span{due, time.Now()})
		due = due.Add(every)
	}
	return requests, nil
}

// readCheckpoints finds the checkpoints in the log of ringstore, which has one JSON object per
// line. For other programs it finds none.
func readCheckpoints(log io.Reader) (all []span, err error) {
	for lines := bufio.NewScanner(log); ; {
		if !lines.Scan() {
			return all, lines.Err()
		}
		if !bytes.Contains(lines.Bytes(), []byte(`"msg":"checkpoint written"`)) {
			continue
		}
		var line struct {
			Time time.Time
			Took float64 // seconds
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("log line %q: %w", lines.Bytes(), err)
		}
		took := time.Duration(line.Took * float64(time.Second))
		all = append(all, span{line.Time.Add(-took), line.Time})
	}
}

// compare divides requests into those that overlap a checkpoint and the others.
func compare(requests, checkpoints []span) (w writers) {
	for _, r := range requests {
		if slices.ContainsFunc(checkpoints, r.overlaps) {
			w.during = append(w.during, r.took())
		} else {
			w.between = append(w.between, r.took())
		}
	}
	for _, c := range checkpoints {
		if slices.ContainsFunc(requests, c.overlaps) {
			w.checkpoints = append(w.checkpoints, c.took())
		}
	}
	slices.Sort(w.checkpoints)
	slices.Sort(w.during)
	slices.Sort(w.between)
	return w
}

// durations are in ascending order.
type durations []time.Duration

// quantile returns the q-quantile: the shortest duration that a share q of all does not exceed; 0
// without durations.
func (d durations) quantile(q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[max(0, int(math.Ceil(q*float64(len(d))))-1)]
}
