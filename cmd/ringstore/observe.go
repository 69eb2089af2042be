package main

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ringstore/ringstore/memstore"
)

// observe registers the metrics that belong to the process and the store.
func (s *service) observe() error {
	all := []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
		storeCollector{s.store},
	}
	if s.nodes != nil {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ringstore_backend_answered_timestamp_seconds",
			Help: "When cc-backend last told where jobs run, in Unix seconds; 0 if it never did.",
		}, func() float64 { return float64(max(0, s.nodes.Answered().Unix())) }))
	}
	all = append(all, s.jobs.collectors()...)
	var errs []error
	for _, c := range all {
		errs = append(errs, s.registry.Register(c))
	}
	return errors.Join(errs...)
}

// storeCollector shows the size of a store, all of it as of one moment.
type storeCollector struct{ store *memstore.Store }

// storeMetric is one figure of a store's size.
type storeMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(memstore.Size) float64
}

var storeMetrics = []storeMetric{
	gauge("hosts", "Hosts that hold samples.", func(n memstore.Size) float64 { return float64(n.Hosts) }),
	gauge("series", "Series that hold samples.", func(n memstore.Size) float64 { return float64(n.Series) }),
	gauge("bytes", "Bytes that the store holds, by its own books.", func(n memstore.Size) float64 { return float64(n.Bytes) }),
	gauge("limit_bytes", "Bytes that the store may hold, 0 if there is no limit.", func(n memstore.Size) float64 { return float64(n.Limit) }),
	gauge("blocks", "Windows of hosts that are compressed.", func(n memstore.Size) float64 { return float64(n.Blocks) }),
	gauge("block_bytes", "Bytes of the compressed windows.", func(n memstore.Size) float64 { return float64(n.BlockBytes) }),
	{
		prometheus.NewDesc("ringstore_store_evicted_windows_total", "Windows dropped for want of memory before their retention was over.", nil, nil),
		prometheus.CounterValue, func(n memstore.Size) float64 { return float64(n.Evicted) },
	},
}

func gauge(name, help string, value func(memstore.Size) float64) storeMetric {
	return storeMetric{prometheus.NewDesc("ringstore_store_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

// Describe implements [prometheus.Collector].
func (c storeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range storeMetrics {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c storeCollector) Collect(ch chan<- prometheus.Metric) {
	size := c.store.Size()
	for _, m := range storeMetrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(size))
	}
}
