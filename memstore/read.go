package memstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Selection names what one answer is made of: a metric of a host, of some of
// its devices, or of parts of these. What it matches is aggregated into one.
type Selection struct {
	Cluster, Host, Metric string

	// Type and TypeIDs name devices. An empty Type, and "node" with any ids,
	// means the host: its own series, or else all below it.
	Type    string
	TypeIDs []string
	// Subtype and SubtypeIDs, if Subtype is not empty, name parts of these.
	Subtype    string
	SubtypeIDs []string
}

// Range is the time that is asked for, and in which shape.
type Range struct {
	From, To   int64    // Unix seconds; slots from the one nearest to From on
	Resolution int64    // seconds between two points; 0 means the frequency
	Resample   Resample // how a coarser resolution is made
	Pad        bool     // answer all of the range, not only from the first sample to the last
}

// Data is the answer to one selection.
type Data struct {
	Values     []float64 // NaN where there is no value; owned by the caller
	From, To   int64     // Unix seconds: of Values[0], and of the end
	Resolution int64     // seconds
}

// Stats are the statistics of an answer's values. All are NaN if there are none.
type Stats struct{ Avg, Min, Max float64 }

// Errors of [Store.Read], beside [ErrNotFound] and [ErrUnknownMetric].
var (
	ErrRange       = errors.New("invalid time range: from is after to")
	ErrResolution  = errors.New("the resolution must be a multiple of the metric's frequency")
	ErrAggregation = errors.New("no aggregation is configured for the metric")
)

