// Package keyring holds the keys of all issuers and keeps them up to date.
//
// It takes an issuer's configuration as plain values: its settings, and where its keys are. It
// reads the keys, follows the files and URLs that they come from, hands every change to an
// [auth.Chain], and replaces the whole configuration while the chain is in use. How keys are parsed
// is the job of package jwk, how files and URLs are followed that of package source. Nothing here
// knows the configuration file: references to secrets arrive as functions.
package keyring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ringstore/ringstore/auth"
)

// minRefresh is the minimum time between two attempts to find a key that a token names and no
// source has. It is less than the 5 s after which package auth lets such a token be retried, so
// that the retry sees the attempt's result.
const minRefresh = 4 * time.Second

// Options say whose tokens are accepted.
type Options struct {
	Issuers        []Issuer
	RevocationFile string        // revoked tokens and subjects; empty: none are
	PollInterval   time.Duration // between two requests to a URL or a vault

	Log      *slog.Logger // for changes of sources, and sources that cannot be read
	ChainLog *slog.Logger // for the chain's warnings about keys and settings; nil: none are logged
}

// Issuer is one issuer of tokens. Its keys are those of all sources that are set.
type Issuer struct {
	auth.Issuer // the settings; Keys, Secrets and Refresh are set by this package

	Ed25519Key    *Value   // one Ed25519 public key, in any form that [auth.ParsePublicKey] takes
	PublicKey     *Value   // public keys, in any form that [jwk.Parse] takes
	PublicKeyFile string   // the same, in a file
	KeyID         string   // the kid of the only key in PublicKey or PublicKeyFile; empty: as the key says
	JWKSFile      string   // a JWK set
	JWKSURLs      []string // of JWK sets
	Discovery     bool     // asks the issuer for its JWK set, by OpenID Connect Discovery
	SharedSecret  *Value   // of HMAC algorithms
}

// Value is a value of the configuration, or a reference to one that is stored elsewhere.
type Value struct {
	Path string // of the value in the configuration, for errors
	Data []byte // the value itself; ignored if Read is set

	Read      func(ctx context.Context) ([]byte, error) // reads the value that a reference leads to
	Reference string                                    // the reference as it is written, for errors and logs
	File      string                                    // the file that Read reads, if it reads one: it is followed
}

// Check returns what is wrong with the options themselves. It reads neither files nor references.
func Check(o Options) error {
	_, err := newGeneration(o)
	return err
}

// Keyring is an [auth.Authenticator] whose configuration may be replaced. Its verdicts are cached.
type Keyring struct {
	*auth.Cache
	chain   *auth.Chain
	current *generation
	log     *slog.Logger
}

// Open reads all keys and follows their sources until Close. Files and references must be readable;
// URLs may fail, which is logged, and are tried again.
func Open(ctx context.Context, o Options) (*Keyring, error) {
	g, err := openGeneration(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Keyring{Cache: auth.NewCache(g.chain, nil), chain: g.chain, current: g, log: o.Log}, nil
}

func openGeneration(ctx context.Context, o Options) (*generation, error) {
	g, err := newGeneration(o)
	if err != nil {
		return nil, err
	}
	if err := g.open(ctx, o); err != nil {
		return nil, fmt.Errorf("auth: %w", errors.Join(err, g.close()))
	}
	return g, nil
}

// Chain returns the chain that verifies tokens. It stays the same when the configuration is
// replaced, and may be used after Close, with the keys of that moment.
func (k *Keyring) Chain() *auth.Chain { return k.chain }

// Reload replaces the configuration; after an error everything stays as it was. Keys of sources
// that cannot be read now are taken over from the same sources of the same issuer. Cached verdicts
// are dropped, but recently accepted callers are still recognised. Reload and Close must not be
// called concurrently.
func (k *Keyring) Reload(ctx context.Context, o Options) error {
	o.ChainLog = nil // the chain in use logs the warnings
	g, err := openGeneration(ctx, o)
	if err != nil {
		return err
	}
	if err := g.takeOver(k.current); err != nil {
		return errors.Join(err, g.close())
	}
	before := k.current
	k.current = g
	return before.close()
}

// Close stops following the sources.
func (k *Keyring) Close() error { return k.current.close() }
