package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ringstore/ringstore/api/ingest/prefetch"
	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

// chunk is what one call needs while it works on a piece of a batch.
type chunk struct {
	buf     []byte
	scanner lineprotocol.Scanner
	cluster fingerprint // of lines that name none
	now     int64       // of lines that have no timestamp, Unix milliseconds
	strips  [2]strip
	samples []memstore.Sample
	lines   []int // of the samples
	seen    map[moment]struct{}

	rejected [causes]int // lines
}

// strip is some lines in a row, few enough to stay in the processor's cache, on
// their way to be samples of a series. What is known of each stands at its index.
type strip struct {
	n       int
	samples [stripLines]memstore.Sample // the series may not be known yet
	lines   [stripLines]int
	raw     [stripLines][]byte      // keys
	fields  [stripLines][]byte      // fields' names, if the dialect has such
	keys    [stripLines]fingerprint // both, as the cache knows them
	marks   [stripLines]mark        // what the cache said of them
}

const stripLines = 64

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
	c.cluster, c.now = g.cache.hasher.cluster(src.Cluster), g.Now().UnixMilli()
	// The series of a strip are on their way out of memory while the next is scanned.
	now, last := &c.strips[0], &c.strips[1]
	for more := true; more || last.n > 0; now, last = last, now {
		more = g.scan(src, c, now, first, report)
		g.lookUp(now)
		if err := g.finish(src, c, last, report); err != nil {
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

// scan makes samples of the good lines that come next, and tells whether there may
// be more. Of their series it knows the keys, and prepares to look for them.
func (g *Ingester) scan(src Source, c *chunk, s *strip, first int, report *Report) (more bool) {
	places := g.cache.places()
	var l lineprotocol.Line
	for s.n = 0; s.n < stripLines; {
		ok, err := c.scanner.Next(&l)
		if !ok {
			return false
		}
		if err != nil {
			c.reject(report, first+l.Number, malformed, reason(err))
			continue
		}
		if !l.HasTime {
			l.Time = c.now
		}
		key := g.cache.hasher.fingerprint(c.cluster, l.Key)
		if src.Dialect.EachField {
			key = g.cache.hasher.field(key, l.Field)
		}
		places.prefetch(key)
		i := s.n
		s.samples[i] = memstore.Sample{Time: l.Time, Value: l.Value}
		s.lines[i], s.raw[i], s.fields[i], s.keys[i] = first+l.Number, l.Key, l.Field, key
		s.n++
	}
	return true
}

// lookUp finds the strip's series in the cache, and prepares to read them.
func (g *Ingester) lookUp(s *strip) {
	g.cache.mu.RLock()
	defer g.cache.mu.RUnlock()
	for i, key := range s.keys[:s.n] {
		s.marks[i] = missing
		if known := g.cache.table.find(key); known != nil {
			prefetch.Line(known.series)
			s.samples[i].Series, s.marks[i] = known.series, known.mark()
		}
	}
}

// finish adds those lines of a strip to the samples that have a series, finds the
// series that are new to the cache, and counts the lines that have none. The error
// is [memstore.ErrMemory].
func (g *Ingester) finish(src Source, c *chunk, s *strip, report *Report) error {
	odd := false // some are not plain
	for i := range s.n {
		if sr := s.samples[i].Series; sr != nil && sr.Gone() {
			s.samples[i].Series, s.marks[i] = nil, missing
		}
		odd = odd || s.marks[i] != plain
	}
	if src.May != nil {
		odd = c.forbid(src, s, report) || odd
	}
	if !odd {
		c.samples, c.lines = append(c.samples, s.samples[:s.n]...), append(c.lines, s.lines[:s.n]...)
		return nil
	}
	if err := g.resolve(src, c, s, report); err != nil {
		return err
	}
	for i, x := range s.samples[:s.n] {
		if x.Series != nil {
			c.samples, c.lines = append(c.samples, x), append(c.lines, s.lines[i])
		}
	}
	return nil
}

// forbid takes away the series of clusters that the sender may not write to, and
// tells whether there are any. A batch has few clusters, mostly one.
func (c *chunk) forbid(src Source, s *strip, report *Report) (some bool) {
	var cluster string
	may := false
	for i := range s.n {
		sr := s.samples[i].Series
		if sr == nil {
			continue
		}
		if name := sr.Cluster(); name != cluster {
			cluster, may = name, src.May(name)
		}
		if !may {
			s.samples[i].Series, s.marks[i], some = nil, forbidden, true
			report.Forbidden++
			c.reject(report, s.lines[i], forbiddenCluster, reason(errForbidden))
		}
	}
	return some
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
func (g *Ingester) resolve(src Source, c *chunk, s *strip, report *Report) error {
	for i := range s.n {
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
	for i, x := range s.samples[:s.n] {
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

// reset forgets what the piece left, so that a pooled chunk holds on to nothing.
func (c *chunk) reset() {
	clear(c.samples[:cap(c.samples)])
	clear(c.seen)
	c.samples, c.lines = c.samples[:0], c.lines[:0]
	c.strips = [2]strip{}
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
