package ingest

import (
	"hash/maphash"

	"github.com/ringstore/ringstore/api/ingest/prefetch"
	"github.com/ringstore/ringstore/memstore"
)

// fingerprint stands for a line's key: 128 bits of hashes whose seeds nobody
// outside the process knows, so that two keys have the same one neither by
// chance nor on purpose. The keys themselves are not kept.
type fingerprint struct{ a, b uint64 }

// table finds what is known of a key by its fingerprint. Half of that says where
// to look, the other half is kept to tell keys apart. A site's keys come in an
// order that no cache of the processor can follow: to find one takes a single
// line of memory, which is asked for long before.
type table struct {
	buckets []bucket // a power of two of them
	homes   []home   // of the slots: where to look for their keys, of interest only to a table that grows
	used    int      // slots
}

// bucket is one line of the processor's cache. Its slots are used from the first
// on; what does not fit goes to the bucket after it.
type bucket [bucketSlots]slot

const bucketSlots = 4

// home is of a bucket's slots the half of the fingerprint that is not kept there.
type home [bucketSlots]uint32

// slot is an entry of the table; one with a tag of 0 is free.
type slot struct {
	tag    uint64           // of the key, and sharedBit
	series *memstore.Series // nil: its metric is not configured
}

// sharedBit of a slot says that keys with other ignored tags lead to its series too.
const sharedBit = 1

// tag is what slots keep of a fingerprint: 63 bits of it, and not 0.
func (f fingerprint) tag() uint64 { return max(f.b&^sharedBit, sharedBit<<1) }

// mark returns what the slot knows of its key.
func (s *slot) mark() mark {
	switch {
	case s.series == nil:
		return unknown
	case s.tag&sharedBit != 0:
		return shared
	}
	return plain
}

// smallestTable is of a size, 32 KiB, from which on Go aligns memory to pages.
const smallestTable = 1 << 9 // buckets

// places are a table's buckets as they were a moment ago.
type places []bucket

// prefetch prepares to look for a key.
func (p places) prefetch(key fingerprint) {
	if len(p) > 0 {
		prefetch.Line(&p[key.a&uint64(len(p)-1)])
	}
}

// find returns the slot of a key, nil if there is none.
func (t *table) find(key fingerprint) *slot {
	tag := key.tag()
	for i := key.a; len(t.buckets) > 0; i++ {
		b := &t.buckets[i&uint64(len(t.buckets)-1)]
		// At most one slot has the tag; with n = 0 it is the first one, or none.
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

// differ returns 1 if a slot's tag is not the given one, else 0, without a branch.
func differ(a, b uint64) uint64 {
	x := (a ^ b) &^ sharedBit
	return (x | -x) >> 63
}

// insert returns the slot of a key and makes one if there is none. What it and
// find returned before is not to be used any more.
func (t *table) insert(key fingerprint) *slot {
	if s := t.find(key); s != nil {
		return s
	}
	if 3*t.used >= 2*bucketSlots*len(t.buckets) {
		t.grow()
	}
	t.used++
	s := t.place(uint32(key.a))
	s.tag = key.tag()
	return s
}

// place takes a free slot for a key that has none.
func (t *table) place(at uint32) *slot {
	for i := at; ; i++ {
		k := i & uint32(len(t.buckets)-1)
		for n := range t.buckets[k] {
			if s := &t.buckets[k][n]; s.tag == 0 {
				t.homes[k][n] = at
				return s
			}
		}
	}
}

func (t *table) grow() {
	buckets, homes := t.buckets, t.homes
	size := max(smallestTable, 2*len(buckets))
	t.buckets, t.homes = make([]bucket, size), make([]home, size)
	for k := range buckets {
		for n, s := range buckets[k] {
			if s.tag != 0 {
				*t.place(homes[k][n]) = s
			}
		}
	}
}

// hasher makes fingerprints of keys. The cluster of lines that name none is a
// part of what a key means.
type hasher struct{ a, b maphash.Seed }

func newHasher() hasher { return hasher{maphash.MakeSeed(), maphash.MakeSeed()} }

// fingerprint returns that of a key among the lines of a default cluster, whose
// own fingerprint is given.
func (h hasher) fingerprint(cluster fingerprint, key []byte) fingerprint {
	f := fingerprint{maphash.Bytes(h.a, key) ^ cluster.a, maphash.Bytes(h.b, key) ^ cluster.b}
	if f == (fingerprint{}) {
		f.a = 1
	}
	return f
}

// field returns the fingerprint of one field of a line with a key. The seeds change
// places, so that a field is no key.
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

func (h hasher) cluster(name string) fingerprint {
	// A key never begins with a zero byte, so no key has a cluster's hash.
	return fingerprint{maphash.String(h.a, "\x00"+name), maphash.String(h.b, "\x00"+name)}
}
