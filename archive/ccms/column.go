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
	maxTime      = 1 << 40         // Unix seconds; sums with a frequency stay far from overflow
	maxFrequency = 366 * 24 * 3600 // seconds
	maxAnchors   = 1 << 16         // series of a host whose grid is remembered

	// sliceSlots of the shortest frequency are a slice of a checkpoint.
	sliceSlots = 64
)

// column is a metric of a checkpoint.
type column struct {
	name             seriesName
	frequency, start int64 // seconds, Unix seconds
	begin, end       int   // of its values in the reader's
}

// column returns a metric that is to have count values, its start put on the
// grid. The error tells why the metric cannot be right.
func (r *reader) column(levels []string, metric string, s span, frequency, start int64, count int) (column, error) {
	d, err := device(levels)
	switch {
	case err != nil:
		return column{}, err
	case metric == "":
		return column{}, errors.New("a metric without a name")
	case frequency <= 0 || frequency > maxFrequency:
		return column{}, fmt.Errorf("metric %.100q: a frequency of %d seconds", metric, frequency)
	case start <= 0 || start > maxTime:
		return column{}, fmt.Errorf("metric %.100q: starts at %d", metric, start)
	case s.known() && (start < s.from-frequency/2 || start+int64(count-1)*frequency > s.to+frequency/2):
		return column{}, fmt.Errorf("metric %.100q: %d values, %d seconds apart, from %d on; the file covers %d to %d", metric, count, frequency, start, s.from, s.to)
	}
	name := seriesName{d, metric}
	return column{name: name, frequency: frequency, start: r.onGrid(name, s.from, frequency, start)}, nil
}

// onGrid returns the time of the first value of a metric.
//
// A checkpoint of cc-metric-store starts at the first sample, whose time is
// exact, or, if there are older ones in memory, at the checkpoint's own from:
// a time somewhere in the first value's slot, which reaches half a frequency to
// both sides. The grid of the series is then known from an older file or from
// the log, where times are exact, and the time on it that is next to start is
// meant. If it is not known, start itself has to do.
func (r *reader) onGrid(s seriesName, from, frequency, start int64) int64 {
	anchor, ok := r.anchors[s]
	if ok && start == from {
		off := (start - anchor) % frequency
		if off < 0 {
			off += frequency
		}
		if 2*off >= frequency { // a slot begins half a frequency early, and ends before that late
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

// piece is the part of a column that lies in a slice of time.
type piece struct {
	slice    int64
	column   int
	from, to int // of the reader's values
}

// giveColumns gives the columns of a file to the sink, slice of time by slice.
func (r *reader) giveColumns() error {
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
		if err := r.give(run); err != nil {
			return err
		}
	}
	return nil
}

// time returns the moment of a value.
func (c column) time(i int) int64 { return c.start + int64(i-c.begin)*c.frequency }
