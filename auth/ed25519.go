package auth

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// jwtPublicKey is the issuer's name, after the key in the configuration that makes it.
	jwtPublicKey = "jwt-public-key"
	// maxKeys bounds what one forged token costs: each key is a signature check.
	maxKeys = 4
	// maxWarned is how many subjects are remembered as warned about.
	maxWarned = 1024

	defaultLeeway = 30 * time.Second
)

// Ed25519Config configures the issuer whose tokens main.jwt-public-key verifies.
type Ed25519Config struct {
	// Keys are tried in turn, as cc-backend's tokens do not name theirs. One to four.
	Keys []ed25519.PublicKey
	// RequireExpiry refuses tokens without exp. Otherwise they are accepted, with one warning per subject.
	RequireExpiry bool
	// Leeway is granted on exp, nbf and iat for clocks that differ. Zero means 30 s, a negative one means none.
	Leeway time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes the warnings; nil drops them.
	Log *slog.Logger
}

// Ed25519 is the Authenticator for tokens signed with EdDSA over edwards25519 (RFC 8037), shaped as cc-backend
// issues them. What a token says of its issuer, key or algorithm chooses nothing here.
type Ed25519 struct {
	keys          []ed25519.PublicKey
	requireExpiry bool
	leeway        time.Duration
	now           func() time.Time
	log           *slog.Logger

	mu     sync.Mutex
	warned map[string]struct{} // subjects whose tokens never expire
}

// NewEd25519 refuses a key that CheckKey calls weak, naming which; the published one it takes with a warning.
func NewEd25519(c Ed25519Config) (*Ed25519, error) {
	e := &Ed25519{
		requireExpiry: c.RequireExpiry, leeway: c.Leeway, now: c.Now, log: c.Log,
		warned: make(map[string]struct{}),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.leeway == 0 {
		e.leeway = defaultLeeway
	}
	e.leeway = max(e.leeway, 0)
	if len(c.Keys) == 0 || len(c.Keys) > maxKeys {
		return nil, fmt.Errorf("issuer %s: %d keys, want 1 to %d", jwtPublicKey, len(c.Keys), maxKeys)
	}
	for i, key := range c.Keys {
		switch err := CheckKey(key); {
		case errors.Is(err, ErrPublishedKey):
			e.log.Warn("weak key", "issuer", jwtPublicKey, "key", i+1, "why", err.Error())
		case err != nil:
			return nil, fmt.Errorf("issuer %s: key %d: %w", jwtPublicKey, i+1, err)
		}
		e.keys = append(e.keys, slices.Clone(key))
	}
	return e, nil
}

// Authenticate verifies a token. The cheap checks come first: size, shape, header, claims and times, and only then
// the signature; so the reason for a forgery may be any of them.
func (e *Ed25519) Authenticate(_ context.Context, s string) (*Principal, error) {
	t, err := readToken(s)
	if err != nil {
		return nil, err
	}
	return e.verify(t)
}

// verify is what an issuer does with a token that has been read: a chain reads it, picks the issuer that it names
// and calls this.
func (e *Ed25519) verify(t *token) (*Principal, error) {
	if t.alg != jwt.SigningMethodEdDSA.Alg() {
		return nil, refuse(BadAlgorithm, "alg is not EdDSA")
	}
	times, err := readValidity(t.claims)
	if err != nil {
		return nil, err
	}
	if err := times.check(e.now(), e.leeway, e.requireExpiry); err != nil {
		return nil, err
	}
	p, err := readPrincipal(t.claims)
	if err != nil {
		return nil, err
	}
	if !e.signed(t.signed, t.signature) {
		return nil, refuse(BadSignature, "")
	}
	p.Issuer, p.Expires = jwtPublicKey, times.expires
	if p.Expires.IsZero() {
		e.warnOnce(p.Subject)
	}
	return p, nil
}

// signed reports whether one of the keys made the signature.
func (e *Ed25519) signed(text string, signature []byte) bool {
	return len(signature) == ed25519.SignatureSize && slices.ContainsFunc(e.keys, func(key ed25519.PublicKey) bool {
		return jwt.SigningMethodEdDSA.Verify(text, signature, key) == nil
	})
}

func (e *Ed25519) warnOnce(subject string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.warned[subject]; known || len(e.warned) == maxWarned {
		return
	}
	e.warned[subject] = struct{}{}
	e.log.Warn("accepted a token that never expires", "issuer", jwtPublicKey, "subject", subject)
	if len(e.warned) == maxWarned {
		e.log.Warn("too many subjects with tokens that never expire: no more are named", "issuer", jwtPublicKey)
	}
}
