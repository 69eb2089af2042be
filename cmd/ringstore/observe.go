package main

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// observe registers the metrics that belong to the process and the store.
func (s *service) observe() error {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "ringstore", Subsystem: "store", Name: name, Help: help,
		}, value)
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
		gauge("hosts", "Hosts that hold samples.", func() float64 { return float64(s.store.Size().Hosts) }),
		gauge("series", "Series that hold samples.", func() float64 { return float64(s.store.Size().Series) }),
		gauge("bytes", "Bytes that the store holds, by its own books.", func() float64 { return float64(s.store.Size().Bytes) }),
	} {
		errs = append(errs, s.registry.Register(c))
	}
	return errors.Join(errs...)
}
