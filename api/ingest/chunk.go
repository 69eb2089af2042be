package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

// chunk is what one call needs while it works on a piece of a batch.
type chunk struct {
	buf     []byte
	scanner lineprotocol.Scanner
	samples []memstore.Sample
	lines   []int // of the samples
	misses  []miss
	seen    map[moment]struct{}
}

// miss is a line whose key was not in the cache.
type miss struct {
	key    []byte
	sample int // its index among the samples
}

// moment is the place of a sample whose series has several spellings.
type moment struct {
	series *memstore.Series
	time   int64
}

// store parses and stores a piece that ends with a line, and returns how many
// lines it had. They are numbered from first+1 on.
func (g *Ingester) store(ctx context.Context, src Source, c *chunk, piece []byte, first int, report *Report) (int, error) {
	before := *report
	defer func() { g.counters.count(src.Transport, before, *report) }()
	defer c.reset()

	g.scan(src, c, piece, first, report)
	g.resolve(src, c, report)
	c.dropUnresolved()
	refused, err := g.Writer.Write(ctx, c.samples)
	if err != nil {
		return 0, fmt.Errorf("storing: %w", err)
	}
	for _, r := range refused {
		report.reject(c.lines[r.Index], string(r.Reason))
	}
	report.Accepted += len(c.samples) - len(refused)
	return c.scanner.Lines(), nil
}

// scan makes a sample of each good line and looks its series up in the cache.
func (g *Ingester) scan(src Source, c *chunk, piece []byte, first int, report *Report) {
	g.cache.mu.RLock()
	defer g.cache.mu.RUnlock()
	entries := g.cache.clusters[src.Cluster]
	now := g.Now().UnixMilli()
	c.scanner.Reset(piece)
	for {
		var l lineprotocol.Line
		ok, err := c.scanner.Next(&l)
		if !ok {
			return
		}
		if err != nil {
			report.reject(first+l.Number, reason(err))
			continue
		}
		if !l.HasTime {
			l.Time = now
		}
		e := entries[string(l.Key)]
		switch {
		case e == nil || e.stale():
			c.misses = append(c.misses, miss{l.Key, len(c.samples)})
			c.add(nil, l, first)
		case e.series == nil:
			report.Unknown++
		default:
			if e.shared {
				c.notice(moment{e.series, l.Time}, report)
			}
			c.add(e.series, l, first)
		}
	}
}

func (c *chunk) add(series *memstore.Series, l lineprotocol.Line, first int) {
	c.samples = append(c.samples, memstore.Sample{Series: series, Time: l.Time, Value: l.Value})
	c.lines = append(c.lines, first+l.Number)
}

// notice counts a line of a series with several spellings if another one had
// the same moment.
func (c *chunk) notice(m moment, report *Report) {
	if _, twice := c.seen[m]; twice {
		report.Duplicates++
		return
	}
	if c.seen == nil {
		c.seen = make(map[moment]struct{})
	}
	c.seen[m] = struct{}{}
}

// resolve finds the series of the lines whose keys are new.
func (g *Ingester) resolve(src Source, c *chunk, report *Report) {
	for _, m := range c.misses {
		series, err := g.series(src.Cluster, m.key)
		switch {
		case err != nil:
			report.reject(c.lines[m.sample], reason(err))
		case series == nil:
			report.Unknown++
		default:
			c.samples[m.sample].Series = series
		}
	}
	// Only now is it known which series have several spellings.
	for _, m := range c.misses {
		s := c.samples[m.sample]
		if e, ok := g.cache.get(src.Cluster, m.key); ok && e.shared {
			c.notice(moment{s.Series, s.Time}, report)
		}
	}
}

// dropUnresolved closes the gaps that lines without a series left.
func (c *chunk) dropUnresolved() {
	if len(c.misses) == 0 {
		return
	}
	kept := 0
	for i, s := range c.samples {
		if s.Series != nil {
			c.samples[kept], c.lines[kept] = s, c.lines[i]
			kept++
		}
	}
	c.samples, c.lines = c.samples[:kept], c.lines[:kept]
}

// reset forgets what the piece left, so that a pooled chunk holds on to nothing.
func (c *chunk) reset() {
	clear(c.samples[:cap(c.samples)])
	clear(c.misses)
	clear(c.seen)
	c.samples, c.lines, c.misses = c.samples[:0], c.lines[:0], c.misses[:0]
	c.scanner.Reset(nil)
}

func (r *Report) reject(line int, reason string) {
	r.RejectedTotal++
	if len(r.Rejected) < reportedLines {
		r.Rejected = append(r.Rejected, Rejected{line, reason})
		return
	}
	// New keys are resolved after the scan: keep the lowest numbers.
	last := slices.MaxFunc(r.Rejected, func(a, b Rejected) int { return a.Line - b.Line })
	if line < last.Line {
		r.Rejected[slices.Index(r.Rejected, last)] = Rejected{line, reason}
	}
}

// reason words an error of a line for the client.
func reason(err error) string {
	if bad, ok := errors.AsType[*lineprotocol.LineError](err); ok {
		return bad.Reason
	}
	return err.Error()
}
