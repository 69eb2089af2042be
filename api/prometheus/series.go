package prometheus

import (
	"context"
	"errors"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/unixtime"
)

// millis is a Unix time in milliseconds. The alias keeps go vet from taking [iterator.Seek] for that
// of an io.Seeker.
type millis = int64

// source is what the series of one selector read.
type source struct {
	ctx context.Context
	*reading
	metrics    []Metric
	mint, maxt int64 // Unix milliseconds, both inclusive
	newest     int64 // the time of the request, Unix milliseconds
}

type selected struct {
	id     id
	labels labels.Labels
}

// lateness is how late the samples of an interval may arrive before they are missing, in
// milliseconds.
const lateness = 10_000

// seriesSet implements [storage.SeriesSet].
type seriesSet struct {
	source
	series []selected
	next   int
}

func (s *seriesSet) Next() bool {
	s.next++
	return s.next < len(s.series)
}

func (s *seriesSet) At() storage.Series                { return &series{&s.source, &s.series[s.next]} }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

// series implements [storage.Series].
type series struct {
	*source
	*selected
}

func (s *series) Labels() labels.Labels { return s.labels }

// Iterator reads the samples. The memory of the iterator that is given is used again.
func (s *series) Iterator(used chunkenc.Iterator) chunkenc.Iterator {
	it, ok := used.(*iterator)
	if !ok {
		it = new(iterator)
	}
	it.read(s)
	return it
}

// iterator implements [chunkenc.Iterator] over slots in order. Where slots are empty it has a stale
// marker at the first of them, so that no query looks back over a gap. There is none at the newest
// slot that has begun, nor in the last seconds: their samples may still come.
type iterator struct {
	values []float64 // NaN: an empty slot
	start  int64     // Unix milliseconds of the first value
	step   int64     // milliseconds between two values
	last   int       // index of the last value that counts
	open   int       // index of the first slot that gets no marker
	at     int
	on     bool // at is a sample or a marker
	stale  bool // it is a marker
	err    error
}

// read fills the iterator with the samples of a series.
func (it *iterator) read(s *series) {
	buffer := it.values
	*it = iterator{values: buffer[:0], at: -1, last: -1}
	m := s.metrics[s.id.name.metric]
	frequency := m.Frequency.Milliseconds()
	data, err := s.reading.read(s.ctx, s.id.selection(m.Name), memstore.Range{
		From: unixtime.FloorDiv(s.mint, 1000), To: unixtime.FloorDiv(s.maxt, 1000) + 1 + 2*frequency/1000, Pad: memstore.PadBoth, Buffer: buffer,
	})
	switch {
	case errors.Is(err, memstore.ErrNotFound): // it was there when it was selected
		return
	case err != nil:
		it.err = err
		return
	}
	it.values, it.start, it.step = data.Values, data.FromMillis, frequency
	it.at = it.ceil(s.mint) - 1
	it.last = min(len(data.Values)-1, it.floor(s.maxt))
	it.open = it.floor(s.newest - max(0, lateness-it.step)) // at least a slot
}

// floor and ceil return the last index at or before, and the first at or after, a time.
func (it *iterator) floor(t int64) int { return int(unixtime.FloorDiv(t-it.start, it.step)) }

func (it *iterator) ceil(t int64) int { return max(0, int(-unixtime.FloorDiv(it.start-t, it.step))) }

func (it *iterator) Next() chunkenc.ValueType { return it.find(it.at + 1) }

func (it *iterator) Seek(t millis) chunkenc.ValueType {
	if it.step == 0 {
		return chunkenc.ValNone
	}
	if it.on && it.AtT() >= t {
		return chunkenc.ValFloat
	}
	return it.find(max(it.at+1, it.ceil(t)))
}

// find moves to the first sample or marker at or after index i.
func (it *iterator) find(i int) chunkenc.ValueType {
	it.on, it.stale = true, false
	for ; i <= it.last; i++ {
		if v := it.values[i]; v == v {
			it.at = i
			return chunkenc.ValFloat
		}
		if i > 0 && i < it.open && it.values[i-1] == it.values[i-1] {
			it.at, it.stale = i, true
			return chunkenc.ValFloat
		}
	}
	it.on, it.at = false, len(it.values)
	return chunkenc.ValNone
}

func (it *iterator) At() (int64, float64) {
	if it.stale {
		return it.AtT(), math.Float64frombits(value.StaleNaN)
	}
	return it.AtT(), it.values[it.at]
}

func (it *iterator) AtT() int64  { return it.start + int64(it.at)*it.step }
func (it *iterator) AtST() int64 { return 0 }
func (it *iterator) Err() error  { return it.err }

// AtHistogram and AtFloatHistogram are never called: no sample is a histogram.
func (it *iterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) { return 0, nil }

func (it *iterator) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return 0, nil
}
