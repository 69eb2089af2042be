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
	lines   []int         // of the samples
	raw     [][]byte      // their keys, until the series are found
	fields  [][]byte      // their fields' names, if the dialect has such
	keys    []fingerprint // the same, as the cache knows them
	marks   []mark        // what the cache said of them
	odd     bool          // some are not plain
	seen    map[moment]struct{}

	rejected [causes]int // lines
}

// mark is what the cache knows of a line's key, apart from the series.
type mark uint8

const (
	plain     mark = iota
	missing        // nothing, or a series that has left the store
	unknown        // that its metric is not configured
	shared         // that keys with other ignored tags lead to the series too
	forbidden      // a series that the sender may not write to
)

// moment is the place of a sample whose series has several spellings.
type moment struct {
	series *memstore.Series
	time   int64
}

// store parses and stores a piece that ends with a line, and returns how many
// lines it had. They are numbered from first+1 on.
func (g *Ingester) store(ctx context.Context, src Source, c *chunk, piece []byte, first int, report *Report) (int, error) {
	before := *report
	defer func() {
		g.counters.count(src.Transport, before, *report, c, len(piece))
		c.reset()
	}()

	g.scan(src, c, piece, first, report)
	g.lookUp(c)
	if src.May != nil {
		c.forbid(src, report)
	}
	if c.odd {
		if err := g.resolve(src, c, report); err != nil {
			return 0, fmt.Errorf("storing: %w", err)
		}
		c.dropUnresolved()
	}
	refused, err := g.Writer.Write(ctx, c.samples)
	if err != nil {
		return 0, fmt.Errorf("storing: %w", err)
	}
	for _, r := range refused {
		c.reject(report, c.lines[r.Index], causeOf(r.Reason), string(r.Reason))
	}
	report.Accepted += len(c.samples) - len(refused)
	return c.scanner.Lines(), nil
}

// scan makes a sample of each good line, its series still to be found.
func (g *Ingester) scan(src Source, c *chunk, piece []byte, first int, report *Report) {
	cluster := g.cache.hasher.cluster(src.Cluster)
	now := g.Now().UnixMilli()
	c.scanner.ResetTo(src.Dialect, piece)
	for {
		var l lineprotocol.Line
		ok, err := c.scanner.Next(&l)
		if !ok {
			return
		}
		if err != nil {
			c.reject(report, first+l.Number, malformed, reason(err))
			continue
		}
		if !l.HasTime {
			l.Time = now
		}
		c.samples = append(c.samples, memstore.Sample{Time: l.Time, Value: l.Value})
		c.lines = append(c.lines, first+l.Number)
		c.raw = append(c.raw, l.Key)
		key := g.cache.hasher.fingerprint(cluster, l.Key)
		if src.Dialect.EachField {
			key = g.cache.hasher.field(key, l.Field)
			c.fields = append(c.fields, l.Field)
		}
		c.keys = append(c.keys, key)
	}
}

// lookUp finds the series in the cache. Its loops do nothing else: so short,
// they let the processor wait for many places of memory at once, and waiting is
// most of what finding a series costs.
func (g *Ingester) lookUp(c *chunk) {
	c.marks = slices.Grow(c.marks[:0], len(c.keys))[:len(c.keys)]
	c.odd = false
	g.cache.mu.RLock()
	for i, key := range c.keys {
		c.marks[i] = missing
		if e := g.cache.table.find(key); e != nil {
			c.samples[i].Series, c.marks[i] = e.series, e.mark
		}
	}
	g.cache.mu.RUnlock()
	for i := range c.samples {
		if sr := c.samples[i].Series; sr != nil && sr.Gone() {
			c.samples[i].Series, c.marks[i] = nil, missing
		}
		c.odd = c.odd || c.marks[i] != plain
	}
}

// forbid takes away the series of clusters that the sender may not write to. A
// batch has few clusters, mostly one.
func (c *chunk) forbid(src Source, report *Report) {
	var cluster string
	may := false
	for i := range c.samples {
		sr := c.samples[i].Series
		if sr == nil {
			continue
		}
		if name := sr.Cluster(); name != cluster {
			cluster, may = name, src.May(name)
		}
		if !may {
			c.samples[i].Series, c.marks[i], c.odd = nil, forbidden, true
			report.Forbidden++
			c.reject(report, c.lines[i], forbiddenCluster, reason(errForbidden))
		}
	}
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

// resolve finds the series of the keys that are new, and counts the lines that
// have none, or have a twin. The error is [memstore.ErrMemory].
func (g *Ingester) resolve(src Source, c *chunk, report *Report) error {
	for i, m := range c.marks {
		switch m {
		case unknown:
			report.Unknown++
		case missing:
			series, err := g.series(src, c.keys[i], c.raw[i], c.field(i))
			switch {
			case errors.Is(err, memstore.ErrMemory):
				return err // no fault of the line
			case err == errForbidden:
				report.Forbidden++
				c.reject(report, c.lines[i], forbiddenCluster, reason(err))
			case err != nil:
				c.reject(report, c.lines[i], causeOfError(err), reason(err))
			case series == nil:
				report.Unknown++
			}
			c.samples[i].Series = series
		}
	}
	// Only now is it known of the new ones which series have several spellings.
	for i, m := range c.marks {
		if m == missing {
			e, _ := g.cache.get(c.keys[i])
			m = e.mark
		}
		if m == shared && c.samples[i].Series != nil {
			c.notice(moment{c.samples[i].Series, c.samples[i].Time}, report)
		}
	}
	return nil
}

// field returns the name of a sample's field, nil if it is part of no metric's name.
func (c *chunk) field(i int) []byte {
	if len(c.fields) == 0 {
		return nil
	}
	return c.fields[i]
}

// dropUnresolved closes the gaps that lines without a series left.
func (c *chunk) dropUnresolved() {
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
	clear(c.raw)
	clear(c.fields)
	clear(c.seen)
	c.samples, c.lines, c.raw, c.fields, c.keys = c.samples[:0], c.lines[:0], c.raw[:0], c.fields[:0], c.keys[:0]
	c.rejected = [causes]int{}
	c.scanner.Reset(nil)
}

// reject reports a line, and notes for the counters why.
func (c *chunk) reject(report *Report, line int, why cause, reason string) {
	c.rejected[why]++
	report.reject(line, reason)
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
