// Command attack runs attacks of senders with little or no right against fresh servers, each with
// the default configuration, and measures what they cost.
//
//	go run ./scripts/attack
//	go run ./scripts/attack -short
//	go run ./scripts/attack -only headers
//	go run ./scripts/attack -latency
//
// For each attack it prints the attacker's bytes, the growth of the server's resident memory, the
// 99th percentiles of an honest writer and of an honest query before and during the attack, and what
// was lost of honest messages and of another cluster's samples. Growth counts from the memory that the
// server uses after a good load at full speed. The exit code is 1 if memory grew by 64 MB or more, or
// anything was lost. With -latency, for a machine that does nothing else, it is 1 too if a percentile
// became more than three times as long, or an honest request was answered 503.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ringstore/ringstore/scripts/launch"
)

// The bounds of every attack.
const (
	maxGrowth = 64_000_000 // bytes
	maxFactor = 3          // of a percentile
	// noise is a duration by which a percentile may always differ: below it, other programs on the
	// machine decide.
	noise = 5 * time.Millisecond
)

// options are the flags.
type options struct {
	program string
	only    string
	short   bool
	latency bool
	length  time.Duration
}

// asAttacker in the environment makes the program run the attack that it reads from stdin, in a
// process of its own.
const asAttacker = "RINGSTORE_ATTACK"

func main() {
	if name := os.Getenv(asAttacker); name != "" {
		os.Exit(launch.Main("attack", func(ctx context.Context, _ []string, stdout, _ io.Writer) error {
			return attackFromStdin(ctx, name, os.Stdin, stdout)
		}))
	}
	os.Exit(launch.Main("attack", run))
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("attack", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.program, "program", "", "`file` to run instead of building ringstore from the source")
	flags.StringVar(&o.only, "only", "", "run only attacks whose name contains this `text`")
	flags.BoolVar(&o.short, "short", false, "short attacks, and none that needs long")
	flags.BoolVar(&o.latency, "latency", false, "also judge response times, which needs a quiet machine")
	flags.DurationVar(&o.length, "length", 10*time.Second, "how long an attack lasts")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected arguments %q", flags.Args())
	}
	if o.length <= 0 {
		return o, errors.New("-length must be positive")
	}
	if o.short {
		o.length = min(o.length, 1500*time.Millisecond)
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	return launch.InDirectory(ctx, "attack", o.program, func(dir, program string) error {
		o.program = program
		return attackAll(ctx, o, dir, stdout, stderr)
	})
}

// attackAll runs the attacks and prints a table.
func attackAll(ctx context.Context, o options, dir string, stdout, stderr io.Writer) error {
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "attack\tsent\tmemory\twrite p99\tquery p99\tlost\tverdict")
	broken := 0
	for _, a := range attacks() {
		if !strings.Contains(a.name, o.only) || o.short && a.long {
			continue
		}
		r, err := measure(ctx, o, a, filepath.Join(dir, a.name))
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		wrong := r.check(a, o.latency)
		if len(wrong) > 0 {
			broken++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", a.name, r, verdict(wrong))
		fmt.Fprintf(stderr, "%s: %s: %s\n", a.name, r, verdict(wrong))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if broken > 0 {
		return fmt.Errorf("%d attacks succeed", broken)
	}
	return nil
}

func verdict(wrong []string) string {
	if len(wrong) == 0 {
		return "ok"
	}
	return strings.Join(wrong, "; ")
}

// result is what an attack cost.
type result struct {
	sent         int64 // bytes
	growth       int64 // bytes of resident memory
	write, query percentiles
	lost, honest int // of the honest messages, new tokens or samples
	shed, failed int // honest requests that were answered 503, and that failed otherwise
}

// percentiles are the 99th ones of durations.
type percentiles struct{ before, during time.Duration }

func (p percentiles) String() string {
	return fmt.Sprintf("%.1f -> %.1f ms", p.before.Seconds()*1e3, p.during.Seconds()*1e3)
}

func (r result) String() string {
	return fmt.Sprintf("%.1f MB\t%+.1f MB\t%v\t%v\t%d of %d", float64(r.sent)/1e6, float64(r.growth)/1e6, r.write, r.query, r.lost, r.honest)
}

// check returns the bounds that are broken, of response times only with latency.
func (r result) check(a attack, latency bool) (wrong []string) {
	if r.growth >= maxGrowth && !a.stores {
		wrong = append(wrong, fmt.Sprintf("memory grew by %d MB", r.growth/1e6))
	}
	if r.lost > 0 {
		wrong = append(wrong, fmt.Sprintf("%d of %d %s lost", r.lost, r.honest, a.unit))
	}
	if r.failed > 0 {
		wrong = append(wrong, fmt.Sprintf("%d honest requests failed", r.failed))
	}
	if !latency || a.stores {
		return wrong
	}
	if r.shed > 0 {
		wrong = append(wrong, fmt.Sprintf("%d honest requests shed", r.shed))
	}
	for _, p := range []struct {
		name string
		percentiles
	}{{"write", r.write}, {"query", r.query}} {
		if p.during > maxFactor*p.before+noise {
			wrong = append(wrong, fmt.Sprintf("%s %.1f times as long", p.name, float64(p.during)/float64(p.before)))
		}
	}
	return wrong
}

// attackFromStdin runs the named attack against the target that stdin describes, and writes the
// number of bytes sent.
func attackFromStdin(ctx context.Context, name string, stdin io.Reader, stdout io.Writer) error {
	var t target
	if err := json.NewDecoder(stdin).Decode(&t); err != nil {
		return err
	}
	for _, a := range attacks() {
		if a.name == name {
			ctx, cancel := context.WithTimeout(ctx, t.Length)
			defer cancel()
			return json.NewEncoder(stdout).Encode(a.run(ctx, &t))
		}
	}
	return fmt.Errorf("no attack %q", name)
}
