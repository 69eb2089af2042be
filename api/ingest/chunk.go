package ingest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/ringstore/ringstore/api/ingest/prefetch"
	"github.com/ringstore/ringstore/api/internal/truncate"
	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

// chunk is the working memory of one call, for one piece of a batch at a time.
type chunk struct {
	buf     []byte
	scanner lineprotocol.Scanner
	points  pointPiece  // instead of lines
	cluster fingerprint // of lines without a cluster tag
	now     int64       // time of lines without a timestamp, Unix milliseconds
	groups  [2]lineGroup
	samples []memstore.Sample
	lines   []int                 // line numbers of the samples
	seen    map[seriesTime][]byte // the key of the first line, of shared series

	usable, unusable int // lines of the batch so far, usable ones as often as they have fields

	refused []refusedLine // in the order of the lines

	rejected [causes]int // lines
}

// refusedLine is a line whose sample the store refused, or would refuse: then it got no series.
type refusedLine struct {
	line   int
	time   int64 // Unix milliseconds
	reason memstore.RefusalReason
}

// lineGroup is a number of successive lines, few enough to stay in the processor's cache while they
// become samples. Its arrays are parallel: one index per line.
type lineGroup struct {
	n       int
	samples [groupLines]memstore.Sample // the series is nil until it is looked up
	lines   [groupLines]int
	raw     [groupLines][]byte      // keys
	fields  [groupLines][]byte      // field names, if the dialect has them
	keys    [groupLines]fingerprint // of key and field
	states  [groupLines]cacheState
}

const groupLines = 64

// cacheState is what the cache knows of a line's key, apart from the series.
type cacheState uint8

const (
	cached    cacheState = iota // the series, which no other spelling of its key leads to
	missing                     // nothing, or nothing recent, or the series has left the store
	unknown                     // the metric is not configured
	shared                      // the series, which keys with other ignored tags lead to as well
	forbidden                   // the sender may not write to the series
)

// seriesTime identifies a sample, to find duplicates.
type seriesTime struct {
	series *memstore.Series
	time   int64
}

// store parses and stores a piece that ends with a whole line, and returns how many lines it had.
// They are numbered from first+1 on.
func (g *Ingester) store(ctx context.Context, src Source, c *chunk, piece []byte, first int, report *Report) (int, error) {
	before, usable := *report, c.usable
	defer func() {
		g.counters.count(src.Transport, before, *report, c, len(piece))
		c.reset()
	}()

	c.scanner.ResetTo(src.Dialect, piece)
	c.cluster, c.now = g.cache.hasher.cluster(src.Cluster), g.Now().UnixMilli()
	// The series of one group are fetched from memory while the next group is scanned.
	current, previous := &c.groups[0], &c.groups[1]
	for more := true; more || previous.n > 0; current, previous = previous, current {
		more = g.scan(src, c, current, first, report)
		g.lookUp(current)
		if err := g.collect(src, c, previous, report); err != nil {
			return 0, fmt.Errorf("storing: %w", err)
		}
	}
	refused, err := g.Writer.WriteFrom(ctx, src.Origin, c.samples)
	if err != nil {
		return 0, fmt.Errorf("storing: %w", err)
	}
	c.rejectRefused(src, piece, first, c.refused, report)
	c.refused = c.refused[:0]
	for _, r := range refused {
		c.refused = append(c.refused, refusedLine{c.lines[r.Index], c.samples[r.Index].Time, r.Reason})
	}
	c.rejectRefused(src, piece, first, c.refused, report)
	report.Accepted += len(c.samples) - len(refused)
	lines := c.count()
	c.unusable += max(lines-(c.usable-usable), 0)
	if c.points.source == nil && c.unusable > c.usable+maxUnusable {
		return lines, ErrUnusable
	}
	return lines, nil
}

