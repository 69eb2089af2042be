package auth

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// cacheSize is the most verdicts kept.
	cacheSize = 4096
	// cacheAge is the longest that a verdict is believed.
	cacheAge = time.Minute
)

// A Cache is an Authenticator that remembers what another has accepted, by the token's SHA-256: verifying costs
// tens of microseconds, and a collector sends the same token every few seconds. A verdict is believed for a minute
// at most, not beyond the token's exp, and not before the moment it was reached, should the clock be set back (the
// token's nbf and iat held at that moment). Refusals are not remembered, so a flood of bad tokens displaces nothing.
type Cache struct {
	next  Authenticator
	chain *Chain // next, if it is one
	now   func() time.Time

	mu                      sync.RWMutex
	recent[digest, verdict] // which turns when the young ones are many, or a minute old
	turned                  time.Time

	flights flights
	past    pastVerdicts
}

type digest [sha256.Size]byte

// A verdict holds in [from, until), under one generation of what it is founded on.
type verdict struct {
	principal   *Principal
	from, until time.Time
	generation  uint64
}

func (v verdict) holds(now time.Time, generation uint64) bool {
	return generation == v.generation && !now.Before(v.from) && now.Before(v.until)
}

// NewCache wraps next; now is the clock, nil means time.Now.
func NewCache(next Authenticator, now func() time.Time) *Cache {
	if now == nil {
		now = time.Now
	}
	chain, _ := next.(*Chain)
	return &Cache{next: next, chain: chain, now: now}
}

// Authenticate answers from memory, or asks the wrapped Authenticator.
func (c *Cache) Authenticate(ctx context.Context, token string) (*Principal, error) {
	if len(token) > maxToken { // not worth a hash
		return c.next.Authenticate(ctx, token)
	}
	key := digest(sha256.Sum256([]byte(token)))
	now := c.now().Round(0) // the wall clock, which is what exp is about
	generation := c.Generation()
	p, known := c.lookup(key, now, generation)
	if p != nil {
		return p, nil
	}
	return c.flights.share(ctx, flightKey{key, generation}, func() (*Principal, error) {
		p, err := c.ask(ctx, token, known)
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

// Generation is the Chain's, and 0 for what does not change.
func (c *Cache) Generation() uint64 {
	if c.chain == nil {
		return 0
	}
	return c.chain.Generation()
}

func (c *Cache) ask(ctx context.Context, token string, known bool) (*Principal, error) {
	if c.chain == nil {
		return c.next.Authenticate(ctx, token)
	}
	return c.chain.authenticate(ctx, token, known, c.chain.now())
}

// lookup returns whose token it is, nil if no verdict holds; known says that there was one.
func (c *Cache) lookup(key digest, now time.Time, generation uint64) (p *Principal, known bool) {
	c.mu.RLock()
	v, young := c.get(key)
	c.mu.RUnlock()
	if !v.holds(now, generation) { // as the zero verdict never does
		return nil, v.principal != nil
	}
	if !young {
		c.store(key, v, now)
	}
	return v.principal, true
}

func (c *Cache) store(key digest, v verdict, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if age := now.Sub(c.turned); len(c.young) >= cacheSize/2 || age >= cacheAge || age < 0 {
		c.turn()
		c.turned = now
	}
	c.put(key, v)
}
