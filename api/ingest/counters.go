package ingest

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/memstore"
)

// cause is why a line was not stored, as the counters tell it: the report's
// reasons are for people, and may quote.
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

// causeNames are the values of the label.
var causeNames = [causes]string{
	malformed: "malformed", badName: "bad_name", overLimit: "limit", forbiddenCluster: "other_cluster",
	inFuture: "future", tooOld: "too_old", evicted: "evicted", notANumber: "not_a_number", unreadable: "unreadable",
}

// causeOf is that of a sample which the Writer refused.
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

// causeOfError is that of a line whose series cannot be.
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

// counters tell the world what was taken in, by transport.
type counters struct {
	samples, lines, batches, bytes, unknown, duplicates, rejected *prometheus.CounterVec

	tallies *sync.Map // by transport, *tally: so that a piece of a batch looks nothing up
}

// tally is the counters of a transport.
type tally struct {
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
		lines:      vec("lines_total", "Lines read, good or bad, comments and empty ones included."),
		batches:    vec("batches_total", "Batches begun: HTTP requests and NATS messages."),
		bytes:      vec("bytes_total", "Bytes of line protocol read, after decompression."),
		unknown:    vec("unknown_metric_lines_total", "Lines skipped because their metric is not configured."),
		duplicates: vec("duplicate_lines_total", "Lines that fell on the series and moment of another, apart only by ignored tags."),
		rejected:   vec("rejected_lines_total", "Lines that were not stored because something was wrong with them, by reason.", "reason"),
		tallies:    new(sync.Map),
	}
	for _, transport := range [...]string{"http", "nats"} { // they are there from the start
		c.of(transport)
	}
	return c
}

// of returns the counters of a transport.
func (c counters) of(transport string) *tally {
	if t, ok := c.tallies.Load(transport); ok {
		return t.(*tally)
	}
	t := &tally{
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
	c.tallies.Store(transport, t)
	return t
}

// count adds what a piece of a batch, of some bytes, changed in a report.
func (c counters) count(transport string, before, after Report, piece *chunk, bytes int) {
	t := c.of(transport)
	t.bytes.Add(float64(bytes))
	t.lines.Add(float64(piece.scanner.Lines()))
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
