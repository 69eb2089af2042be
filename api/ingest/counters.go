package ingest

import "github.com/prometheus/client_golang/prometheus"

// counters tell the world what was taken in, by transport.
type counters struct {
	samples, rejected, unknown, duplicates *prometheus.CounterVec
}

func newCounters(r prometheus.Registerer) counters {
	vec := func(name, help string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "ringstore", Subsystem: "ingest", Name: name, Help: help,
		}, []string{"transport"})
		if r != nil {
			r.MustRegister(v)
		}
		return v
	}
	return counters{
		samples:    vec("samples_total", "Samples stored."),
		rejected:   vec("rejected_lines_total", "Lines that were not stored because something was wrong with them."),
		unknown:    vec("unknown_metric_lines_total", "Lines skipped because their metric is not configured."),
		duplicates: vec("duplicate_lines_total", "Lines that fell on the series and moment of another, apart only by ignored tags."),
	}
}

// count adds what a piece changed in a report.
func (c counters) count(transport string, before, after Report) {
	c.samples.WithLabelValues(transport).Add(float64(after.Accepted - before.Accepted))
	c.rejected.WithLabelValues(transport).Add(float64(after.RejectedTotal - before.RejectedTotal))
	c.unknown.WithLabelValues(transport).Add(float64(after.Unknown - before.Unknown))
	c.duplicates.WithLabelValues(transport).Add(float64(after.Duplicates - before.Duplicates))
}
