package server

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/memstore"
)

// registerMetrics registers the metrics of the process, the store, its files, tokens and jobs. The
// transports register their own.
func (s *Server) registerMetrics() error {
	all := []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
		s.programCollector(),
		storeCollector(s.store),
		newClusterCollector(s.store),
		s.journalTimes,
		archiveCollector(s.archive),
	}
	if s.keyring != nil {
		all = append(all, newVerifications(s.keyring.Chain()))
	}
	if s.nodes != nil {
		all = append(all, statsCollector[time.Time]{s.nodes.LastPoll, []statMetric[time.Time]{
			gauge("backend_answered_timestamp_seconds", "When cc-backend last reported where jobs run, in Unix seconds; 0 if never.",
				func(at time.Time) float64 { return float64(max(0, at.Unix())) }),
		}})
	}
	all = append(all, jobCollectors(s.jobs)...)
	var errs []error
	for _, c := range all {
		errs = append(errs, s.registry.Register(c))
	}
	return errors.Join(errs...)
}

// programCollector returns the metrics of the program as a whole.
func (s *Server) programCollector() prometheus.Collector {
	memory, _ := configs.MemoryCap(s.cfg.MetricStore.MemoryCap)
	metrics := []statMetric[*Server]{
		gauge("build_info", "1, with the version that runs.", func(*Server) float64 { return 1 }, "version", s.version),
		gauge("ready", "1 once the store is restored, else 0.", func(s *Server) float64 { return boolToFloat(s.ready.Load()) }),
		gauge("memory_cap_bytes", "Bytes that the process may use, 0 if there is no cap.", func(*Server) float64 { return float64(memory) }),
	}
	for _, server := range s.httpServers() {
		metrics = append(metrics, counter("http_evicted_connections_total",
			"Connections closed in favour of others before they had shown an accepted token, by listener.",
			func(*Server) float64 { return float64(server.EvictedConnections()) }, "listener", server.name))
	}
	return statsCollector[*Server]{func() *Server { return s }, metrics}
}

// storeCollector returns the metrics of the store's size.
func storeCollector(store *memstore.Store) prometheus.Collector {
	type size = memstore.Size
	return statsCollector[size]{store.Size, []statMetric[size]{
		gauge("store_hosts", "Hosts that hold samples.", func(n size) float64 { return float64(n.Hosts) }),
		gauge("store_series", "Series that hold samples.", func(n size) float64 { return float64(n.Series) }),
		gauge("store_bytes", "Bytes that the store holds, by its own accounting.", func(n size) float64 { return float64(n.Bytes) }),
		gauge("store_limit_bytes", "Bytes that the store may hold, 0 if there is no limit.", func(n size) float64 { return float64(n.Limit) }),
		gauge("store_blocks", "Compressed windows of hosts.", func(n size) float64 { return float64(n.Blocks) }),
		gauge("store_block_bytes", "Bytes of the compressed windows.", func(n size) float64 { return float64(n.BlockBytes) }),
		gauge("store_block_values", "Samples in the compressed windows.", func(n size) float64 { return float64(n.BlockValues) }),
		gauge("store_aggregates", "Sums of several series that the compressed windows keep for queries.", func(n size) float64 { return float64(n.Aggregates) }),
		gauge("store_aggregate_bytes", "Bytes of these sums, as a part of the compressed windows.", func(n size) float64 { return float64(n.AggregateBytes) }),
		counter("store_evicted_windows_total", "Windows evicted for lack of memory before their retention was over.",
			func(n size) float64 { return float64(n.Evicted) }),
	}}
}

// clusterCollector exports what each cluster holds.
type clusterCollector struct {
	store                         *memstore.Store
	hosts, series, bytes, evicted *prometheus.Desc
}

func newClusterCollector(store *memstore.Store) clusterCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("ringstore_cluster_"+name, help, []string{"cluster"}, nil)
	}
	return clusterCollector{
		store,
		desc("hosts", "Hosts of a cluster that hold samples."),
		desc("series", "Series of a cluster that hold samples."),
		desc("bytes", "Bytes that a cluster holds, by the store's own accounting."),
		desc("evicted_windows_total", "Windows of a cluster evicted for lack of memory before their retention was over, since it got its first host."),
	}
}

// Describe implements [prometheus.Collector].
func (c clusterCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range [...]*prometheus.Desc{c.hosts, c.series, c.bytes, c.evicted} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c clusterCollector) Collect(ch chan<- prometheus.Metric) {
	for _, u := range c.store.ClusterUsage() {
		ch <- prometheus.MustNewConstMetric(c.hosts, prometheus.GaugeValue, float64(u.Hosts), u.Cluster)
		ch <- prometheus.MustNewConstMetric(c.series, prometheus.GaugeValue, float64(u.Series), u.Cluster)
		ch <- prometheus.MustNewConstMetric(c.bytes, prometheus.GaugeValue, float64(u.Bytes), u.Cluster)
		ch <- prometheus.MustNewConstMetric(c.evicted, prometheus.CounterValue, float64(u.Evicted), u.Cluster)
	}
}

// verifications exports the results of token verifications.
type verifications struct {
	chain *auth.Chain
	desc  *prometheus.Desc
}

func newVerifications(chain *auth.Chain) verifications {
	return verifications{chain, prometheus.NewDesc("ringstore_auth_verifications_total",
		"Tokens verified, by configured issuer (empty if the token names none) and reason; recently accepted ones are not verified again.",
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
