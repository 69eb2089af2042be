package auth

import (
	"context"
	"crypto/sha256"
	"time"
)

// pastVerdict remembers a token that was good at some moment, because a backlog of messages brings
// the same few tokens again and again. It holds for every moment between from and the token's exp,
// since only exp can refuse a token at a later moment; and, as every verdict, for cacheAge and
// under one generation.
type pastVerdict struct {
	principal  *Principal
	from       time.Time
	generation uint64
	until      time.Time // on the Cache's clock
}

func (v pastVerdict) current(now time.Time) bool {
	return now.Before(v.until) && v.until.Sub(now) <= cacheAge // the clock may have been set back
}

func (v pastVerdict) holds(at, now time.Time, generation uint64) bool {
	return v.current(now) && generation == v.generation && !at.Before(v.from) &&
		(v.principal.Expires.IsZero() || at.Before(v.principal.Expires))
}

// AuthenticateAt answers as [Chain.AuthenticateAt] does, from memory where possible.
func (c *Cache) AuthenticateAt(ctx context.Context, token string, at time.Time) (*Principal, error) {
	if len(token) > maxToken {
		return c.next.authenticate(ctx, token, false, at)
	}
	key := digest(sha256.Sum256([]byte(token)))
	generation := c.Generation()
	now := c.now()
	v, known := c.past.Get(key)
	if v.holds(at, now, generation) {
		return v.principal, nil
	}
	p, err := c.next.authenticate(ctx, token, known && v.current(now), at)
	if err != nil {
		return nil, err
	}
	v = pastVerdict{p, at, generation, now.Add(cacheAge)}
	if v.holds(at, now, generation) { // not so within the leeway after exp
		c.storePast(key, v, now)
	}
	return p, nil
}

// storePast also drops the verdicts that have lapsed, so that a backlog leaves nothing in memory.
func (c *Cache) storePast(key digest, v pastVerdict, now time.Time) {
	for {
		_, oldest, ok := c.past.GetOldest()
		if !ok || oldest.current(now) {
			break
		}
		c.past.RemoveOldest()
	}
	c.past.Add(key, v)
}
