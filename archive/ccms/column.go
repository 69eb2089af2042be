package ccms

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/unixtime"
)

const (
	maxTime      = 1 << 40 // Unix seconds; sums with a frequency cannot overflow
	maxFrequency = 366 * unixtime.SecondsPerDay
	maxAnchors   = 1 << 16 // series of a host whose grid is kept in memory

	// sliceSlots is the length of a slice of time, in slots of the checkpoint's shortest frequency.
	sliceSlots = 64
)

var errNoMetric = errors.New("expected the name of a metric, got an empty one")

// column is a metric of a checkpoint.
type column struct {
	name             seriesName
	frequency, start int64 // seconds, Unix seconds
	begin, end       int   // of its values in the reader's values
}

// column returns a metric with count values, its start moved to the grid. The error says why the
// metric is implausible.
func (r *reader) column(levels []string, metric string, s span, frequency, start int64, count int) (column, error) {
	d, err := device(levels)
	switch {
	case err != nil:
		return column{}, err
	case metric == "":
		return column{}, errNoMetric
	case frequency <= 0 || frequency > maxFrequency:
		return column{}, fmt.Errorf("metric %.100q: expected a frequency of 1 to %d seconds, got %d", metric, maxFrequency, frequency)
	case start <= 0 || start > maxTime:
		return column{}, fmt.Errorf("metric %.100q: expected a start at 1 to %d, got %d", metric, int64(maxTime), start)
	case s.known() && (start < s.from-frequency/2 || start+int64(count-1)*frequency > s.to+frequency/2):
		return column{}, fmt.Errorf("metric %.100q: expected values at %d to %d as in the file's header, got %d values every %d seconds from %d", metric, s.from, s.to, count, frequency, start)
	}
	name := seriesName{d, metric}
	return column{name: name, frequency: frequency, start: r.onGrid(name, s.from, frequency, start)}, nil
}

// onGrid returns the time of the first value of a metric.
//
// In a checkpoint of cc-metric-store a metric starts at its first sample, whose time is exact, or,
// if there are older samples in memory, at the checkpoint's own from. The latter is any time in the
// slot of the first value, which extends half a frequency to both sides. The grid of the series is
// then known from an older file or from the log, whose times are exact, and the first value belongs
// to the time on the grid that is nearest to start. If the grid is unknown, start is used as it is.
func (r *reader) onGrid(s seriesName, from, frequency, start int64) int64 {
	anchor, ok := r.anchors[s]
	if ok && start == from {
		off := (start - anchor) % frequency
		if off < 0 {
			off += frequency
		}
		if 2*off >= frequency { // a slot begins half a frequency early and ends just before half a frequency late
			off -= frequency
		}
		start -= off
	}
	r.anchor(s, start)
	return start
}

func (r *reader) anchor(s seriesName, t int64) {
	if _, ok := r.anchors[s]; ok || len(r.anchors) < maxAnchors {
		r.anchors[s] = t
	}
}

// piece is the part of a column within a slice of time.
type piece struct {
	slice    int64
	column   int
	from, to int // in the reader's values
}

// passColumns passes the columns of a file to the sink, one slice of time after the other.
func (r *reader) passColumns() error {
	step := int64(maxFrequency)
	for _, c := range r.columns {
		step = min(step, c.frequency)
	}
	step *= sliceSlots
	var pieces []piece
	for i, c := range r.columns {
		for from := c.begin; from < c.end; {
			t := c.time(from)
			slice := unixtime.FloorDiv(t, step)
			slots := ((slice+1)*step - t + c.frequency - 1) / c.frequency
			to := min(from+int(slots), c.end)
			pieces = append(pieces, piece{slice, i, from, to})
			from = to
		}
	}
	slices.SortStableFunc(pieces, func(a, b piece) int { return cmp.Compare(a.slice, b.slice) })
	var times [sliceSlots]int64
	var values [sliceSlots]float64
	for _, p := range pieces {
		c := r.columns[p.column]
		run := Series{Key: r.key(c.name), Frequency: c.frequency, Times: times[:0], Values: values[:0]}
		for i := p.from; i < p.to; i++ {
			if v := r.values[i]; !math.IsNaN(v) {
				run.Times = append(run.Times, c.time(i))
				run.Values = append(run.Values, v)
			}
		}
		if err := r.pass(run); err != nil {
			return err
		}
	}
	return nil
}

// time returns the Unix time of a value.
func (c column) time(i int) int64 { return c.start + int64(i-c.begin)*c.frequency }
