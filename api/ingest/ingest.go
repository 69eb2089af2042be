// Package ingest takes batches of line protocol from any door to the store:
// it splits them, finds the series of each line, and hands the samples on. The
// doors (REST, NATS) bring the bytes and say where these come from; whether
// the sender may write at all was decided before.
//
// A series is found by the bytes of its line before the value, as they came:
// these are parsed only when they are seen for the first time.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

// Writer stores samples. What it refuses it names, in the order of the batch;
// an error means that nothing of the batch may be acknowledged. It must not
// keep the batch.
type Writer interface {
	Write(ctx context.Context, batch []memstore.Sample) ([]memstore.Refusal, error)
}

// Store finds the series of a key or makes it.
type Store interface {
	Series(memstore.Key) (*memstore.Series, error)
}

// Options of an [Ingester]. Store and Writer are required.
type Options struct {
	Store      Store
	Writer     Writer
	ExtraTags  map[string][]string   // per metric: tags that keep series apart, beside the usual
	Aliases    map[string]string     // of metrics: what a name that lines use stands for
	Now        func() time.Time      // for lines without a timestamp; nil means time.Now
	Registerer prometheus.Registerer // for the counters; nil means none
}

// Source says where a batch comes from.
type Source struct {
	Cluster   string // of lines that name none; empty if they have to
	Transport string // "http" or "nats", for the counters; they are few
	// Dialect of the lines. One that gives each field names the metric after both,
	// measurement_field, but a field named "value" by its measurement alone.
	Dialect lineprotocol.Dialect
	// May tells whether the sender may write to a cluster; nil: to all. A line of
	// another one is rejected.
	May func(cluster string) bool
}

func (s Source) may(cluster string) bool { return s.May == nil || s.May(cluster) }

// Report says what became of a batch.
type Report struct {
	Accepted      int        // samples stored
	Rejected      []Rejected // the first 100 lines that were not
	RejectedTotal int        // and how many there were
	Forbidden     int        // those of them that were of a cluster that the sender may not write to
	Unknown       int        // lines of metrics that are not configured, which is no error
	Duplicates    int        // lines on the series and moment of another, apart only by ignored tags
}

// Rejected is a line that was not stored, and why.
type Rejected struct {
	Line   int    `json:"line"` // from 1
	Reason string `json:"reason"`
}

const (
	reportedLines = 100
	chunkBytes    = 128 << 10 // read at a time; longer than any line that is allowed
)

// Ingester stores batches. Its methods may be called by many goroutines.
type Ingester struct {
	Options
	cache    seriesCache
	chunks   sync.Pool // of *chunk
	counters counters
}

// New returns an ingester.
func New(o Options) *Ingester {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Ingester{
		Options:  o,
		cache:    newCache(),
		chunks:   sync.Pool{New: func() any { return new(chunk) }},
		counters: newCounters(o.Registerer),
	}
}

// Batch stores one batch that is in memory. The error is the Writer's, or
// [memstore.ErrMemory]: then nothing may be acknowledged.
func (g *Ingester) Batch(ctx context.Context, src Source, batch []byte) (Report, error) {
	g.counters.of(src.Transport).batches.Inc()
	var report Report
	c := g.chunk()
	defer g.chunks.Put(c)
	for line := 0; len(batch) > 0; {
		part := batch
		if len(part) > chunkBytes {
			if complete, _ := lineprotocol.Cut(part[:chunkBytes]); len(complete) > 0 {
				part = complete
			}
		}
		n, err := g.store(ctx, src, c, part, line, &report)
		if err != nil {
			return report, err
		}
		batch, line = batch[len(part):], line+n
	}
	return report, nil
}

// Stream stores a batch while it is read, in bounded memory. The error is r's
// or the Writer's; the report tells what had been stored until then.
func (g *Ingester) Stream(ctx context.Context, src Source, r io.Reader) (Report, error) {
	g.counters.of(src.Transport).batches.Inc()
	var report Report
	c := g.chunk()
	defer g.chunks.Put(c)
	if c.buf == nil {
		c.buf = make([]byte, chunkBytes)
	}
	in := pieces{r: r, buf: c.buf}
	for line := 0; ; {
		piece, err := in.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return report, nil
			}
			return report, fmt.Errorf("reading the batch: %w", err)
		}
		n, err := g.store(ctx, src, c, piece, line, &report)
		if err != nil {
			return report, err
		}
		line += n
	}
}

func (g *Ingester) chunk() *chunk { return g.chunks.Get().(*chunk) }
