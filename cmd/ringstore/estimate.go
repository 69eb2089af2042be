package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/ringstore/ringstore/configs"
)

// defaultPrecision is what estimate compares with where the configuration has
// no precision: that of a float32.
const defaultPrecision = 24

// estimate is what the flags ask for.
type estimate struct {
	hosts                          int
	sample                         string
	threads, sockets, accelerators int
}

// runEstimate prints what a site of many hosts needs in memory and on disk. It
// runs the store and the archive on the values of one host that it makes up.
func runEstimate(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := newFlags("estimate", stderr)
	config := flags.String("config", "./config.json", "configuration `file`")
	var e estimate
	flags.IntVar(&e.hosts, "hosts", 0, "how many hosts there are")
	flags.StringVar(&e.sample, "sample", "", "`file` with one interval of one host in line protocol, - for the standard input")
	flags.IntVar(&e.threads, "threads", 64, "hwthreads of a host, without -sample")
	flags.IntVar(&e.sockets, "sockets", 2, "sockets of a host, without -sample")
	flags.IntVar(&e.accelerators, "accelerators", 0, "accelerators of a host, without -sample")
	if err := parseFlags(flags, args, 0); err != nil {
		return err
	}
	if err := e.check(flags); err != nil {
		return usageError{fmt.Errorf("ringstore estimate: %w", err)}
	}
	cfg, err := configs.Load(*config)
	if err != nil {
		return usageError{err}
	}
	series, assumptions, err := e.series(ctx, cfg, stdin)
	if err != nil {
		return err
	}
	if len(series) == 0 {
		return errors.New("there are no series of configured metrics")
	}
	lossless, err := measure(ctx, cfg, series, func(string) int { return 0 })
	if err != nil {
		return err
	}
	bits, named := precisionOf(cfg)
	rounded, err := measure(ctx, cfg, series, bits)
	if err != nil {
		return err
	}
	return e.print(stdout, cfg, []column{{"all digits", lossless}, {named, rounded}}, assumptions)
}

// The most that is estimated for; more is a mistake.
const (
	maxHosts   = 1_000_000
	maxDevices = 100_000
)

func (e estimate) check(flags *flag.FlagSet) error {
	if e.hosts < 1 || e.hosts > maxHosts {
		return fmt.Errorf("-hosts must be from 1 to %d", maxHosts)
	}
	for _, n := range []int{e.threads, e.sockets, e.accelerators} {
		if n < 0 || n > maxDevices {
			return fmt.Errorf("-threads, -sockets and -accelerators must be from 0 to %d", maxDevices)
		}
	}
	var both error
	flags.Visit(func(f *flag.Flag) {
		if e.sample != "" && (f.Name == "threads" || f.Name == "sockets" || f.Name == "accelerators") {
			both = fmt.Errorf("-%s and -sample cannot go together", f.Name)
		}
	})
	return both
}

// series returns the series of one host, from a sample or made up, and what was
// assumed of them.
func (e estimate) series(ctx context.Context, cfg *configs.Config, stdin io.Reader) ([]modelled, []string, error) {
	switch e.sample {
	case "":
		series, assumptions := e.guess(cfg)
		return series, assumptions, nil
	case "-":
		return readSample(ctx, cfg, "the standard input", stdin)
	}
	f, err := os.Open(e.sample)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return readSample(ctx, cfg, e.sample, f)
}

// precisionOf returns the precision to compare with, and its name: what the
// configuration says, or else the default for all metrics.
func precisionOf(cfg *configs.Config) (bits func(metric string) int, name string) {
	for metric := range cfg.Metrics {
		if cfg.Precision(metric) != 0 {
			return cfg.Precision, "as configured"
		}
	}
	return func(string) int { return defaultPrecision }, fmt.Sprintf(`"precision": %d`, defaultPrecision)
}

// mb writes bytes in MB, small ones with decimals.
func mb(bytes float64) string {
	if bytes < 10e6 {
		return fmt.Sprintf("%.2f", bytes/1e6)
	}
	return fmt.Sprintf("%.0f", bytes/1e6)
}

// column is a name and what was measured under it, of one host.
type column struct {
	name string
	need
}

// Beside the samples the process needs some memory of its own, and some for each
// series that it has seen, in bytes.
const (
	processBytes    = 25e6
	seenSeriesBytes = 150
)

// resident is the memory of the process for some hosts, in bytes.
func (n need) resident(hosts float64) float64 {
	samples := n.memory * hosts * (1 + gcPercent/100.)
	return processBytes + samples + n.series*hosts*seenSeriesBytes
}

// memoryCap is the least metric-store.memory-cap that leaves the samples of some
// hosts alone, in GB.
func (n need) memoryCap(hosts float64) int {
	for gb := 1; ; gb++ {
		if float64(configs.DataMemory(int64(gb)*1e9))*0.95 >= n.memory*hosts {
			return gb
		}
	}
}

func (e estimate) print(w io.Writer, cfg *configs.Config, columns []column, assumptions []string) error {
	hosts := float64(e.hosts)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, cell func(c column) string) {
		fmt.Fprintf(t, "%-44s\t", name)
		for _, c := range columns {
			fmt.Fprintf(t, "%s\t", cell(c))
		}
		fmt.Fprintln(t)
	}
	row("", func(c column) string { return c.name })
	row("series", func(c column) string { return fmt.Sprintf("%.0f", c.series*hosts) })
	row("samples a second", func(c column) string { return fmt.Sprintf("%.0f", c.valuesPerDay*hosts/86400) })
	row("bytes a sample in memory", func(c column) string { return fmt.Sprintf("%.2f", c.memory/c.held) })
	row("MB in memory, samples", func(c column) string { return mb(c.memory * hosts) })
	row("MB in memory, the process", func(c column) string { return mb(c.resident(hosts)) })
	row("GB of memory-cap, at least", func(c column) string { return fmt.Sprint(c.memoryCap(hosts)) })
	row("MB a day on disk", func(c column) string { return mb(c.disk / c.held * c.valuesPerDay * hosts) })
	if err := t.Flush(); err != nil {
		return err
	}
	assumptions = append(assumptions,
		fmt.Sprintf("%d hosts alike, every series at its metric's frequency without gaps", e.hosts),
		fmt.Sprintf("samples are kept for %v, and as much longer as it takes until a whole window is older", cfg.MetricStore.RetentionInMemory),
		fmt.Sprintf("the process needs %.0f MB, %d bytes a series and %d %% beside its samples; requests need more for as long as they last",
			processBytes/1e6, seenSeriesBytes, gcPercent),
		"on disk a checkpoint holds all samples of the retention, and the newest two are kept")
	fmt.Fprintln(w, "\nAssumed:")
	for _, a := range assumptions {
		if _, err := fmt.Fprintf(w, "- %s\n", a); err != nil {
			return err
		}
	}
	return nil
}
