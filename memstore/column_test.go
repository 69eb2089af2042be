package memstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore/block"
)

// Column numbers of removed series are reused. A series never shows values that another series
// stored in its column, whatever runs concurrently.
func TestReusedColumns(t *testing.T) {
	var now clock
	now.Store(base)
	s := newStoreFor(t, now.time, 10*time.Minute) // windows of a minute
	var writing, rest sync.WaitGroup
	for id := range 3 {
		writing.Go(func() {
			r := rand.New(rand.NewPCG(uint64(id), 7))
			for i := range 750 {
				device := id*10_000 + i/3 // each three times
				sr, err := s.Series(Key{"alpha", "n1", "fast", thread(fmt.Sprint(device))})
				if err != nil {
					t.Error(err)
					return
				}
				now.reach(base + int64(i))
				at := now.Load() - int64(r.ExpFloat64()*60)
				if _, err := s.Write([]Sample{{sr, at * 1000, float64(device)}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	for id, f := range []func(r *rand.Rand){
		func(*rand.Rand) { maintain(t, s) },
		func(r *rand.Rand) {
			s.Free([][]string{{"alpha"}, {"n1"}, {fmt.Sprint("hwthread", r.IntN(3)*10_000+r.IntN(250))}}, now.Load())
		},
		func(r *rand.Rand) { checkOwnValues(t, s, r.IntN(3)*10_000+r.IntN(250), now.Load()) },
	} {
		rest.Go(func() {
			r := rand.New(rand.NewPCG(uint64(id), 8))
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
	for id := range 3 {
		for i := range 250 {
			checkOwnValues(t, s, id*10_000+i, now.Load())
		}
	}
	checkAccount(t, s, "after all")
}

// checkOwnValues checks that all values of a device are its own number.
func checkOwnValues(t *testing.T, s *Store, device int, now int64) {
	sel := Selection{Cluster: "alpha", Host: "n1", Metric: "fast", Type: "hwthread", TypeIDs: []string{fmt.Sprint(device)}}
	d, err := s.Read(context.Background(), sel, Range{From: now - 3600, To: now, Pad: PadBoth})
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	for _, v := range d.Values {
		if v == v && v != float64(device) {
			t.Errorf("device %d has the value %v", device, v)
			return
		}
	}
}

// Devices that sent a single sample take little memory while others of their host continue, and
// none after their removal.
func TestOneSampleEach(t *testing.T) {
	const devices = 2000
	minute := int64(0)
	s := newStoreFor(t, func() time.Time { return time.Unix(base+minute*60, 0) }, 24*time.Hour)
	put(t, s, series(t, s, "n1", "load", Device{}), base, 1)
	before, peak := s.Size().Bytes, int64(0)
	for i := range devices {
		put(t, s, series(t, s, "n1", "power", thread(fmt.Sprint(i))), base, 1)
	}
	live := func(minutes int) {
		for range minutes {
			minute++
			put(t, s, series(t, s, "n1", "load", Device{}), float64(base+minute*60), 1)
			maintain(t, s)
			peak = max(peak, s.Size().Bytes)
		}
	}
	live(400)
	if each := (peak - before) / devices; each > 550 {
		t.Errorf("a series with one sample takes %d bytes", each)
	}
	live(24 * 60)
	s.Snapshot() // only then numbers are reused
	live(6 * 60)
	if n := s.Size(); n.Series != 1 || n.Bytes > 12_000 {
		t.Errorf("after the removal of all but one series: %+v", n)
	}
	if l := series(t, s, "n1", "load", Device{}).lane; len(l.columns) != 1 || len(l.free) != 0 {
		t.Errorf("%d columns, of which %d may be used again", len(l.columns), len(l.free))
	}
}

// The lowest free number is used first.
func TestColumnNumbers(t *testing.T) {
	l := &lane{}
	var all []*Series
	for range 6 {
		all = append(all, &Series{lane: l})
		l.putColumn(all[len(all)-1], l.freeColumn(1))
	}
	for _, i := range []int{3, 1, 5, 2} {
		l.removeColumn(all[i], 1)
	}
	l.trim(1)
	if c := l.freeColumn(1); c != 6 {
		t.Errorf("got number %d in the epoch of its release", c)
	}
	for _, want := range []uint32{1, 2, 3, 5, 6} {
		sr := &Series{lane: l}
		if l.putColumn(sr, l.freeColumn(2)); sr.column != want {
			t.Errorf("got the number %d, want %d", sr.column, want)
		}
	}
}

// Samples of 1970 are valid if the retention is long enough.
func TestFirstSampleOf1970(t *testing.T) {
	s := newStoreFor(t, clockAt(base), 100*365*24*time.Hour)
	sr := series(t, s, "n1", "load", Device{})
	put(t, s, sr, 30, 1)
	put(t, s, sr, base+30, 2)
	maintain(t, s)
	d := read(t, s, Selection{Cluster: "alpha", Host: "n1", Metric: "load"}, Range{From: 30, To: 90, Pad: PadBoth})
	if !same(d.Values, []float64{1}) || d.From != 30 {
		t.Errorf("got %v from %d", d.Values, d.From)
	}
}

// A merged block has the latest offsets of its series.
func TestMergedOffsets(t *testing.T) {
	f := func(name string, want int64, offsets ...int64) {
		t.Run(name, func(t *testing.T) {
			var blocks []*block.Block
			for i, offset := range offsets {
				var b block.Builder
				b.Reset(block.Header{Frequency: 60_000, First: int64(i), Slots: 1})
				b.Add(block.Column{Offset: offset}, []float64{1})
				b.Add(block.Column{ID: 1}, []float64{2})
				blocks = append(blocks, b.Finish())
			}
			merged, err := new(sealer).merge(blocks, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := merged.Offsets()
			if got == nil {
				got = []int64{0, 0}
			}
			if got[0] != want || got[1] != 0 {
				t.Errorf("got %v, want %d and 0", got, want)
			}
		})
	}
	f("none", 0, 0, 0)
	f("the last", 7000, -3000, 7000)
	f("set later", 7000, 0, 7000)
	f("back to the slots", 0, 7000, 0)
}