// Read answers one selection. Slots of several series are aggregated by their
// numbers; a slot is NaN where one of the series that have data in the range
// has none.
func (s *Store) Read(ctx context.Context, sel Selection, r Range) (Data, error) {
	m := s.metrics[sel.Metric]
	if m == nil {
		return Data{}, fmt.Errorf("%w: %s", ErrUnknownMetric, sel.Metric)
	}
	step, err := r.step(m)
	if err != nil {
		return Data{}, err
	}
	if err := ctx.Err(); err != nil {
		return Data{}, err
	}
	h := s.host(sel.Cluster, sel.Host)
	if h == nil {
		return Data{}, ErrNotFound
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	series := h.tree.match(m, sel)
	switch {
	case len(series) == 0:
		return Data{}, ErrNotFound
	case len(series) > 1 && m.Aggregation == AggregateNone:
		return Data{}, fmt.Errorf("%w %s: it is held by %s", ErrAggregation, m.Name, names(series))
	}
	from, to := s.clamp(m, r)
	g := gridOf(series, from, to)
	values, lo, hi := g.gather(series, m.Aggregation)
	return g.shape(values, lo, hi, step, r), nil
}

// Points returns how many values [Store.Read] would answer at the most, after
// the range is clamped to what is retained; 0 for an unknown metric.
func (s *Store) Points(metric string, r Range) int {
	m := s.metrics[metric]
	if m == nil || r.From > r.To {
		return 0
	}
	from, to := s.clamp(m, r)
	return int(slots(from, to, m.frequency))
}

// step returns how many slots go into one point.
func (r Range) step(m *metric) (int, error) {
	if r.From > r.To {
		return 0, ErrRange
	}
	seconds := m.frequency / 1000
	if r.Resolution <= seconds {
		return 1, nil
	}
	if r.Resolution%seconds != 0 {
		return 0, fmt.Errorf("%w: %d s is not a multiple of %d s", ErrResolution, r.Resolution, seconds)
	}
	return int(min(r.Resolution/seconds, math.MaxInt32)), nil
}

// clamp cuts a range to what can be in the store and returns milliseconds.
func (s *Store) clamp(m *metric, r Range) (from, to int64) {
	now := s.now().UnixMilli()
	oldest, newest := now-s.retention-m.frequency, now+ahead(m.frequency)+m.frequency
	// Seconds are compared before they are multiplied: they may be any int64.
	limit := func(seconds int64) int64 {
		return min(max(seconds, floorDiv(oldest, 1000)), newest/1000) * 1000
	}
	return limit(r.From), limit(r.To)
}

func slots(from, to, frequency int64) int64 { return (to - from + frequency - 1) / frequency }

// match returns the series of a host that a selection names.
func (host *level) match(m *metric, sel Selection) []*Series {
	var found []*Series
	for d := range sel.devices() {
		l := host
		for _, step := range d.path() {
			if l = l.children[step]; l == nil {
				break
			}
		}
		if l != nil {
			found = l.topmost(m, found)
		}
	}
	return found
}

// devices walks the devices that a selection names, the zero one for the host.
func (sel Selection) devices() func(yield func(Device) bool) {
	ids := sel.TypeIDs
	if sel.Type == "" || sel.Type == "node" {
		sel.Type, ids = "", []string{""}
	}
	return func(yield func(Device) bool) {
		for _, id := range ids {
			if sel.Subtype == "" {
				if !yield(Device{Type: sel.Type, TypeID: id}) {
					return
				}
				continue
			}
			for _, sub := range sel.SubtypeIDs {
				if !yield(Device{sel.Type, id, sel.Subtype, sub}) {
					return
				}
			}
		}
	}
}

// topmost appends l's own series of a metric, or else those below it, in the
// order of their devices.
func (l *level) topmost(m *metric, found []*Series) []*Series {
	if sr := l.get(m); sr != nil {
		return append(found, sr)
	}
	for _, c := range l.sorted() {
		found = c.topmost(m, found)
	}
	return found
}

func names(series []*Series) string {
	const most = 8
	var list []byte
	for i, sr := range series {
		if i == most {
			list = fmt.Appendf(list, " and %d more", len(series)-most)
			break
		}
		if i > 0 {
			list = append(list, ", "...)
		}
		list = append(list, sr.device.String()...)
	}
	return string(list)
}

// grid is the window of slots that an answer is made of.
type grid struct {
	lane   *lane
	offset int64 // of slot times: that of the series if all have one, else the lane's own
	first  int64 // slot
	n      int
}

func gridOf(series []*Series, from, to int64) grid {
	g := grid{lane: series[0].lane, offset: series[0].phase.offset}
	if slices.ContainsFunc(series, func(sr *Series) bool { return sr.phase.offset != g.offset }) {
		g.offset = 0
	}
	g.first = g.lane.nearest(from, g.offset)
	g.n = int(slots(from, to, g.lane.frequency))
	return g
}

// gather aggregates the series into one value per slot. lo and hi bound the
// values from the series' first sample to the last, where these are inside.
func (g grid) gather(series []*Series, a Aggregation) (values []float64, lo, hi int) {
	values = make([]float64, g.n)
	if len(series) == 1 {
		series[0].ring.copyRange(values, g.first)
		lo, hi = g.extent(&series[0].ring)
		return values, lo, hi
	}
	lo, hi = g.n, 0
	part := make([]float64, g.n)
	var parts int
	for _, sr := range series {
		sr.ring.copyRange(part, g.first)
		if !slices.ContainsFunc(part, func(v float64) bool { return !math.IsNaN(v) }) {
			continue
		}
		l, h := g.extent(&sr.ring)
		lo, hi = min(lo, l), max(hi, h)
		parts++
		for i, v := range part {
			values[i] += v
		}
	}
	if parts == 0 {
		for i := range values {
			values[i] = math.NaN()
		}
		return values, 0, 0
	}
	if a == AggregateAvg {
		for i := range values {
			values[i] /= float64(parts)
		}
	}
	return values, lo, hi
}

// extent returns where a ring begins and ends within the grid.
func (g grid) extent(r *ring) (lo, hi int) {
	end := r.first + int64(r.n)
	lo = int(min(max(r.first-g.first, 0), int64(g.n)))
	hi = int(min(max(end-g.first, 0), int64(g.n)))
	return lo, max(lo, hi)
}

// shape resamples what lies between lo and hi and pads it to the range, if so
// asked.
func (g grid) shape(values []float64, lo, hi, step int, r Range) Data {
	before, after := lo, g.n-hi
	points := values[lo:hi]
	if !coarser(len(points), step) {
		step = 1
	} else {
		points = r.Resample.apply(points, step)
		before, after = (before+step/2)/step, (after+step/2)/step
	}
	switch {
	case !r.Pad:
		before = 0
	case step == 1:
		points = values
	default:
		points = pad(points, before, after)
	}
	res := int64(step) * g.lane.frequency
	start := g.lane.time(g.first+int64(lo)) + g.offset - int64(before)*res
	from := floorDiv(start, 1000)
	return Data{
		Values:     points,
		From:       from,
		To:         from + int64(len(points))*res/1000,
		Resolution: res / 1000,
	}
}

func pad(points []float64, before, after int) []float64 {
	all := make([]float64, 0, before+len(points)+after)
	for range before {
		all = append(all, math.NaN())
	}
	all = append(all, points...)
	for range after {
		all = append(all, math.NaN())
	}
	return all
}

// Stats returns the statistics of the values, NaN left out.
func (d Data) Stats() Stats {
	var n int
	var sum float64
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, v := range d.Values {
		if math.IsNaN(v) {
			continue
		}
		n++
		sum += v
		lo, hi = min(lo, v), max(hi, v)
	}
	if n == 0 {
		return Stats{math.NaN(), math.NaN(), math.NaN()}
	}
	return Stats{Avg: sum / float64(n), Min: lo, Max: hi}
}

// Frequency returns the configured frequency of a metric.
func (s *Store) Frequency(metric string) (time.Duration, bool) {
	m := s.metrics[metric]
	if m == nil {
		return 0, false
	}
	return m.Metric.Frequency, true
}
