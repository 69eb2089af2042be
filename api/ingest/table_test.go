package ingest

import (
	"math/rand/v2"
	"testing"

	"github.com/ringstore/ringstore/memstore"
)

// The table agrees with a map while it grows, also for keys that share a bucket or a tag.
func TestTable(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var table table
	model := map[fingerprint]*memstore.Series{}
	var keys []fingerprint
	newKey := func() fingerprint { // some share their bucket, some their tag
		switch key := (fingerprint{random.Uint64(), random.Uint64() &^ sharedBit}); {
		case len(keys) == 0 || random.IntN(4) > 0:
			return key
		case random.IntN(2) == 0:
			return fingerprint{keys[random.IntN(len(keys))].a, key.b}
		default:
			k := keys[random.IntN(len(keys))]
			return fingerprint{k.a ^ minBuckets/2, k.b} // in a distant bucket of any table
		}
	}
	for range 50_000 {
		key := newKey()
		key.b = key.tag() // the table tells keys apart by tag, and so does the model
		if random.IntN(3) == 0 && len(keys) > 0 {
			key = keys[random.IntN(len(keys))]
		}
		want, known := model[key]
		got := table.find(key)
		switch {
		case (got != nil) != known:
			t.Fatalf("key %x: found %v, want %v", key, got != nil, known)
		case got != nil && got.series != want:
			t.Fatalf("key %x has the wrong series", key)
		}
		if known {
			continue
		}
		s := table.insert(key)
		if s.series != nil || s.state() != missing {
			t.Fatalf("key %x: a new slot is not empty", key)
		}
		s.series = new(memstore.Series)
		model[key] = s.series
		keys = append(keys, key)
		if table.used != len(model) {
			t.Fatalf("%d used, not %d", table.used, len(model))
		}
		if slots := bucketSlots * len(table.buckets); 3*table.used > 2*slots+3 {
			t.Fatalf("%d used of %d slots", table.used, slots)
		}
	}
	for _, key := range keys {
		if s := table.find(key); s == nil || s.series != model[key] {
			t.Fatalf("key %x is lost", key)
		}
	}
}

// sharedBit belongs to a slot and moves with it when the table grows.
func TestTableKeepsSharedBits(t *testing.T) {
	var table table
	key := fingerprint{1, 2}
	s := table.insert(key)
	s.series = new(memstore.Series)
	if s.state() != cached {
		t.Errorf("state %d, want cached", s.state())
	}
	s.tag |= sharedBit
	series := s.series
	for i := range uint64(10_000) {
		table.insert(fingerprint{i, 4 + 2*i}).series = series
		if i%1000 == 0 {
			if s := table.find(key); s == nil || s.state() != shared {
				t.Fatalf("after %d keys: %+v", i, s)
			}
		}
	}
}
