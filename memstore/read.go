package memstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/codec"
	"github.com/ringstore/ringstore/memstore/unixtime"
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
	StatsOnly  bool     // no values, only what they would be summed up to

	Visible Visibility // nil: all samples

	Buffer []float64 // for the answer's values, if it is large enough; may be nil
}

// Data is the answer to one selection.
type Data struct {
	Values     []float64 // NaN where there is no value; the caller's, maybe in Range.Buffer
	From, To   int64     // Unix seconds: of Values[0], and of the end
	Resolution int64     // seconds

	stats *Stats // of the values, where these were not asked for
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
// has none. The host is locked while what is open is copied; blocks are decoded
// after that.
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
	from, to := s.clamp(h, m, r)
	rd := s.readers.Get().(*reader)
	defer s.readers.Put(rd)
	defer rd.reset()
	rd.visible = r.Visible
	shaped := step > 1 || !r.Pad
	g, err := rd.collect(h, m, sel, from, to, shaped)
	if err != nil {
		return Data{}, err
	}
	if r.StatsOnly && step == 1 && len(rd.series) == 1 && !(shaped && rd.bounds[0].masked) {
		return rd.statsOnly(g, r)
	}
	held := int64(8 * (g.n + len(rd.copied)))
	s.books.add(held)
	defer s.books.add(-held)
	values := slices.Grow(r.Buffer[:0], g.n)[:g.n]
	lo, hi, err := rd.gather(g, values, m.Aggregation)
	if err != nil {
		return Data{}, err
	}
	d := g.shape(values, lo, hi, step, r)
	if r.StatsOnly {
		d.stats, d.Values = new(summarize(d.Values)), nil
	}
	return d, nil
}

// Points returns how many values [Store.Read] would answer at the most for a
// metric of a host, after the range is clamped to what is retained; 0 for an
// unknown metric.
func (s *Store) Points(cluster, host, metric string, r Range) int {
	m := s.metrics[metric]
	if m == nil || r.From > r.To {
		return 0
	}
	from, to := s.clamp(s.host(cluster, host), m, r)
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

// clamp cuts a range to what can be in the store of a host, which may be nil,
// and returns milliseconds.
func (s *Store) clamp(h *host, m *metric, r Range) (from, to int64) {
	now := s.now().UnixMilli()
	oldest, newest := now-s.retention, now+ahead(m.frequency)+m.frequency
	if h != nil {
		oldest = h.oldest(m, oldest)
	}
	oldest -= m.frequency
	// Seconds are compared before they are multiplied: they may be any int64.
	limit := func(seconds int64) int64 {
		return min(max(seconds, unixtime.FloorDiv(oldest, 1000)), newest/1000) * 1000
	}
	return limit(r.From), limit(r.To)
}

func slots(from, to, frequency int64) int64 { return (to - from + frequency - 1) / frequency }

// match finds the series of a host that a selection names.
func (rd *reader) match(host *level, m *metric, sel Selection) {
	if sel.Type == "" || sel.Type == "node" {
		rd.parts(host, m, sel, Device{})
		return
	}
	for _, id := range sel.TypeIDs {
		d := Device{Type: sel.Type, TypeID: id}
		if l := host.children[d]; l != nil {
			rd.parts(l, m, sel, d)
		}
	}
}

// parts finds the series of a device, or of those of its parts that the
// selection names.
func (rd *reader) parts(l *level, m *metric, sel Selection, d Device) {
	if sel.Subtype == "" {
		rd.topmost(l, m)
		return
	}
	for _, id := range sel.SubtypeIDs {
		d.Subtype, d.SubtypeID = sel.Subtype, id
		if c := l.children[d]; c != nil {
			rd.topmost(c, m)
		}
	}
}

// topmost finds l's own series of a metric, or else those below it, in the order
// of their devices.
func (rd *reader) topmost(l *level, m *metric) {
	if sr := l.get(m); sr != nil && rd.holds(sr) {
		rd.series = append(rd.series, sr)
		return
	}
	for _, c := range l.sorted() {
		rd.topmost(c, m)
	}
}

func devicesOf(series []*Series) string {
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
		list = append(list, sr.level.device.String()...)
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

// extent returns where the slots [first, last] lie within the grid.
func (g grid) extent(first, last int64) (lo, hi int) {
	lo = int(min(max(first-g.first, 0), int64(g.n)))
	hi = int(min(max(last+1-g.first, 0), int64(g.n)))
	return lo, max(lo, hi)
}

// shape resamples what lies between lo and hi and pads it to the range, if so
// asked.
func (g grid) shape(values []float64, lo, hi, step int, r Range) Data {
	if !coarser(hi-lo, step) {
		d := g.frame(lo, hi, r)
		if !r.Pad {
			values = values[lo:hi]
		}
		d.Values = values
		return d
	}
	before, after := 0, 0
	if r.Pad {
		before, after = (lo+step/2)/step, (g.n-hi+step/2)/step
	}
	points := pad(r.Resample.apply(values[lo:hi], step), before, after)
	d := g.times(lo-before*step, len(points), step)
	d.Values = points
	return d
}

// frame returns an answer at the lane's frequency, without its values: all of
// the grid if it is padded, else from lo to hi.
func (g grid) frame(lo, hi int, r Range) Data {
	if r.Pad {
		lo, hi = 0, g.n
	}
	return g.times(lo, hi-lo, 1)
}

// times returns an answer of n points, each of some slots, that begins at a
// slot of the grid.
func (g grid) times(begin, n, step int) Data {
	res := int64(step) * g.lane.frequency
	from := unixtime.FloorDiv(g.lane.time(g.first+int64(begin))+g.offset, 1000)
	return Data{From: from, To: from + int64(n)*res/1000, Resolution: res / 1000}
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
	if d.stats != nil {
		return *d.stats
	}
	return summarize(d.Values)
}

func summarize(values []float64) Stats { return statsOf(codec.Summarize(values)) }

func statsOf(c codec.Stats) Stats {
	if c.Count == 0 {
		return Stats{math.NaN(), math.NaN(), math.NaN()}
	}
	return Stats{Avg: c.Sum / float64(c.Count), Min: c.Min, Max: c.Max}
}
