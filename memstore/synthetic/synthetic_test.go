package synthetic_test

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

const steps = 20

// day returns the values of one host at each step, requested in the given order.
func day(c *synthetic.Cluster, host int, order []int) map[int][]float64 {
	values := make(map[int][]float64)
	for _, step := range order {
		values[step] = make([]float64, len(c.Series()))
		c.Step(host, step, values[step])
	}
	return values
}

func forwards() (order []int) {
	for step := range steps {
		order = append(order, step)
	}
	return order
}

func TestSeriesOfAHost(t *testing.T) {
	series := synthetic.New(1, 1).Series()
	count := make(map[string]int)
	names := make(map[synthetic.Series]bool)
	for _, s := range series {
		count[s.Type]++
		names[s] = true
	}
	if len(series) != 678 || len(names) != 678 || fmt.Sprint(count) != "map[accelerator:16 hwthread:640 node:16 socket:6]" {
		t.Errorf("%d series, %d distinct, by type %v", len(series), len(names), count)
	}
	for _, m := range synthetic.New(1, 1).Metrics() {
		if !slices.ContainsFunc(series, func(s synthetic.Series) bool { return s.Metric == m.Name }) {
			t.Errorf("metric %s has no series", m.Name)
		}
	}
}

// Benchmark results are comparable over the years only if the data never change.
func TestTheDataAreFixed(t *testing.T) {
	c := synthetic.New(3, 1)
	sum := fnv.New64a()
	for step := range steps {
		values := make([]float64, len(c.Series()))
		c.Step(2, step, values)
		_, _ = sum.Write(c.AppendLines(nil, 2, values, c.Order(2, step), int64(step)))
	}
	const want = 0x4dbb4816954e0577
	if got := sum.Sum64(); got != want {
		t.Errorf("the data have another checksum: %#x", got)
	}
}

func TestValuesDependOnSeedHostAndStepOnly(t *testing.T) {
	want := day(synthetic.New(5, 7), 3, forwards())
	f := func(name string, c *synthetic.Cluster, host int, order []int, same bool) {
		t.Run(name, func(t *testing.T) {
			got := day(c, host, order)
			for step := range got {
				if slices.Equal(got[step], want[step]) != same {
					t.Fatalf("step %d: same values: %v", step, !same)
				}
			}
		})
	}
	backwards := forwards()
	slices.Reverse(backwards)
	used := synthetic.New(5, 7)
	for host := range 5 {
		day(used, host, forwards())
	}
	f("again", synthetic.New(5, 7), 3, forwards(), true)
	f("in a smaller cluster", synthetic.New(4, 7), 3, forwards(), true)
	f("after other hosts", used, 3, forwards(), true)
	f("backwards", synthetic.New(5, 7), 3, backwards, true)
	f("with gaps", synthetic.New(5, 7), 3, []int{4, 9, 19}, true)
	f("of another host", synthetic.New(5, 7), 2, forwards(), false)
	f("of another seed", synthetic.New(5, 8), 3, forwards()[1:], false)
}

func TestSignals(t *testing.T) {
	c := synthetic.New(1, 1)
	values := day(c, 0, forwards())
	f := func(metric string, start float64, promise func(v float64) bool) {
		t.Run(metric, func(t *testing.T) {
			i := slices.IndexFunc(c.Series(), func(s synthetic.Series) bool { return s.Metric == metric })
			if start != 0 && values[0][i] != start {
				t.Errorf("starts at %v, not %v", values[0][i], start)
			}
			for step := range steps {
				if !promise(values[step][i]) {
					t.Errorf("step %d is %v", step, values[step][i])
				}
			}
		})
	}
	about := func(base float64) func(float64) bool {
		return func(v float64) bool { return v != base && math.Abs(v-base) < base && v != math.Round(v*100)/100 }
	}
	f("cpu_irq", 0, func(v float64) bool { return v == 0 })
	f("clock_base", 2400, func(v float64) bool { return v == 2400 })
	f("cpu_user", 95, func(v float64) bool { return v == math.Round(v*100)/100 })
	f("mem_used", 1e6, func(v float64) bool { return v == math.Trunc(v) })
	f("clock", 0, about(2345.6))
	f("ipc", 0, about(1.7))
}

func TestLines(t *testing.T) {
	c := synthetic.New(2, 1)
	values := make([]float64, len(c.Series()))
	c.Step(1, 0, values)
	plain := strings.SplitAfter(string(c.AppendLines(nil, 1, values, nil, 1_700_000_000)), "\n")
	for _, want := range []string{
		"clock_base,cluster=synthetic,hostname=node0002,type=hwthread,type-id=63 value=2400 1700000000\n",
		"mem_used,cluster=synthetic,hostname=node0002,type=node value=1000000 1700000000\n",
		"acc_ecc_errors,cluster=synthetic,hostname=node0002,type=accelerator,type-id=00000000:49:00.0 value=0 1700000000\n",
	} {
		if !slices.Contains(plain, want) {
			t.Errorf("no line %q", want)
		}
	}
	later := c.AppendLines(nil, 1, values, nil, 1_700_000_000)
	synthetic.Restamp(later, 1_700_000_060)
	if want := c.AppendLines(nil, 1, values, nil, 1_700_000_060); !slices.Equal(later, want) {
		t.Error("restamped lines differ from lines generated for that time")
	}
	shuffled := strings.SplitAfter(string(c.AppendLines(nil, 1, values, c.Order(1, 0), 1_700_000_000)), "\n")
	if slices.Equal(plain, shuffled) {
		t.Error("an order changes nothing")
	}
	slices.Sort(plain)
	slices.Sort(shuffled)
	if !slices.Equal(plain, shuffled) {
		t.Error("an order changes the lines")
	}
}
