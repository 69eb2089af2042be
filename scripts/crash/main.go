// Command crash kills the server under load, again and again, and compares what
// is there after each start with what the senders were promised.
//
//	go run ./scripts/crash -rounds 20
//	go run ./scripts/crash -rounds 500 -sync always
//
// Each value that is sent is another one, so that a sample which nobody sent is
// seen. A process that is killed loses nothing that was acknowledged, whatever
// the sync mode; what a loss of power does is tested in package archive. It exits
// with 1 if a sample was lost or invented.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	flags.StringVar(&o.program, "program", "", "`file` to start instead of what is built from the source")
	flags.IntVar(&o.rounds, "rounds", 20, "how often to kill it")
	flags.IntVar(&o.writers, "writers", 4, "connections that write")
	flags.IntVar(&o.hosts, "hosts", 3, "of each writer")
	flags.StringVar(&o.sync, "sync", "", "metric-store.checkpoints.sync: always, off or a duration; empty leaves the default")
	flags.DurationVar(&o.checkpoint, "checkpoint-interval", 200*time.Millisecond, "between checkpoints")
	flags.DurationVar(&o.longest, "longest", 800*time.Millisecond, "the longest time until a kill")
	flags.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the moments")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("there are no operands, but %q", flags.Args())
	case min(o.rounds, o.writers, o.hosts) < 1:
		return o, errors.New("-rounds, -writers and -hosts must be at least 1")
	case min(o.longest, o.checkpoint) <= 0:
		return o, errors.New("-longest and -checkpoint-interval must be positive")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ringstore-crash-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.program == "" {
		o.program = filepath.Join(dir, "ringstore")
		if err := launch.Build(ctx, o.program); err != nil {
			return err
		}
	}
	fmt.Fprintf(stderr, "seed %d\n", o.seed)
	total, err := crash(ctx, o, dir, stderr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d rounds, %d of them killed while starting: %d samples acknowledged, %d lost, %d invented\n",
		o.rounds, total.early, total.before+total.acked, total.lost, total.invented)
	if total.lost+total.invented > 0 {
		return errors.New("the promise is broken")
	}
	return nil
}