// rejectRefused rejects lines of a piece, in their order.
func (c *chunk) rejectRefused(src Source, piece []byte, first int, refused []refusedLine, report *Report) {
	text := lineFinder{rest: piece, next: first + 1}
	for _, r := range refused {
		why := string(r.reason)
		switch {
		case !report.lists(r.line):
		case c.points.source != nil:
			why += pointMoment(r.reason, r.time)
		default:
			why += moment(r.reason, r.time, src.Dialect, text.line(r.line))
		}
		c.reject(report, r.line, causeOf(r.reason), why)
		if r.reason == memstore.RefusedFuture {
			report.Future++
		}
	}
}

// scan fills the group with the next good lines, and reports whether there may be more. It computes
// their keys and prefetches the cache's entries.
func (g *Ingester) scan(src Source, c *chunk, s *lineGroup, first int, report *Report) (more bool) {
	buckets := g.cache.bucketView()
	var l lineprotocol.Line
	for s.n = 0; s.n < groupLines; {
		ok, err := c.next(&l)
		if !ok {
			return false
		}
		if err != nil {
			g.rejectMalformed(src, c, first+l.Number, err, report)
			continue
		}
		if !l.HasTime {
			l.Time = c.now
		}
		key := g.cache.hasher.fingerprint(c.cluster, l.Key)
		if src.Dialect.EachField {
			key = g.cache.hasher.field(key, l.Field)
		}
		buckets.prefetch(key)
		i := s.n
		s.samples[i] = memstore.Sample{Time: l.Time, Value: l.Value}
		s.lines[i], s.raw[i], s.fields[i], s.keys[i] = first+l.Number, l.Key, l.Field, key
		s.n++
		c.usable++
	}
	return true
}

// rejectMalformed rejects a line that could not be read, or counts it as unknown if no metric of it
// is configured.
func (g *Ingester) rejectMalformed(src Source, c *chunk, line int, err error, report *Report) {
	bad, ok := errors.AsType[*lineprotocol.LineError](err)
	if !ok || !g.unconfigured(src.Dialect.Metrics(bad.Text)) {
		c.reject(report, line, malformed, reason(err))
		return
	}
	report.Unknown++
	if src.ListUnconfigured {
		for name := range src.Dialect.Metrics(bad.Text) {
			report.addUnconfigured(name)
		}
	}
}

// unconfigured reports whether there are metrics, and none of them is configured.
func (g *Ingester) unconfigured(metrics iter.Seq[string]) (found bool) {
	for name := range metrics {
		if g.Store.HasMetric(g.metric(name)) {
			return false
		}
		found = true
	}
	return found
}

// lookUp finds the group's series in the cache and prefetches them.
func (g *Ingester) lookUp(s *lineGroup) {
	g.cache.mu.RLock()
	defer g.cache.mu.RUnlock()
	for i, key := range s.keys[:s.n] {
		s.states[i] = missing
		switch known := g.cache.current.find(key); {
		case known != nil:
			prefetch.Line(known.series)
			s.samples[i].Series, s.states[i] = known.series, known.state()
		case g.cache.unknown.has(key):
			s.states[i] = unknown
		}
	}
}

// collect appends the group's samples to the chunk's. It resolves keys that the cache does not
// know, and counts lines without a series. The error is [memstore.ErrMemory].
func (g *Ingester) collect(src Source, c *chunk, s *lineGroup, report *Report) error {
	allCached := true
	for i := range s.n {
		if sr := s.samples[i].Series; sr != nil && sr.Gone() {
			s.samples[i].Series, s.states[i] = nil, missing
		}
		allCached = allCached && s.states[i] == cached
	}
	if src.May != nil {
		allCached = !c.forbid(src, s, report) && allCached
	}
	if allCached {
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

// forbid removes the series of clusters that the sender may not write to, and reports whether there
// are any. A batch has few clusters, mostly one.
func (c *chunk) forbid(src Source, s *lineGroup, report *Report) (found bool) {
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
			s.samples[i].Series, s.states[i], found = nil, forbidden, true
			report.Forbidden++
			c.reject(report, s.lines[i], forbiddenCluster, reason(errForbidden))
		}
	}
	return found
}

