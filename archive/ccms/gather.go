package ccms

import (
	"errors"
	"math"
	"slices"
)

const (
	maxGathered = 1 << 16 // samples gathered before they are passed to the sink
	maxNames    = 1 << 20 // bytes of series names kept in memory
)

// gatherer groups the samples of a log, which are ordered by interval, into runs.
type gatherer struct {
	*reader
	index     map[string]int // of a series in names, by its path in a record
	names     []seriesName
	nameBytes int
	samples   []logSample
	next      []int // for each series, the index of its next sample
	times     []int64
	values    []float64
}

// logSample is a sample of a log.
type logSample struct {
	series int
	time   int64
	value  float64
}

func (r *reader) readLog(c *cursor) error {
	g := gatherer{reader: r, index: map[string]int{}}
	bad := func(offset int64, reason string) { r.fileDamage(offset, "%s", reason) }
	torn, err := c.records(bad, func(payload []byte) error {
		return g.add(c.offset, payload)
	})
	if torn {
		r.sum.TornTails++
	}
	if _, ok := errors.AsType[fatal](err); ok {
		return err
	}
	return errors.Join(g.flush(), err)
}

func (g *gatherer) add(offset int64, payload []byte) error {
	t, path, value := splitPayload(payload)
	switch {
	case t <= 0 || t > maxTime:
		g.fileDamage(offset, "expected a sample at 1 to %d, got one at %d", int64(maxTime), t)
		return nil
	case math.IsNaN(value):
		return nil
	}
	i, ok := g.index[string(path)]
	if !ok {
		s, err := parsePath(path)
		if err != nil {
			g.fileDamage(offset, "%v", err)
			return nil
		}
		i = len(g.names)
		g.index[string(path)] = i
		g.names = append(g.names, s)
		g.nameBytes += len(path)
		g.anchor(s, t)
	}
	g.samples = append(g.samples, logSample{i, t, value})
	if len(g.samples) == maxGathered || g.nameBytes >= maxNames {
		return g.flush()
	}
	return nil
}

// flush passes the gathered samples to the sink, series by series. It groups them by a counting
// sort, which keeps the order within a series.
func (g *gatherer) flush() error {
	g.next = slices.Grow(g.next[:0], len(g.names)+1)[:len(g.names)+1]
	clear(g.next)
	for _, s := range g.samples {
		g.next[s.series+1]++
	}
	for i := range g.names {
		g.next[i+1] += g.next[i]
	}
	g.times = slices.Grow(g.times[:0], len(g.samples))[:len(g.samples)]
	g.values = slices.Grow(g.values[:0], len(g.samples))[:len(g.samples)]
	for _, s := range g.samples {
		g.times[g.next[s.series]] = s.time
		g.values[g.next[s.series]] = s.value
		g.next[s.series]++ // finally the start of the next series
	}
	start := 0
	for i, name := range g.names {
		for end := g.next[i]; start < end; {
			n := min(end-start, RunSamples)
			if err := g.pass(Series{Key: g.key(name), Times: g.times[start : start+n], Values: g.values[start : start+n]}); err != nil {
				return err
			}
			start += n
		}
	}
	g.samples = g.samples[:0]
	if g.nameBytes >= maxNames {
		clear(g.index)
		g.names, g.nameBytes = g.names[:0], 0
	}
	return nil
}
