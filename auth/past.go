package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

// pastVerdicts remembers tokens that were good at some moment, for a minute at most: a backlog of messages brings the
// same few again and again. A verdict holds for every moment from the earliest that was asked about until exp, as what
// is held against a moment can only expire later.
type pastVerdicts struct {
	mu     sync.Mutex
	all    map[digest]pastVerdict
	turned time.Time
}

type pastVerdict struct {
	principal  *Principal
	from       time.Time
	generation uint64
}

func (v pastVerdict) holds(at time.Time, generation uint64) bool {
	return v.principal != nil && generation == v.generation && !at.Before(v.from) &&
		(v.principal.Expires.IsZero() || at.Before(v.principal.Expires))
}

// AuthenticateAt is the Chain's, answered from memory where that can be. Other Authenticators cannot say it.
func (c *Cache) AuthenticateAt(ctx context.Context, token string, at time.Time) (*Principal, error) {
	if c.chain == nil {
		return nil, errors.New("only a chain of issuers knows what a token was worth earlier")
	}
	if len(token) > maxToken {
		return c.chain.AuthenticateAt(ctx, token, at)
	}
	key := digest(sha256.Sum256([]byte(token)))
	generation := c.Generation()
	v := c.past.get(key, c.now())
	if v.holds(at, generation) {
		return v.principal, nil
	}
	p, err := c.chain.authenticate(ctx, token, v.principal != nil, at)
	if err != nil {
		return nil, err
	}
	if next := (pastVerdict{p, at, generation}); next.holds(at, generation) { // not so within the leeway after exp
		c.past.put(key, next)
	}
	return p, nil
}

func (p *pastVerdicts) get(key digest, now time.Time) pastVerdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	if age := now.Sub(p.turned); p.all == nil || age >= cacheAge || age < 0 {
		p.all, p.turned = make(map[digest]pastVerdict), now
	}
	return p.all[key]
}

func (p *pastVerdicts) put(key digest, v pastVerdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.all) >= cacheSize {
		clear(p.all)
	}
	p.all[key] = v
}
