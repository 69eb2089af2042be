package archive

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore"
)

// Writers overwrite the same slots of several hosts concurrently. After a kill every slot holds what
// it held before.
func TestOverwritesAreReplayedInTheirOrder(t *testing.T) {
	const writers, hosts, devices, slots = 8, 4, 4, 500
	newStore := func() *memstore.Store {
		s, err := memstore.New(memstore.Options{
			Metrics:   []memstore.Metric{{Name: "load", Frequency: time.Second}},
			Retention: 10 * time.Minute,
			Now:       func() time.Time { return time.Unix(now, 0) },
		})
		ok(t, err)
		return s
	}
	key := func(host, device int) memstore.Key {
		return memstore.Key{Cluster: "c", Host: fmt.Sprint("h", host), Metric: "load", Device: memstore.Device{Type: "hwthread", TypeID: fmt.Sprint(device)}}
	}
	contents := func(s *memstore.Store) map[string]float64 {
		all := make(map[string]float64)
		for host := range hosts {
			for device := range devices {
				k := key(host, device)
				got, err := s.Read(t.Context(), memstore.Selection{Cluster: "c", Host: k.Host, Metric: "load", Type: "hwthread", TypeIDs: []string{k.Device.TypeID}}, memstore.Range{From: now - slots - 10, To: now})
				ok(t, err)
				for i, v := range got.Values {
					if !math.IsNaN(v) {
						all[fmt.Sprint(k.Host, " ", device, " ", got.From+int64(i))] = v
					}
				}
			}
		}
		return all
	}
	dir, s := t.TempDir(), newStore()
	a := open(t, dir, s)
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 3))
			for n := range slots {
				var batch []memstore.Sample
				for _, host := range r.Perm(hosts) {
					for device := range devices {
						sr, err := s.Series(key(host, device))
						if err != nil {
							t.Error(err)
							return
						}
						batch = append(batch, memstore.Sample{Series: sr, Time: int64(now-slots+n) * 1000, Value: float64(w) + 0.5})
					}
				}
				if refused, err := a.Write(t.Context(), batch); err != nil || len(refused) > 0 {
					t.Error(refused, err)
					return
				}
			}
		})
	}
	writing.Wait()
	want := contents(s)
	killed := t.TempDir()
	ok(t, os.CopyFS(killed, os.DirFS(dir)))
	again := newStore()
	open(t, killed, again)
	got := contents(again)
	different := 0
	for at, v := range want {
		if got[at] != v {
			different++
		}
	}
	if different > 0 || len(got) != len(want) {
		t.Errorf("after the kill %d of %d slots differ, and %d are there", different, len(want), len(got))
	}
}

// A message that is delivered again after a restart does not overwrite what a later one wrote, also
// if only a checkpoint remembers that one.
func TestRedeliveryAfterARestart(t *testing.T) {
	for _, checkpoint := range []bool{false, true} {
		dir, s := t.TempDir(), newStore(t)
		a := open(t, dir, s)
		write := func(sequence uint64, devices ...string) {
			t.Helper()
			var batch []memstore.Sample
			for _, id := range devices {
				sr, err := s.Series(memstore.Key{Cluster: "c", Host: "h", Metric: "load", Device: memstore.Device{Type: "hwthread", TypeID: id}})
				ok(t, err)
				batch = append(batch, memstore.Sample{Series: sr, Time: (now - 60) * 1000, Value: float64(sequence)})
			}
			refused, err := a.WriteFrom(t.Context(), memstore.Origin{Stream: 7, Sequence: sequence}, batch)
			ok(t, err)
			if len(refused) > 0 {
				t.Fatal(refused)
			}
		}
		write(3, "0", "1")
		write(9, "0")
		if checkpoint {
			ok(t, a.Checkpoint())
		}
		killed := t.TempDir()
		ok(t, os.CopyFS(killed, os.DirFS(dir)))
		s = newStore(t)
		a = open(t, killed, s)
		write(5, "0", "1")
		for id, want := range map[string]float64{"0": 9, "1": 5} {
			got, err := s.Read(t.Context(), memstore.Selection{Cluster: "c", Host: "h", Metric: "load", Type: "hwthread", TypeIDs: []string{id}}, memstore.Range{From: now - 60, To: now - 1})
			ok(t, err)
			if len(got.Values) == 0 || got.Values[0] != want {
				t.Errorf("checkpoint %v: device %s holds %v, want %v", checkpoint, id, got.Values, want)
			}
		}
	}
}
