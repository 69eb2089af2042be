// Package estimate computes what a site needs in memory and on disk. It runs the store and the
// archive on the values of one host that it makes up, and multiplies the result by the number of
// hosts.
package estimate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ringstore/ringstore/cmd/internal/pacing"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/memstore/unixtime"
)

// defaultPrecision is compared with all digits if the configuration sets no precision. It is that
// of a float32.
const defaultPrecision = 24

// Options describe the site.
type Options struct {
	Hosts  int
	Sample string // a file with one interval of one host in line protocol, "-" for Stdin; empty: devices are assumed

	Threads, Sockets, Accelerators int // of a host, without Sample
}

// Limits of an estimate; more is a mistake.
const (
	maxHosts   = 1_000_000
	maxDevices = 100_000
)

// Check returns what is wrong with the options.
func (o Options) Check() error {
	if o.Hosts < 1 || o.Hosts > maxHosts {
		return fmt.Errorf("-hosts: expected a number from 1 to %d; got %d", maxHosts, o.Hosts)
	}
	for _, d := range []struct {
		flag string
		n    int
	}{{"-threads", o.Threads}, {"-sockets", o.Sockets}, {"-accelerators", o.Accelerators}} {
		if d.n < 0 || d.n > maxDevices {
			return fmt.Errorf("%s: expected a number from 0 to %d; got %d", d.flag, maxDevices, d.n)
		}
	}
	return nil
}

// Run prints the estimate for a configuration.
func Run(ctx context.Context, cfg *configs.Config, o Options, stdin io.Reader, stdout io.Writer) error {
	series, assumptions, err := o.series(ctx, cfg, stdin)
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
	return o.print(stdout, cfg, []column{{"lossless", lossless}, {named, rounded}}, assumptions)
}

// series returns the series of one host, from a sample or made up, and what is assumed about them.
func (o Options) series(ctx context.Context, cfg *configs.Config, stdin io.Reader) ([]syntheticSeries, []string, error) {
	switch o.Sample {
	case "":
		series, assumptions := o.guess(cfg)
		return series, assumptions, nil
	case "-":
		return readSample(ctx, cfg, "the standard input", stdin)
	}
	f, err := os.Open(o.Sample)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return readSample(ctx, cfg, o.Sample, f)
}

// precisionOf returns the precision to compare with and its name: the configured one, or the
// default for all metrics.
func precisionOf(cfg *configs.Config) (bits func(metric string) int, name string) {
	for metric := range cfg.Metrics {
		if cfg.Precision(metric) != 0 {
			return cfg.Precision, "as configured"
		}
	}
	return func(string) int { return defaultPrecision }, fmt.Sprintf(`with "precision": %d`, defaultPrecision)
}

// mb formats bytes as MB, with decimals below 10.
func mb(bytes float64) string {
	if bytes < 10e6 {
		return fmt.Sprintf("%.2f", bytes/1e6)
	}
	return fmt.Sprintf("%.0f", bytes/1e6)
}

// duration formats a duration as the configuration has it: 48h, not 48h0m0s.
func duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// column is a column of the table: what one host needs.
type column struct {
	name string
	need
}

// Memory of the process beside samples, in bytes: a fixed amount, and some for each known series.
const (
	processBytes    = 25e6
	seenSeriesBytes = 150
)

// resident returns the memory of the process with this many hosts, in bytes.
func (n need) resident(hosts float64) float64 {
	samples := n.memory * hosts * (1 + pacing.GCPercent/100.)
	return processBytes + samples + n.series*hosts*seenSeriesBytes
}

// memoryCap returns the minimum metric-store.memory-cap, in GB, that holds the samples of this many
// hosts without evicting any.
func (n need) memoryCap(hosts float64) int {
	for gb := 1; ; gb++ {
		if float64(configs.DataMemory(int64(gb)*1e9))*0.95 >= n.memory*hosts {
			return gb
		}
	}
}

func (o Options) print(w io.Writer, cfg *configs.Config, columns []column, assumptions []string) error {
	hosts := float64(o.Hosts)
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
	row("samples a second", func(c column) string { return fmt.Sprintf("%.0f", c.valuesPerDay*hosts/unixtime.SecondsPerDay) })
	row("bytes a sample in memory", func(c column) string { return fmt.Sprintf("%.2f", c.memory/c.held) })
	row("MB in memory, samples", func(c column) string { return mb(c.memory * hosts) })
	row("MB in memory, the process", func(c column) string { return mb(c.resident(hosts)) })
	row("GB of memory-cap, at least", func(c column) string { return fmt.Sprint(c.memoryCap(hosts)) })
	row("MB a day on disk", func(c column) string { return mb(c.disk / c.held * c.valuesPerDay * hosts) })
	if err := t.Flush(); err != nil {
		return err
	}
	assumptions = append(assumptions, `column "lossless" keeps every digit; the other one rounds values to the significant bits that the key "precision" sets`)
	assumptions = append(assumptions,
		fmt.Sprintf("%d hosts alike, of one cluster, every series at its metric's frequency without gaps", o.Hosts),
		fmt.Sprintf("samples are kept for %s, and until their whole window is older than that", duration(cfg.MetricStore.RetentionInMemory)),
		fmt.Sprintf("the process needs %.0f MB, %d bytes a series and %d %% beside its samples; requests need more while they run",
			processBytes/1e6, seenSeriesBytes, pacing.GCPercent),
		"on disk, checkpoints hold all samples of the retention")
	assumptions = append(assumptions, o.exceeded(cfg, columns[0].series)...)
	fmt.Fprintln(w, "\nAssumed:")
	for _, a := range assumptions {
		if _, err := fmt.Fprintf(w, "- %s\n", a); err != nil {
			return err
		}
	}
	return nil
}

// exceeded names the limits of the configuration that the site exceeds.
func (o Options) exceeded(cfg *configs.Config, seriesPerHost float64) (texts []string) {
	add := func(key string, limit int, needed float64) {
		if limit > 0 && needed > float64(limit) {
			texts = append(texts, fmt.Sprintf("%s is raised from %d to at least %.0f: the server would reject the rest", key, limit, needed))
		}
	}
	add("limits.hosts", cfg.Limits.Hosts, float64(o.Hosts))
	others := cfg.Limits.Clusters["*"]
	add(`limits.clusters["*"].hosts`, others.Hosts, float64(o.Hosts))
	add(`limits.clusters["*"].series`, others.Series, seriesPerHost*float64(o.Hosts))
	return texts
}
