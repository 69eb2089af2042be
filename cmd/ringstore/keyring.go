package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/source"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/configs/secrets"
)

// minRefresh is the least time between two looks for a key that a token names
// and nobody has: less than the 5 s for which package auth puts such tokens off,
// so that they are answered by what the look has found.
const minRefresh = 4 * time.Second

// keyring is what one configuration believes: its issuers, the keys of each, of
// several sources perhaps, and what is revoked. It tells a chain of every
// change. That of a new keyring is one of its own, so that what cannot be used
// is found out before anybody depends on it; see [keyring.takeOver].
type keyring struct {
	entries []*entry
	sources []*source.Source
	watcher *source.Watcher // nil until it is opened
	running sync.WaitGroup  // of those who wait for a refresh

	mu      sync.Mutex
	chain   *auth.Chain       // nil: retired, nothing is told any more
	revoked *auth.Revocations // nil: nothing is
}

// entry is an issuer.
type entry struct {
	issuer auth.Issuer // its settings
	parts  []part
	remote []*source.Source // those that can be asked for keys that are new
}

// newKeyring checks all that the configuration itself says, and reads nothing
// else yet: that is left to open.
func newKeyring(cfg *configs.Config, reader secrets.Reader, log *slog.Logger) (*keyring, error) {
	k := new(keyring)
	var errs []error
	for n, c := range configuredIssuers(cfg) {
		f := finder{k, new(entry), fmt.Sprintf("auth.issuers[%d]", n), reader}
		var err error
		if f.entry.issuer, err = newIssuer(c, cfg.Auth); err != nil {
			return nil, fmt.Errorf("%s: %w", f.at, err)
		}
		k.entries = append(k.entries, f.entry)
		if c.Issuer == "" {
			errs = append(errs, f.plainKey(cfg.Main.JWTPublicKey))
		}
		errs = append(errs, f.find(c))
	}
	if file := cfg.Auth.RevocationFile; file != "" {
		k.sources = append(k.sources, source.FileUpTo(auth.MaxRevocations, file, k.revoke))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	chain, err := auth.NewChain(auth.ChainConfig{Issuers: k.issuers(), Log: log})
	if err != nil {
		return nil, fmt.Errorf("auth.%w", err)
	}
	k.chain = chain
	return k, nil
}

// issuers are the settings with what is known of the keys.
func (k *keyring) issuers() []auth.Issuer {
	issuers := make([]auth.Issuer, len(k.entries))
	for n, e := range k.entries {
		issuers[n] = e.issuer
		issuers[n].Refresh = k.refreshOf(e)
		issuers[n].Keys, issuers[n].Secrets = merge(e.parts)
	}
	return issuers
}

// open reads all sources, and follows them from then on. Files and references
// must be there, others may come later.
func (k *keyring) open(ctx context.Context, interval time.Duration, log *slog.Logger) (err error) {
	k.watcher, err = source.Open(ctx, source.Options{PollInterval: interval, MinRefresh: min(minRefresh, interval), Log: log}, k.sources...)
	return err
}

// close ends the following, and all that waits for it.
func (k *keyring) close() error {
	k.mu.Lock()
	k.chain = nil
	k.mu.Unlock()
	var err error
	if k.watcher != nil {
		err = k.watcher.Close()
	}
	k.running.Wait()
	return err
}

// takeOver puts what this keyring believes in the place of what old believes, in
// the chain that old has, or changes nothing.
func (k *keyring) takeOver(old *keyring) error {
	old.mu.Lock()
	defer old.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keepFrom(old)
	issuers := k.issuers()
	// What the trial has let pass, the chain in use does too.
	trial, err := auth.NewChain(auth.ChainConfig{Issuers: issuers})
	if err != nil {
		return fmt.Errorf("auth.%w", err)
	}
	if err := trial.SetRevocations(k.revoked); err != nil {
		return err
	}
	if err := old.chain.SetIssuers(issuers); err != nil {
		return fmt.Errorf("auth.%w", err)
	}
	if err := old.chain.SetRevocations(k.revoked); err != nil {
		return err
	}
	k.chain, old.chain = old.chain, nil
	return nil
}

// keepFrom takes the keys of sources that cannot be read now from a keyring that
// could read them. Both are locked.
func (k *keyring) keepFrom(old *keyring) {
	for _, e := range k.entries {
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

// replace takes what a source of an issuer's keys holds now, unless the chain
// finds something wrong with it.
func (k *keyring) replace(e *entry, n int, now part) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := e.parts[n]
	e.parts[n] = now
	err := k.tell(e)
	if err != nil {
		e.parts[n] = before
	}
	return err
}

// tell gives the chain an issuer's keys, if it has any.
func (k *keyring) tell(e *entry) error {
	keys, shared := merge(e.parts)
	switch {
	case k.chain == nil || len(keys)+len(shared) == 0:
		return nil
	case len(shared) > 0:
		return k.chain.SetSecrets(e.issuer.Name, shared)
	default:
		return k.chain.SetKeys(e.issuer.Name, keys)
	}
}

// revoke takes what the file of revocations holds now.
func (k *keyring) revoke(data []byte) error {
	r, err := auth.ParseRevocations(data)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.chain != nil {
		if err := k.chain.SetRevocations(r); err != nil {
			return err
		}
	}
	k.revoked = r
	return nil
}

// refreshOf is how an issuer's keys are asked for anew, nil if they come from
// nowhere that could be asked.
func (k *keyring) refreshOf(e *entry) func() bool {
	if len(e.remote) == 0 {
		return nil
	}
	return func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.chain == nil {
			return false
		}
		k.running.Go(func() { k.refresh(e) })
		return true
	}
}

// refresh has an issuer's sources looked at, and tells the chain when that is
// done, whatever has come of it.
func (k *keyring) refresh(e *entry) {
	looked := make([]<-chan struct{}, len(e.remote))
	for n, s := range e.remote {
		looked[n] = s.Refresh()
	}
	for _, done := range looked {
		<-done
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.chain != nil {
		k.chain.Refreshed(e.issuer.Name)
	}
}
