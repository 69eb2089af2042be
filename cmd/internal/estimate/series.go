package estimate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/cmd/internal/setup"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/memstore"
)

// syntheticSeries is a series of one host with made-up values.
type syntheticSeries struct {
	key memstore.Key
	valueGenerator
}

// valueGenerator makes up values: a constant, a random walk, or noise.
type valueGenerator struct {
	at    float64 // the current value, or the mean
	walk  float64 // standard deviation of a step; 0: no walk
	unit  float64 // values of a walk are multiples of 1/unit
	noise float64 // standard deviation; 0: no noise
}

func (g *valueGenerator) next(r *rand.Rand) float64 {
	switch {
	case g.noise != 0:
		return g.at + g.noise*r.NormFloat64()
	case g.walk != 0:
		g.at = math.Round((g.at+g.walk*r.NormFloat64())*g.unit) / g.unit
	}
	return g.at
}

// maxDecimals is how many decimals a value from a sensor or a script has at most. Values with more
// have been computed.
const maxDecimals = 4

// generatorFrom guesses from one value how a series continues: 0 stays; every other whole number
// stays, and the others move by 0.1 %; values with few decimals move by 50 units of the last place;
// values with more are noise of 10 %.
func generatorFrom(v float64, number int) valueGenerator {
	_, fraction, _ := strings.Cut(strconv.FormatFloat(v, 'f', -1, 64), ".")
	unit := math.Pow10(len(fraction))
	switch {
	case v == 0, fraction == "" && number%2 == 0:
		return valueGenerator{at: v}
	case fraction == "":
		return valueGenerator{at: v, walk: max(1, math.Abs(v)/1000), unit: 1}
	case len(fraction) <= maxDecimals:
		return valueGenerator{at: v, walk: 50 / unit, unit: unit}
	default:
		return valueGenerator{at: v, noise: 0.1 * math.Abs(v)}
	}
}

var sampleAssumptions = []string{
	"values continue from those of the sample: 0 stays; every other whole number stays, and the others move by 0.1 % each interval; " +
		"values with up to four decimals move by 50 units of the last place; values with more digits are noise of 10 %",
}

// sampler collects what the ingester would store.
type sampler struct {
	values map[memstore.Key]float64
	hosts  map[[2]string]bool
}

// Write implements [ingest.Writer].
func (s sampler) WriteFrom(_ context.Context, _ memstore.Origin, batch []memstore.Sample) ([]memstore.Refusal, error) {
	for _, x := range batch {
		k := x.Series.Key()
		s.values[k] = x.Value
		s.hosts[[2]string{k.Cluster, k.Host}] = true
	}
	return nil, nil
}

// readSample reads one interval of one host. It accepts and rejects lines as the server would.
func readSample(ctx context.Context, cfg *configs.Config, name string, r io.Reader) ([]syntheticSeries, []string, error) {
	o := setup.StoreOptions(cfg)
	o.MemoryLimit, o.Limits.ByCluster = 0, nil
	o.Retention = 100 * 365 * 24 * time.Hour // a sample may be of any time
	store, err := memstore.New(o)
	if err != nil {
		return nil, nil, err
	}
	s := sampler{make(map[memstore.Key]float64), make(map[[2]string]bool)}
	in := ingest.New(ingest.Options{Store: store, Writer: s, ExtraTags: setup.ExtraTags(cfg), Aliases: setup.Aliases(cfg)})
	report, err := in.Stream(ctx, ingest.Source{Cluster: "sample"}, io.LimitReader(r, cfg.Limits.BodyBytes))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	case report.RejectedTotal > 0:
		first := report.Rejected[0]
		return nil, nil, fmt.Errorf("%s: line %d is rejected, and so are %d others: %s", name, first.Line, report.RejectedTotal-1, first.Reason)
	case len(s.hosts) > 1:
		return nil, nil, fmt.Errorf("%s: expected lines of one host; got lines of %d hosts", name, len(s.hosts))
	case len(s.values) == 0:
		return nil, nil, errors.New(name + ": expected lines of configured metrics; got none")
	}
	var series []syntheticSeries
	for number, k := range slices.SortedFunc(maps.Keys(s.values), compareKeys) {
		series = append(series, syntheticSeries{k, generatorFrom(s.values[k], number)})
	}
	assumptions := append([]string{fmt.Sprintf("every host has the %d series of %s", len(series), name)}, sampleAssumptions...)
	if report.Unknown > 0 {
		assumptions = append(assumptions, fmt.Sprintf("%d lines of metrics that are not configured are ignored", report.Unknown))
	}
	return series, assumptions, nil
}

func compareKeys(a, b memstore.Key) int {
	return strings.Compare(fmt.Sprint(a.Metric, a.Device), fmt.Sprint(b.Metric, b.Device))
}

// guess makes up the series of one host without a sample.
func (o Options) guess(cfg *configs.Config) ([]syntheticSeries, []string) {
	counts := map[string]int{"node": 1, "hwthread": o.Threads, "socket": o.Sockets, "accelerator": o.Accelerators}
	metrics := make(map[string][]string) // by device type
	var series []syntheticSeries
	for _, name := range slices.Sorted(maps.Keys(cfg.Metrics)) {
		kind := deviceTypeOf(name, cfg.Metrics[name])
		metrics[kind] = append(metrics[kind], name)
		for id := range counts[kind] {
			k := memstore.Key{Cluster: "guess", Host: "host", Metric: name}
			if kind != "node" {
				k.Device = memstore.Device{Type: kind, TypeID: strconv.Itoa(id)}
			}
			series = append(series, syntheticSeries{key: k})
		}
	}
	for i := range series {
		series[i].valueGenerator = mixed(i)
	}
	assumptions := []string{"of every ten series, three are constant, three are random walks with two decimals, and four are noise with all digits (-sample is more precise)"}
	for _, kind := range []string{"node", "hwthread", "socket", "accelerator"} {
		if len(metrics[kind]) > 0 {
			assumptions = append(assumptions, fmt.Sprintf("%d x %s: %s", counts[kind], kind, strings.Join(metrics[kind], " ")))
		}
	}
	return series, assumptions
}

// mixed returns the generator of a series by its number: a mixture of constants, walks and noise.
func mixed(number int) valueGenerator {
	switch number % 10 {
	case 0, 1, 2:
		return valueGenerator{at: 2400}
	case 3, 4, 5:
		return valueGenerator{at: 95, walk: 0.5, unit: 100}
	default:
		return valueGenerator{at: 1100.3, noise: 110}
	}
}

// deviceTypeOf guesses the type of device that a metric is measured on, from its name and
// aggregation.
func deviceTypeOf(name string, m configs.Metric) string {
	hasPrefix := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	}
	switch {
	case hasPrefix("acc_", "gpu_", "nv_"):
		return "accelerator"
	case m.Aggregation == configs.NoAggregation, hasPrefix("net_", "ib_", "nfs", "lustre_", "gpfs_", "file_", "disk"):
		return "node"
	case strings.HasSuffix(name, "_power"), strings.HasSuffix(name, "_temp"), strings.HasSuffix(name, "_energy"):
		return "socket"
	default:
		return "hwthread"
	}
}
