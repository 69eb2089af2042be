package main

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/memstore"
)

// observe registers the metrics of the process, the store, its files, the tokens
// and the jobs. The doors register their own.
func (s *service) observe() error {
	all := []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
		s.programFigures(),
		storeFigures(s.store),
		s.times,
		archiveFigures(s.archive),
	}
	if s.trust != nil {
		all = append(all, newVerifications(s.trust.chain))
	}
	if s.nodes != nil {
		all = append(all, figures[time.Time]{s.nodes.LastPoll, []figure[time.Time]{
			gaugeOf("backend_answered_timestamp_seconds", "When cc-backend last reported where jobs run, in Unix seconds; 0 if it never did.",
				func(at time.Time) float64 { return float64(max(0, at.Unix())) }),
		}})
	}
	all = append(all, jobFigures(s.jobs)...)
	var errs []error
	for _, c := range all {
		errs = append(errs, s.registry.Register(c))
	}
	return errors.Join(errs...)
}

// programFigures are those of the program as a whole.
func (s *service) programFigures() prometheus.Collector {
	memory, _ := configs.MemoryCap(s.cfg.MetricStore.MemoryCap)
	return figures[*service]{
		func() *service { return s },
		[]figure[*service]{
			gaugeOf("build_info", "1, with the version that runs.", func(*service) float64 { return 1 }, "version", version()),
			gaugeOf("ready", "1 once what was stored is restored, else 0.", func(s *service) float64 { return truth(s.ready.Load()) }),
			gaugeOf("memory_cap_bytes", "Bytes that the process may use, 0 if there is no cap.", func(*service) float64 { return float64(memory) }),
		},
	}
}

// storeFigures are the size of a store.
func storeFigures(store *memstore.Store) prometheus.Collector {
	type size = memstore.Size
	return figures[size]{store.Size, []figure[size]{
		gaugeOf("store_hosts", "Hosts that hold samples.", func(n size) float64 { return float64(n.Hosts) }),
		gaugeOf("store_series", "Series that hold samples.", func(n size) float64 { return float64(n.Series) }),
		gaugeOf("store_bytes", "Bytes that the store holds, by its own books.", func(n size) float64 { return float64(n.Bytes) }),
		gaugeOf("store_limit_bytes", "Bytes that the store may hold, 0 if there is no limit.", func(n size) float64 { return float64(n.Limit) }),
		gaugeOf("store_blocks", "Windows of hosts that are compressed.", func(n size) float64 { return float64(n.Blocks) }),
		gaugeOf("store_block_bytes", "Bytes of the compressed windows.", func(n size) float64 { return float64(n.BlockBytes) }),
		gaugeOf("store_block_values", "Samples in the compressed windows.", func(n size) float64 { return float64(n.BlockValues) }),
		counterOf("store_evicted_windows_total", "Windows dropped for want of memory before their retention was over.",
			func(n size) float64 { return float64(n.Evicted) }),
	}}
}

// verifications shows what became of tokens that were verified.
type verifications struct {
	chain *auth.Chain
	desc  *prometheus.Desc
}

func newVerifications(chain *auth.Chain) verifications {
	return verifications{chain, prometheus.NewDesc("ringstore_auth_verifications_total",
		"Tokens verified, by configured issuer (empty if the token names none) and reason; those known as good from a moment ago are not verified again.",
		[]string{"issuer", "reason"}, nil)}
}

// Describe implements [prometheus.Collector].
func (v verifications) Describe(ch chan<- *prometheus.Desc) { ch <- v.desc }

// Collect implements [prometheus.Collector].
func (v verifications) Collect(ch chan<- prometheus.Metric) {
	v.chain.Verifications(func(issuer string, code auth.Reason, n uint64) {
		ch <- prometheus.MustNewConstMetric(v.desc, prometheus.CounterValue, float64(n), issuer, string(code))
	})
}