// countDuplicate counts a line whose series is shared, if the piece had another one with the same
// time.
func (g *Ingester) countDuplicate(c *chunk, at seriesTime, key []byte, report *Report) {
	if first, twice := c.seen[at]; twice {
		report.Duplicates++
		g.ignored.warn(at.series, first, key, g.ExtraTags, time.UnixMilli(c.now))
		return
	}
	if c.seen == nil {
		c.seen = make(map[seriesTime][]byte)
	}
	c.seen[at] = key
}

// resolve finds or creates the series that the cache does not know, and counts duplicates and lines
// without a series. The error is [memstore.ErrMemory].
func (g *Ingester) resolve(src Source, c *chunk, s *lineGroup, report *Report) error {
	for i := range s.n {
		switch s.states[i] {
		case unknown:
			report.countUnknown(src, s, i)
		case missing:
			series, err := g.series(src, s.keys[i], s.raw[i], s.fields[i], s.samples[i])
			refused, isRefused := err.(refusedError)
			switch {
			case isRefused:
				c.refused = append(c.refused, refusedLine{s.lines[i], s.samples[i].Time, memstore.RefusalReason(refused)})
			case errors.Is(err, memstore.ErrMemory):
				return err // not the line's fault
			case err == errForbidden:
				report.Forbidden++
				c.reject(report, s.lines[i], forbiddenCluster, reason(err))
			case err != nil:
				c.reject(report, s.lines[i], causeOfError(err), reason(err))
			case series == nil:
				report.countUnknown(src, s, i)
			}
			s.samples[i].Series = series
		}
	}
	// Whether the new keys share a series is known only after the whole group is resolved.
	for i, x := range s.samples[:s.n] {
		state := s.states[i]
		if state == missing && x.Series != nil {
			if g.cache.isShared(s.keys[i]) {
				state = shared
			}
		}
		if state == shared {
			g.countDuplicate(c, seriesTime{x.Series, x.Time}, s.raw[i], report)
		}
	}
	return nil
}

// reset clears the chunk for the next piece. A pooled chunk must not keep series or batches alive.
func (c *chunk) reset() {
	clear(c.samples[:cap(c.samples)])
	clear(c.seen)
	c.samples, c.lines, c.refused = c.samples[:0], c.lines[:0], c.refused[:0]
	c.groups = [2]lineGroup{}
	c.rejected = [causes]int{}
	c.scanner.Reset(nil)
	c.points.reset()
}

// reject reports a line and counts it under its cause.
func (c *chunk) reject(report *Report, line int, why cause, reason string) {
	c.rejected[why]++
	report.reject(line, reason)
}

// reject counts a line and lists it, in the order of the lines: they are not rejected in that
// order, as keys are resolved after the scan, and samples stored after that.
func (r *Report) reject(line int, reason string) {
	r.RejectedTotal++
	if !r.lists(line) {
		return
	}
	r.Rejected = r.Rejected[:min(len(r.Rejected), maxReported-1)]
	i := len(r.Rejected)
	for i > 0 && r.Rejected[i-1].Line > line {
		i--
	}
	r.Rejected = slices.Insert(r.Rejected, i, Rejected{line, reason})
}

// countUnknown counts line i of the group, whose metric is not configured.
func (r *Report) countUnknown(src Source, s *lineGroup, i int) {
	r.Unknown++
	if src.ListUnconfigured {
		measurement, _ := lineprotocol.Measurement(s.raw[i])
		r.addUnconfigured(lineprotocol.MetricName(measurement, s.fields[i]))
	}
}

// addUnconfigured lists a metric, once.
func (r *Report) addUnconfigured(name string) {
	name = truncate.Text(name, maxMetricText)
	if len(r.Unconfigured) < maxReported && !slices.Contains(r.Unconfigured, name) {
		r.Unconfigured = append(r.Unconfigured, name)
	}
}

// maxMetricText bounds the names that a report lists, in bytes.
const maxMetricText = 200

// lists reports whether a rejected line is to be listed.
func (r *Report) lists(line int) bool {
	return len(r.Rejected) < maxReported || line < r.Rejected[maxReported-1].Line
}

// reason returns the text of a line's error, for the client.
func reason(err error) string {
	if bad, ok := errors.AsType[*lineprotocol.LineError](err); ok {
		return bad.Reason
	}
	return err.Error()
}
