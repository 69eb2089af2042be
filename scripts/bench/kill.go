package main

import (
	"context"
	"errors"
	"time"
)

// killed are the figures of a program that is killed after the load, when no
// checkpoint was written yet: all it has is its journal.
type killed struct {
	readyTime, readyCPU time.Duration
	memory              int64 // resident, bytes
	again               int   // values
}

// measureKill loads the program, asks for everything there is, since whatever
// that does to it the kill is next, and sees what a start finds.
func (b *bench) measureKill(ctx context.Context, p program, f *figures) (err error) {
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
