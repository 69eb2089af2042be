package ingest

import (
	"fmt"
	"testing"

	"github.com/ringstore/ringstore/memstore"
)

func write(t *testing.T, g *Ingester, want int, line string) {
	t.Helper()
	if report, err := g.Batch(t.Context(), Source{}, []byte(line)); err != nil || report.Accepted != want {
		t.Fatalf("%q: %+v, %v", line, report, err)
	}
}

// An endless number of keys takes no more memory than the cache's limit, all of which is in the
// memory accounting, and the keys that are in use stay.
func TestCacheIsBounded(t *testing.T) {
	g, s := newIngester(t, nil, "load")
	g.cache = newCache(0, s.AddMemory)
	const used = "load,cluster=a,hostname=n,type=core,type-id=1 value=1"
	write(t, g, 1, used)
	before := s.Size().Bytes
	most := before
	const limit = 2*minBuckets*bucketBytes + minBuckets*aliasBytes
	for i := range 20_000 {
		write(t, g, 1, fmt.Sprintf("load,cluster=a,hostname=n,noise=%d value=1", i))
		if i%100 == 0 {
			write(t, g, 1, used)
			most = max(most, s.Size().Bytes)
		}
		if n := g.cache.accounted; n > limit {
			t.Fatalf("%d bytes after %d keys, the limit is %d", n, i, limit)
		}
	}
	if most-before < minBuckets*bucketBytes {
		t.Errorf("the accounting grew by %d bytes only", most-before)
	}
	if g.cache.old.used == 0 {
		t.Error("the cache was never full")
	}
	key := g.cache.hasher.fingerprint(g.cache.hasher.cluster(""), []byte("load,cluster=a,hostname=n,type=core,type-id=1"))
	if s := g.cache.current.find(key); s == nil {
		t.Error("a key in use has left the cache")
	}
}

// A key moves to the next generation together with what is known of its ignored tags.
func TestGenerationsKeepAliases(t *testing.T) {
	g, _ := newIngester(t, nil, "load")
	twice := "load,cluster=a,hostname=n,unit=a value=1\nload,cluster=a,hostname=n,unit=b value=2\n"
	for range 3 {
		if report, err := g.Batch(t.Context(), Source{}, []byte(twice)); err != nil || report.Accepted != 2 || report.Duplicates != 1 {
			t.Fatalf("%+v, %v", report, err)
		}
		g.cache.old, g.cache.current = g.cache.current, generation{}
	}
}

// Names of metrics that are not configured take no memory, however many there are.
func TestUnknownNamesTakeNoMemory(t *testing.T) {
	g, s := newIngester(t, nil, "load")
	for i := range 100_000 {
		write(t, g, 0, fmt.Sprintf("nope%d,cluster=a,hostname=n value=1", i))
	}
	if g.cache.accounted != 0 || s.Size() != (memstore.Size{}) {
		t.Errorf("%d bytes in the cache, %+v", g.cache.accounted, s.Size())
	}
	line := []byte("nope,cluster=a,hostname=n value=1")
	for range 2 {
		if report, err := g.Batch(t.Context(), Source{ListUnconfigured: true}, line); err != nil || report.Unknown != 1 || len(report.Unconfigured) != 1 {
			t.Errorf("%+v, %v", report, err)
		}
	}
}

// A line whose sample is refused makes neither a host nor a series, and says why.
func TestRefusedSamplesMakeNoSeries(t *testing.T) {
	g, s := newIngester(t, nil, "load")
	f := func(line string, reason memstore.RefusalReason) {
		t.Helper()
		report, err := g.Batch(t.Context(), Source{}, []byte("\n"+line+"\n"))
		if err != nil || report.RejectedTotal != 1 || report.Rejected[0].Line != 2 {
			t.Fatalf("%+v, %v", report, err)
		}
		if got := report.Rejected[0].Reason; len(got) < len(reason) || got[:len(reason)] != string(reason) {
			t.Errorf("%q: %q, want %q", line, got, reason)
		}
		if n := s.Size(); n != (memstore.Size{}) || g.cache.accounted != 0 {
			t.Errorf("%q: the store has %+v, the cache %d bytes", line, n, g.cache.accounted)
		}
	}
	f(fmt.Sprintf("load,cluster=a,hostname=n value=1 %d", now-2*3600), memstore.RefusedOld)
	f(fmt.Sprintf("load,cluster=a,hostname=n value=1 %d", now+2*3600), memstore.RefusedFuture)
	f("load,cluster=a,hostname=n value=1 1", memstore.RefusedOld)
}

// What the cache holds of series that left the store is released, and its memory is used again.
func TestDepartedSeriesLeaveTheCache(t *testing.T) {
	g, s := newIngester(t, nil, "load")
	for round := range 30 {
		for i := range 1000 {
			write(t, g, 1, fmt.Sprintf("load,cluster=a,hostname=n,type=core,type-id=%d-%d,unit=%d value=1", round, i, i))
		}
		if n := s.Free([][]string{{"a"}}, now); n != 1000 {
			t.Fatalf("freed %d", n)
		}
		if s.Departed() < int64(1000*(round+1)) {
			t.Fatalf("%d series departed", s.Departed())
		}
		g.cache.sweep()
		for _, b := range g.cache.current.buckets {
			for _, x := range b {
				if x.series != nil {
					t.Fatal("the cache holds a series that left")
				}
			}
		}
		if len(g.cache.current.firstKey) > 0 {
			t.Fatal("the cache holds a series that left")
		}
	}
	if n := len(g.cache.current.buckets); n > 2*minBuckets {
		t.Errorf("%d buckets for at most 1000 keys", n)
	}
}

// A cache of the default size, or of a sixteenth of a cap, takes less than that.
func TestCacheSize(t *testing.T) {
	for _, limit := range []int64{1 << 20, 62_500_000, defaultCacheBytes, 1 << 40} {
		c := newCache(limit, func(int64) {})
		if n := int64(c.maxBuckets) * bucketBytes * 5 / 2; n > limit || n < limit/2 {
			t.Errorf("limit %d: up to %d bytes", limit, n)
		}
	}
}
