package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// queryCost is the cost of a question to one program.
type queryCost struct {
	question
	answer
	cpu, elapsed durations // of one query, by round
}

// A round repeats a question until the server has used this much CPU time, which is many ticks, and
// at least a few times.
const (
	roundCPU   = 500 * time.Millisecond
	roundTimes = 5
)

// queried is a running program that is asked.
type queried struct {
	*bench
	*server
	of    *measurements
	costs []queryCost
}

// measureQueries starts all programs with the same data and asks them in turns, so that a change of
// the machine's speed affects all alike.
func measureQueries(ctx context.Context, o options, programs []program, dir string, all []measurements) (err error) {
	var asked []*queried
	defer func() {
		for _, q := range asked {
			err = errors.Join(err, q.stop(), os.RemoveAll(q.dir))
			q.client.CloseIdleConnections()
		}
	}()
	for i, p := range programs {
		b, err := newBench(o, filepath.Join(dir, fmt.Sprintf("%d-queries", i)))
		if err != nil {
			return err
		}
		if i > 0 {
			b.end = asked[0].end
		}
		s, err := b.start(ctx, p)
		if err != nil {
			return err
		}
		asked = append(asked, &queried{bench: b, server: s, of: &all[i]})
		if err := b.load(ctx, s.url); err != nil {
			return s.Explain(err)
		}
	}
	select { // for merges and garbage collection
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(o.settle):
	}
	for _, q := range asked {
		if err := q.check(ctx); err != nil {
			return fmt.Errorf("%s: %w", q.of.name, q.Explain(err))
		}
	}
	for round := range o.rounds {
		for _, i := range turns(len(asked), round) {
			if err := asked[i].round(ctx); err != nil {
				return fmt.Errorf("%s: %w", asked[i].of.name, asked[i].Explain(err))
			}
		}
	}
	for _, q := range asked {
		q.of.queries = q.costs
	}
	if o.profile == "" {
		return nil
	}
	for _, c := range asked[0].costs {
		if err := asked[0].profileQuestion(ctx, c.question); err != nil {
			return fmt.Errorf("%s: %w", c.name, asked[0].Explain(err))
		}
	}
	return nil
}

// check asks each question once and compares the size of the answer.
func (q *queried) check(ctx context.Context) error {
	for _, question := range q.questions() {
		a, err := q.ask(ctx, q.url, question.body)
		if err != nil {
			return fmt.Errorf("%s: %w", question.name, err)
		}
		if a.results != question.results {
			return fmt.Errorf("%s: expected %d results, got %d", question.name, question.results, a.results)
		}
		q.costs = append(q.costs, queryCost{question: question, answer: a})
	}
	return nil
}

// round measures each question, and the control before them.
func (q *queried) round(ctx context.Context) error {
	if err := q.of.queriesControl.run(q.bench); err != nil {
		return err
	}
	for i := range q.costs {
		if err := q.measure(ctx, &q.costs[i]); err != nil {
			return fmt.Errorf("%s: %w", q.costs[i].name, err)
		}
	}
	return nil
}

func (q *queried) measure(ctx context.Context, c *queryCost) error {
	before, err := cpuTime(q.PID())
	if err != nil {
		return err
	}
	n, cpu, begin := 0, time.Duration(0), time.Now()
	for n < roundTimes || cpu < roundCPU {
		if err := q.askAndDiscard(ctx, q.url, c.body); err != nil {
			return err
		}
		n++
		now, err := cpuTime(q.PID())
		if err != nil {
			return err
		}
		cpu = now - before
	}
	c.cpu = append(c.cpu, cpu/time.Duration(n))
	c.elapsed = append(c.elapsed, time.Since(begin)/time.Duration(n))
	slices.Sort(c.cpu)
	slices.Sort(c.elapsed)
	return nil
}
