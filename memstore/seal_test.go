package memstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a clock that a test sets, in Unix seconds.
type clock struct{ atomic.Int64 }

func (c *clock) time() time.Time { return time.Unix(c.Load(), 0) }

// reach advances the clock to a time, unless it is already later.
func (c *clock) reach(at int64) {
	for was := c.Load(); was < at && !c.CompareAndSwap(was, at); was = c.Load() {
	}
}

// busy runs four writers that store half an hour of a host, second by second, a fifth of the
// samples late or twice, during maintenance and another activity. At the end it checks that no
// sample is missing.
func busy(t *testing.T, now *clock, s *Store, other func(r *rand.Rand)) {
	const writers, seconds = 4, 2000
	var writing, rest sync.WaitGroup
	written := make([]map[int64]float64, writers)
	for id := range writers {
		written[id] = make(map[int64]float64)
		writing.Go(func() {
			r := rand.New(rand.NewPCG(uint64(id), 5))
			k := Key{"alpha", "n1", "fast", thread(fmt.Sprint(id))}
			for second := range int64(seconds) {
				now.reach(base + second)
				at := second
				if r.IntN(5) == 0 {
					at = max(0, second-int64(r.ExpFloat64()*300))
				}
				sr, err := s.Series(k)
				if err != nil {
					t.Error(err)
					return
				}
				batch := []Sample{{sr, (base + at) * 1000, r.Float64()}, {sr, (base + second) * 1000, float64(second)}}
				if refused, err := s.Write(batch); err != nil || len(refused) > 0 {
					t.Error(refused, err)
					return
				}
				for _, x := range batch {
					written[id][x.Time/1000-base] = x.Value
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	for id, f := range []func(*rand.Rand){other, func(*rand.Rand) { maintain(t, s) }} {
		rest.Go(func() {
			r := rand.New(rand.NewPCG(uint64(id), 6))
			for {
				select {
				case <-done:
					return
				default:
					f(r)
				}
			}
		})
	}
	rest.Wait()
	now.Add(120)
	maintain(t, s) // closes reopened segments
	maintain(t, s)
	for id := range writers {
		sel := Selection{Cluster: "alpha", Host: "n1", Metric: "fast", Type: "hwthread", TypeIDs: []string{fmt.Sprint(id)}}
		d := read(t, s, sel, Range{From: base, To: base + seconds, Pad: PadBoth})
		for i, got := range d.Values {
			want, ok := written[id][int64(i)]
			if !ok {
				want = math.NaN()
			}
			if !same([]float64{got}, []float64{want}) {
				t.Fatalf("writer %d second %d: %v, want %v", id, i, got, want)
			}
		}
	}
}

// No sample is lost while a segment becomes a block, during concurrent writes, reads, merges and
// frees of other series.
func TestSealLosesNothing(t *testing.T) {
	var now clock
	now.Store(base)
	s := newStoreFor(t, now.time, 2*time.Hour)
	busy(t, &now, s, func(r *rand.Rand) {
		sr := series(t, s, "n1", "fast", thread("9"))
		at := (now.Load() - int64(r.IntN(600))) * 1000
		if _, err := s.Write([]Sample{{sr, max(at, base*1000), 1}}); err != nil {
			t.Error(err)
		}
		if r.IntN(3) == 0 {
			s.Free([][]string{{"alpha"}, {"n1"}, {"hwthread9"}}, now.Load())
		}
		_, err := s.Read(context.Background(), Selection{Cluster: "alpha", Host: "n1", Metric: "fast"}, Range{From: base, To: now.Load(), Pad: PadBoth})
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
	if n := s.Size(); n.Blocks == 0 {
		t.Error("nothing was sealed")
	}
}

// A block replaces the rows of its segment only if the segment has not changed during the encoding.
func TestWhileSealing(t *testing.T) {
	a, b := thread("0"), thread("1")
	f := func(name string, act func(s *Store, again func() []sealing) []sealing, wantA, wantB []float64, wantBlocks int) {
		t.Run(name, func(t *testing.T) {
			var now clock
			now.Store(base + 10)
			s := newStoreFor(t, now.time, 2*time.Hour)
			put(t, s, series(t, s, "n1", "fast", a), base, 1, 2, 3)
			put(t, s, series(t, s, "n1", "fast", b), base, 4, 5, 6)
			h := s.host("alpha", "n1")
			l := h.lanes[0]
			again := func() []sealing {
				h.mu.Lock()
				defer h.mu.Unlock()
				for _, g := range l.segments {
					if g.open() {
						h.close(l, g)
					}
				}
				return h.takeSealing()
			}
			jobs := again()
			if len(jobs) != 1 {
				t.Fatalf("%d segments, want one", len(jobs))
			}
			s.seal(h, append(act(s, again), jobs...)) // the oldest encoding finishes last
			for device, want := range map[Device][]float64{a: wantA, b: wantB} {
				sel := Selection{Cluster: "alpha", Host: "n1", Metric: "fast", Type: "hwthread", TypeIDs: []string{device.TypeID}}
				d, err := s.Read(context.Background(), sel, Range{From: base, To: base + 3, Pad: PadBoth})
				if err != nil && (!errors.Is(err, ErrNotFound) || want != nil) || err == nil && !same(d.Values, want) {
					t.Errorf("%s has %v, want %v; %v", device, d.Values, want, err)
				}
			}
			if n := s.Size().Blocks; n != wantBlocks {
				t.Errorf("%d blocks, want %d", n, wantBlocks)
			}
			checkAccount(t, s, "at the end")
		})
	}
	late := func(s *Store) { put(t, s, series(t, s, "n1", "fast", a), base+1, 7) }
	free := func(s *Store, names ...string) { s.Free([][]string{{"alpha"}, {"n1"}, names}, base+60) }
	f("nothing", func(*Store, func() []sealing) []sealing { return nil }, []float64{1, 2, 3}, []float64{4, 5, 6}, 1)
	f("a late sample", func(s *Store, _ func() []sealing) []sealing { late(s); return nil },
		[]float64{1, 7, 3}, []float64{4, 5, 6}, 0)
	f("a late sample, and it is closed again", func(s *Store, again func() []sealing) []sealing { late(s); return again() },
		[]float64{1, 7, 3}, []float64{4, 5, 6}, 1)
	f("one series is freed", func(s *Store, _ func() []sealing) []sealing { free(s, "hwthread0"); return nil },
		nil, []float64{4, 5, 6}, 0)
	f("one series is freed, and it is closed again", func(s *Store, again func() []sealing) []sealing { free(s, "hwthread0"); return again() },
		nil, []float64{4, 5, 6}, 1)
	f("all is freed", func(s *Store, _ func() []sealing) []sealing { free(s, "hwthread0", "hwthread1"); return nil }, nil, nil, 0)
	f("the retention drops it", func(s *Store, _ func() []sealing) []sealing {
		h := s.host("alpha", "n1")
		h.mu.Lock()
		s.expire(h.lanes[0], (base+86400)*1000)
		h.shrink(s)
		h.mu.Unlock()
		return nil
	}, nil, nil, 0)
}

// A merged block replaces its source blocks only if they have not changed.
func TestWhileMerging(t *testing.T) {
	f := func(name string, wantMerged bool, act func(s *Store, l *lane)) {
		t.Run(name, func(t *testing.T) {
			var now clock
			now.Store(base)
			s := newStoreFor(t, now.time, 2*time.Hour)
			sr := series(t, s, "n1", "fast", Device{})
			for second := range int64(1200) {
				now.Store(base + second)
				put(t, s, sr, float64(base+second), float64(second))
			}
			h, l := sr.lane.host, sr.lane
			segments, blocks, _ := h.mergeable(l)
			if len(blocks) != 2 {
				t.Fatalf("%d blocks can be merged", len(blocks))
			}
			merged, err := new(sealer).merge(blocks, nil)
			if err != nil {
				t.Fatal(err)
			}
			act(s, l)
			s.replace(h, l, segments, blocks, merged)
			var got bool
			for _, g := range l.segments {
				got = got || g.sealed == merged
			}
			if got != wantMerged {
				t.Errorf("the merged block replaced its sources: %t", got)
			}
			checkAccount(t, s, "at the end")
		})
	}
	first := func(l *lane) int64 { return l.time(l.segments[0].first) / 1000 }
	second := func(l *lane) int64 { return l.time(l.segments[1].first) / 1000 }
	f("nothing", true, func(*Store, *lane) {})
	f("a late sample in the first", false, func(s *Store, l *lane) { put(t, s, l.columns[0], float64(max(first(l), base)), 7) })
	f("a late sample in the second", false, func(s *Store, l *lane) { put(t, s, l.columns[0], float64(second(l)), 7) })
	f("the first is freed", false, func(s *Store, l *lane) { s.Free(nil, second(l)) })
	f("the retention drops the first", false, func(s *Store, l *lane) { s.expire(l, second(l)*1000+s.retention+1000) })
	f("another merge was faster", false, func(s *Store, l *lane) { maintain(t, s) })
}
