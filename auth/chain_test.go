package auth

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jwk"
)

func TestTokensWithoutExpiry(t *testing.T) {
	key := newKey("cc-backend")
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	issuer := newIssuer(t, trust{log: logger}, key)
	show := func(issuer *Chain, claims string) error {
		t.Helper()
		token := sign(key, goodHeader, claims)
		_, err := issuer.Authenticate(t.Context(), token)
		if strings.Contains(log.String(), token) {
			t.Error("the token is in the log")
		}
		return err
	}
	warnings := func(want int) {
		t.Helper()
		if got := strings.Count(log.String(), "level=WARN"); got != want {
			t.Errorf("%d warnings, want %d:\n%s", got, want, log.String())
		}
	}

	strict := newIssuer(t, trust{log: logger, requireExpiry: true}, key)
	if err := show(strict, `{"sub":"alice"}`); code(err) != NoExpiry {
		t.Errorf("with RequireExpiry: %v", err)
	}
	if err := show(strict, `{"sub":"alice","exp":1800000600}`); err != nil {
		t.Error(err)
	}
	warnings(0)

	for range 3 {
		if err := show(issuer, `{"sub":"alice"}`); err != nil {
			t.Error(err)
		}
	}
	warnings(1)
	if !strings.Contains(log.String(), "subject=alice") {
		t.Errorf("the warning does not name the subject: %s", log.String())
	}
	if err := show(issuer, `{"sub":"bob","exp":1800000600}`); err != nil {
		t.Error(err)
	}
	warnings(1)

	// Forged tokens cause no warning.
	_, err := issuer.Authenticate(t.Context(), sign(newKey("wrong"), goodHeader, `{"sub":"mallory"}`))
	if code(err) != BadSignature {
		t.Error(err)
	}
	warnings(1)

	// The number of named subjects is bounded, and the last line says so.
	for i := range maxWarned + 10 {
		issuer.warnOnce(&Principal{Issuer: jwtPublicKey, Subject: fmt.Sprint("s", i)})
	}
	warnings(maxWarned + 1)
	if err := show(issuer, `{"sub":"zoe"}`); err != nil {
		t.Error(err)
	}
	if len(issuer.warned) != maxWarned {
		t.Errorf("%d subjects remembered", len(issuer.warned))
	}
}

func TestLeeway(t *testing.T) {
	key := newKey("cc-backend")
	f := func(leeway time.Duration, claims string, want Reason) {
		t.Helper()
		issuer := newIssuer(t, trust{leeway: leeway}, key)
		if _, err := issuer.Authenticate(t.Context(), sign(key, goodHeader, claims)); code(err) != want {
			t.Errorf("leeway %s, %s: %v, want %q", leeway, claims, err, want)
		}
	}
	f(0, `{"sub":"a","exp":1799999971}`, "")
	f(0, `{"sub":"a","exp":1799999970}`, Expired)
	f(-1, `{"sub":"a","exp":1800000001,"nbf":1800000000,"iat":1800000000}`, "")
	f(-1, `{"sub":"a","exp":1800000000}`, Expired)
	f(-1, `{"sub":"a","nbf":1800000001}`, NotYetValid)
	f(-1, `{"sub":"a","iat":1800000001}`, IssuedInFuture)
	f(5*time.Minute, `{"sub":"a","exp":1799999701,"nbf":1800000300,"iat":1800000300}`, "")
	f(5*time.Minute, `{"sub":"a","exp":1799999700}`, Expired)
}

func trusting(keys ...ed25519.PublicKey) ChainConfig {
	i := Issuer{Name: jwtPublicKey}
	for _, key := range keys {
		i.Keys = append(i.Keys, jwk.Key{Public: key})
	}
	return ChainConfig{Issuers: []Issuer{i}, Now: newClock().now}
}

func TestKeysAreCheckedAtConstruction(t *testing.T) {
	key := publicKey(newKey("cc-backend"))
	f := func(name string, want string, keys ...ed25519.PublicKey) {
		t.Helper()
		chain, err := NewChain(trusting(keys...))
		if chain != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want an error with %q", name, chain, err, want)
		}
	}
	f("nil", "key 1: an Ed25519 public key has 32 bytes, not 0", nil)
	f("31 bytes", "not 31", key[:31])
	f("a private key", "not 64", ed25519.PublicKey(newKey("cc-backend")))
	f("the second is all zeros", "key 2: weak Ed25519 key: all zeros", key, make(ed25519.PublicKey, 32))
}

// The published key works, with a warning at every start.
func TestPublishedKeyCausesWarning(t *testing.T) {
	key, _, err := ParsePublicKey([]byte("kzfYrYy+TzpanWZHJ5qSdMj5uKUWgq74BWhQG6copP0="))
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckKey(key); !errors.Is(err, ErrPublishedKey) {
		t.Error(err)
	}
	var log bytes.Buffer
	c := trusting(key)
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	if _, err := NewChain(c); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "private key is public"); n != 1 {
		t.Errorf("%d warnings: %s", n, log.String())
	}
}

// Changing the slice that the keys came in does not change the trusted keys.
func TestKeysAreCopied(t *testing.T) {
	key := newKey("cc-backend")
	public := bytes.Clone(publicKey(key))
	issuer := newChain(t, trusting(public))
	copy(public, publicKey(newKey("mallory")))
	if _, err := issuer.Authenticate(t.Context(), sign(key, goodHeader, goodClaims)); err != nil {
		t.Error(err)
	}
	if _, err := issuer.Authenticate(t.Context(), sign(newKey("mallory"), goodHeader, goodClaims)); code(err) != BadSignature {
		t.Error(err)
	}
}

func TestDefaultClock(t *testing.T) {
	other := authtest.NewIssuer("other")
	c := trusting(other.PublicKey())
	c.Now = nil
	issuer, err := NewChain(c)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	f := func(claims map[string]any, want Reason) {
		t.Helper()
		if _, err := issuer.Authenticate(t.Context(), other.Token(claims)); code(err) != want {
			t.Errorf("%v: %v, want %q", claims, err, want)
		}
	}
	f(map[string]any{"sub": "a", "iat": now, "exp": now + 600}, "")
	f(map[string]any{"sub": "a", "iat": now - 600, "exp": now - 60}, Expired)
	f(map[string]any{"sub": "a", "nbf": now + 600}, NotYetValid)
	f(map[string]any{"roles": []string{"admin"}}, BadClaims)
}
