package setup

import (
	"slices"
	"strings"
	"time"

	"github.com/ringstore/ringstore/api/prometheus"
	"github.com/ringstore/ringstore/auth/jobs/ccbackend"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/guard"
)

// Store returns an empty store. nodes may be nil.
func Store(cfg *configs.Config, nodes *ccbackend.Nodes) (*memstore.Store, error) {
	o := StoreOptions(cfg)
	if nodes != nil {
		o.Needed = nodes.Needed
	}
	o.KeepUnstored = cfg.MetricStore.Cleanup.Mode == configs.CleanupArchive
	o.Guard = guard.New(nil)
	return memstore.New(o)
}

// StoreOptions returns the store's options as far as the configuration alone gives them.
func StoreOptions(cfg *configs.Config) memstore.Options {
	aggregations := map[configs.Aggregation]memstore.Aggregation{
		configs.NoAggregation:  memstore.AggregateNone,
		configs.SumAggregation: memstore.AggregateSum,
		configs.AvgAggregation: memstore.AggregateAvg,
	}
	limit, _ := configs.MemoryCap(cfg.MetricStore.MemoryCap)
	o := memstore.Options{
		Retention:   cfg.MetricStore.RetentionInMemory,
		MemoryLimit: configs.DataMemory(limit),
		Limits: memstore.Limits{
			Hosts:          cfg.Limits.Hosts,
			DevicesPerHost: cfg.Limits.DevicesPerHost,
			NameBytes:      cfg.Limits.NameBytes,
			Clusters:       cfg.Limits.ClustersMax,
			ByCluster:      make(map[string]memstore.ClusterLimits),
		},
	}
	for name, own := range cfg.Limits.Clusters {
		o.Limits.ByCluster[name] = memstore.ClusterLimits{Hosts: own.Hosts, Series: own.Series, Memory: int64(own.Memory) * 1e9}
	}
	for name, m := range cfg.Metrics {
		o.Metrics = append(o.Metrics, memstore.Metric{
			Name:        name,
			Frequency:   time.Duration(m.Frequency) * time.Second,
			Aggregation: aggregations[m.Aggregation],
			Precision:   cfg.Precision(name),
		})
	}
	return o
}

// MetricsForPeople returns the configured metrics with their units and descriptions, sorted by name.
func MetricsForPeople(cfg *configs.Config) []prometheus.Metric {
	var all []prometheus.Metric
	for _, m := range StoreOptions(cfg).Metrics {
		shown := cfg.Metrics[m.Name]
		all = append(all, prometheus.Metric{Metric: m, Unit: shown.Unit, Help: shown.Help})
	}
	slices.SortFunc(all, func(a, b prometheus.Metric) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// DeviceLabels returns which labels of series of remote write name devices.
func DeviceLabels(cfg *configs.Config) prometheus.DeviceLabels {
	return prometheus.DeviceLabels{Types: cfg.Prometheus.DeviceLabels, Subtypes: cfg.Prometheus.SubtypeLabels}
}

// ExtraTags returns, by metric, the tags that tell its series apart in addition to the usual ones.
func ExtraTags(cfg *configs.Config) map[string][]string {
	tags := make(map[string][]string, len(cfg.Metrics))
	for name, m := range cfg.Metrics {
		tags[name] = m.ExtraTags
	}
	return tags
}

// Aliases returns the metric that each alias stands for.
func Aliases(cfg *configs.Config) map[string]string {
	aliases := make(map[string]string)
	for name, m := range cfg.Metrics {
		for _, alias := range m.Aliases {
			aliases[alias] = name
		}
	}
	return aliases
}
