package auth

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/jwk"
)

// jwtPublicKey is the name of the issuer that main.jwt-public-key makes.
const jwtPublicKey = "jwt-public-key"

// noon is the time of the tests, in Unix seconds.
const noon = 1_800_000_000

const (
	goodHeader = `{"alg":"EdDSA","typ":"JWT"}`
	goodClaims = `{"sub":"alice","roles":["user"],"iat":1799999990,"exp":1800000600}`
)

// clock is an injected clock that the test sets.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.set(noon)
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) set(seconds int64)       { c.nanos.Store(seconds * 1e9) }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

func newKey(seed string) ed25519.PrivateKey {
	sum := sha256.Sum256([]byte(seed))
	return ed25519.NewKeyFromSeed(sum[:])
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func publicKey(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// sign makes a token of any header and payload, JSON or not.
func sign(key ed25519.PrivateKey, header, payload string) string {
	text := b64(header) + "." + b64(payload)
	return text + "." + b64(string(ed25519.Sign(key, []byte(text))))
}

// trust is how the tests configure the one issuer of tokens without iss.
type trust struct {
	requireExpiry bool
	leeway        time.Duration
	now           func() time.Time
	log           *slog.Logger
}

// newIssuer returns a chain of one issuer with the keys. Its clock is at noon unless configured
// otherwise.
func newIssuer(t testing.TB, c trust, keys ...ed25519.PrivateKey) *Chain {
	t.Helper()
	i := Issuer{Name: jwtPublicKey, RequireExpiry: &c.requireExpiry, Leeway: c.leeway}
	for _, key := range keys {
		i.Keys = append(i.Keys, jwk.Key{Public: publicKey(key)})
	}
	return newChain(t, ChainConfig{Issuers: []Issuer{i}, Now: c.now, Log: c.log, Parallel: 16}) // no token waits
}

// newChain returns a chain whose clock is at noon unless configured otherwise.
func newChain(t testing.TB, c ChainConfig) *Chain {
	t.Helper()
	if c.Now == nil {
		c.Now = newClock().now
	}
	chain, err := NewChain(c)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// code returns the reason code in err, "" for nil, and a description for other types of errors.
func code(err error) Reason {
	if err == nil {
		return ""
	}
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Code
	}
	if d, ok := errors.AsType[*Denied](err); ok {
		return d.Code
	}
	if o, ok := errors.AsType[*Overloaded](err); ok {
		return o.Code
	}
	return Reason(fmt.Sprintf("%T: %v", err, err))
}
