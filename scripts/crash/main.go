// Command crash repeatedly kills the server under load, and compares its data after each restart
// with the samples that it had acknowledged.
//
//	go run ./scripts/crash -rounds 20
//	go run ./scripts/crash -rounds 500 -sync always
//
// Some samples arrive late, some are overwritten: the last acknowledged value must be there. All
// values are different, so that a sample that was never sent is noticed. A killed process must not
// lose acknowledged samples in any sync mode; the tests of package archive cover power failures. The
// exit code is 1 if a sample was lost or invented.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ringstore/ringstore/scripts/launch"
)

// options are the flags.
type options struct {
	program    string
	rounds     int
	writers    int
	hosts      int
	sync       string
	checkpoint time.Duration
	longest    time.Duration
	seed       uint64
}

func main() { os.Exit(launch.Main("crash", run)) }

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("crash", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.program, "program", "", "`file` to run instead of building ringstore from the source")
	flags.IntVar(&o.rounds, "rounds", 20, "number of kills")
	flags.IntVar(&o.writers, "writers", 4, "number of connections that write")
	flags.IntVar(&o.hosts, "hosts", 3, "hosts per writer")
	flags.StringVar(&o.sync, "sync", "", "metric-store.checkpoints.sync: always, off or a duration; empty means the default")
	flags.DurationVar(&o.checkpoint, "checkpoint-interval", 200*time.Millisecond, "time between checkpoints")
	flags.DurationVar(&o.longest, "longest", 800*time.Millisecond, "maximum time until a kill")
	flags.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "seed of the random kill times")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected arguments %q", flags.Args())
	case min(o.rounds, o.writers, o.hosts) < 1:
		return o, errors.New("-rounds, -writers and -hosts must be at least 1")
	case min(o.longest, o.checkpoint) <= 0:
		return o, errors.New("-longest and -checkpoint-interval must be positive")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	return launch.InDirectory(ctx, "crash", o.program, func(dir, program string) error {
		o.program = program
		return rounds(ctx, o, dir, stdout, stderr)
	})
}

// rounds kills servers and prints what was lost.
func rounds(ctx context.Context, o options, dir string, stdout, stderr io.Writer) error {
	fmt.Fprintf(stderr, "seed %d\n", o.seed)
	total, err := crash(ctx, o, dir, stderr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d rounds, %d of them killed while starting: %d samples acknowledged, %d lost, %d invented\n",
		o.rounds, total.early, total.before+total.acked, total.lost, total.invented)
	if total.lost+total.invented > 0 {
		return errors.New("acknowledged samples were lost, or samples were invented")
	}
	return nil
}
