package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/auth/jobs"
)

// jobCollectors returns the metrics of the index of jobs and its sources. The size of the index is
// exported even if there are no sources: it is 0.
func jobCollectors(s *jobSources) []prometheus.Collector {
	type size = jobs.Size
	all := []prometheus.Collector{statsCollector[size]{s.size, []statMetric[size]{
		gauge("jobs_jobs", "Known jobs.", func(n size) float64 { return float64(n.Jobs) }),
		gauge("jobs_open", "Jobs whose end is not known.", func(n size) float64 { return float64(n.Open) }),
		gauge("jobs_intervals", "Known intervals of jobs on hosts.", func(n size) float64 { return float64(n.Intervals) }),
	}}}
	if s == nil {
		return all
	}
	sources := statsCollector[[]sourceStatus]{s.status, []statMetric[[]sourceStatus]{
		gauge("jobs_saved_timestamp_seconds", "When the jobs were last written to disk, in Unix seconds; 0 if not yet.",
			func([]sourceStatus) float64 { return float64(s.Keeper.SavedAt()) }),
	}}
	if s.Events != nil {
		sources.metrics = append(sources.metrics,
			counter("jobs_stops_ignored_total", "Stop events without a start time that matched no open job.",
				func([]sourceStatus) float64 { return float64(s.Index.IgnoredStops()) }))
	}
	for i, source := range s.status() {
		sources.metrics = append(sources.metrics,
			gauge("jobs_told_timestamp_seconds", "When a source last reported which jobs run, in Unix seconds; 0 if never.",
				func(now []sourceStatus) float64 { return float64(now[i].lastReport.Unix()) }, "source", source.name),
			gauge("jobs_stale", "1 if a source has been silent for longer than auth.jobs.max-staleness.",
				func(now []sourceStatus) float64 { return boolToFloat(s.isStale(now[i])) }, "source", source.name))
	}
	return append(all, sources)
}
