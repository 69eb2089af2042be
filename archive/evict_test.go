package archive

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/memstore"
)

// With a memory limit below the data, everything acknowledged stays on disk: it returns when the
// limit is raised, however often the program was restarted meanwhile, and with or without checkpoints.
func TestNothingIsLostBelowTheMemoryLimit(t *testing.T) {
	for _, checkpoints := range []bool{true, false} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("checkpoints %v, killed %v", checkpoints, killed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSender(t, 1, journal.Always)
					s.kept = 8 * time.Hour
					s.metrics = s.metrics[1:]
					s.limit = 110_000
					ok(t, s.open())
					var keys []memstore.Key
					for i := range 12 {
						k := memstore.Key{Cluster: "alpha", Host: fmt.Sprint("n", i/2), Metric: "power"}
						if i%2 == 1 {
							k.Device = memstore.Device{Type: "hwthread", TypeID: fmt.Sprint(i)}
						}
						keys = append(keys, k)
					}
					sent := make(map[place]float64)
					r := rand.New(rand.NewPCG(1, 1))
					restart := func() {
						t.Helper()
						if killed {
							s.end(false)
						} else {
							ok(t, s.close())
						}
						ok(t, s.open())
					}
					refused := 0
					for minute := range 300 {
						for range 6 {
							now := time.Now().Unix()
							for i, k := range keys {
								if i%4 == 3 && minute > 60 && minute < 220 {
									continue // evicted completely, and in another column later
								}
								at := now
								if r.IntN(50) == 0 {
									at -= int64(r.IntN(120)) * 60
								}
								sr, err := s.store.Series(k)
								var n []memstore.Refusal
								v := r.NormFloat64()
								if err == nil {
									n, err = s.archive.Write(t.Context(), []memstore.Sample{{Series: sr, Time: at * 1000, Value: v}})
								}
								if errors.Is(err, memstore.ErrMemory) {
									refused++
									continue
								}
								ok(t, err)
								if len(n) == 0 {
									sent[place{k, at}] = v
									s.places[place{k, at}] = nil
								}
							}
							time.Sleep(10 * time.Second)
						}
						ok(t, s.store.Maintain())
						if s.store.StoreFirst() || checkpoints && minute%10 == 9 {
							ok(t, s.checkpoint())
						}
						if minute%70 == 69 {
							restart()
						}
					}
					evicted := s.store.Evicted()
					if size := s.store.Size(); evicted == 0 || size.Bytes > size.Limit {
						t.Fatalf("%d windows evicted; %+v", evicted, size)
					}
					restart()
					restart()
					s.limit = 0
					restart()
					got := s.contents()
					wrong := 0
					for p, v := range sent {
						if got[p] != v {
							wrong++
						}
					}
					if wrong > 0 || len(got) != len(sent) {
						t.Errorf("%d of %d samples are lost; %d are there. %d were refused", wrong, len(sent), len(got), refused)
					}
					before := maps.Clone(got)
					restart()
					if !maps.Equal(before, s.contents()) {
						t.Error("another restart changes the contents")
					}
					if refused > len(sent)/20 {
						t.Errorf("%d samples were refused, %d stored", refused, len(sent))
					}
					s.end(false)
				})
			})
		}
	}
}
