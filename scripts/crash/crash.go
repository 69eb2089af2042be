package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ringstore/ringstore/scripts/launch"
)

// frequencies of the other metric, in seconds.
var frequencies = []int{1, 2, 5}

// crash kills the server once per round and compares its data after the restart.
func crash(ctx context.Context, o options, dir string, log io.Writer) (total result, err error) {
	random := rand.New(rand.NewPCG(o.seed, 0))
	addr, err := launch.FreeAddr()
	if err != nil {
		return total, err
	}
	senders := newSenders(o)
	for round := range o.rounds {
		if err := configure(o, dir, addr, frequencies[random.IntN(len(frequencies))]); err != nil {
			return total, err
		}
		if senders[0].batches > maxRounds*o.hosts/2 { // the late samples have reached the first ones: start over
			if err := os.RemoveAll(filepath.Join(dir, checkpoints)); err != nil {
				return total, err
			}
			senders = newSenders(o)
			total.before, total.acked = total.before+total.acked, 0
		}
		if random.IntN(4) == 0 { // also kill a server while it starts
			s, err := start(ctx, o, dir, addr)
			if err != nil {
				return total, err
			}
			time.Sleep(time.Duration(random.Int64N(int64(60 * time.Millisecond))))
			s.Kill()
			total.early++
		}
		r, err := killOnce(ctx, o, dir, addr, senders, time.Duration(random.Int64N(int64(o.longest))))
		if err != nil {
			return total, fmt.Errorf("round %d: %w", round+1, err)
		}
		fmt.Fprintf(log, "round %d: %d samples acknowledged, %d lost, %d invented\n", round+1, r.acked, r.lost, r.invented)
		if r.example != "" {
			fmt.Fprintln(log, r.example)
		}
		total.acked = r.acked
		total.lost += r.lost
		total.invented += r.invented
	}
	return total, nil
}

func newSenders(o options) (senders []*sender) {
	base := time.Now().Add(-20 * time.Hour).Unix()
	for i := range o.writers {
		senders = append(senders, newSender(i, o.hosts, base))
	}
	return senders
}

// killOnce lets all senders write until it kills the server, and compares the data of the restarted
// server.
func killOnce(ctx context.Context, o options, dir, addr string, senders []*sender, after time.Duration) (r result, err error) {
	s, err := start(ctx, o, dir, addr)
	if err != nil {
		return r, err
	}
	defer s.Kill()
	if err := s.WaitReady(ctx, s.url); err != nil {
		return r, err
	}
	var writing sync.WaitGroup
	for _, x := range senders {
		writing.Go(func() { x.send(ctx, s.url) })
	}
	time.Sleep(after)
	s.Kill()
	writing.Wait()

	again, err := start(ctx, o, dir, addr)
	if err != nil {
		return r, err
	}
	defer again.Kill()
	if err := again.WaitReady(ctx, again.url); err != nil {
		return r, err
	}
	for _, x := range senders {
		if err := x.compare(again.url, &r); err != nil {
			return r, again.Explain(err)
		}
	}
	return r, nil
}
