package memstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"
)

// model is the simplest possible store. The samples of a device are a fixed time, less than half a
// minute, after the full minute.
type model map[Key]map[int64]float64 // by minutes since base

// want answers a selection the simple and slow way. newest is the last minute of a sample.
func (m model) want(sel Selection, aggregation Aggregation, from, n int64) (values []float64, newest int64, err error) {
	named := func(d Device) bool {
		switch {
		case sel.Type != "" && (d.Type != sel.Type || !slices.Contains(sel.TypeIDs, d.TypeID)):
			return false
		case sel.Subtype != "":
			return d.Subtype == sel.Subtype && slices.Contains(sel.SubtypeIDs, d.SubtypeID)
		}
		return true
	}
	depth := func(d Device) int { return len(d.path()) }
	var parts []Key
	for k := range m {
		if k.Host == sel.Host && k.Metric == sel.Metric && named(k.Device) {
			parts = append(parts, k)
		}
	}
	// A series answers for all series below it.
	covered := func(k Key) bool {
		return slices.ContainsFunc(parts, func(o Key) bool {
			return depth(o.Device) < depth(k.Device) && (o.Device == Device{} || o.Device.Type == k.Device.Type && o.Device.TypeID == k.Device.TypeID)
		})
	}
	parts = slices.DeleteFunc(slices.Clone(parts), covered)
	switch {
	case len(parts) == 0:
		return nil, 0, ErrNotFound
	case len(parts) > 1 && aggregation == AggregateNone:
		return nil, 0, ErrAggregation
	}
	newest = math.MinInt64
	for _, k := range parts {
		for at := range m[k] {
			newest = max(newest, at)
		}
	}
	inRange := func(k Key) bool {
		for i := range n {
			if _, ok := m[k][from+i]; ok {
				return true
			}
		}
		return false
	}
	parts = slices.DeleteFunc(parts, func(k Key) bool { return !inRange(k) })
	values = make([]float64, n)
	for i := range values {
		sum := 0.0
		for _, k := range parts {
			v, ok := m[k][from+int64(i)]
			if !ok {
				v = math.NaN()
			}
			sum += v
		}
		if aggregation == AggregateAvg {
			sum /= float64(len(parts))
		}
		if len(parts) == 0 {
			sum = math.NaN()
		}
		values[i] = sum
	}
	return values, newest, nil
}

// health answers [Store.Health] for a host that has samples, at a minute.
func (m model) health(host string, metrics []string, minute int64) Health {
	health := Health{Known: true}
	for _, name := range metrics {
		oldest, ok := int64(math.MaxInt64), false // newest sample of a device, in seconds since base
		for k, slots := range m {
			if k.Host == host && k.Metric == name {
				oldest, ok = min(oldest, slices.Max(slices.Collect(maps.Keys(slots)))*60+phaseOf(k.Device)), true
			}
		}
		switch {
		case !ok:
			health.Missing = append(health.Missing, name)
		case minute*60-oldest > 5*60+30:
			health.Degraded = append(health.Degraded, name)
		}
	}
	return health
}

// forget deletes the slots that f names, and the series that had no others.
func (m model) forget(f func(k Key, minute int64) bool) {
	for k, slots := range m {
		for minute := range slots {
			if f(k, minute) {
				delete(slots, minute)
			}
		}
		if len(slots) == 0 {
			delete(m, k)
		}
	}
}

// phaseOf returns how many seconds after the full minute a device's samples are: each device has a
// source of its own.
func phaseOf(d Device) int64 { return int64(7*len(d.String())) % 30 }

// segmentOf returns the segment of the store that covers a minute of a host.
func segmentOf(s *Store, host string, minute int64) *segment {
	h := s.host("alpha", host)
	if h == nil {
		return nil
	}
	l := h.lanes[0]
	if i, ok := l.find(base/60 + minute); ok {
		return l.segments[i]
	}
	return nil
}

// valueAt returns the value of a series in a slot that a segment covers.
func valueAt(s *Store, k Key, minute int64) float64 {
	h := s.host(k.Cluster, k.Host)
	level := h.level(k.Device)
	if level == nil || level.get(s.metrics[k.Metric]) == nil {
		return math.NaN()
	}
	rd := reader{ctx: context.Background()}
	var values [1]float64
	sr := level.get(s.metrics[k.Metric])
	slot := base/60 + minute
	rd.add(grid{lane: sr.lane, first: slot, n: 1}, segmentOf(s, k.Host, minute), sr.column, slotRange{slot, slot + 1})
	rd.spans = []span{{0, len(rd.pieces)}}
	if _, err := rd.decode(grid{}, values[:], 0); err != nil {
		return math.NaN()
	}
	return values[0]
}

