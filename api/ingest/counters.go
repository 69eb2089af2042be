package ingest

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/memstore"
)

// cause is why a line was not stored, as a label value. The report's reasons are for people, and
// may quote the line.
type cause uint8

const (
	malformed cause = iota
	badName
	overLimit
	forbiddenCluster
	inFuture
	tooOld
	evicted
	notANumber
	unreadable
	causes int = iota
)

// causeNames are the values of the label "reason".
var causeNames = [causes]string{
	malformed: "malformed", badName: "bad_name", overLimit: "limit", forbiddenCluster: "other_cluster",
	inFuture: "future", tooOld: "too_old", evicted: "evicted", notANumber: "not_a_number", unreadable: "unreadable",
}

// causeOf returns the cause for a sample that the Writer refused.
func causeOf(r memstore.RefusalReason) cause {
	switch r {
	case memstore.RefusedFuture:
		return inFuture
	case memstore.RefusedOld:
		return tooOld
	case memstore.RefusedValue:
		return notANumber
	case memstore.RefusedEvicted:
		return evicted
	case memstore.RefusedUnreadable:
		return unreadable
	default:
		return overLimit
	}
}

// causeOfError returns the cause for a line whose series could not be created.
func causeOfError(err error) cause {
	switch {
	case errors.Is(err, memstore.ErrName):
		return badName
	case errors.Is(err, memstore.ErrLimit):
		return overLimit
	default:
		return malformed
	}
}

// counters are the Prometheus counters of ingestion, by transport.
type counters struct {
	samples, lines, batches, bytes, unknown, duplicates, rejected *prometheus.CounterVec

	byTransport *sync.Map // string to *transportCounters, which saves looking up labels
}

// transportCounters are the counters of one transport.
type transportCounters struct {
	samples, lines, batches, bytes, unknown, duplicates prometheus.Counter
	rejected                                            [causes]prometheus.Counter
}

func newCounters(r prometheus.Registerer) counters {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "ringstore", Subsystem: "ingest", Name: name, Help: help,
		}, append([]string{"transport"}, labels...))
		if r != nil {
			r.MustRegister(v)
		}
		return v
	}
	c := counters{
		samples:    vec("samples_total", "Samples stored."),
		lines:      vec("lines_total", "Lines read, good or bad, including comments and empty lines; of remote write, samples."),
		batches:    vec("batches_total", "Batches started: HTTP requests and NATS messages."),
		bytes:      vec("bytes_total", "Bytes of batches read, after decompression."),
		unknown:    vec("unknown_metric_lines_total", "Lines skipped because their metric is not configured."),
		duplicates: vec("duplicate_lines_total", "Lines with the series and time of another line, which differ from it only in ignored tags."),
		rejected:   vec("rejected_lines_total", "Lines rejected, by reason.", "reason"),

		byTransport: new(sync.Map),
	}
	for _, transport := range [...]string{"http", "nats"} { // exported as 0 before the first batch
		c.forTransport(transport)
	}
	return c
}

func (c counters) forTransport(transport string) *transportCounters {
	if t, ok := c.byTransport.Load(transport); ok {
		return t.(*transportCounters)
	}
	t := &transportCounters{
		samples:    c.samples.WithLabelValues(transport),
		lines:      c.lines.WithLabelValues(transport),
		batches:    c.batches.WithLabelValues(transport),
		bytes:      c.bytes.WithLabelValues(transport),
		unknown:    c.unknown.WithLabelValues(transport),
		duplicates: c.duplicates.WithLabelValues(transport),
	}
	for why, name := range causeNames {
		t.rejected[why] = c.rejected.WithLabelValues(transport, name)
	}
	c.byTransport.Store(transport, t)
	return t
}

// count adds one piece of a batch: its size in bytes and the change of the report.
func (c counters) count(transport string, before, after Report, piece *chunk, bytes int) {
	t := c.forTransport(transport)
	t.bytes.Add(float64(bytes))
	t.lines.Add(float64(piece.count()))
	t.samples.Add(float64(after.Accepted - before.Accepted))
	if n := after.Unknown - before.Unknown; n > 0 {
		t.unknown.Add(float64(n))
	}
	if n := after.Duplicates - before.Duplicates; n > 0 {
		t.duplicates.Add(float64(n))
	}
	if after.RejectedTotal == before.RejectedTotal {
		return
	}
	for why, n := range piece.rejected {
		t.rejected[why].Add(float64(n))
	}
}
