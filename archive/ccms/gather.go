package ccms

import (
	"errors"
	"math"
	"slices"
)

const (
	maxGathered = 1 << 16 // samples that are gathered before they go to the sink
	maxNames    = 1 << 20 // bytes of names of series that are remembered
)

// gatherer brings the samples of a log, which stand interval by interval, into
// runs.
type gatherer struct {
	*reader
	index     map[string]int // of a series in names, by what names it in a record
	names     []seriesName
	nameBytes int
	samples   []logged
	next      []int // for each series, where its next sample goes
	times     []int64
	values    []float64
}

// logged is a sample of a log.
type logged struct {
	series int
	time   int64
	value  float64
}

func (r *reader) readLog(c *cursor) error {
	g := gatherer{reader: r, index: map[string]int{}}
	bad := func(offset int64, reason string) { r.spoilt(offset, "%s", reason) }
	torn, err := c.records(bad, func(payload []byte) error {
		return g.add(c.offset, payload)
	})
	if torn {
		r.sum.TornTails++
	}
	if _, ok := errors.AsType[fatal](err); ok {
		return err
	}
	return errors.Join(g.giveAll(), err)
}

func (g *gatherer) add(offset int64, payload []byte) error {
	t, path, value := splitPayload(payload)
	switch {
	case t <= 0 || t > maxTime:
		g.spoilt(offset, "a sample at %d", t)
		return nil
	case math.IsNaN(value):
		return nil
	}
	i, ok := g.index[string(path)]
	if !ok {
		s, err := parsePath(path)
		if err != nil {
			g.spoilt(offset, "%v", err)
			return nil
		}
		i = len(g.names)
		g.index[string(path)] = i
		g.names = append(g.names, s)
		g.nameBytes += len(path)
		g.anchor(s, t)
	}
	g.samples = append(g.samples, logged{i, t, value})
	if len(g.samples) == maxGathered || g.nameBytes >= maxNames {
		return g.giveAll()
	}
	return nil
}

// giveAll gives what was gathered to the sink, series by series (a counting
// sort, which keeps the order within a series).
func (g *gatherer) giveAll() error {
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
		g.next[s.series]++ // in the end, where the next series starts
	}
	start := 0
	for i, name := range g.names {
		for end := g.next[i]; start < end; {
			n := min(end-start, RunSamples)
			if err := g.give(Series{Key: g.key(name), Times: g.times[start : start+n], Values: g.values[start : start+n]}); err != nil {
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
