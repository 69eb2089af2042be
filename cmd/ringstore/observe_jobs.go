package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/auth/jobs"
)

// jobFigures are those of the index of jobs and its sources; its size is there,
// and 0, where nobody knows of jobs.
func jobFigures(s *jobSources) []prometheus.Collector {
	type size = jobs.Size
	all := []prometheus.Collector{figures[size]{s.size, []figure[size]{
		gaugeOf("jobs_jobs", "Jobs that are known.", func(n size) float64 { return float64(n.Jobs) }),
		gaugeOf("jobs_open", "Jobs that are not known to be over.", func(n size) float64 { return float64(n.Open) }),
		gaugeOf("jobs_intervals", "Times of jobs on hosts that are known.", func(n size) float64 { return float64(n.Intervals) }),
	}}}
	if s == nil {
		return all
	}
	sources := figures[[]teller]{s.tellers, []figure[[]teller]{
		gaugeOf("jobs_saved_timestamp_seconds", "When the jobs were last written to disk, in Unix seconds; 0 if not yet.",
			func([]teller) float64 { return float64(s.keeper.SavedAt()) }),
	}}
	for i, from := range s.tellers() {
		sources.all = append(sources.all,
			gaugeOf("jobs_told_timestamp_seconds", "When a source last told which jobs run, in Unix seconds; 0 if it never did.",
				func(now []teller) float64 { return float64(now[i].told.Unix()) }, "source", from.name),
			gaugeOf("jobs_stale", "1 if a source has been silent for longer than auth.jobs.max-staleness.",
				func(now []teller) float64 { return truth(s.isStale(now[i])) }, "source", from.name))
	}
	return append(all, sources)
}

// size is 0 in all where nobody knows of jobs.
func (s *jobSources) size() jobs.Size {
	if s == nil {
		return jobs.Size{}
	}
	return s.index.Size()
}
