package ingest

import "sync/atomic"

// unknownKeys remembers keys whose metric is not configured, as many as fit: a new one replaces
// another one. Forgotten keys cost time, but nothing else.
type unknownKeys struct{ tags []atomic.Uint64 }

// unknownKeyCount is a power of two.
const unknownKeyCount = 1 << 16

func newUnknownKeys() unknownKeys { return unknownKeys{make([]atomic.Uint64, unknownKeyCount)} }

func (u unknownKeys) at(key fingerprint) *atomic.Uint64 { return &u.tags[key.a%unknownKeyCount] }

func (u unknownKeys) add(key fingerprint) { u.at(key).Store(key.tag()) }

func (u unknownKeys) has(key fingerprint) bool { return u.at(key).Load() == key.tag() }
