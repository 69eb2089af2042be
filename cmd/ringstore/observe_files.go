package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/archive"
)

// journalTimes shows how long the journal's work took. It is a [journal.Observer].
type journalTimes struct{ appends, fsyncs prometheus.Histogram }

func newJournalTimes() journalTimes {
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "ringstore", Subsystem: "journal", Name: name, Help: help,
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		})
	}
	return journalTimes{
		appends: histogram("append_duration_seconds", "From a batch's record to its acknowledgement by the journal."),
		fsyncs:  histogram("fsync_duration_seconds", "Of the journal's fsyncs."),
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

// archiveFigures are those of the journal and of what is done to the files.
func archiveFigures(a *archive.Archive) prometheus.Collector {
	type status = archive.Status
	all := []figure[status]{
		gaugeOf("journal_available", "1 while the journal takes records, 0 while starting or while the disk does not.",
			func(s status) float64 { return truth(s.Journal.Available) }),
		counterOf("journal_failures_total", "How often the journal stopped to take records.",
			func(s status) float64 { return float64(s.Journal.Failures) }),
		gaugeOf("journal_segments", "Files of the journal.", func(s status) float64 { return float64(s.Journal.Segments) }),
		gaugeOf("journal_bytes", "Bytes of the journal: what a start has to replay, and the next checkpoint drops.",
			func(s status) float64 { return float64(s.Journal.Bytes) }),
		gaugeOf("journal_unsynced_bytes", "The journal's lag: bytes that were acknowledged and are not synced yet.",
			func(s status) float64 { return float64(s.Journal.Unsynced) }),
	}
	all = append(all, runFigures("checkpoint", "checkpoints", func(s status) archive.Runs { return s.Checkpoints })...)
	all = append(all, runFigures("archive", "runs that archive, or drop, what has left the retention",
		func(s status) archive.Runs { return s.Cleanups })...)
	return figures[status]{a.Status, all}
}

// runFigures are those of a kind of work that is done now and then.
func runFigures(name, what string, of func(archive.Status) archive.Runs) []figure[archive.Status] {
	value := func(f func(archive.Runs) float64) func(archive.Status) float64 {
		return func(w archive.Status) float64 { return f(of(w)) }
	}
	const outcome, runs = "outcome", "_runs_total"
	help := "How many " + what + " ended, by outcome."
	return []figure[archive.Status]{
		counterOf(name+runs, help, value(func(r archive.Runs) float64 { return float64(r.Done) }), outcome, "success"),
		counterOf(name+runs, help, value(func(r archive.Runs) float64 { return float64(r.Failed) }), outcome, "failure"),
		counterOf(name+"_bytes_total", "Bytes of files that were written by "+what+".",
			value(func(r archive.Runs) float64 { return float64(r.Bytes) })),
		counterOf(name+"_duration_seconds_total", "Seconds spent on "+what+".",
			value(func(r archive.Runs) float64 { return r.Took.Seconds() })),
		gaugeOf(name+"_last_duration_seconds", "Seconds that the last success of "+what+" took; 0 if there is none since the start.",
			value(func(r archive.Runs) float64 { return r.LastTook.Seconds() })),
		gaugeOf(name+"_last_bytes", "Bytes that the last success of "+what+" wrote.",
			value(func(r archive.Runs) float64 { return float64(r.LastBytes) })),
		gaugeOf(name+"_last_success_timestamp_seconds", "When the last success of "+what+" ended, in Unix seconds; 0 if there is none.",
			value(func(r archive.Runs) float64 { return unixSeconds(r.LastDone) })),
	}
}

// unixSeconds is 0 for the zero time.
func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
