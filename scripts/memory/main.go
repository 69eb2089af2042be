// Command memory shows how the process keeps to metric-store.memory-cap. It starts a server with a
// cap of 1 GB for each of several loads that grow until memory is full, writes as fast as it can,
// and prints the cap, the largest size by the store's own accounting, and the largest resident size.
//
//	go run ./scripts/memory
//	go run ./scripts/memory -load churn -time 2m
//
// The exit code is 1 if a process took more than the cap. The command needs Linux's /proc.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ringstore/ringstore/scripts/launch"
)

// options are the flags.
type options struct {
	program string
	load    string
	time    time.Duration
	writers int
}

func main() { os.Exit(launch.Main("memory", run)) }

func parseOptions(args []string, stderr io.Writer) (options, error) {
	names := slices.Sorted(maps.Keys(loads))
	var o options
	flags := flag.NewFlagSet("memory", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.program, "program", "", "`file` to run instead of building ringstore from the source")
	flags.StringVar(&o.load, "load", "", "only this load: "+strings.Join(names, ", "))
	flags.DurationVar(&o.time, "time", time.Minute, "duration of each load")
	flags.IntVar(&o.writers, "writers", 4, "number of concurrent requests")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected arguments %q", flags.Args())
	case o.load != "" && loads[o.load] == nil:
		return o, fmt.Errorf("-load: expected one of %s, got %q", strings.Join(names, ", "), o.load)
	case o.writers < 1 || o.time <= 0:
		return o, errors.New("-writers and -time must be positive")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	return launch.InDirectory(ctx, "memory", o.program, func(dir, program string) error {
		o.program = program
		return report(ctx, o, dir, stdout)
	})
}

// report measures the loads and prints a table.
func report(ctx context.Context, o options, dir string, stdout io.Writer) error {
	fmt.Fprintf(stdout, "%-8s %8s %8s %8s %8s %6s %10s %8s\n", "load", "cap MB", "limit", "account", "RSS", "RSS/cap", "samples", "refused")
	exceeded := false
	for _, name := range slices.Sorted(maps.Keys(loads)) {
		if o.load != "" && o.load != name {
			continue
		}
		r, err := measure(ctx, o, filepath.Join(dir, name), loads[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		const mb = 1e6
		fmt.Fprintf(stdout, "%-8s %8.0f %8.0f %8.0f %8.0f %6.2f %10d %8d\n", name,
			r.limit/mb, r.storeLimit/mb, r.accounted/mb, r.resident/mb, r.resident/r.limit, r.samples, r.refused)
		exceeded = exceeded || r.resident > r.limit
	}
	if exceeded {
		return errors.New("a process took more memory than its cap")
	}
	return nil
}
