package main

import (
	"context"
	"errors"
	"time"
)

// killed are the measurements of a restart after a kill, before which no checkpoint was written:
// all data comes from the journal.
type killed struct {
	readyTime, readyCPU time.Duration
	memory              int64 // resident, bytes
	again               int   // values found
}

// measureKill loads the program, queries everything, kills the program and measures the restart.
// The query comes here because it cannot disturb later measurements: the kill is next.
func (b *bench) measureKill(ctx context.Context, p program, f *measurements) (err error) {
	s, err := b.start(ctx, p)
	if err != nil {
		return err
	}
	defer s.Kill()
	if err := b.load(ctx, s.url); err != nil {
		return s.Explain(err)
	}
	if b.options.query {
		if f.everything, err = b.askEverything(ctx, s); err != nil {
			return s.Explain(err)
		}
	}
	s.Kill()
	begin := time.Now()
	s, err = b.start(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	f.killed.readyTime = time.Since(begin)
	f.killed.readyCPU, f.killed.memory, f.killed.again, err = b.restored(ctx, s)
	return err
}
