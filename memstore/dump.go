package memstore

import (
	"errors"
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
		if d := h.dump(); len(d.Series) > 0 {
			if err := f(d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *host) dump() HostDump {
	h.mu.RLock()
	defer h.mu.RUnlock()
	d := HostDump{Cluster: h.cluster, Host: h.name}
	for _, l := range h.lanes {
		if l.set {
			d.Lanes = append(d.Lanes, LaneDump{l.frequency, l.grid})
		}
	}
	for sr := range h.tree.all() {
		if sr.ring.n == 0 {
			continue
		}
		values := make([]float64, sr.ring.n)
		sr.ring.copyRange(values, sr.ring.first)
		d.Series = append(d.Series, SeriesDump{
			Metric:    sr.metric.Name,
			Device:    sr.device,
			Frequency: sr.lane.frequency,
			Start:     sr.lane.time(sr.ring.first) + sr.phase.offset,
			Values:    values,
		})
	}
	return d
}

// Restored counts what [Store.Restore] did with a dump's samples.
type Restored struct {
	Stored  int // samples
	Refused int // older than the retention, or over a limit
	Unknown int // samples of metrics that are not configured
}

// Restore puts a dump's samples back. A series whose metric has another
// frequency now falls on the new grid.
func (s *Store) Restore(d HostDump) Restored {
	var r Restored
	grids := make(map[int64]int64, len(d.Lanes))
	for _, l := range d.Lanes {
		grids[l.Frequency] = l.Grid
	}
	for _, sd := range d.Series {
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
		batch := make([]Sample, 0, len(sd.Values))
		for i, v := range sd.Values {
			if !math.IsNaN(v) {
				batch = append(batch, Sample{Series: sr, Time: sd.Start + int64(i)*sd.Frequency, Value: v})
			}
		}
		refused := len(s.Write(batch))
		r.Refused += refused
		r.Stored += len(batch) - refused
	}
	return r
}

func samples(values []float64) (n int) {
	for _, v := range values {
		if !math.IsNaN(v) {
			n++
		}
	}
	return n
}
