package ingest

import (
	"hash/maphash"
)

// fingerprint stands for a line's key: 128 bits of hashes whose seeds nobody
// outside the process knows, so that two keys have the same one neither by
// chance nor on purpose. The keys themselves are not kept.
type fingerprint struct{ a, b uint64 }

// table finds what is known of a key by its fingerprint: open addressing, the
// slots beside each other in one allocation, as a site's keys come in an order
// that no cache of the processor can follow.
type table struct {
	slots []slot // a power of two of them
	used  int
}

// slot is an entry of the table; one without a fingerprint is free.
type slot struct {
	key fingerprint
	entry
}

const smallestTable = 1 << 10

// find returns the entry of a key, nil if there is none.
func (t *table) find(key fingerprint) *entry {
	if len(t.slots) == 0 {
		return nil
	}
	mask := uint64(len(t.slots) - 1)
	for i := key.a & mask; ; i = (i + 1) & mask {
		s := &t.slots[i]
		switch s.key {
		case key:
			return &s.entry
		case fingerprint{}:
			return nil
		}
	}
}

// insert returns the entry of a key and makes one if there is none. What find
// and insert returned before is not to be used any more.
func (t *table) insert(key fingerprint) *entry {
	if e := t.find(key); e != nil {
		return e
	}
	if 3*len(t.slots) <= 4*t.used {
		t.grow()
	}
	t.used++
	return &t.place(key).entry
}

// place takes a free slot for a key that has none.
func (t *table) place(key fingerprint) *slot {
	mask := uint64(len(t.slots) - 1)
	i := key.a & mask
	for t.slots[i].key != (fingerprint{}) {
		i = (i + 1) & mask
	}
	t.slots[i].key = key
	return &t.slots[i]
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]slot, max(smallestTable, 2*len(old)))
	for _, s := range old {
		if s.key != (fingerprint{}) {
			t.place(s.key).entry = s.entry
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
