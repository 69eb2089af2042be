package archive

import (
	"maps"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore"
)

// A change of one metric's frequency, and back, loses nothing: neither of that metric nor of others,
// however often the program is restarted meanwhile. Queries answer on the configured frequency.
func TestFrequencyChangesLoseNothing(t *testing.T) {
	inRestarts(t, func(s *sender, restart func()) {
		configure := func(m, p time.Duration) {
			s.metrics = []memstore.Metric{{Name: "m", Frequency: m}, {Name: "p", Frequency: p}}
		}
		configure(time.Minute, 30*time.Second)
		ok(s.t, s.close())
		ok(s.t, s.open())
		thread := func(id string) memstore.Device { return memstore.Device{Type: "hwthread", TypeID: id} }
		keys := []memstore.Key{
			{Cluster: "alpha", Host: "n1", Metric: "m", Device: thread("0")},
			{Cluster: "alpha", Host: "n1", Metric: "m", Device: thread("1")},
			{Cluster: "alpha", Host: "n1", Metric: "p"},
			{Cluster: "alpha", Host: "n1", Metric: "p", Device: thread("1")},
		}
		phases := []int64{3, 5, 3, 7}
		now := time.Now().Unix() / 60 * 60
		write := func(from, to int64) {
			s.t.Helper()
			var batch []sample
			for at := now - from*60; at < now-to*60; at++ {
				for i, k := range keys {
					f := int64(s.metrics[i/2].Frequency / time.Second)
					if at%f == 0 {
						batch = append(batch, sample{k, at + phases[i]})
					}
				}
			}
			ok(s.t, s.write(batch...))
		}
		// Each sample has a value of its own. Of those for one slot, the newest counts.
		check := func(what string) {
			s.t.Helper()
			want := make(map[place]float64)
			times := make(map[place]int64)
			for p, events := range s.places {
				f := int64(s.metrics[0].Frequency / time.Second)
				if p.key.Metric == "p" {
					f = int64(s.metrics[1].Frequency / time.Second)
				}
				phase := int64(3)
				for i, k := range keys {
					if k == p.key {
						phase = phases[i]
					}
				}
				slot := place{p.key, (p.second-phase+f/2)/f*f + phase}
				if p.second > times[slot] {
					times[slot], want[slot] = p.second, events[len(events)-1].outcome
				}
			}
			if got := s.contents(); !maps.Equal(got, want) {
				missing, wrong, surplus := 0, 0, 0
				for p, v := range want {
					if w, found := got[p]; !found {
						missing++
					} else if w != v {
						wrong++
					}
				}
				for p := range got {
					if _, found := want[p]; !found {
						surplus++
					}
				}
				s.t.Fatalf("%s: of %d samples %d are missing, %d are wrong, %d were never sent", what, len(want), missing, wrong, surplus)
			}
		}
		write(45, 30)
		check("at first")
		restart()
		configure(30*time.Second, 30*time.Second)
		restart()
		check("60 to 30 s")
		restart()
		check("60 to 30 s, restarted")
		write(30, 25)
		check("written at 30 s")
		configure(time.Minute, 30*time.Second)
		restart()
		check("back to 60 s")
		restart()
		write(25, 20)
		check("back to 60 s, written")
		configure(time.Minute, 10*time.Second)
		restart()
		check("the other one to 10 s")
		configure(10*time.Second, time.Minute)
		restart()
		write(20, 10)
		restart()
		check("both")
		configure(30*time.Second, 30*time.Second)
		restart()
		check("all blocks were written at other frequencies, or long ago")
		ok(s.t, s.store.Maintain())
		restart()
		configure(time.Minute, 30*time.Second)
		restart()
		write(10, 5)
		restart()
		check("as at first")
		if s.restored.Dropped > 0 {
			s.t.Errorf("%+v", s.restored)
		}
		// What was freed is gone at every frequency.
		_, err := s.archive.Free(s.t.Context(), [][]string{{"alpha"}, {"n1"}, {"hwthread1"}}, now)
		ok(s.t, err)
		for range 2 {
			restart()
			configure(30*time.Second, 10*time.Second)
			for p := range s.contents() {
				if p.key.Device == thread("1") {
					s.t.Fatalf("%v was freed", p)
				}
			}
		}
	})
}
