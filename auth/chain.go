package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringstore/ringstore/auth/jwk"
)

// maxWarned is how many subjects are remembered as warned about.
const maxWarned = 1024

// ChainConfig configures a Chain.
type ChainConfig struct {
	// Issuers are whose tokens are accepted, one at least. No two have the same name or the same iss, so that at most
	// one is for the tokens without iss. The Chain owns their slices and maps from now on.
	Issuers []Issuer
	// Parallel is how many signatures are verified at once; 0 means one per core.
	Parallel int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes warnings; nil drops them.
	Log *slog.Logger
}

// A Chain is the Authenticator of all issuers: the iss that a token names, unverified, picks exactly one of them, and
// only its keys, algorithms, audience and mapping are used. What a token says of its key chooses among those, and of
// its algorithm nothing. Keys, revocations and settings can be replaced while it is in use.
type Chain struct {
	now  func() time.Time
	log  *slog.Logger
	gate *gate

	roster      atomic.Pointer[roster]
	revocations atomic.Pointer[Revocations]
	generation  atomic.Uint64
	tally       tally

	replacing sync.Mutex // one replacement at a time

	mu     sync.Mutex
	warned map[issuerSubject]struct{} // whose tokens never expire
}

// roster is the issuers of one time. Only their keys are replaced.
type roster struct {
	byISS  map[string]*issuer
	byName map[string]*issuer
}

// NewChain checks all settings. An error names the entry and its member as the configuration does, and a key by its
// place. Keys are copied.
func NewChain(c ChainConfig) (*Chain, error) {
	chain := &Chain{now: c.Now, log: c.Log, warned: make(map[issuerSubject]struct{})}
	if chain.now == nil {
		chain.now = time.Now
	}
	if chain.log == nil {
		chain.log = slog.New(slog.DiscardHandler)
	}
	if c.Parallel <= 0 {
		c.Parallel = runtime.GOMAXPROCS(0)
	}
	chain.gate = newGate(c.Parallel)
	roster, err := newRoster(c.Issuers, chain.log)
	if err != nil {
		return nil, err
	}
	chain.roster.Store(roster)
	return chain, nil
}

func newRoster(issuers []Issuer, log *slog.Logger) (*roster, error) {
	if len(issuers) == 0 {
		return nil, errors.New("issuers: none")
	}
	r := &roster{make(map[string]*issuer), make(map[string]*issuer)}
	for n, c := range issuers {
		i, err := compileIssuer(c, log)
		if err != nil {
			return nil, fmt.Errorf("issuers[%d] %q: %w", n, c.Name, err)
		}
		if r.byName[c.Name] != nil {
			return nil, fmt.Errorf("issuers[%d] %q: name: another issuer has it", n, c.Name)
		}
		if other := r.byISS[c.Issuer]; other != nil {
			return nil, fmt.Errorf("issuers[%d] %q: issuer: the same as that of %q (without it, an entry is for the tokens without iss)", n, c.Name, other.Name)
		}
		r.byName[c.Name], r.byISS[c.Issuer] = i, i
	}
	for name, i := range r.byName { // revocations name either
		if other := r.byISS[name]; other != nil && other != i {
			return nil, fmt.Errorf("issuer %q: name: the issuer of %q", name, other.Name)
		}
	}
	return r, nil
}

// Authenticate verifies a token. It returns an *Overloaded when that cannot be done now, and the end of ctx while it
// waits for its turn.
func (c *Chain) Authenticate(ctx context.Context, token string) (*Principal, error) {
	return c.authenticate(ctx, token, false, c.now())
}

// AuthenticateAt says what a token was worth at another moment, such as when what it came with was queued: exp, nbf and
// iat are held against that, keys and revocations against now.
func (c *Chain) AuthenticateAt(ctx context.Context, token string, at time.Time) (*Principal, error) {
	return c.authenticate(ctx, token, false, at)
}

// authenticate knows whether a token was good a moment ago.
func (c *Chain) authenticate(ctx context.Context, token string, known bool, at time.Time) (*Principal, error) {
	v := verification{chain: c, ctx: ctx, text: token, known: known, now: c.now(), at: at}
	err := v.run()
	c.tally.count(v.issuerName(), err)
	if err != nil {
		return nil, err
	}
	if v.principal.Expires.IsZero() {
		c.warnOnce(v.principal)
	}
	return v.principal, nil
}

// Generation changes when what was once accepted may be no longer. A verdict holds under the generation that was read
// before it was asked for.
func (c *Chain) Generation() uint64 { return c.generation.Load() }

// SetKeys replaces all public keys of the issuer of that name, at once for all tokens to come, or none: an error names
// the key that is bad. Keys that are those it has change nothing.
func (c *Chain) SetKeys(issuer string, keys []jwk.Key) error { return c.setKeys(issuer, keys, nil) }

// SetSecrets is SetKeys for an issuer with shared secrets.
func (c *Chain) SetSecrets(issuer string, secrets []Secret) error {
	return c.setKeys(issuer, nil, secrets)
}

// Refreshed tells that what the issuer's Refresh asked for has been answered, and the keys were set if there were new ones.
func (c *Chain) Refreshed(issuer string) {
	if i := c.roster.Load().byName[issuer]; i != nil {
		i.refresh.done()
	}
}

func (c *Chain) setKeys(name string, public []jwk.Key, secrets []Secret) error {
	c.replacing.Lock()
	defer c.replacing.Unlock()
	i := c.roster.Load().byName[name]
	if i == nil {
		return fmt.Errorf("issuer %q: there is none of that name", name)
	}
	set, err := i.newKeySet(public, secrets)
	if err == nil && set.empty() {
		err = errors.New("no keys")
	}
	if err != nil {
		return fmt.Errorf("issuer %q: %w", name, err)
	}
	if i.keys.Load().equal(set) {
		return nil
	}
	i.keys.Store(set)
	c.generation.Add(1) // after the keys are there: a verdict of this generation is of theirs
	i.warnOfKeys(c.log)
	return nil
}

// SetIssuers replaces all settings and keys, or none: errors are NewChain's. What an issuer was trusted with until now,
// and is not named again, is trusted no longer.
func (c *Chain) SetIssuers(issuers []Issuer) error {
	c.replacing.Lock()
	defer c.replacing.Unlock()
	next, err := newRoster(issuers, c.log)
	if err != nil {
		return err
	}
	c.roster.Store(next)
	c.generation.Add(1)
	return nil
}

// SetRevocations replaces what is revoked; nil revokes nothing. It is an error to revoke a subject of an issuer that
// there is not, and then nothing changes.
func (c *Chain) SetRevocations(r *Revocations) error {
	c.replacing.Lock()
	defer c.replacing.Unlock()
	if r != nil {
		now := c.roster.Load()
		if err := r.checkIssuers(func(issuer string) bool { return now.byName[issuer] != nil || now.byISS[issuer] != nil }); err != nil {
			return err
		}
	}
	c.revocations.Store(r)
	c.generation.Add(1)
	return nil
}

func (c *Chain) warnOnce(p *Principal) {
	who := issuerSubject{p.Issuer, p.Subject}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.warned[who]; known || len(c.warned) == maxWarned {
		return
	}
	c.warned[who] = struct{}{}
	c.log.Warn("accepted a token that never expires", "issuer", p.Issuer, "subject", p.Subject)
	if len(c.warned) == maxWarned {
		c.log.Warn("too many subjects with tokens that never expire: no more are named")
	}
}
