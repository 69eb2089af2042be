package memstore

import (
	"errors"
	"slices"
	"testing"
)

// memoryDisk keeps the states and records of a store in memory, as package archive does on disk.
type memoryDisk struct {
	runs     [][]HostState // of blocks, oldest first
	complete []HostState   // of the last complete run
	at       int           // and its number
	records  [][]byte      // since then
}

func (d *memoryDisk) keep(r *Record) {
	if len(r.Bytes()) > 0 {
		d.records = append(d.records, slices.Clone(r.Bytes()))
	}
	r.Commit()
}

func (d *memoryDisk) write(s *Store, batch ...Sample) ([]Refusal, error) {
	var r Record
	refused, err := s.WriteRecord(batch, &r, func(*Record) error { return nil })
	d.keep(&r)
	return refused, err
}

func (d *memoryDisk) free(s *Store, path [][]string, to int64) int {
	n, _, _ := s.FreeRecord(path, to, 0, func(r *Record) error {
		d.keep(r)
		return nil
	})
	return n
}

// take collects the states of a snapshot, with the blocks separate.
func take(t testing.TB, n *Snapshot) (blocks, open []HostState) {
	var err error
	for _, cluster := range n.Clusters() {
		err = errors.Join(err, n.Hosts(cluster, func(h HostState) error {
			b, o := h, h
			b.Lanes, o.Lanes = nil, nil
			for _, l := range h.Lanes {
				sealed, rest := l, l
				sealed.Windows = slices.DeleteFunc(slices.Clone(l.Windows), func(w WindowState) bool { return w.Open })
				rest.Windows = slices.DeleteFunc(slices.Clone(l.Windows), func(w WindowState) bool { return !w.Open })
				rest.Freed = nil
				b.Lanes, o.Lanes = append(b.Lanes, sealed), append(o.Lanes, rest)
			}
			blocks, open = append(blocks, b), append(open, o)
			return nil
		}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return blocks, open
}

func (d *memoryDisk) checkpoint(t testing.TB, s *Store) {
	n := s.Snapshot()
	blocks, open := take(t, n)
	d.runs = append(d.runs, blocks)
	d.complete, d.at, d.records = open, len(d.runs), nil
	n.Commit()
}

// breakOff is a checkpoint that is interrupted before the open windows are written.
func (d *memoryDisk) breakOff(t testing.TB, s *Store) {
	blocks, _ := take(t, s.Snapshot())
	d.runs = append(d.runs, blocks)
}

// stretch is the time range of a window in Unix milliseconds.
type stretch struct {
	host, cluster string
	frequency     int64
	begin, end    int64
}

func stretchOf(h HostState, l LaneState, first int64, slots int) stretch {
	begin := l.Grid + first*l.Frequency
	return stretch{h.Host, h.Cluster, l.Frequency, begin, begin + int64(slots)*l.Frequency}
}

func (e stretch) overlaps(all []stretch) bool {
	return slices.ContainsFunc(all, func(o stretch) bool {
		return e.host == o.host && e.cluster == o.cluster && e.frequency == o.frequency && e.begin < o.end && o.begin < e.end
	})
}

// restore restores the newest states and the records.
func (d *memoryDisk) restore(t testing.TB, s *Store) {
	t.Helper()
	r := s.Restore()
	defer r.Done()
	var newer []stretch
	live := func(states []HostState) []HostState {
		states = slices.Clone(states)
		var these []stretch
		for i, h := range states {
			states[i].Lanes = slices.Clone(h.Lanes)
			for k, l := range h.Lanes {
				states[i].Lanes[k].Windows = slices.DeleteFunc(slices.Clone(l.Windows), func(w WindowState) bool {
					return stretchOf(h, l, w.Block.First, w.Block.Slots).overlaps(newer)
				})
				for _, w := range l.Windows {
					these = append(these, stretchOf(h, l, w.Block.First, w.Block.Slots))
				}
				for _, f := range l.Freed {
					these = append(these, stretchOf(h, l, f.First, f.Slots))
				}
			}
		}
		newer = append(newer, these...)
		return states
	}
	var sealed [][]HostState
	var open []HostState
	for n := len(d.runs); n > 0; n-- {
		if n == d.at {
			open = live(d.complete)
		}
		sealed = append(sealed, live(d.runs[n-1]))
	}
	put := func(states []HostState, complete bool) {
		for _, h := range states {
			if err := r.State(h, complete); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(open, true)
	for _, states := range sealed {
		put(states, false)
	}
	if err := r.StatesDone(); err != nil {
		t.Fatal(err)
	}
	for _, record := range d.records {
		if err := r.Record(record); err != nil {
			t.Fatal(err)
		}
	}
	if r.Lost > 0 || r.Overlap > 0 {
		t.Errorf("restored %+v", r.Restored)
	}
}
