package auth

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// cacheSize is the maximum number of verdicts kept, of each kind.
	cacheSize = 4096
	// cacheAge is the maximum age of a verdict.
	cacheAge = time.Minute
)

// A Cache remembers the tokens that a Chain has accepted, by their SHA-256: verifying a token takes
// tens of microseconds, and a collector sends the same one every few seconds. A verdict holds for
// at most a minute, not beyond the token's exp, and not before the moment it was reached, should
// the clock be set back (the token's nbf and iat were checked at that moment). Refusals are not
// remembered, so a flood of bad tokens displaces nothing.
//
// Its methods are safe for concurrent use. A hit takes a read lock only. That is why the recent
// verdicts are two generations of ours and not a golang-lru: its Get takes a write lock, which
// makes a hit slower with two readers on two cores, by 26 % in the best and 9 % in the median of 40
// runs.
type Cache struct {
	next verifier
	now  func() time.Time

	mu         sync.RWMutex
	young, old map[digest]verdict // a verdict that is used moves to the young ones
	rotated    time.Time

	inFlight singleflight
	past     *lru.Cache[digest, pastVerdict]
}

// verifier is the part of a Chain that a Cache uses.
type verifier interface {
	authenticate(ctx context.Context, token string, known bool, at time.Time) (*Principal, error)
	Generation() uint64
}

type digest [sha256.Size]byte

// A verdict holds in [from, until), in one generation of the Chain's keys, issuers and revocations.
type verdict struct {
	principal   *Principal
	from, until time.Time
	generation  uint64
}

func (v verdict) holds(now time.Time, generation uint64) bool {
	return generation == v.generation && !now.Before(v.from) && now.Before(v.until)
}

// NewCache returns a Cache in front of the Chain. now is the clock; nil means time.Now.
func NewCache(chain *Chain, now func() time.Time) *Cache { return newCache(chain, now) }

func newCache(next verifier, now func() time.Time) *Cache {
	if now == nil {
		now = time.Now
	}
	return &Cache{next: next, now: now, past: newLRU[digest, pastVerdict](cacheSize)}
}

// newLRU returns a cache of at most size entries, which must be positive. It starts no goroutine,
// unlike golang-lru's expirable package.
func newLRU[K comparable, V any](size int) *lru.Cache[K, V] {
	cache, err := lru.New[K, V](size)
	if err != nil {
		panic(err)
	}
	return cache
}

// Authenticate answers from memory, or asks the Chain.
func (c *Cache) Authenticate(ctx context.Context, token string) (*Principal, error) {
	now := c.now().Round(0)    // exp is about the wall clock
	if len(token) > maxToken { // not worth a hash
		return c.next.authenticate(ctx, token, false, now)
	}
	key := digest(sha256.Sum256([]byte(token)))
	generation := c.Generation()
	p, known := c.lookup(key, now, generation)
	if p != nil {
		return p, nil
	}
	return c.inFlight.do(ctx, flightKey{key, generation}, func() (*Principal, error) {
		p, err := c.next.authenticate(ctx, token, known, c.now())
		if err != nil {
			return nil, err
		}
		v := verdict{principal: p, from: now, until: now.Add(cacheAge), generation: generation}
		if !p.Expires.IsZero() && p.Expires.Before(v.until) {
			v.until = p.Expires
		}
		if v.holds(now, generation) { // not so within the leeway after exp
			c.store(key, v, now)
		}
		return p, nil
	})
}

// Generation is the Chain's.
func (c *Cache) Generation() uint64 { return c.next.Generation() }

// lookup returns the token's principal, nil if no verdict holds; known says that there was a
// verdict.
func (c *Cache) lookup(key digest, now time.Time, generation uint64) (p *Principal, known bool) {
	c.mu.RLock()
	v, young := c.young[key]
	if !young {
		v = c.old[key]
	}
	c.mu.RUnlock()
	if !v.holds(now, generation) { // as the zero verdict never does
		return nil, v.principal != nil
	}
	if !young {
		c.store(key, v, now)
	}
	return v.principal, true
}

// store puts the verdict among the young ones. When those are many, or a minute old, they become
// the old ones, and what was old and has not been used since is forgotten.
func (c *Cache) store(key digest, v verdict, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age := now.Sub(c.rotated)
	if c.young == nil || len(c.young) >= cacheSize/2 || age >= cacheAge || age < 0 {
		c.old, c.young = c.young, make(map[digest]verdict)
		c.rotated = now
	}
	c.young[key] = v
}
