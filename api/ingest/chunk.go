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
	strip   strip
	seen    map[moment]struct{}

	rejected [causes]int // lines
}

// strip is what is known of some samples in a row until their series are found:
// so few that it stays in the processor's cache.
type strip struct {
	samples []memstore.Sample // a part of the chunk's, as are their
	lines   []int
	raw     [stripLines][]byte      // keys
	fields  [stripLines][]byte      // fields' names, if the dialect has such
	keys    [stripLines]fingerprint // both, as the cache knows them
	marks   [stripLines]mark        // what the cache said of them
	odd     bool                    // some are not plain

	prefetched uint64
}

const stripLines = 256

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

	c.scanner.ResetTo(src.Dialect, piece)
	for more := true; more; {
		more = g.scan(src, c, first, report)
		if err := g.findSeries(src, c, report); err != nil {
			return 0, fmt.Errorf("storing: %w", err)
		}
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

// scan makes a sample of each good line of the next strip, its series still to be
// found, and tells whether there may be more lines.
func (g *Ingester) scan(src Source, c *chunk, first int, report *Report) (more bool) {
	cluster := g.cache.hasher.cluster(src.Cluster)
	now := g.Now().UnixMilli()
	begin := len(c.samples)
	var l lineprotocol.Line
	for n := 0; n < stripLines; {
		ok, err := c.scanner.Next(&l)
		if !ok {
			break
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
		key := g.cache.hasher.fingerprint(cluster, l.Key)
		if src.Dialect.EachField {
			key = g.cache.hasher.field(key, l.Field)
		}
		c.strip.raw[n], c.strip.fields[n], c.strip.keys[n] = l.Key, l.Field, key
		n++
	}
	c.strip.samples, c.strip.lines = c.samples[begin:], c.lines[begin:]
	return len(c.strip.samples) == stripLines
}

// findSeries gives the strip's samples their series, and drops those that have none.
// The error is [memstore.ErrMemory].
func (g *Ingester) findSeries(src Source, c *chunk, report *Report) error {
	g.lookUp(&c.strip)
	if src.May != nil {
		c.forbid(src, report)
	}
	if !c.strip.odd {
		return nil
	}
	if err := g.resolve(src, c, report); err != nil {
		return err
	}
	c.dropUnresolved()
	return nil
}

// lookUp finds the series in the cache. Its loops do nothing else: so short,
// they let the processor wait for many places of memory at once, and waiting is
// most of what finding a series costs.
func (g *Ingester) lookUp(s *strip) {
	s.odd = false
	g.cache.mu.RLock()
	s.prefetched = g.cache.table.prefetch(s.keys[:len(s.samples)])
	for i := range s.samples {
		s.marks[i] = missing
		if known := g.cache.table.find(s.keys[i]); known != nil {
			s.samples[i].Series, s.marks[i] = known.series, known.mark()
		}
	}
	g.cache.mu.RUnlock()
	for i := range s.samples {
		if sr := s.samples[i].Series; sr != nil && sr.Gone() {
			s.samples[i].Series, s.marks[i] = nil, missing
		}
		s.odd = s.odd || s.marks[i] != plain
	}
}

// forbid takes away the series of clusters that the sender may not write to. A
// batch has few clusters, mostly one.
func (c *chunk) forbid(src Source, report *Report) {
	var cluster string
	may := false
	s := &c.strip
	for i := range s.samples {
		sr := s.samples[i].Series
		if sr == nil {
			continue
		}
		if name := sr.Cluster(); name != cluster {
			cluster, may = name, src.May(name)
		}
		if !may {
			s.samples[i].Series, s.marks[i], s.odd = nil, forbidden, true
			report.Forbidden++
			c.reject(report, s.lines[i], forbiddenCluster, reason(errForbidden))
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
	s := &c.strip
	for i := range s.samples {
		switch s.marks[i] {
		case unknown:
			report.Unknown++
		case missing:
			series, err := g.series(src, s.keys[i], s.raw[i], s.fields[i])
			switch {
			case errors.Is(err, memstore.ErrMemory):
				return err // no fault of the line
			case err == errForbidden:
				report.Forbidden++
				c.reject(report, s.lines[i], forbiddenCluster, reason(err))
			case err != nil:
				c.reject(report, s.lines[i], causeOfError(err), reason(err))
			case series == nil:
				report.Unknown++
			}
			s.samples[i].Series = series
		}
	}
	// Only now is it known of the new ones which series have several spellings.
	for i, x := range s.samples {
		m := s.marks[i]
		if m == missing && x.Series != nil {
			if known, ok := g.cache.get(s.keys[i]); ok {
				m = known.mark()
			}
		}
		if m == shared {
			c.notice(moment{x.Series, x.Time}, report)
		}
	}
	return nil
}

// dropUnresolved closes the gaps that the strip's lines without a series left.
func (c *chunk) dropUnresolved() {
	s := &c.strip
	kept := 0
	for i, x := range s.samples {
		if x.Series != nil {
			s.samples[kept], s.lines[kept] = x, s.lines[i]
			kept++
		}
	}
	dropped := len(s.samples) - kept
	c.samples, c.lines = c.samples[:len(c.samples)-dropped], c.lines[:len(c.lines)-dropped]
}

// reset forgets what the piece left, so that a pooled chunk holds on to nothing.
func (c *chunk) reset() {
	clear(c.samples[:cap(c.samples)])
	clear(c.seen)
	c.samples, c.lines = c.samples[:0], c.lines[:0]
	c.strip = strip{}
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
