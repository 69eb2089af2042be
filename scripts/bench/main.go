// Command bench measures what a metric store costs: it starts the server,
// writes the synthetic cluster of package synthetic to it over HTTP, asks for
// some of it, stops and restarts it, does so again with a kill for the stop, and
// prints a table.
//
//	go run ./scripts/bench                                the figures of 20 hosts for a day
//	go run ./scripts/bench -hosts 1000 -steps 30          those of 1,000 hosts
//	go run ./scripts/bench -profile cpu.prof              and what the server does meanwhile
//	go run ./scripts/bench -checkpoints 1m                and what checkpoints do to writers
//	go run ./scripts/bench -peer ./cc-metric-store        beside those of another program
//
// The peer is any program that takes the configuration of cc-metric-store and
// the flag -config; -checkpoints gives it -loglevel too, and sees
// only checkpoints that are logged as ringstore logs them. All times are CPU
// time of the server's process unless the table says otherwise, in ticks of
// 10 ms. The control is the CPU time of a work that is always the same, so that a
// slow machine is not taken for a slow program. It needs Linux's /proc.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ringstore/ringstore/scripts/launch"
)

// options are the flags.
type options struct {
	peer    string
	hosts   int
	steps   int
	writers int
	batch   int
	shuffle bool
	query   bool
	profile string
	seed    uint64
	settle  time.Duration
	timeout time.Duration

	checkpoints time.Duration
	pace        int
}

func main() { os.Exit(launch.Main("bench", run)) }

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.peer, "peer", "", "`program` to measure as well, with the same load")
	flags.IntVar(&o.hosts, "hosts", 20, "hosts of the cluster, 678 series each")
	flags.IntVar(&o.steps, "steps", 1440, "intervals of 60 s, the last one is now")
	flags.IntVar(&o.writers, "writers", 4, "requests in flight")
	flags.IntVar(&o.batch, "batch", 1, "hosts in one request")
	flags.BoolVar(&o.shuffle, "shuffle", true, "permute the lines of each interval, as collectors do")
	flags.BoolVar(&o.query, "query", true, "ask for a day of 4 hosts, 208 series each")
	flags.StringVar(&o.profile, "profile", "", "`file` for a CPU profile of our server during the load")
	flags.DurationVar(&o.checkpoints, "checkpoints", 0, "write at a steady pace for this long, beside a dozen checkpoints, and time each request")
	flags.IntVar(&o.pace, "pace", 500, "requests a second of that, each with one interval of one host")
	flags.Uint64Var(&o.seed, "seed", 1, "of the data")
	flags.DurationVar(&o.settle, "settle", 25*time.Second, "after the load, before its memory is looked at")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Minute, "give up after this time")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("there are no operands, but %q", flags.Args())
	}
	for _, n := range []struct {
		flag  string
		value int
	}{{"hosts", o.hosts}, {"steps", o.steps}, {"writers", o.writers}, {"batch", o.batch}, {"pace", o.pace}} {
		if n.value < 1 {
			return o, fmt.Errorf("-%s must be at least 1", n.flag)
		}
	}
	if o.checkpoints < 0 {
		return o, errors.New("-checkpoints must not be negative")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "ringstore-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	programs, err := programs(ctx, o, dir)
	if err != nil {
		return err
	}
	var all []figures
	for i, p := range programs {
		fmt.Fprintf(stderr, "measuring %s\n", p.name)
		f, err := measure(ctx, o, p, filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		all = append(all, f)
	}
	return report(stdout, o, all)
}

// program is something to measure.
type program struct{ name, path string }

// programs builds ours and finds the peer.
func programs(ctx context.Context, o options, dir string) ([]program, error) {
	ours := program{"ringstore", filepath.Join(dir, "ringstore")}
	if err := launch.Build(ctx, ours.path); err != nil {
		return nil, err
	}
	if o.peer == "" {
		return []program{ours}, nil
	}
	path, err := exec.LookPath(o.peer)
	if err != nil {
		return nil, fmt.Errorf("-peer: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("-peer: %w", err)
	}
	return []program{ours, {filepath.Base(path), path}}, nil
}
