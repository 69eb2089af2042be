// Package synthetic generates the data of a cluster for benchmarks, tests and the demo: 678 series
// per host with one value per minute, the same values for the same seed on every machine.
//
// It does not import the store, so that the store's own tests can use it.
package synthetic

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// Name is the cluster's name in [Cluster.AppendLines].
const Name = "synthetic"

// Frequency is the time between two steps.
const Frequency = time.Minute

// Metric is one metric of the cluster.
type Metric struct {
	Name        string
	Frequency   time.Duration
	Aggregation string // "sum", "avg", or "" for none
}

// Series is one metric of one device of a host.
type Series struct {
	Metric string
	Type   string
	TypeID string // empty for type node
}

// Cluster generates the values of all hosts. Goroutines may step different hosts concurrently, but
// not the same host.
type Cluster struct {
	seed    uint64
	columns []column
	hosts   []host
}

// column is one series of every host.
type column struct {
	Series
	signal
	head, tail string // of its lines: before and after the host's name
}

// host is the state of a host.
type host struct {
	random *rand.Rand
	next   int       // the next step
	at     []float64 // the current value of each column's walk
}

// New returns a cluster before its first step. It holds about 8 kB per host.
func New(hosts int, seed uint64) *Cluster {
	c := &Cluster{seed: seed, hosts: make([]host, hosts)}
	for _, group := range devices {
		for _, id := range group.ids {
			for _, m := range group.metrics {
				c.columns = append(c.columns, newColumn(m, group.kind, id))
			}
		}
	}
	return c
}

func newColumn(m measured, kind, id string) column {
	tail := ",type=" + kind
	if id != "" {
		tail += ",type-id=" + id
	}
	return column{
		Series: Series{Metric: m.name, Type: kind, TypeID: id},
		signal: m.signal,
		head:   m.name + ",cluster=" + Name + ",hostname=",
		tail:   tail + " value=",
	}
}

// Hosts returns the number of hosts.
func (c *Cluster) Hosts() int { return len(c.hosts) }

// Host returns the name of a host.
func (c *Cluster) Host(host int) string { return fmt.Sprintf("node%04d", host+1) }

// Metrics returns the metrics of all series.
func (c *Cluster) Metrics() []Metric {
	var all []Metric
	for _, group := range devices {
		for _, m := range group.metrics {
			all = append(all, Metric{Name: m.name, Frequency: Frequency, Aggregation: m.aggregation})
		}
	}
	return all
}

// Series returns the series of a host, in the order of the values of [Cluster.Step]. All hosts have
// the same series.
func (c *Cluster) Series() []Series {
	all := make([]Series, len(c.columns))
	for i := range c.columns {
		all[i] = c.columns[i].Series
	}
	return all
}

// Step sets values, one for each of [Cluster.Series], to those of a host at a step, which counts
// from 0. They depend on the seed, the host and the step only. The next step is cheap; an earlier
// one is computed from the start.
func (c *Cluster) Step(host, step int, values []float64) {
	h := &c.hosts[host]
	if h.random == nil || step < h.next {
		c.restart(h, host)
	}
	for ; h.next <= step; h.next++ {
		for i := range c.columns {
			values[i] = c.columns[i].step(h.random, &h.at[i], h.next == 0)
		}
	}
}

func (c *Cluster) restart(h *host, number int) {
	// An odd multiplier keeps the hosts' generators far apart.
	h.random = rand.New(rand.NewPCG(c.seed, uint64(number)*0x9e3779b97f4a7c15))
	h.next = 0
	h.at = slices.Grow(h.at[:0], len(c.columns))[:len(c.columns)]
}

// Order returns an order of a host's lines, which is different for each host and step, as
// collectors iterate over maps.
func (c *Cluster) Order(host, step int) []int {
	return rand.New(rand.NewPCG(c.seed, uint64(host)<<32|uint64(step))).Perm(len(c.columns))
}

// AppendLines appends the values of one host at a time (Unix seconds) in line protocol, one line
// per series. A nil order means the order of [Cluster.Series].
func (c *Cluster) AppendLines(dst []byte, host int, values []float64, order []int, unix int64) []byte {
	name := c.Host(host)
	for n := range values {
		i := n
		if order != nil {
			i = order[n]
		}
		col := &c.columns[i]
		dst = append(dst, col.head...)
		dst = append(dst, name...)
		dst = append(dst, col.tail...)
		dst = strconv.AppendFloat(dst, values[i], 'f', -1, 64)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, unix, 10)
		dst = append(dst, '\n')
	}
	return dst
}

// Restamp changes the time of all lines of [Cluster.AppendLines] to unix (Unix seconds), which must
// have as many digits as the current time.
func Restamp(lines []byte, unix int64) {
	digits := strconv.AppendInt(nil, unix, 10)
	for end := bytes.IndexByte(lines, '\n'); end >= 0; end = bytes.IndexByte(lines, '\n') {
		copy(lines[end-len(digits):], digits)
		lines = lines[end+1:]
	}
}

// signal generates the values of a series. Without a walk and noise it is constant.
type signal struct {
	base  float64
	walk  float64 // standard deviation of a step, 0 for no walk
	unit  float64 // a walk is rounded to multiples of 1/unit
	noise float64 // standard deviation relative to base
}

func (s *signal) step(random *rand.Rand, at *float64, first bool) float64 {
	switch {
	case s.noise != 0:
		return s.base * (1 + float64(s.noise*random.NormFloat64())) // the conversion prevents a fused multiply-add
	case s.walk == 0 || first:
		*at = s.base
	default:
		*at += float64(s.walk * random.NormFloat64())
		*at = math.Round(*at*s.unit)/s.unit + 0 // no -0
	}
	return *at
}
