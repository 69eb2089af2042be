package keyring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/source"
)

// generation is the state of one configuration: its issuers, the keys from each issuer's sources,
// and what is revoked. It passes every change on to a chain. A new generation begins with a chain
// of its own, so that unusable options are found before the chain in use changes; see
// [generation.takeOver].
type generation struct {
	entries []*entry
	sources []*source.Source
	watcher *source.Watcher // nil before open
	running sync.WaitGroup  // refreshes in progress

	mu      sync.Mutex
	chain   *auth.Chain       // nil once closed or replaced: changes are ignored
	revoked *auth.Revocations // nil: nothing is revoked
}

// entry is one issuer.
type entry struct {
	issuer auth.Issuer // its settings
	parts  []part
	remote []*source.Source // sources that may have new keys when they are asked
}

// newGeneration checks the options and parses the keys in them. It reads nothing else: that is left
// to open.
func newGeneration(o Options) (*generation, error) {
	g := new(generation)
	log := cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	var errs []error
	for _, i := range o.Issuers {
		e := &entry{issuer: i.Issuer}
		g.entries = append(g.entries, e)
		errs = append(errs, adder{g, e, log}.add(i))
	}
	if o.RevocationFile != "" {
		g.sources = append(g.sources, source.FileUpTo(auth.MaxRevocations, o.RevocationFile, g.revoke))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	chain, err := auth.NewChain(auth.ChainConfig{Issuers: g.issuers(), Log: o.ChainLog})
	if err != nil {
		return nil, err
	}
	g.chain = chain
	return g, nil
}

// issuers returns the settings with the keys that are known.
func (g *generation) issuers() []auth.Issuer {
	issuers := make([]auth.Issuer, len(g.entries))
	for n, e := range g.entries {
		issuers[n] = e.issuer
		issuers[n].Refresh = g.refreshOf(e)
		issuers[n].Keys, issuers[n].Secrets = merge(e.parts)
	}
	return issuers
}

// open reads all sources and follows them. Files and references must be readable; others may become
// readable later.
func (g *generation) open(ctx context.Context, o Options) (err error) {
	g.watcher, err = source.Open(ctx, source.Options{
		PollInterval: o.PollInterval, MinRefresh: min(minRefresh, o.PollInterval), Log: o.Log,
	}, g.sources...)
	return err
}

// close stops following the sources and waits for refreshes in progress.
func (g *generation) close() error {
	g.mu.Lock()
	g.chain = nil
	g.mu.Unlock()
	var err error
	if g.watcher != nil {
		err = g.watcher.Close()
	}
	g.running.Wait()
	return err
}

// takeOver replaces old: it sets this generation's issuers, keys and revocations in old's chain and
// takes the chain over. After an error nothing has changed.
func (g *generation) takeOver(old *generation) error {
	old.mu.Lock()
	defer old.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keepFrom(old)
	issuers := g.issuers()
	// The chain in use accepts whatever the trial accepts, so it cannot fail halfway.
	trial, err := auth.NewChain(auth.ChainConfig{Issuers: issuers})
	if err != nil {
		return err
	}
	if err := trial.SetRevocations(g.revoked); err != nil {
		return err
	}
	if err := old.chain.SetIssuers(issuers); err != nil {
		return err
	}
	if err := old.chain.SetRevocations(g.revoked); err != nil {
		return err
	}
	for _, e := range g.entries {
		if err := e.apply(old.chain); err != nil {
			return err
		}
	}
	g.chain, old.chain = old.chain, nil
	return nil
}

// keepFrom takes over the keys of sources that this generation could not read and old could. Both
// are locked.
func (g *generation) keepFrom(old *generation) {
	for _, e := range g.entries {
		for _, before := range old.entries {
			if before.issuer.Name != e.issuer.Name || before.issuer.Issuer != e.issuer.Issuer {
				continue
			}
			for n := range e.parts {
				e.parts[n].keep(before.parts)
			}
		}
	}
}

// replace sets the content of one of an issuer's sources. If the chain rejects it, the previous
// content stays, with one exception: if no source has a key for the issuer's algorithms any more,
// its previous keys are withdrawn.
func (g *generation) replace(e *entry, n int, now part) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := e.parts[n]
	e.parts[n] = now
	if g.chain == nil {
		return nil
	}
	err := e.apply(g.chain)
	switch {
	case errors.Is(err, auth.ErrNoFittingKey):
		for n := range e.parts {
			e.parts[n].keys = nil
		}
		return errors.Join(fmt.Errorf("%w: %w", err, source.ErrDropped), e.apply(g.chain))
	case err != nil:
		e.parts[n] = before
	}
	return err
}

// apply sets an issuer's keys in the chain, or removes them if its sources were read and have none.
func (e *entry) apply(chain *auth.Chain) error {
	keys, shared := merge(e.parts)
	switch {
	case len(shared) > 0:
		return chain.SetSecrets(e.issuer.Name, shared)
	case len(keys) > 0:
		return chain.SetKeys(e.issuer.Name, keys)
	case slices.ContainsFunc(e.parts, func(p part) bool { return p.read }):
		return chain.RemoveKeys(e.issuer.Name)
	default:
		return nil
	}
}

// revoke sets what the revocation file holds.
func (g *generation) revoke(data []byte) error {
	r, err := auth.ParseRevocations(data)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.chain != nil {
		if err := g.chain.SetRevocations(r); err != nil {
			return err
		}
	}
	g.revoked = r
	return nil
}

// refreshOf returns the function that asks an issuer's remote sources for new keys, nil if it has
// none. The function reports whether it could start.
func (g *generation) refreshOf(e *entry) func() bool {
	if len(e.remote) == 0 {
		return nil
	}
	return func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.chain == nil {
			return false
		}
		g.running.Go(func() { g.refresh(e) })
		return true
	}
}

// refresh reads an issuer's remote sources again, and reports to the chain when this is done,
// successful or not.
func (g *generation) refresh(e *entry) {
	pending := make([]<-chan struct{}, len(e.remote))
	for n, s := range e.remote {
		pending[n] = s.Refresh()
	}
	for _, done := range pending {
		<-done
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.chain != nil {
		g.chain.Refreshed(e.issuer.Name)
	}
}
