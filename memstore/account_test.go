package memstore

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore/codec"
)

// recount computes the memory use of the store from its contents.
func recount(s *Store) (n int64) {
	n = clusterBytes * int64(len(s.clusters))
	for _, windows := range s.freed.windows {
		n += freedWindowBytes * int64(len(windows))
	}
	for _, h := range s.allHosts() {
		h.mu.RLock()
		n += hostBytes + allocated(int64(len(h.name))) + 8*int64(len(h.stale))
		n += recountLevel(&h.tree) - levelBytes
		chunks, series := int64(h.allocated), 0
		n += seriesBytes*chunks + aggregateBytes*int64(h.series) + h.whole.bytes.Load()
		for _, l := range h.lanes {
			for _, x := range l.learned.all {
				n += x.bytes()
			}
			n += laneBytes + 8*int64(cap(l.columns)+cap(l.segments)) + 4*int64(cap(l.free)+cap(l.released))
			if l.history != nil {
				n += l.history.bytes
			}
			for _, sr := range l.columns {
				if sr != nil {
					series++
				}
			}
			for _, g := range l.segments {
				n += segmentBytes
				if g.sealed != nil {
					n += blockBytes + allocated(int64(len(g.sealed.Bytes())))
				}
				n += rowBytes * int64(len(g.rows))
				n += g.sums.Load().bytes()
				for _, row := range g.rows {
					n += allocated(8 * int64(len(row)))
				}
			}
		}
		if series != h.series || h.allocated < h.series {
			n = -1 // never equal
		}
		h.mu.RUnlock()
	}
	return n
}

// recountBlocks decodes all blocks and counts their samples.
func recountBlocks(t testing.TB, s *Store) (n int64) {
	var d codec.Decoder
	for _, h := range s.allHosts() {
		h.mu.RLock()
		for _, l := range h.lanes {
			for _, g := range l.segments {
				if g.sealed == nil {
					continue
				}
				values := make([]float64, g.sealed.Slots)
				for i := range g.sealed.Columns() {
					if err := g.sealed.Decode(&d, values, i, 0); err != nil {
						t.Fatal(err)
					}
					n += int64(codec.Summarize(values).Count)
				}
			}
		}
		h.mu.RUnlock()
	}
	return n
}

func recountLevel(l *level) (n int64) {
	n = 8*int64(cap(l.series)+cap(l.children)) + l.bytes()
	for _, c := range l.children {
		n += recountLevel(c)
	}
	return n
}

func checkAccount(t testing.TB, s *Store, format string, args ...any) {
	t.Helper()
	if used, want := s.memory.used.Load(), recount(s); used != want {
		t.Fatalf("%s: the accounting says %d bytes, a recount %d", fmt.Sprintf(format, args...), used, want)
	}
	if got, want := s.Size().BlockValues, recountBlocks(t, s); got != want {
		t.Fatalf("%s: the blocks report %d samples, they have %d", fmt.Sprintf(format, args...), got, want)
	}
}

// checkClusters compares the accounting of each cluster with a recount.
func checkClusters(t testing.TB, s *Store) {
	t.Helper()
	for _, c := range s.clusters {
		one := &Store{clusters: map[string]*cluster{c.name: c}, hosts: len(c.hosts)}
		series := 0
		for _, h := range c.hosts {
			series += h.series
		}
		if used := recount(one) - clusterBytes; c.used.Load() != used || c.series.Load() != int64(series) {
			t.Fatalf("cluster %s has %d bytes and %d series, a recount %d and %d", c.name, c.used.Load(), c.series.Load(), used, series)
		}
	}
}

// commit commits a snapshot, which forgets the freed windows.
func commit(t testing.TB, s *Store) {
	t.Helper()
	n := s.Snapshot()
	for _, cluster := range n.Clusters() {
		if err := n.Hosts(cluster, func(HostState) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	n.Commit()
}

// The memory accounting always matches the contents of the store, and is 0 for an empty one.
func TestAccounting(t *testing.T) {
	devices := []Device{
		{},
		{Subtype: "network", SubtypeID: "eth0"},
		thread("0"), thread("1"),
		{"hwthread", "1", "part", "a"},
		{"hwthread", "2", "part", "a"},
		{"hwthread", "2", "part", "b"},
	}
	for seed := range uint64(18) {
		r := rand.New(rand.NewPCG(seed, 4))
		minute := int64(0)
		hours := []int64{2, 12, 48}[seed%3]
		s := newStoreFor(t, func() time.Time { return time.Unix(base+minute*60, 0) }, time.Duration(hours)*time.Hour)
		for step := range 400 {
			host := fmt.Sprint("n", r.IntN(3))
			op := r.IntN(20)
			switch {
			case op < 14:
				k := Key{"alpha", host, []string{"load", "power"}[r.IntN(2)], devices[r.IntN(len(devices))]}
				sr, err := s.Series(k)
				if err != nil {
					t.Fatal(err)
				}
				at := minute - int64(r.ExpFloat64()*10*float64(hours))
				if _, err := s.Write([]Sample{{sr, (base + at*60) * 1000, r.Float64()}}); err != nil {
					t.Fatal(err)
				}
			case op == 14:
				s.Free([][]string{{"*"}, {host}, {"hwthread1", "networketh0"}}, base+(minute-int64(r.IntN(60)))*60)
			case op == 15:
				s.Free([][]string{{"*"}, {host}}, base+(minute-int64(r.IntN(600)))*60)
			case op == 16:
				s.memory.limit = s.memory.used.Load()
				s.evict()
				s.memory.limit = 0
			default:
				minute += int64(r.ExpFloat64() * 4 * float64(hours))
				maintain(t, s)
			}
			checkAccount(t, s, "seed %d step %d (operation %d)", seed, step, op)
			if step%20 == 0 {
				checkClusters(t, s)
			}
		}
		minute += 60 * 1000
		maintain(t, s)
		maintain(t, s)
		commit(t, s)
		if n := s.memory.used.Load(); n != 0 || len(s.allHosts()) > 0 {
			t.Fatalf("seed %d: the accounting says %d bytes for an empty store", seed, n)
		}
	}
}

// The accounting also matches after concurrent writes, seals, merges, frees and evictions.
func TestAccountingConcurrently(t *testing.T) {
	var now clock
	now.Store(base)
	s := newStoreFor(t, now.time, time.Hour)
	busy(t, &now, s, func(r *rand.Rand) {
		put(t, s, series(t, s, fmt.Sprint("n", 1+r.IntN(2)), "load", thread("9")), base, 1)
		s.Free([][]string{{"*"}, {"n1", "n2"}, {"hwthread9"}}, now.Load())
	})
	checkAccount(t, s, "after all")
	checkClusters(t, s)
}
