package archive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore"
)

// TestConcurrentUse writes, frees, checkpoints, maintains and queries concurrently, for the race
// detector. Then it checks that everything acknowledged is restored, after a kill and after Close.
func TestConcurrentUse(t *testing.T) {
	newStore := func() *memstore.Store {
		s, err := memstore.New(memstore.Options{
			Metrics:   []memstore.Metric{{Name: "load", Frequency: time.Second}},
			Retention: 10 * time.Minute, // short windows
			Now:       func() time.Time { return time.Unix(now, 0) },
		})
		ok(t, err)
		return s
	}
	const writers, batches = 4, 150
	key := func(writer, host, device int) memstore.Key {
		return memstore.Key{Cluster: fmt.Sprint("c", writer%2), Host: fmt.Sprint("w", writer, "-", host), Metric: "load", Device: memstore.Device{Type: "hwthread", TypeID: fmt.Sprint(device)}}
	}
	mayBeFreed := func(writer, host int, at int64) bool { return writer == writers-1 && host == 1 && at <= now-300 }
	value := func(writer, host, device int, at int64) float64 {
		return float64(((writer*10+host)*10+device)*1000) + float64(now-at) + 0.5
	}
	var mu sync.Mutex
	acked := make(map[string]bool)
	dir := t.TempDir()
	s := newStore()
	a := open(t, dir, s)
	ctx, cancel := context.WithCancel(t.Context())
	var writing, others sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 9))
			for n := range batches {
				var batch []memstore.Sample
				var places []string
				for host := range 2 {
					at := int64(now - 450 + 3*n)
					if n%5 == 4 { // late
						at = now - 590 + int64(n)/5
					}
					for device := range 1 + r.IntN(4) {
						sr, err := s.Series(key(w, host, device))
						if err != nil {
							t.Error(err)
							return
						}
						batch = append(batch, memstore.Sample{Series: sr, Time: at * 1000, Value: value(w, host, device, at)})
						if !mayBeFreed(w, host, at) {
							places = append(places, fmt.Sprint(key(w, host, device), at))
						}
					}
				}
				if refused, err := a.Write(ctx, batch); err != nil || len(refused) > 0 {
					t.Error(refused, err)
					return
				}
				mu.Lock()
				for _, p := range places {
					acked[p] = true
				}
				mu.Unlock()
			}
		})
	}
	loop := func(f func() error) {
		others.Go(func() {
			for ctx.Err() == nil {
				if err := f(); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	loop(a.Checkpoint)
	loop(s.Maintain)
	loop(func() error { return a.SyncPoint()(ctx) })
	loop(func() error { // host 1 of the last writer
		_, err := a.Free(ctx, [][]string{{"*"}, {fmt.Sprint("w", writers-1, "-1")}}, now-300)
		time.Sleep(time.Millisecond)
		return err
	})
	loop(func() error {
		_, err := s.Read(ctx, memstore.Selection{Cluster: "c0", Host: "w0-0", Metric: "load"}, memstore.Range{From: now - 600, To: now, Pad: memstore.PadBoth})
		if errors.Is(err, memstore.ErrNotFound) || errors.Is(err, memstore.ErrAggregation) {
			return nil
		}
		return err
	})
	writing.Wait()
	cancel()
	others.Wait()

	everything := func(s *memstore.Store) map[string]float64 {
		all := make(map[string]float64)
		for w := range writers {
			for host := range 2 {
				for device := range 4 {
					k := key(w, host, device)
					got, err := s.Read(t.Context(), memstore.Selection{Cluster: k.Cluster, Host: k.Host, Metric: "load", Type: "hwthread", TypeIDs: []string{k.Device.TypeID}}, memstore.Range{From: now - 600, To: now + 5, Pad: memstore.PadBoth})
					if errors.Is(err, memstore.ErrNotFound) {
						continue
					}
					ok(t, err)
					for i, v := range got.Values {
						at := got.From + int64(i)
						if math.IsNaN(v) {
							continue
						}
						if v != value(w, host, device, at) {
							t.Fatalf("%+v at %d holds %v, which was not sent there", k, at, v)
						}
						if !mayBeFreed(w, host, at) {
							all[fmt.Sprint(k, at)] = v
						}
					}
				}
			}
		}
		return all
	}
	want := everything(s)
	for p := range acked {
		if _, found := want[p]; !found {
			t.Fatalf("%s was acknowledged and is missing", p)
		}
	}
	compare := func(what, dir string) {
		t.Helper()
		again := newStore()
		open(t, dir, again)
		got := everything(again)
		for k, v := range want {
			if got[k] != v {
				t.Fatalf("%s: %s is %v, was %v", what, k, got[k], v)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d samples, want %d", what, len(got), len(want))
		}
	}
	killed := t.TempDir()
	ok(t, os.CopyFS(killed, os.DirFS(dir)))
	compare("killed", killed)
	ok(t, a.Close())
	compare("closed", dir)
}
