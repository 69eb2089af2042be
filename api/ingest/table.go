package ingest

import (
	"hash/maphash"
	"unsafe"

	"github.com/ringstore/ringstore/api/ingest/prefetch"
	"github.com/ringstore/ringstore/memstore"
)

// fingerprint represents a line's key: two 64-bit hashes with random seeds, so that keys collide
// neither by chance nor on purpose. The keys themselves are not kept.
type fingerprint struct{ a, b uint64 }

// table is a hash table from fingerprints to series, with linear probing by bucket. Half of a
// fingerprint selects the bucket, the other half identifies the key within it. Keys arrive in an
// order that defeats the processor's caches. A lookup therefore mostly reads a single cache line,
// which is prefetched.
type table struct {
	buckets []bucket // their number is a power of two
	homes   []home   // parallel to buckets; only growing reads it
	used    int      // slots

	departed int // used slots without a series
}

// bucket is one cache line. Its slots are filled from the first on; keys that do not fit go to the
// next bucket.
type bucket [bucketSlots]slot

const bucketSlots = 4

// home holds, for each slot of a bucket, the half of the fingerprint that selects the bucket.
type home [bucketSlots]uint32

// slot is an entry of the table. A free one has the tag 0.
type slot struct {
	tag    uint64           // of the key, and sharedBit
	series *memstore.Series // nil: it has left the store
}

// sharedBit in a slot's tag says that keys with other ignored tags lead to the same series.
const sharedBit = 1

// tag returns the 63 bits of a fingerprint that a slot keeps, never 0.
func (f fingerprint) tag() uint64 { return max(f.b&^sharedBit, sharedBit<<1) }

func (s *slot) state() cacheState {
	switch {
	case s.series == nil:
		return missing
	case s.tag&sharedBit != 0:
		return shared
	}
	return cached
}

// bucketBytes is the memory of a bucket and its home.
const bucketBytes = int64(unsafe.Sizeof(bucket{}) + unsafe.Sizeof(home{}))

// minBuckets makes the smallest table 32 KiB: from that size on, Go aligns an allocation to pages,
// and so each bucket to a cache line.
const minBuckets = 1 << 9

// bucketView is a table's buckets at an earlier time. It may only be prefetched.
type bucketView []bucket

// prefetch prefetches the bucket of a key.
func (v bucketView) prefetch(key fingerprint) {
	if len(v) > 0 {
		prefetch.Line(&v[key.a&uint64(len(v)-1)])
	}
}

// find returns the slot of a key, nil if there is none.
func (t *table) find(key fingerprint) *slot {
	tag := key.tag()
	for i := key.a; len(t.buckets) > 0; i++ {
		b := &t.buckets[i&uint64(len(t.buckets)-1)]
		// At most one slot has the tag: slot n, or none if n is 0 and slot 0 has another tag.
		n := 6 - differ(b[1].tag, tag) - 2*differ(b[2].tag, tag) - 3*differ(b[3].tag, tag)
		if s := &b[n&3]; s.tag&^sharedBit == tag {
			return s
		}
		if b[3].tag == 0 {
			break
		}
	}
	return nil
}

// differ returns 1 if two tags differ apart from sharedBit, else 0, without a branch.
func differ(a, b uint64) uint64 {
	x := (a ^ b) &^ sharedBit
	return (x | -x) >> 63
}

// insert returns the slot of a key, and adds one if there is none; the caller sets its series. It
// invalidates the slots that find and insert returned before.
func (t *table) insert(key fingerprint) *slot {
	if s := t.find(key); s != nil {
		if s.series == nil {
			t.departed--
		}
		return s
	}
	if t.isFull(len(t.buckets)) {
		t.grow()
	}
	t.used++
	s := t.allocate(uint32(key.a))
	s.tag = key.tag()
	return s
}

// allocate returns a free slot for a key whose first bucket is number home.
func (t *table) allocate(home uint32) *slot {
	for i := home; ; i++ {
		k := i & uint32(len(t.buckets)-1)
		for n := range t.buckets[k] {
			if s := &t.buckets[k][n]; s.tag == 0 {
				t.homes[k][n] = home
				return s
			}
		}
	}
}

// isFull reports whether another key needs more buckets than a maximum.
func (t *table) isFull(maxBuckets int) bool {
	return len(t.buckets) >= maxBuckets && 3*t.used >= 2*bucketSlots*len(t.buckets)
}

// grow makes place for more keys. It drops the slots whose series has left the store, and only
// doubles the table if there are few of them.
func (t *table) grow() {
	buckets, homes := t.buckets, t.homes
	size := max(minBuckets, len(buckets))
	if 2*t.departed < t.used {
		size = max(minBuckets, 2*len(buckets))
	}
	t.buckets, t.homes = make([]bucket, size), make([]home, size)
	t.used -= t.departed
	t.departed = 0
	for k := range buckets {
		for n, s := range buckets[k] {
			if s.tag != 0 && s.series != nil {
				*t.allocate(homes[k][n]) = s
			}
		}
	}
}

// sweep empties the slots of n buckets whose series has left the store, and reports whether there are
// buckets after them.
func (t *table) sweep(begin, n int) (more bool) {
	end := min(begin+n, len(t.buckets))
	for k := begin; k < end; k++ {
		for i := range t.buckets[k] {
			if s := &t.buckets[k][i]; s.series != nil && s.series.Gone() {
				s.series = nil
				t.departed++
			}
		}
	}
	return end < len(t.buckets)
}

// isEmpty reports whether all series have left the store.
func (t *table) isEmpty() bool { return t.departed == t.used }

// hasher computes fingerprints. They include the default cluster, as a key without a cluster tag
// means another series under another default.
type hasher struct{ a, b maphash.Seed }

func newHasher() hasher { return hasher{maphash.MakeSeed(), maphash.MakeSeed()} }

// fingerprint returns the fingerprint of a key, given that of the default cluster.
func (h hasher) fingerprint(cluster fingerprint, key []byte) fingerprint {
	f := fingerprint{maphash.Bytes(h.a, key) ^ cluster.a, maphash.Bytes(h.b, key) ^ cluster.b}
	if f == (fingerprint{}) {
		f.a = 1
	}
	return f
}

// field returns the fingerprint of a key and a field name. The seeds are swapped, so that a field's
// hash is not that of an equal key.
func (h hasher) field(key fingerprint, name []byte) fingerprint {
	if len(name) == 0 {
		return key
	}
	f := fingerprint{key.a ^ maphash.Bytes(h.b, name), key.b ^ maphash.Bytes(h.a, name)}
	if f == (fingerprint{}) {
		f.a = 1
	}
	return f
}

// cluster returns the fingerprint of a default cluster.
func (h hasher) cluster(name string) fingerprint {
	// A key never begins with a zero byte, so no key has the hash of a cluster.
	return fingerprint{maphash.String(h.a, "\x00"+name), maphash.String(h.b, "\x00"+name)}
}