// freedDevice reports whether TestModel frees a device.
func freedDevice(d Device) bool {
	return d.Type == "hwthread" && d.TypeID == "1" || d.SubtypeID == "lo"
}

// TestModel compares the store with the model under random operations.
func TestModel(t *testing.T) {
	metrics := map[string]Aggregation{"load": AggregateNone, "power": AggregateSum, "ipc": AggregateAvg}
	names := []string{"load", "power", "ipc"}
	hosts := []string{"n1", "n2"}
	devices := []Device{
		{},
		{Subtype: "network", SubtypeID: "eth0"},
		{Subtype: "network", SubtypeID: "lo"},
		thread("0"), thread("1"),
		{"hwthread", "1", "part", "a"},
		{"hwthread", "2", "part", "a"},
		{"hwthread", "2", "part", "b"},
		{Type: "accelerator", TypeID: "00000000:49:00.0"},
	}
	pick := func(r *rand.Rand, list []string) []string {
		var some []string
		for _, s := range list {
			if r.IntN(2) == 0 {
				some = append(some, s)
			}
		}
		return some
	}
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 2))
		minute := int64(0)
		hours := []int64{2, 4, 12, 48}[seed%4] // short retentions have short windows
		s := newStoreFor(t, func() time.Time { return time.Unix(base+minute*60, 0) }, time.Duration(hours)*time.Hour)
		m := model{}
		var disk memoryDisk
		freed := false
		for step := range 600 {
			fail := func(format string, args ...any) {
				t.Fatalf("seed %d step %d: %s", seed, step, fmt.Sprintf(format, args...))
			}
			switch op := r.IntN(20); {
			case op < 12:
				k := Key{"alpha", hosts[r.IntN(2)], names[r.IntN(3)], devices[r.IntN(len(devices))]}
				at := minute - int64(r.ExpFloat64()*10*float64(hours))
				v := float64(r.IntN(64))
				sr, err := s.Series(k)
				if err != nil {
					fail("%v", err)
				}
				refused, err := disk.write(s, Sample{sr, (base + at*60 + phaseOf(k.Device)) * 1000, v})
				if err != nil || len(refused) > 0 != (at < minute-hours*60) {
					fail("minute %d at %d: refused %v", at, minute, refused)
				}
				if len(refused) > 0 {
					break
				}
				if m[k] == nil {
					m[k] = map[int64]float64{}
				}
				m[k][at] = v
			case op == 12:
				minute += int64(r.ExpFloat64() * 4 * float64(hours))
				maintain(t, s)
				m.forget(func(k Key, at int64) bool {
					held := segmentOf(s, k.Host, at) != nil
					if !held && at >= minute-hours*60 {
						fail("%v at %d is lost, the retention begins at %d", k, at, minute-hours*60)
					}
					return !held
				})
			case op == 13:
				host, to := hosts[r.IntN(2)], minute-int64(r.IntN(60))
				windows := map[*segment]map[Key]bool{}
				m.forget(func(k Key, at int64) bool {
					d := k.Device
					if k.Host != host || !freedDevice(d) {
						return false
					}
					g := segmentOf(s, k.Host, at)
					h := s.host("alpha", host)
					sr := h.level(d).get(s.metrics[k.Metric])
					last, _ := g.lastOf(sr)
					if sr.lane.time(last)+sr.phase.offset > (base+to*60)*1000+999 {
						return false
					}
					if windows[g] == nil {
						windows[g] = map[Key]bool{}
					}
					windows[g][k] = true
					return true
				})
				freed = true
				want := 0
				for _, keys := range windows {
					want += len(keys)
				}
				if n := disk.free(s, [][]string{{"alpha"}, {host}, {"hwthread1", "networklo"}}, base+to*60); n != want {
					fail("freed %d windows of series, want %d", n, want)
				}
			case op == 14:
				if r.IntN(3) == 0 {
					disk.checkpoint(t, s)
				} else if r.IntN(3) == 0 {
					disk.breakOff(t, s)
				}
			case op == 15 && r.IntN(3) == 0:
				s = newStoreFor(t, s.now, time.Duration(hours)*time.Hour)
				disk.restore(t, s)
				m.forget(func(k Key, at int64) bool {
					held := segmentOf(s, k.Host, at) != nil
					if !held && at >= minute-hours*60 {
						fail("%v at %d is lost in a restart, the retention begins at %d", k, at, minute-hours*60)
					}
					if held && valueAt(s, k, at) != m[k][at] {
						if at < minute-hours*60 { // a part of its window is older than the retention
							return true
						}
						fail("%v at %d is %v after a restart, want %v", k, at, valueAt(s, k, at), m[k][at])
					}
					return !held
				})
			default:
				for _, host := range hosts {
					want := m.health(host, names, minute)
					got := s.Health("alpha", host, names)
					if !got.Known && len(want.Missing) == len(names) { // the host is not in the store
						continue
					}
					if !reflect.DeepEqual(got, want) {
						fail("health of %s: got %+v, want %+v", host, got, want)
					}
				}
				sel := Selection{Cluster: "alpha", Host: hosts[r.IntN(2)], Metric: names[r.IntN(3)]}
				switch r.IntN(4) {
				case 0:
					sel.Type, sel.TypeIDs = "hwthread", pick(r, []string{"0", "1", "2", "3"})
				case 1:
					sel.Type, sel.TypeIDs, sel.Subtype, sel.SubtypeIDs = "hwthread", []string{"1", "2"}, "part", pick(r, []string{"a", "b"})
				}
				from, n := minute-int64(r.IntN(int(hours*60))), int64(r.IntN(100))
				want, newest, wantErr := m.want(sel, metrics[sel.Metric], from, n)
				d, err := s.Read(context.Background(), sel, Range{From: base + from*60, To: base + (from+n)*60, Pad: PadBoth})
				if !errors.Is(err, wantErr) {
					fail("%+v: error %v, want %v", sel, err, wantErr)
				}
				if limit := minute + 4 - from; n > limit { // the answer ends shortly after now
					want = want[:min(int64(len(want)), limit)]
				}
				if err == nil {
					d2, err := s.Read(context.Background(), sel, Range{From: base + from*60, To: base + (from+n)*60, StatsOnly: true})
					if got, want := d2.Stats(), summarize(want); err != nil || !same([]float64{got.Avg, got.Min, got.Max}, []float64{want.Avg, want.Min, want.Max}) {
						fail("%+v: statistics %v, %v; want %v", sel, got, err, want)
					}
				}
				if err == nil {
					d3, err := s.Read(context.Background(), sel, Range{From: base + from*60, To: base + (from+n)*60, Pad: PadFront})
					end := int(min(max(newest+1-from, 0), int64(len(want))))
					if freed { // the newest slot may have been freed together with a window
						end = max(end, min(len(d3.Values), len(want)))
					}
					if err != nil || d3.From != d.From || !same(d3.Values, want[:end]) {
						fail("%+v from %d, padded at the front: got %v from %d, want %v", sel, from, d3.Values, d3.From, want[:end])
					}
				}
				if err == nil && (!same(d.Values, want) || d.From < base+from*60 || d.From >= base+from*60+30 || d.To != d.From+int64(len(want))*60) {
					fail("%+v from %d:\n got %v from %d\nwant %v from %d", sel, from, d.Values, d.From, want, base+from*60)
				}
			}
		}
		checkAccount(t, s, "seed %d", seed)
		if got, want := s.Size().Series, len(m); got < want {
			t.Errorf("seed %d: %d series, the model has %d", seed, got, want)
		}
	}
}

