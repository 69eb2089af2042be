package ingest

import (
	"math/rand/v2"
	"testing"

	"github.com/ringstore/ringstore/memstore"
)

// The table against a map, through several growths, with keys that share a bucket,
// or a tag.
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
			return fingerprint{k.a ^ smallestTable/2, k.b} // far from it in a table of any size
		}
	}
	for range 50_000 {
		key := newKey()
		key.b = key.tag() // so that the model agrees on what is the same key
		if random.IntN(3) == 0 && len(keys) > 0 {
			key = keys[random.IntN(len(keys))]
		}
		want, known := model[key]
		got := table.find(key)
		switch {
		case (got != nil) != known:
			t.Fatalf("key %x: found %v, is there %v", key, got != nil, known)
		case got != nil && got.series != want:
			t.Fatalf("key %x leads elsewhere", key)
		}
		if known {
			continue
		}
		s := table.insert(key)
		if s.series != nil || s.mark() != unknown {
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

// A mark is the slot's own, and goes with it when the table grows.
func TestTableKeepsMarks(t *testing.T) {
	var table table
	key := fingerprint{1, 2}
	s := table.insert(key)
	s.series = new(memstore.Series)
	if s.mark() != plain {
		t.Errorf("mark %d, not plain", s.mark())
	}
	s.tag |= sharedBit
	for i := range uint64(10_000) {
		table.insert(fingerprint{i, 4 + 2*i})
		if i%1000 == 0 {
			if s := table.find(key); s == nil || s.mark() != shared {
				t.Fatalf("after %d keys: %+v", i, s)
			}
		}
	}
}
