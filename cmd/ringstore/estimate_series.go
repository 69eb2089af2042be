package main

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

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/memstore"
)

// modelled is a series of one host and how its values are made up.
type modelled struct {
	key memstore.Key
	course
}

// course makes up values: constant, unless it walks or is noisy.
type course struct {
	at    float64
	walk  float64 // standard deviation of a step
	unit  float64 // that a walk is rounded to: its decimals are 1/unit
	noise float64 // standard deviation
}

func (s *course) next(r *rand.Rand) float64 {
	switch {
	case s.noise != 0:
		return s.at + s.noise*r.NormFloat64()
	case s.walk != 0:
		s.at = math.Round((s.at+s.walk*r.NormFloat64())*s.unit) / s.unit
	}
	return s.at
}

// Values of up to this many decimals are those of a sensor or a script, others
// have been computed.
const mostDecimals = 4

// courseOf guesses how a series goes on from one of its values: 0 stays; of two
// whole numbers one stays and one moves by 0.1 %; decimals move by 50 of their
// last place; what has more digits is noise of 10 %.
func courseOf(v float64, number int) course {
	_, fraction, _ := strings.Cut(strconv.FormatFloat(v, 'f', -1, 64), ".")
	unit := math.Pow10(len(fraction))
	switch {
	case v == 0, fraction == "" && number%2 == 0:
		return course{at: v}
	case fraction == "":
		return course{at: v, walk: max(1, math.Abs(v)/1000), unit: 1}
	case len(fraction) <= mostDecimals:
		return course{at: v, walk: 50 / unit, unit: unit}
	default:
		return course{at: v, noise: 0.1 * math.Abs(v)}
	}
}

var sampleAssumptions = []string{
	"the values go on from those of the sample: 0 stays; of two whole numbers one stays and one moves by 0.1 % each interval; " +
		"up to four decimals move by 50 of the last place; what has more digits moves by 10 %, and no two of its digits repeat",
}

// sampler takes what the ingester would store.
type sampler struct {
	values map[memstore.Key]float64
	hosts  map[[2]string]bool
}

// Write implements [ingest.Writer].
func (s sampler) Write(_ context.Context, batch []memstore.Sample) ([]memstore.Refusal, error) {
	for _, x := range batch {
		k := x.Series.Key()
		s.values[k] = x.Value
		s.hosts[[2]string{k.Cluster, k.Host}] = true
	}
	return nil, nil
}

// readSample reads one interval of one host. Lines are taken and refused as the
// server would.
func readSample(ctx context.Context, cfg *configs.Config, name string, r io.Reader) ([]modelled, []string, error) {
	o := storeOptions(cfg)
	o.MemoryLimit = 0
	store, err := memstore.New(o)
	if err != nil {
		return nil, nil, err
	}
	s := sampler{make(map[memstore.Key]float64), make(map[[2]string]bool)}
	in := ingest.New(ingest.Options{Store: store, Writer: s, ExtraTags: extraTags(cfg), Aliases: aliases(cfg)})
	report, err := in.Stream(ctx, ingest.Source{Cluster: "sample"}, io.LimitReader(r, cfg.Limits.BodyBytes))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	case report.RejectedTotal > 0:
		first := report.Rejected[0]
		return nil, nil, fmt.Errorf("%s: line %d, and %d others: %s", name, first.Line, report.RejectedTotal-1, first.Reason)
	case len(s.hosts) > 1:
		return nil, nil, fmt.Errorf("%s: holds lines of %d hosts; it should be those of one", name, len(s.hosts))
	case len(s.values) == 0:
		return nil, nil, errors.New(name + ": holds no line of a configured metric")
	}
	var series []modelled
	for number, k := range slices.SortedFunc(maps.Keys(s.values), compareKeys) {
		series = append(series, modelled{k, courseOf(s.values[k], number)})
	}
	assumptions := append([]string{fmt.Sprintf("every host has the %d series of %s", len(series), name)}, sampleAssumptions...)
	if report.Unknown > 0 {
		assumptions = append(assumptions, fmt.Sprintf("%d lines are of metrics that are not configured: they are not stored", report.Unknown))
	}
	return series, assumptions, nil
}

func compareKeys(a, b memstore.Key) int {
	return strings.Compare(fmt.Sprint(a.Metric, a.Device), fmt.Sprint(b.Metric, b.Device))
}

// guess makes up the series of one host, where there is no sample.
func (e estimate) guess(cfg *configs.Config) ([]modelled, []string) {
	counts := map[string]int{"node": 1, "hwthread": e.threads, "socket": e.sockets, "accelerator": e.accelerators}
	measured := make(map[string][]string) // metrics of a type
	var series []modelled
	for _, name := range slices.Sorted(maps.Keys(cfg.Metrics)) {
		kind := kindOf(name, cfg.Metrics[name])
		measured[kind] = append(measured[kind], name)
		for id := range counts[kind] {
			k := memstore.Key{Cluster: "guess", Host: "host", Metric: name}
			if kind != "node" {
				k.Device = memstore.Device{Type: kind, TypeID: strconv.Itoa(id)}
			}
			series = append(series, modelled{key: k})
		}
	}
	for i := range series {
		series[i].course = mixture(i)
	}
	assumptions := []string{"of every ten series three stay at one value, three walk with two decimals, and four are noise with all digits (-sample knows better)"}
	for _, kind := range []string{"node", "hwthread", "socket", "accelerator"} {
		if len(measured[kind]) > 0 {
			assumptions = append(assumptions, fmt.Sprintf("%d x %s: %s", counts[kind], kind, strings.Join(measured[kind], " ")))
		}
	}
	return series, assumptions
}

func mixture(number int) course {
	switch number % 10 {
	case 0, 1, 2:
		return course{at: 2400}
	case 3, 4, 5:
		return course{at: 95, walk: 0.5, unit: 100}
	default:
		return course{at: 1100.3, noise: 110}
	}
}

// kindOf guesses what measures a metric, from its name and aggregation.
func kindOf(name string, m configs.Metric) string {
	begins := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	}
	switch {
	case begins("acc_", "gpu_", "nv_"):
		return "accelerator"
	case m.Aggregation == configs.NoAggregation, begins("net_", "ib_", "nfs", "lustre_", "gpfs_", "file_", "disk"):
		return "node"
	case strings.HasSuffix(name, "_power"), strings.HasSuffix(name, "_temp"), strings.HasSuffix(name, "_energy"):
		return "socket"
	default:
		return "hwthread"
	}
}
