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

// maxWarned is the maximum number of subjects that are named in warnings.
const maxWarned = 1024

// ChainConfig configures a Chain.
type ChainConfig struct {
	// Issuers are the trusted issuers, at least one. Names and iss are unique, so at most one
	// issuer is for tokens without iss. The Chain takes ownership of their slices and maps.
	Issuers []Issuer
	// Parallel is the maximum number of signatures verified at the same time; 0 means one per core.
	Parallel int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log receives warnings; nil discards them.
	Log *slog.Logger
}

// A Chain authenticates the tokens of all issuers. The token's iss, still unverified, selects
// exactly one issuer, and only that one's keys, algorithms, audience and mapping are used. The
// token's kid selects among those keys; its alg is only compared with the configured ones. Keys,
// revocations and settings can be replaced at any time. Its methods are safe for concurrent use.
type Chain struct {
	now  func() time.Time
	log  *slog.Logger
	gate *gate

	issuers       atomic.Pointer[issuerTable]
	revocations   atomic.Pointer[Revocations]
	generation    atomic.Uint64
	verifications verificationCounts

	replacing sync.Mutex // held while issuers, keys or revocations are replaced

	mu     sync.Mutex
	warned map[issuerSubject]struct{} // subjects with tokens that never expire
}

// issuerTable is immutable, except for the issuers' keys.
type issuerTable struct {
	byISS  map[string]*issuer
	byName map[string]*issuer
}

// NewChain checks all settings, of all issuers. Errors name the entry and its field as in the configuration, and a
// key by its position. Keys are copied.
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
	issuers, err := newIssuerTable(c.Issuers, chain.log)
	if err != nil {
		return nil, err
	}
	chain.issuers.Store(issuers)
	return chain, nil
}

func newIssuerTable(issuers []Issuer, log *slog.Logger) (*issuerTable, error) {
	if len(issuers) == 0 {
		return nil, errors.New("auth.issuers: none")
	}
	t := &issuerTable{make(map[string]*issuer), make(map[string]*issuer)}
	var errs []error
	for n, c := range issuers {
		i, err := compileIssuer(c, log)
		if err != nil {
			errs = append(errs, fmt.Errorf("auth.issuers[%d] %q: %w", n, c.Name, err))
			continue
		}
		if t.byName[c.Name] != nil {
			return nil, fmt.Errorf("auth.issuers[%d] %q: name: already used by another issuer", n, c.Name)
		}
		if other := t.byISS[c.Issuer]; other != nil {
			return nil, fmt.Errorf("auth.issuers[%d] %q: issuer: same as that of %q (an entry without issuer is for tokens without iss)", n, c.Name, other.Name)
		}
		t.byName[c.Name], t.byISS[c.Issuer] = i, i
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	for name, i := range t.byName { // a revocation names an issuer by either
		if other := t.byISS[name]; other != nil && other != i {
			return nil, fmt.Errorf("auth.issuers: %q: name: is the issuer of %q", name, other.Name)
		}
	}
	return t, nil
}

// Authenticate verifies a token. It returns an *Overloaded if that is impossible at the moment, and
// ctx's cause if ctx ends while the token waits for a core.
func (c *Chain) Authenticate(ctx context.Context, token string) (*Principal, error) {
	return c.authenticate(ctx, token, false, c.now())
}

// AuthenticateAt verifies a token as of another moment, such as when the message that carried it
// was queued: exp, nbf and iat are compared with that moment. Keys and revocations are the current
// ones.
func (c *Chain) AuthenticateAt(ctx context.Context, token string, at time.Time) (*Principal, error) {
	return c.authenticate(ctx, token, false, at)
}

// authenticate verifies a token as of at; known says that it was good a moment ago.
func (c *Chain) authenticate(ctx context.Context, token string, known bool, at time.Time) (*Principal, error) {
	v := verification{chain: c, ctx: ctx, text: token, known: known, now: c.now(), at: at}
	err := v.run()
	c.verifications.count(v.issuerName(), err)
	if err != nil {
		return nil, err
	}
	if v.principal.Expires.IsZero() {
		c.warnOnce(v.principal)
	}
	return v.principal, nil
}

// Generation changes whenever a token that was accepted before may no longer be. A verdict belongs
// to the generation that was read before the token was verified.
func (c *Chain) Generation() uint64 { return c.generation.Load() }

// SetKeys replaces all public keys of the named issuer, atomically; on an error, which names the
// bad key or is ErrNoFittingKey, the previous keys stay active. Identical keys change nothing.
func (c *Chain) SetKeys(issuer string, keys []jwk.Key) error { return c.setKeys(issuer, keys, nil) }

// SetSecrets is SetKeys for an issuer with shared secrets.
func (c *Chain) SetSecrets(issuer string, secrets []Secret) error {
	return c.setKeys(issuer, nil, secrets)
}

// RemoveKeys removes all keys of the named issuer, because it has withdrawn them: its tokens are
// refused with UnknownKey until SetKeys or SetSecrets is called.
func (c *Chain) RemoveKeys(issuer string) error {
	c.replacing.Lock()
	defer c.replacing.Unlock()
	i := c.issuers.Load().byName[issuer]
	if i == nil {
		return fmt.Errorf("issuer %q: no such issuer", issuer)
	}
	if before := i.keys.Load(); !before.withdrawn {
		i.keys.Store(&keySet{withdrawn: true})
		c.generation.Add(1)
	}
	return nil
}

// Refreshed reports that the fetch that the issuer's Refresh requested is done. Set new keys
// before.
func (c *Chain) Refreshed(issuer string) {
	if i := c.issuers.Load().byName[issuer]; i != nil {
		i.refresh.done()
	}
}

func (c *Chain) setKeys(name string, public []jwk.Key, secrets []Secret) error {
	c.replacing.Lock()
	defer c.replacing.Unlock()
	i := c.issuers.Load().byName[name]
	if i == nil {
		return fmt.Errorf("issuer %q: no such issuer", name)
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
	c.generation.Add(1) // after the keys are set, so that verdicts of this generation are theirs
	i.warnOfKeys(c.log)
	return nil
}

// SetIssuers replaces all issuers with their settings and keys, atomically; on an error, as from
// NewChain, the previous ones stay active. Keys that are not listed again are no longer trusted.
func (c *Chain) SetIssuers(issuers []Issuer) error {
	c.replacing.Lock()
	defer c.replacing.Unlock()
	next, err := newIssuerTable(issuers, c.log)
	if err != nil {
		return err
	}
	c.issuers.Store(next)
	c.generation.Add(1)
	return nil
}

// SetRevocations replaces the revocations; nil revokes nothing. A subject of an unknown issuer is
// an error, and then nothing changes.
func (c *Chain) SetRevocations(r *Revocations) error {
	c.replacing.Lock()
	defer c.replacing.Unlock()
	if r != nil {
		t := c.issuers.Load()
		if err := r.checkIssuers(func(issuer string) bool { return t.byName[issuer] != nil || t.byISS[issuer] != nil }); err != nil {
			return err
		}
	}
	c.revocations.Store(r)
	c.generation.Add(1)
	r.warn(c.issuers.Load(), c.log)
	return nil
}

func (c *Chain) warnOnce(p *Principal) {
	subject := issuerSubject{p.Issuer, p.Subject}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.warned[subject]; known || len(c.warned) == maxWarned {
		return
	}
	c.warned[subject] = struct{}{}
	c.log.Warn("accepted a token that never expires", "issuer", p.Issuer, "subject", p.Subject)
	if len(c.warned) == maxWarned {
		c.log.Warn("too many subjects with tokens that never expire; further ones are not logged")
	}
}
