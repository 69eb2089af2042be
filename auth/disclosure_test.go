package auth

import (
	"errors"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
)

const (
	publicGeneric  = "a valid bearer token is required"
	publicExpired  = "the token has expired"
	publicNotValid = "the token is not valid yet"
)

// A client learns that its token has expired or is not valid yet only if nothing else is wrong with
// the token. Every other refusal looks the same.
func TestWhatA401Discloses(t *testing.T) {
	k := edSigners("1", "withdrawn", "forged")
	rs := rsaSigners()[0].Named("r")
	asked := 0
	chain := newChain(t, ChainConfig{Issuers: []Issuer{{
		Name: "op", Issuer: "op", Keys: trusted(k[0], rs), Audience: []string{"rs"}, AuthorizedParties: []string{"app"},
		RequireClaims: map[string][]string{"scope": {"read"}}, Algorithms: []string{"EdDSA"}, MaxLifetime: time.Hour,
		Refresh: func() bool { asked++; return true },
	}, {
		Name: "empty", Issuer: "empty",
	}}})
	if err := chain.SetRevocations(must(ParseRevocations([]byte(`{"tokens":["revoked-token"]}`)))); err != nil {
		t.Fatal(err)
	}
	cache := NewCache(chain, newClock().now)
	sound := map[string]any{
		"iss": "op", "aud": "rs", "azp": "app", "scope": "read", "sub": "a", "iat": noon - 60, "exp": noon + 60,
	}
	verify := func(name, token string, want Reason, public string) {
		t.Helper()
		_, explained := chain.Explain(t.Context(), token, Policy{}, false)
		_, direct := chain.Authenticate(t.Context(), token)
		_, cached := cache.Authenticate(t.Context(), token)
		_, past := cache.AuthenticateAt(t.Context(), token, chain.now())
		for _, err := range []error{explained, direct, cached, past} {
			refusal, ok := errors.AsType[*Refusal](err)
			if want == "" && err == nil {
				continue
			}
			description := public
			if public == publicGeneric {
				description = ""
			}
			if !ok || refusal.Code != want || refusal.Public() != public || refusal.Description() != description {
				t.Errorf("%s: %v, want %s and %q", name, err, want, public)
			}
		}
		if asked > 0 {
			t.Errorf("%s: keys were refreshed %d times", name, asked)
		}
	}
	for _, c := range []struct {
		times  map[string]any
		code   Reason
		public string
	}{
		{nil, "", ""},
		{map[string]any{"iat": noon - 3600, "exp": noon - 60}, Expired, publicExpired},
		{map[string]any{"exp": noon + 3000, "nbf": noon + 60}, NotYetValid, publicNotValid},
	} {
		f := func(name string, signer *authtest.Signer, changes map[string]any) {
			t.Helper()
			token := signer.Token(with(with(sound, c.times), changes))
			if c.code != "" {
				verify(name, token, c.code, publicGeneric)
			}
		}
		verify("sound otherwise", k[0].Token(with(sound, c.times)), c.code, c.public)
		f("forged", k[2].Named("1"), nil)
		f("a withdrawn key", k[1], nil)
		f("no kid", k[1].Named(""), nil)
		f("another audience", k[0], map[string]any{"aud": "other"})
		f("another party", k[0], map[string]any{"azp": "other"})
		f("a required claim", k[0], map[string]any{"scope": "write"})
		f("no subject", k[0], map[string]any{"sub": ""})
		f("revoked", k[0], map[string]any{"jti": "revoked-token"})
		f("no keys", k[0], map[string]any{"iss": "empty"})
		if c.code == "" {
			continue
		}
		token := k[0].Token(with(sound, c.times))
		verify("a broken signature", token[:len(token)-8]+"AAAAAAAA", c.code, publicGeneric)
		verify("another algorithm", rs.Token(with(sound, c.times)), BadAlgorithm, publicGeneric)
		verify("an unknown issuer", k[0].Token(with(with(sound, c.times), map[string]any{"iss": "other"})), UnknownIssuer, publicGeneric)
		verify("an ID token", k[0].Token(with(with(sound, c.times), map[string]any{"at_hash": "x"})), WrongType, publicGeneric)
	}
	verify("issued in the future", k[0].Token(with(sound, map[string]any{"iat": noon + 50})), IssuedInFuture, publicGeneric)
	verify("no exp", k[0].Token(with(sound, map[string]any{"exp": "x"})), BadClaims, publicGeneric)
	verify("too long-lived", k[0].Token(with(sound, map[string]any{"exp": noon + 7200})), TooLongLived, publicGeneric)
}

// Expired tokens do not wait for a core, and so take no place in the queue.
func TestExpiredTokensDoNotQueue(t *testing.T) {
	k := edSigners("1")
	chain := newChain(t, ChainConfig{Parallel: 1, Issuers: []Issuer{{Name: "op", Issuer: "op", Keys: trusted(k...)}}})
	if err := chain.gate.enter(t.Context(), "op", false); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	refuse := func(public string) {
		t.Helper()
		_, err := chain.Authenticate(t.Context(), k[0].Token(with(opClaims, map[string]any{"exp": noon - 60})))
		if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Code != Expired || refusal.Public() != public {
			t.Errorf("%v, want %q", err, public)
		}
	}
	for range 100 {
		refuse(publicGeneric)
	}
	if d := time.Since(start); d > 100*50*time.Millisecond/2 {
		t.Errorf("waited %v", d)
	}
	chain.gate.leave()
	refuse(publicExpired)
	if chain.gate.free != 1 {
		t.Errorf("%d slots are free, want 1", chain.gate.free)
	}
}
