// Package ingest stores batches of line protocol: it scans a batch, finds the series of each line,
// and hands the samples to a Writer. The transports (REST, NATS) supply the bytes and their source,
// and have already checked that the sender may write at all.
//
// A cache finds a series by the unparsed bytes of its key, which stand before the value. A key is
// parsed only when it is new.
package ingest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

// Writer stores samples and returns those that it refused, in the order of the batch. After an
// error nothing of the batch may be acknowledged. A Writer must not keep the batch.
type Writer interface {
	WriteFrom(ctx context.Context, from memstore.Origin, batch []memstore.Sample) ([]memstore.Refusal, error)
}

// Store finds or creates the series of a key.
type Store interface {
	Series(memstore.Key) (*memstore.Series, error)
	HasMetric(name string) bool // reports whether a metric is configured
	Refuses(metric string, time int64, value float64) memstore.RefusalReason
	AddMemory(n int64) // to the memory accounting
	Departed() int64   // counts series that have left the store
}

// Options of an [Ingester]. Store and Writer are required.
type Options struct {
	Store      Store
	Writer     Writer
	ExtraTags  map[string][]string   // by metric: more tags that identify a series
	Aliases    map[string]string     // metrics by another name that lines use for them
	Now        func() time.Time      // for lines without a timestamp; nil means time.Now
	Registerer prometheus.Registerer // for the counters; nil means none
	CacheBytes int64                 // of the cache of series; default 1 GiB
	Log        *slog.Logger          // of ignored tags that make lines replace each other; nil means none
}

// Source describes where a batch comes from.
type Source struct {
	Cluster   string // of lines without a cluster tag; empty: such lines are rejected
	Transport string // a label of the counters, "http" or "nats"
	// Dialect of the lines. With EachField a metric is named measurement_field, or measurement if
	// the field is named "value".
	Dialect lineprotocol.Dialect
	// May reports whether the sender may write to a cluster; nil: to all. Lines of other clusters
	// are rejected.
	May func(cluster string) bool
	// Origin is the message of a stream that the batch is; zero: none.
	Origin memstore.Origin
	// ListUnconfigured asks for the names in [Report.Unconfigured].
	ListUnconfigured bool
}

func (s Source) may(cluster string) bool { return s.May == nil || s.May(cluster) }

// Report is the result of a batch.
type Report struct {
	Accepted      int        // samples stored
	Rejected      []Rejected // the first 100 rejected lines
	RejectedTotal int        // all rejected lines
	Forbidden     int        // rejected lines of a cluster that the sender may not write to
	Future        int        // rejected lines whose timestamp is too far in the future
	Unknown       int        // skipped lines of metrics that are not configured; not an error
	Duplicates    int        // lines that differ from another only in value and ignored tags
	Unconfigured  []string   // the first 100 metrics of the lines in Unknown, if the source asks for them
}

// Rejected is a line that was not stored, and why.
type Rejected struct {
	Line   int    `json:"line"` // from 1
	Reason string `json:"reason"`
}

const (
	maxReported = 100       // lines, and metrics that are not configured
	chunkBytes  = 128 << 10 // read at a time; must be longer than lineprotocol.MaxLine
)

// maxUnusable is how many lines of a batch may be empty, comments or malformed, beyond as many as are
// well-formed. They compress to almost nothing and would cost as much work as samples.
const maxUnusable = 64 << 10

// ErrUnusable says that a batch had too many unusable lines, and that the rest of it was not read.
var ErrUnusable = fmt.Errorf("the rest of the batch is ignored: more than %d lines are empty, comments or malformed", maxUnusable)

// byteOrderMark is UTF-8's, which some editors and PowerShell put before a text. It is no part of
// the first line.
const byteOrderMark = "\ufeff"

// Ingester stores batches. It is safe for concurrent use.
type Ingester struct {
	Options
	cache    seriesCache
	chunks   sync.Pool // of *chunk
	counters counters
	ignored  ignoredTags
}

// New returns an ingester.
func New(o Options) *Ingester {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Ingester{
		Options:  o,
		cache:    newCache(cmp.Or(o.CacheBytes, defaultCacheBytes), o.Store.AddMemory),
		chunks:   sync.Pool{New: func() any { return new(chunk) }},
		counters: newCounters(o.Registerer),
		ignored:  ignoredTags{log: o.Log},
	}
}

// Batch stores one batch that is in memory, without a byte order mark at its start. The error is the
// Writer's or [memstore.ErrMemory]; then nothing may be acknowledged. It is [ErrUnusable] if only the
// beginning was stored.
func (g *Ingester) Batch(ctx context.Context, src Source, batch []byte) (Report, error) {
	g.counters.forTransport(src.Transport).batches.Inc()
	var report Report
	c := g.chunk()
	defer g.chunks.Put(c)
	batch = bytes.TrimPrefix(batch, []byte(byteOrderMark))
	for line := 0; len(batch) > 0; {
		var piece []byte
		piece, batch = cutPiece(batch)
		n, err := g.store(ctx, src, c, piece, line, &report)
		if err != nil {
			return report, err
		}
		line += n
	}
	return report, nil
}

// Stream is like Batch, but stores the batch while reading it, in bounded memory. The error is that
// of r or of the Writer, [memstore.ErrMemory] or [ErrUnusable]; the report then covers what was stored before.
func (g *Ingester) Stream(ctx context.Context, src Source, r io.Reader) (Report, error) {
	g.counters.forTransport(src.Transport).batches.Inc()
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

// sweepInterval is the time between two sweeps of the cache.
const sweepInterval = 15 * time.Second

// Run releases what the cache holds of series that have left the store, until ctx ends.
func (g *Ingester) Run(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	departed := int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n := g.Store.Departed(); n != departed {
			departed = n
			g.cache.sweep()
		}
	}
}

func (g *Ingester) chunk() *chunk {
	c := g.chunks.Get().(*chunk)
	c.usable, c.unusable = 0, 0
	return c
}