// TestConcurrentUse writes, reads, frees and expires concurrently, for the race detector.
func TestConcurrentUse(t *testing.T) {
	s := newStore(t, func() time.Time { return time.Unix(base, 0) })
	var wg sync.WaitGroup
	each := func(f func(r *rand.Rand)) {
		for id := range uint64(2) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(id, 3))
				for range 300 {
					f(r)
				}
			})
		}
	}
	host := func(r *rand.Rand) string { return fmt.Sprint("n", r.IntN(3)) }
	each(func(r *rand.Rand) {
		var batch []Sample
		for range 20 {
			sr, err := s.Series(Key{"alpha", host(r), "power", thread(fmt.Sprint(r.IntN(4)))})
			if err != nil {
				t.Error(err)
				return
			}
			batch = append(batch, Sample{sr, (base - int64(r.IntN(3600))) * 1000, 1})
		}
		if refused, err := s.Write(batch); err != nil || len(refused) > 0 {
			t.Error(refused, err)
		}
	})
	each(func(r *rand.Rand) {
		d, err := s.Read(context.Background(), Selection{Cluster: "alpha", Host: host(r), Metric: "power"}, Range{From: base - 3600, To: base, Pad: PadBoth})
		if err != nil && !errors.Is(err, ErrNotFound) || err == nil && len(d.Values) != 60 {
			t.Errorf("%d values, %v", len(d.Values), err)
		}
	})
	each(func(r *rand.Rand) { s.Free([][]string{{"*"}, {host(r)}}, base-int64(r.IntN(3600))) })
	each(func(r *rand.Rand) {
		maintain(t, s)
		s.Size()
		// No host has "load".
		if got := s.Health("alpha", host(r), []string{"power", "load"}); got.Known != slices.Contains(got.Missing, "load") || slices.Contains(got.Degraded, "load") {
			t.Errorf("health: %+v", got)
		}
		if _, err := s.Tree(nil); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
}
