// Command bench measures the resource use of a metric store. It starts the server, writes the data
// of package synthetic to it over HTTP, stops and restarts the server, repeats this with a kill
// instead of the stop, measures queries, and prints a table.
//
//	go run ./scripts/bench                                20 hosts for a day
//	go run ./scripts/bench -hosts 1000 -steps 30          1,000 hosts for half an hour
//	go run ./scripts/bench -profile cpu.prof              with a CPU profile of the server
//	go run ./scripts/bench -checkpoints 1m                with the effect of checkpoints on writers
//	go run ./scripts/bench -peer ./cc-metric-store        compared with another program
//	go run ./scripts/bench -only-queries -peer ./old      only the queries, compared with an older build
//
// Two programs take turns: each part of the measurement begins with the other one, and the queries
// are asked in rounds while both programs run with the same data. Costs of queries are medians of
// the rounds.
//
// The peer can be any program that has the flag -config and reads the configuration of
// cc-metric-store. With -checkpoints it also gets the flag -loglevel, and only checkpoints that are
// logged in the format of ringstore count. Unless the table says otherwise, times are the CPU time
// of the server process, in ticks of 10 ms. The control is the CPU time of a constant amount of
// work: it shows whether the machine was slow. The command needs Linux's /proc.
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
	only    bool // measure nothing but the queries
	rounds  int
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
	flags.StringVar(&o.peer, "peer", "", "another `program` to measure with the same load")
	flags.IntVar(&o.hosts, "hosts", 20, "hosts of the cluster, 678 series each")
	flags.IntVar(&o.steps, "steps", 1440, "intervals of 60 s, the last one is now")
	flags.IntVar(&o.writers, "writers", 4, "number of concurrent requests")
	flags.IntVar(&o.batch, "batch", 1, "hosts per request")
	flags.BoolVar(&o.shuffle, "shuffle", true, "shuffle the lines of each interval, as collectors do")
	flags.BoolVar(&o.query, "query", true, "measure queries")
	flags.BoolVar(&o.only, "only-queries", false, "measure nothing but queries")
	flags.IntVar(&o.rounds, "rounds", 5, "number of `times` that each query is measured")
	flags.StringVar(&o.profile, "profile", "", "`file` for a CPU profile of our server during the load; with -only-queries, one for each question")
	flags.DurationVar(&o.checkpoints, "checkpoints", 0, "write at a steady pace for this `duration`, during a dozen checkpoints, and measure each request")
	flags.IntVar(&o.pace, "pace", 500, "requests per second with -checkpoints, each with one interval of one host")
	flags.Uint64Var(&o.seed, "seed", 1, "seed of the data")
	flags.DurationVar(&o.settle, "settle", 25*time.Second, "time between the load and the measurement of the memory")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Minute, "stop after this time")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected arguments %q", flags.Args())
	}
	for _, n := range []struct {
		flag  string
		value int
	}{{"hosts", o.hosts}, {"steps", o.steps}, {"writers", o.writers}, {"batch", o.batch}, {"pace", o.pace}, {"rounds", o.rounds}} {
		if n.value < 1 {
			return o, fmt.Errorf("-%s must be at least 1", n.flag)
		}
	}
	if o.checkpoints < 0 {
		return o, errors.New("-checkpoints must not be negative")
	}
	if o.only && !o.query {
		return o, errors.New("-only-queries and -query=false exclude each other")
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
	all, err := measure(ctx, o, programs, dir, stderr)
	if err != nil {
		return err
	}
	return report(stdout, o, all)
}

// program is a program to measure.
type program struct{ name, path string }

// programs builds ringstore and finds the peer.
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
