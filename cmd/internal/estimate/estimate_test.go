package estimate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
	"github.com/ringstore/ringstore/cmd/internal/setup"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/synthetic"
)

// syntheticConfig returns a configuration for the benchmark's cluster that keeps a day of samples.
func syntheticConfig(t *testing.T, c *synthetic.Cluster) *configs.Config {
	t.Helper()
	type object = map[string]any
	metrics := object{}
	for _, m := range c.Metrics() {
		metrics[m.Name] = object{"frequency": int(m.Frequency.Seconds()), "aggregation": m.Aggregation}
	}
	text, err := json.Marshal(object{
		"main": object{"addr": ":1"}, "auth": object{"disabled": true}, "metrics": metrics,
		"metric-store": object{"retention-in-memory": "24h"},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Parse("config.json", text)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// estimated prints an estimate and returns its numbers by the names of their rows.
func estimated(t *testing.T, cfg *configs.Config, o Options) (rows map[string][]float64, text string) {
	t.Helper()
	var stdout bytes.Buffer
	if err := Run(t.Context(), cfg, o, strings.NewReader(""), &stdout); err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	rows = make(map[string][]float64)
	row := regexp.MustCompile(`^ *(\S.*?)  +([0-9.]+) +([0-9.]+) *$`)
	for line := range strings.Lines(stdout.String()) {
		if m := row.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			for _, s := range m[2:] {
				v, err := strconv.ParseFloat(s, 64)
				if err != nil {
					t.Fatal(err)
				}
				rows[m[1]] = append(rows[m[1]], v)
			}
		}
	}
	return rows, stdout.String()
}

// stored puts a day of the cluster into a store, and returns the megabytes that it takes in memory
// and in a checkpoint.
func stored(t *testing.T, cfg *configs.Config, c *synthetic.Cluster, precision int) (memory, disk float64) {
	t.Helper()
	now := time.Unix(startTime, 0)
	o := setup.StoreOptions(cfg)
	o.MemoryLimit = 0
	o.Now = func() time.Time { return now }
	for i := range o.Metrics {
		o.Metrics[i].Precision = precision
	}
	store, err := memstore.New(o)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float64, len(c.Series()))
	batches := make([][]memstore.Sample, c.Hosts())
	for h := range batches {
		for _, s := range c.Series() {
			k := memstore.Key{Cluster: synthetic.Name, Host: c.Host(h), Metric: s.Metric}
			if s.TypeID != "" {
				k.Device = memstore.Device{Type: s.Type, TypeID: s.TypeID}
			}
			sr, err := store.Series(k)
			if err != nil {
				t.Fatal(err)
			}
			batches[h] = append(batches[h], memstore.Sample{Series: sr})
		}
	}
	for step := range 1440 {
		now = now.Add(synthetic.Frequency)
		for h, batch := range batches {
			c.Step(h, step, values)
			for i := range batch {
				batch[i].Time, batch[i].Value = now.UnixMilli(), values[i]
			}
			if refused, err := store.Write(batch); err != nil || len(refused) > 0 {
				t.Fatal(refused, err)
			}
		}
		if step%30 == 0 {
			if err := store.Maintain(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, bytes, err := measureArchive(store)
	if err != nil {
		t.Fatal(err)
	}
	return float64(store.Size().Bytes) / 1e6, bytes / 1e6
}

// TestEstimateOfTheSyntheticCluster: the estimate for the benchmark's cluster is right within 25 %,
// from a sample and from numbers of devices, with all digits and rounded.
func TestEstimateOfTheSyntheticCluster(t *testing.T) {
	const hosts, measured = 20, 1 // the hosts are alike
	c := synthetic.New(measured, 1)
	cfg := syntheticConfig(t, c)
	values := make([]float64, len(c.Series()))
	sample := func(step int) string {
		c.Step(0, step, values)
		return cmdtest.WriteFile(t, filepath.Join(t.TempDir(), "sample"), c.AppendLines(nil, 0, values, c.Order(0, step), 1_700_000_000))
	}
	first, later := sample(0), sample(700)
	memory, disk := stored(t, cfg, c, 0)
	rounded, roundedDisk := stored(t, cfg, c, defaultPrecision)

	f := func(name string, o Options) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Hosts = hosts
			got, text := estimated(t, cfg, o)
			near := func(row string, column int, want float64) {
				t.Helper()
				if len(got[row]) != 2 || got[row][column] < 0.75*want || got[row][column] > 1.25*want {
					t.Errorf("%s is %v, want %.1f\n%s", row, got[row], want, text)
				}
			}
			const times = hosts / measured
			near("series", 0, hosts*678)
			near("samples a second", 0, hosts*678/60.)
			near("MB in memory, samples", 0, times*memory)
			near("MB in memory, samples", 1, times*rounded)
			near("MB a day on disk", 0, times*disk)
			near("MB a day on disk", 1, times*roundedDisk)
		})
	}
	f("a sample", Options{Sample: later})
	f("the first sample, where walks begin at whole numbers", Options{Sample: first})
	f("numbers of devices", Options{Threads: 64, Sockets: 2, Accelerators: 4})
}

func TestEstimateSaysWhatItAssumes(t *testing.T) {
	cfg := syntheticConfig(t, synthetic.New(1, 1))
	sample := cmdtest.WriteFile(t, filepath.Join(t.TempDir(), "sample"), []byte("cpu_load,hostname=n1,type=node value=1.5\nno_such,hostname=n1 value=1\n"))
	f := func(want string, o Options) {
		t.Helper()
		o.Hosts = 3
		_, text := estimated(t, cfg, o)
		if !strings.Contains(text, want) {
			t.Errorf("%+v: expected %q; got:\n%s", o, want, text)
		}
	}
	f("3 hosts alike", Options{Sample: sample})
	f("the 1 series of "+sample, Options{Sample: sample})
	f("1 lines of metrics that are not configured", Options{Sample: sample})
	f(`with "precision": 24`, Options{Sample: sample})
	f(`column "lossless" keeps every digit`, Options{Sample: sample})
	f("5 x hwthread:", Options{Threads: 5, Sockets: 2})
	f("0 x accelerator: acc_ecc_errors", Options{Threads: 5, Sockets: 2})

	cfg.Limits.Hosts = 2
	cfg.Limits.Clusters = map[string]configs.ClusterLimits{"*": {Hosts: 1, Series: 2}}
	f("limits.hosts is raised from 2 to at least 3", Options{Sample: sample})
	f(`limits.clusters["*"].hosts is raised from 1 to at least 3`, Options{Sample: sample})
	f(`limits.clusters["*"].series is raised from 2 to at least 3`, Options{Sample: sample})
}

func TestDuration(t *testing.T) {
	f := func(d time.Duration, want string) {
		t.Helper()
		if got := duration(d); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(48*time.Hour, "48h")
	f(90*time.Minute, "1h30m")
	f(10*time.Hour+10*time.Minute, "10h10m")
	f(100*time.Second, "1m40s")
	f(40*time.Second, "40s")
	f(0, "0s")
}

// TestCheck: limits of the numbers.
func TestCheck(t *testing.T) {
	f := func(want string, o Options) {
		t.Helper()
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
	f("-hosts", Options{})
	f("-hosts", Options{Hosts: -1})
	f("-hosts", Options{Hosts: 1_000_001})
	f("-threads", Options{Hosts: 1, Threads: -1})
	f("-threads", Options{Hosts: 1, Threads: 1_000_000_000})
	f("-sockets", Options{Hosts: 1, Sockets: -1})
	f("-accelerators", Options{Hosts: 1, Accelerators: 100_001})
	if err := (Options{Hosts: 1_000_000, Threads: 100_000}).Check(); err != nil {
		t.Error(err)
	}
}

func TestEstimateRefuses(t *testing.T) {
	cfg := syntheticConfig(t, synthetic.New(1, 1))
	none, err := configs.Parse("none.json", []byte(`{"main": {"addr": ":1"}, "auth": {"disabled": true}, "metrics": {"acc_power": {"frequency": 60}}, "metric-store": {"retention-in-memory": "1h"}}`))
	if err != nil {
		t.Fatal(err)
	}
	f := func(cfg *configs.Config, want, stdin string, o Options) {
		t.Helper()
		o.Hosts = 1
		var stdout bytes.Buffer
		err := Run(t.Context(), cfg, o, strings.NewReader(stdin), &stdout)
		if err == nil || !strings.Contains(err.Error(), want) || stdout.Len() > 0 {
			t.Errorf("%+v: %v\n%s", o, err, &stdout)
		}
	}
	const line = "cpu_load,hostname=n1,type=node value=1.5\n"
	f(cfg, "no such file", "", Options{Sample: filepath.Join(t.TempDir(), "none")})
	f(cfg, "got none", "", Options{Sample: "-"})
	f(cfg, "got none", "no_such,hostname=n1 value=1\n", Options{Sample: "-"})
	f(cfg, "line 2", line+"broken\n", Options{Sample: "-"})
	f(cfg, "2 hosts", line+strings.ReplaceAll(line, "n1", "n2"), Options{Sample: "-"})
	f(none, "no series", "", Options{Sockets: 2})
}

func TestCourses(t *testing.T) {
	f := func(v float64, number int, want valueGenerator) {
		t.Helper()
		if got := generatorFrom(v, number); got != want {
			t.Errorf("%v: %+v, want %+v", v, got, want)
		}
	}
	f(0, 0, valueGenerator{})
	f(0, 1, valueGenerator{})
	f(2400, 0, valueGenerator{at: 2400})
	f(2400, 1, valueGenerator{at: 2400, walk: 2.4, unit: 1})
	f(-5, 1, valueGenerator{at: -5, walk: 1, unit: 1})
	f(95.25, 0, valueGenerator{at: 95.25, walk: 0.5, unit: 100})
	f(0.0001, 0, valueGenerator{at: 0.0001, walk: 50 / 1e4, unit: 1e4})
	f(2.00001, 0, valueGenerator{at: 2.00001, noise: 0.200001})
}

func TestKinds(t *testing.T) {
	f := func(name string, a configs.Aggregation, want string) {
		t.Helper()
		if got := deviceTypeOf(name, configs.Metric{Aggregation: a}); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	f("cpu_load", configs.NoAggregation, "node")
	f("flops_any", configs.SumAggregation, "hwthread")
	f("cpu_power", configs.SumAggregation, "socket")
	f("cpu_temp", configs.AvgAggregation, "socket")
	f("acc_power", configs.SumAggregation, "accelerator")
	f("acc_utilization", configs.NoAggregation, "accelerator")
	f("ib_recv", configs.SumAggregation, "node")
}

// TestMemoryCapHoldsTheSamples: the printed memory-cap holds the samples without evicting any, and
// the next smaller one does not.
func TestMemoryCapHoldsTheSamples(t *testing.T) {
	for _, memory := range []float64{1, 700e6, 800e6, 5e9, 100e9} {
		gb := need{memory: memory}.memoryCap(1)
		holds := func(gb int) bool { return float64(configs.DataMemory(int64(gb)*1e9))*0.97 > memory }
		if !holds(gb) || gb > 1 && holds(gb-1) && memory < 0.94*float64(configs.DataMemory(int64(gb-1)*1e9)) {
			t.Errorf("%v bytes: %d GB", memory, gb)
		}
	}
	if n := (need{memory: 1e6, series: 100}); n.resident(10) <= 11e6 {
		t.Error(fmt.Sprint(n.resident(10)))
	}
}
