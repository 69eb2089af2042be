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

// Selection names the series of one answer: a metric of a host, of some of its devices, or of parts
// of these. All matching series are aggregated into one.
type Selection struct {
	Cluster, Host, Metric string

	// Type and TypeIDs name devices. An empty Type, or "node" with any ids, means the host: its own
	// series, or else all series below it.
	Type    string
	TypeIDs []string
	// If Subtype is not empty, Subtype and SubtypeIDs name parts of these devices.
	Subtype    string
	SubtypeIDs []string
}

// Range is the time range of a query and the shape of its answer.
type Range struct {
	From, To   int64    // Unix seconds; the answer starts with the slot nearest to From
	Resolution int64    // seconds between two points; 0 means the frequency
	Resample   Resample // the method for a coarser resolution
	Pad        Padding
	StatsOnly  bool // answer statistics without values

	Visible Visibility // nil: all samples

	Buffer []float64 // used for the answer's values if it is large enough; may be nil
}

// Padding says where an answer is filled with NaN up to the ends of its range.
type Padding uint8

const (
	PadNone  Padding = iota // the answer begins and ends with the oldest and newest slot of the selection
	PadFront                // it begins with the range
	PadBoth                 // and ends with it
)

// Data is the answer to one selection.
type Data struct {
	Values     []float64 // NaN: no value; owned by the caller, possibly in Range.Buffer
	From, To   int64     // Unix seconds of Values[0] and of the end
	Resolution int64     // seconds
	FromMillis int64     // Unix milliseconds of Values[0]

	Series int // how many the answer was made of
	Read   int // values of all of them in the range

	stats *Stats // the answer to Range.StatsOnly
}

// Stats are the statistics of an answer's values; all are NaN if there are no values.
type Stats struct{ Avg, Min, Max float64 }

// Errors of [Store.Read] in addition to [ErrNotFound] and [ErrUnknownMetric].
var (
	ErrRange       = errors.New("invalid time range: from is after to")
	ErrResolution  = errors.New("the resolution must be a multiple of the metric's frequency")
	ErrAggregation = errors.New("no aggregation is configured for the metric")
)

// Read answers one selection. Several series are aggregated slot by slot, in the order of their
// devices; a device that is named twice counts twice. A slot is NaN if one of
// the series lacks it that have data in the range. The host is locked while open windows are
// copied; blocks are decoded without the lock.
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
	rd.ctx, rd.visible, rd.naive = ctx, r.Visible, s.naive
	shaped := step > 1 || r.Pad != PadBoth
	g, err := rd.collect(s, h, m, sel, from, to, shaped)
	if err != nil {
		return Data{}, err
	}
	if r.StatsOnly && step == 1 && len(rd.series) == 1 && len(rd.former) == 0 && !(shaped && rd.bounds[0].masked) {
		return rd.statsOnly(g, r)
	}
	if r.StatsOnly && step == 1 && rd.summedOnly() && !(shaped && rd.anyMasked()) {
		return rd.sumStats(g, m.Aggregation, r)
	}
	held := int64(8 * (g.n + len(rd.copied)))
	s.memory.add(held)
	defer s.memory.add(-held)
	values := slices.Grow(r.Buffer[:0], g.n)[:g.n]
	lo, hi, err := rd.gather(g, values, m.Aggregation)
	if err != nil {
		return Data{}, err
	}
	d := g.shape(values, lo, hi, step, r)
	d.Series, d.Read = len(rd.series), len(rd.series)*g.n
	for _, p := range rd.former {
		d.Read += p.grid.n
	}
	switch {
	case r.StatsOnly && step == 1 && len(rd.series) > 1 && len(rd.former) == 0:
		d.stats, d.Values = new(rd.summarizePieces(values)), nil
	case r.StatsOnly:
		d.stats, d.Values = new(summarize(d.Values)), nil
	}
	return d, nil
}

// Cost returns how many values [Store.Read] reads for a selection: those of all its series in the
// range, as far as it is retained; 0 if Read fails. Like the answer, it depends only on visible
// samples.
func (s *Store) Cost(sel Selection, r Range) int {
	m, h := s.metrics[sel.Metric], s.host(sel.Cluster, sel.Host)
	if m == nil || h == nil {
		return 0
	}
	if _, err := r.step(m); err != nil {
		return 0
	}
	from, to := s.clamp(h, m, r)
	rd := s.readers.Get().(*reader)
	defer s.readers.Put(rd)
	defer rd.reset()
	rd.visible, rd.unordered = r.Visible, true
	h.mu.RLock()
	defer h.mu.RUnlock()
	rd.find(s, h, m, sel)
	if len(rd.series) > 1 && m.Aggregation == AggregateNone {
		return 0
	}
	n := slots(from, to, m.frequency) * int64(len(rd.series))
	for _, f := range m.formerly() {
		for _, sr := range rd.series {
			if old := sr.level.get(f); old != nil && rd.holds(old) {
				n += slots(from, to, f.frequency)
			}
		}
	}
	return int(n)
}

