package server

import "github.com/prometheus/client_golang/prometheus"

// statsCollector exports metrics that are computed from one snapshot of statistics, taken at each
// scrape.
type statsCollector[T any] struct {
	snapshot func() T
	metrics  []statMetric[T]
}

// statMetric is a metric that is computed from a T.
type statMetric[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(T) float64
}

// gauge returns a gauge ringstore_NAME. Labels are pairs of name and value.
func gauge[T any](name, help string, value func(T) float64, labels ...string) statMetric[T] {
	return statMetric[T]{newDesc(name, help, labels), prometheus.GaugeValue, value}
}

// counter returns a counter ringstore_NAME, whose name ends in _total. Labels are pairs of name and
// value.
func counter[T any](name, help string, value func(T) float64, labels ...string) statMetric[T] {
	return statMetric[T]{newDesc(name, help, labels), prometheus.CounterValue, value}
}

func newDesc(name, help string, labels []string) *prometheus.Desc {
	fixed := make(prometheus.Labels)
	for i := 0; i < len(labels); i += 2 {
		fixed[labels[i]] = labels[i+1]
	}
	return prometheus.NewDesc("ringstore_"+name, help, nil, fixed)
}

// Describe implements [prometheus.Collector].
func (c statsCollector[T]) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c statsCollector[T]) Collect(ch chan<- prometheus.Metric) {
	stats := c.snapshot()
	for _, m := range c.metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(stats))
	}
}

// boolToFloat returns 1 for true, 0 for false.
func boolToFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
