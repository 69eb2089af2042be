package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/prompb"
)

// rounds is how often each query is sent to each server, in turns.
const rounds = 5

// measure prints how much CPU time queries take, beside Prometheus, and an aggregate over a node beside
// the sum that it stands for.
func measure(ctx context.Context, o options, dir string, stdout io.Writer) error {
	to := endOfSamples()
	from := to - int64(o.hours)*3_600_000
	ours, err := startRingStore(ctx, o, filepath.Join(dir, "ringstore.m"))
	if err != nil {
		return err
	}
	defer ours.stop()
	theirs, err := startPrometheus(ctx, o, filepath.Join(dir, "prometheus.m"), "")
	if err != nil {
		return err
	}
	defer theirs.stop()
	if err := feed(ctx, steady("x", 100, 10, from, to), from, to, ours, theirs); err != nil {
		return err
	}
	if err := feed(ctx, steady("flops_any", 100, 64, from, to), from, to, ours); err != nil {
		return err
	}
	if err := wait(ctx, 15*time.Second); err != nil { // for what both do after samples have come
		return err
	}
	form := rangeForm(from/1000, to/1000-60, 60)
	samples := int64(1000) * (to - from) / 60_000
	fmt.Fprintf(stdout, "1,000 series, %d samples, step 60 s: CPU time per sample, ours / Prometheus' = ratio\n", samples)
	for _, expr := range []string{`sum(x)`, `sum by (hostname) (rate(x[5m]))`, `max_over_time(x[1h])`, `quantile(.9, x)`} {
		a, b, err := race(ctx, question{ours, expr}, question{theirs, expr}, form)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%-34s %4.0f ns / %4.0f ns = %.2f\n", expr, float64(a.Nanoseconds())/float64(samples), float64(b.Nanoseconds())/float64(samples), a.Seconds()/b.Seconds())
	}
	const aggregate, sum = `node:flops_any:sum`, `sum by (hostname) (flops_any{type="hwthread"})`
	a, b, err := race(ctx, question{ours, aggregate}, question{ours, sum}, form)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s %v / %s %v = %.3f\n", aggregate, a, sum, b, a.Seconds()/b.Seconds())
	return sameByHost(ctx, ours, `sum by (hostname) (`+aggregate+`)`, sum, form)
}

func sameByHost(ctx context.Context, s *server, one, other string, form map[string][]string) error {
	var answers [2]answer
	for i, expr := range []string{one, other} {
		form["query"] = []string{expr}
		var err error
		if answers[i], err = ask(ctx, s, form); err != nil {
			return err
		}
	}
	if diff := answers[0].difference(answers[1]); diff != "" || answers[1].points() == 0 {
		return fmt.Errorf("%s differs from %s: %s", one, other, diff)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// steady returns series of hwthreads without gaps.
func steady(metric string, hosts, threads int, from, to int64) (all []series) {
	r := rand.New(rand.NewPCG(3, 4))
	for host := range hosts {
		for thread := range threads {
			s := newSeries(metric, "c", fmt.Sprintf("n%03d", host), "hwthread", fmt.Sprint(thread), "", "")
			v := 100 * r.Float64()
			for at := from; at < to; at += 60_000 {
				v += r.NormFloat64()
				s.samples = append(s.samples, prompb.Sample{Timestamp: at, Value: v})
			}
			all = append(all, s)
		}
	}
	return all
}

// question is an expression for a server.
type question struct {
	to   *server
	expr string
}

// race returns the median CPU times of two questions, which are asked in turns.
func race(ctx context.Context, a, b question, form map[string][]string) (forA, forB time.Duration, err error) {
	var took [2][]time.Duration
	for range rounds {
		for i, q := range []question{a, b} {
			form["query"] = []string{q.expr}
			before, err := cpuTime(q.to.PID())
			if err != nil {
				return 0, 0, err
			}
			got, err := ask(ctx, q.to, form)
			if err != nil {
				return 0, 0, err
			}
			if got.failure != "" || got.points() == 0 {
				return 0, 0, fmt.Errorf("%s at %s: %s", q.expr, q.to.url, got.failure)
			}
			after, err := cpuTime(q.to.PID())
			if err != nil {
				return 0, 0, err
			}
			took[i] = append(took[i], after-before)
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	return took[0][rounds/2], took[1][rounds/2], nil
}

// cpuTime returns the time that all threads of a process have run, from proc_pid_schedstat(5).
func cpuTime(pid int) (total time.Duration, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	for _, file := range threads {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := bytes.Cut(text, []byte(" "))
		ns, err := strconv.ParseInt(string(first), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		total += time.Duration(ns)
	}
	return total, nil
}