// step returns the number of slots per point.
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

// clamp limits a range to the time that samples of a host can have, in milliseconds. h may be nil.
func (s *Store) clamp(h *host, m *metric, r Range) (from, to int64) {
	oldest, newest := s.RetainedSince(), s.acceptable().latest+ahead(m.frequency)+m.frequency
	if h != nil {
		oldest = h.oldest(m, oldest, r.Visible)
	}
	oldest -= m.frequency
	// The comparison comes before the multiplication, which would overflow for extreme seconds.
	limit := func(seconds int64) int64 {
		return min(max(seconds, unixtime.FloorDiv(oldest, 1000)), newest/1000) * 1000
	}
	return limit(r.From), limit(r.To)
}

func slots(from, to, frequency int64) int64 { return (to - from + frequency - 1) / frequency }

// match adds the series of a host that a selection names.
func (rd *reader) match(host *level, m *metric, sel Selection) {
	if sel.Type == "" || sel.Type == "node" {
		rd.parts(host, m, sel, Device{})
		return
	}
	next := 0 // ids are usually in the order of the devices
	for _, id := range sel.TypeIDs {
		d := Device{Type: sel.Type, TypeID: id}
		i, found := next, next < len(host.children) && host.children[next].device == d
		if !found {
			i, found = host.findChild(d)
		}
		if found {
			rd.parts(host.children[i], m, sel, d)
			next = i + 1
		}
	}
}

// parts adds the series of a device, or of those of its parts that the selection names.
func (rd *reader) parts(l *level, m *metric, sel Selection, d Device) {
	if sel.Subtype == "" {
		rd.topmost(l, m)
		return
	}
	for _, id := range sel.SubtypeIDs {
		d.Subtype, d.SubtypeID = sel.Subtype, id
		if c := l.child(d); c != nil {
			rd.topmost(c, m)
		}
	}
}

// topmost adds l's own series of a metric, or else those below it, in no particular order.
func (rd *reader) topmost(l *level, m *metric) {
	if sr := rd.holder(l, m); sr != nil {
		rd.series = append(rd.series, sr)
		return
	}
	for _, c := range l.children {
		rd.topmost(c, m)
	}
}

func devicesOf(series []*Series) string {
	const limit = 8
	var list []byte
	for i, sr := range series {
		if i == limit {
			list = fmt.Appendf(list, " and %d more", len(series)-limit)
			break
		}
		if i > 0 {
			list = append(list, ", "...)
		}
		list = append(list, sr.level.device.String()...)
	}
	return string(list)
}

// grid is the range of slots of an answer.
type grid struct {
	lane   *lane
	offset int64 // of the slot times: the common offset of all series, else 0
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

// extent returns the part of the grid that the slots [first, last] cover.
func (g grid) extent(first, last int64) (lo, hi int) {
	lo = int(min(max(first-g.first, 0), int64(g.n)))
	hi = int(min(max(last+1-g.first, 0), int64(g.n)))
	return lo, max(lo, hi)
}

// shape resamples the values between lo and hi, and pads them as r requires.
func (g grid) shape(values []float64, lo, hi, step int, r Range) Data {
	if !coarser(hi-lo, step) {
		lo, hi = r.Pad.bounds(lo, hi, g.n)
		d := g.times(lo, hi-lo, 1)
		d.Values = values[lo:hi]
		return d
	}
	begin, end := r.Pad.bounds(lo, hi, g.n)
	before, after := (lo-begin+step/2)/step, (end-hi+step/2)/step
	points := pad(r.Resample.apply(values[lo:hi], step), before, after)
	d := g.times(lo-before*step, len(points), step)
	d.Values = points
	return d
}

// bounds returns the slots of an answer whose selection has the slots from lo to hi in a grid of n.
func (p Padding) bounds(lo, hi, n int) (begin, end int) {
	switch p {
	case PadFront:
		return 0, hi
	case PadBoth:
		return 0, n
	default:
		return lo, hi
	}
}

// times returns an answer of n points of step slots each, starting at slot begin of the grid.
func (g grid) times(begin, n, step int) Data {
	res := int64(step) * g.lane.frequency
	millis := g.lane.time(g.first+int64(begin)) + g.offset
	from := unixtime.FloorDiv(millis, 1000)
	return Data{From: from, To: from + int64(n)*res/1000, Resolution: res / 1000, FromMillis: millis}
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

// Stats returns the statistics of the values that are not NaN.
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
