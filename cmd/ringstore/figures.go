package main

import "github.com/prometheus/client_golang/prometheus"

// figures shows numbers that are taken together, as of one moment, when
// somebody looks.
type figures[T any] struct {
	take func() T
	all  []figure[T]
}

// figure is one number of a T.
type figure[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(T) float64
}

// gaugeOf is a figure that goes up and down. Labels come as name and value.
func gaugeOf[T any](name, help string, value func(T) float64, labels ...string) figure[T] {
	return figure[T]{newDesc(name, help, labels), prometheus.GaugeValue, value}
}

// counterOf is a figure that only grows; its name ends in _total.
func counterOf[T any](name, help string, value func(T) float64, labels ...string) figure[T] {
	return figure[T]{newDesc(name, help, labels), prometheus.CounterValue, value}
}

func newDesc(name, help string, labels []string) *prometheus.Desc {
	fixed := make(prometheus.Labels)
	for i := 0; i < len(labels); i += 2 {
		fixed[labels[i]] = labels[i+1]
	}
	return prometheus.NewDesc("ringstore_"+name, help, nil, fixed)
}

// Describe implements [prometheus.Collector].
func (f figures[T]) Describe(ch chan<- *prometheus.Desc) {
	for _, one := range f.all {
		ch <- one.desc
	}
}

// Collect implements [prometheus.Collector].
func (f figures[T]) Collect(ch chan<- prometheus.Metric) {
	now := f.take()
	for _, one := range f.all {
		ch <- prometheus.MustNewConstMetric(one.desc, one.kind, one.value(now))
	}
}

// truth is 1 for true.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
