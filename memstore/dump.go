package memstore

import (
	"errors"
	"fmt"
	"math"
)

// HostDump is all that the store holds of one host, for package archive.
type HostDump struct {
	Cluster, Host string
	Lanes         []LaneDump
	Series        []SeriesDump
}

// LaneDump is the grid that a host's series of one frequency share.
type LaneDump struct {
	Frequency int64 // milliseconds
	Grid      int64 // milliseconds after a multiple of the frequency since the Unix epoch
}

// SeriesDump is one series: value i stands for the moment Start + i*Frequency.
type SeriesDump struct {
	Metric    string
	Device    Device
	Frequency int64 // milliseconds
	Start     int64 // Unix milliseconds
	Values    []float64
}

// Dump calls f for each host in turn until f fails. What f gets is a copy that
// belongs to it; writes go on meanwhile, and a host is dumped as of one moment.
func (s *Store) Dump(f func(HostDump) error) error {
	for _, h := range s.allHosts() {
		d, err := h.dump()
		if err != nil {
			return err
		}
		if len(d.Series) > 0 {
			if err := f(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// dump collects what a host holds under its lock, and decodes it after that.
func (h *host) dump() (HostDump, error) {
	d := HostDump{Cluster: h.cluster, Host: h.name}
	var rd reader
	h.mu.RLock()
	for _, l := range h.lanes {
		if l.set {
			d.Lanes = append(d.Lanes, LaneDump{l.frequency, l.grid})
		}
	}
	for sr := range h.tree.all() {
		if !sr.empty() {
			d.Series = append(d.Series, rd.dump(sr))
		}
	}
	h.mu.RUnlock()
	for i, sd := range d.Series {
		if _, err := rd.decode(sd.Values, i); err != nil {
			return d, fmt.Errorf("%s/%s %s %s: %w", h.cluster, h.name, sd.Metric, sd.Device, err)
		}
	}
	return d, nil
}

// dump notes what is held of a series from its first sample to its last, which
// decode writes to the values then; the host is locked.
func (rd *reader) dump(sr *Series) SeriesDump {
	l := sr.lane
	first := max(sr.first, l.oldest())
	g := grid{lane: l, first: first, n: int(sr.last + 1 - first)}
	begin := len(rd.pieces)
	for _, seg := range l.overlapping(first, sr.last+1) {
		rd.add(g, seg, sr.column)
	}
	rd.spans = append(rd.spans, span{begin, len(rd.pieces)})
	return SeriesDump{
		Metric:    sr.metric.Name,
		Device:    sr.level.device,
		Frequency: l.frequency,
		Start:     l.time(first) + sr.phase.offset,
		Values:    make([]float64, g.n),
	}
}

// Restored counts what [Store.Restore] did with a dump's samples.
type Restored struct {
	Stored  int // samples
	Refused int // older than the retention, or over a limit
	Unknown int // samples of metrics that are not configured
}

// Restore puts a dump's samples back, those that are older than the retention
// only where a job needs them. A series whose metric has another frequency now
// falls on the new grid. The error is [ErrMemory].
func (s *Store) Restore(d HostDump) (Restored, error) {
	var r Restored
	grids := make(map[int64]int64, len(d.Lanes))
	for _, l := range d.Lanes {
		grids[l.Frequency] = l.Grid
	}
	now := s.now().UnixMilli()
	needed := s.needed(d.Cluster, d.Host)
	p := period{min(now-s.retention, needed), now}
	all := make([]*Series, len(d.Series))
	known := 0 // samples of all
	stretches := make(map[*lane]stretch)
	for i, sd := range d.Series {
		sr, err := s.Series(Key{Cluster: d.Cluster, Host: d.Host, Metric: sd.Metric, Device: sd.Device})
		switch {
		case errors.Is(err, ErrUnknownMetric):
			r.Unknown += samples(sd.Values)
			continue
		case err != nil:
			r.Refused += samples(sd.Values)
			continue
		}
		if grid, ok := grids[sr.lane.frequency]; ok {
			sr.host.setGrid(sr.lane, grid)
		}
		sr.host.setNeeded(needed)
		all[i] = sr
		known += samples(sd.Values)
		t, ok := stretches[sr.lane]
		if !ok {
			t = stretch{math.MaxInt64, math.MinInt64}
		}
		stretches[sr.lane] = stretch{min(t.begin, sd.Start), max(t.end, sd.end())}
	}
	for l, t := range stretches {
		stored, err := s.restoreLane(l, d.Series, all, p, t)
		r.Stored += stored
		if err != nil {
			return r, err
		}
	}
	r.Refused += known - r.Stored
	return r, nil
}

// stretch is the time that some series cover, in Unix milliseconds.
type stretch struct{ begin, end int64 }

// restoreLane stores a lane's series one window after the other, each window of
// all of them: so it is sealed once. What they cover far outside of the period is
// passed over: it would be refused.
func (s *Store) restoreLane(l *lane, dumps []SeriesDump, all []*Series, p period, covered stretch) (stored int, err error) {
	step := l.window * l.frequency
	begin, end := max(covered.begin, p.oldest-step), min(covered.end, p.now+math.MaxInt32)
	first := l.time(l.windowOf(l.nearest(begin, 0))) - l.frequency/2
	for t := first; t < end; t += step {
		for i, sd := range dumps {
			if all[i] == nil || all[i].lane != l {
				continue
			}
			n, err := s.restore(all[i], sd, p, t, t+step)
			stored += n
			if err != nil {
				return stored, err
			}
		}
	}
	return stored, nil
}

// end returns the moment after the last value; a start that cannot be has none.
func (d SeriesDump) end() int64 {
	if n := int64(len(d.Values)); d.Frequency <= 0 || n > (math.MaxInt64-max(d.Start, 0))/d.Frequency {
		return math.MinInt64
	}
	return d.Start + int64(len(d.Values))*d.Frequency
}

// restore stores what a dumped series holds of the time [from, to).
func (s *Store) restore(sr *Series, d SeriesDump, p period, from, to int64) (stored int, err error) {
	first := max(floorDiv(from-d.Start+d.Frequency-1, d.Frequency), 0)
	end := min(floorDiv(to-d.Start+d.Frequency-1, d.Frequency), int64(len(d.Values)))
	var batch []Sample
	for i := first; i < end; i++ {
		if v := d.Values[i]; v == v {
			batch = append(batch, Sample{Series: sr, Time: d.Start + i*d.Frequency, Value: v})
		}
	}
	bad, err := s.write(batch, p)
	if err != nil {
		return 0, err
	}
	return len(batch) - len(bad), nil
}

func samples(values []float64) (n int) {
	for _, v := range values {
		if !math.IsNaN(v) {
			n++
		}
	}
	return n
}
