package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/archive"
)

// journalTimes exports how long the journal's appends and fsyncs take. It implements
// [journal.Observer].
type journalTimes struct{ appends, fsyncs prometheus.Histogram }

func newJournalTimes() journalTimes {
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "ringstore", Subsystem: "journal", Name: name, Help: help,
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		})
	}
	return journalTimes{
		appends: histogram("append_duration_seconds", "Time from a batch's record to its acknowledgement by the journal."),
		fsyncs:  histogram("fsync_duration_seconds", "Time of the journal's fsyncs."),
	}
}

// Appended implements [journal.Observer].
func (t journalTimes) Appended(took time.Duration) { t.appends.Observe(took.Seconds()) }

// Synced implements [journal.Observer].
func (t journalTimes) Synced(took time.Duration) { t.fsyncs.Observe(took.Seconds()) }

// Describe implements [prometheus.Collector].
func (t journalTimes) Describe(ch chan<- *prometheus.Desc) {
	t.appends.Describe(ch)
	t.fsyncs.Describe(ch)
}

// Collect implements [prometheus.Collector].
func (t journalTimes) Collect(ch chan<- prometheus.Metric) {
	t.appends.Collect(ch)
	t.fsyncs.Collect(ch)
}

// archiveCollector returns the metrics of the journal, of checkpoints, of archiving, and of the clock.
func archiveCollector(a *archive.Archive) prometheus.Collector {
	type status = archive.Status
	all := []statMetric[status]{
		gauge("journal_available", "1 while the journal accepts records, 0 while starting or while the disk fails.",
			func(s status) float64 { return boolToFloat(s.Journal.Available) }),
		counter("journal_failures_total", "How often the journal stopped accepting records.",
			func(s status) float64 { return float64(s.Journal.Failures) }),
		gauge("journal_segments", "Files of the journal.", func(s status) float64 { return float64(s.Journal.Segments) }),
		gauge("journal_bytes", "Bytes of the journal: a start replays them, the next checkpoint drops them.",
			func(s status) float64 { return float64(s.Journal.Bytes) }),
		gauge("journal_unsynced_bytes", "The journal's lag: acknowledged bytes that are not synced yet.",
			func(s status) float64 { return float64(s.Journal.Unsynced) }),
		gauge("clock_ahead_seconds", "Seconds that the clock is ahead of the time by which samples are deleted and archived, until that is confirmed.",
			func(s status) float64 { return s.Clock.Ahead.Seconds() }),
	}
	const problems, help, kind = "restore_problems_total", "What the start found in the checkpoint directory, by kind: damaged places, files that do not belong or are missing, and parts of files that cannot be read.", "kind"
	all = append(all,
		counter(problems, help, func(s status) float64 { return float64(s.Restored.Damaged) }, kind, "damaged"),
		counter(problems, help, func(s status) float64 { return float64(s.Restored.Foreign) }, kind, "foreign"),
		counter(problems, help, func(s status) float64 { return float64(s.Restored.Missing) }, kind, "missing"),
		counter(problems, help, func(s status) float64 { return float64(s.Restored.Unreadable) }, kind, "unreadable"),
		counter("restore_dropped_samples_total", "Samples on disk that the start could not store.",
			func(s status) float64 { return float64(s.Restored.Dropped) }),
		counter("restore_lost_samples_total", "Samples in the journal that the start could not assign, because records that name their series are damaged.",
			func(s status) float64 { return float64(s.Restored.Lost) }))
	all = append(all, runMetrics("checkpoint", func(s status) archive.Runs { return s.Checkpoints })...)
	all = append(all, runMetrics("archive",
		func(s status) archive.Runs { return s.Cleanups })...)
	return statsCollector[status]{a.Status, all}
}

// runMetrics returns the metrics of a task that runs at intervals.
func runMetrics(task string, of func(archive.Status) archive.Runs) []statMetric[archive.Status] {
	value := func(f func(archive.Runs) float64) func(archive.Status) float64 {
		return func(s archive.Status) float64 { return f(of(s)) }
	}
	const outcome, runs = "outcome", "_runs_total"
	help := "How many " + task + " runs ended, by outcome."
	return []statMetric[archive.Status]{
		counter(task+runs, help, value(func(r archive.Runs) float64 { return float64(r.Done) }), outcome, "success"),
		counter(task+runs, help, value(func(r archive.Runs) float64 { return float64(r.Failed) }), outcome, "failure"),
		counter(task+"_bytes_total", "Bytes of files written by "+task+" runs.",
			value(func(r archive.Runs) float64 { return float64(r.Bytes) })),
		counter(task+"_duration_seconds_total", "Seconds spent in "+task+" runs.",
			value(func(r archive.Runs) float64 { return r.Took.Seconds() })),
		gauge(task+"_last_duration_seconds", "Seconds that the last successful "+task+" run took; 0 if there was none since the start.",
			value(func(r archive.Runs) float64 { return r.LastTook.Seconds() })),
		gauge(task+"_last_bytes", "Bytes written by the last successful "+task+" run.",
			value(func(r archive.Runs) float64 { return float64(r.LastBytes) })),
		gauge(task+"_last_success_timestamp_seconds", "When the last successful "+task+" run ended, in Unix seconds; 0 if there was none.",
			value(func(r archive.Runs) float64 { return unixSeconds(r.LastDone) })),
	}
}

// unixSeconds returns a time in Unix seconds, 0 for the zero time.
func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
