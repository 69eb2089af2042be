package auth

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/jwk"
)

func TestAuthenticateAtHoldsTimesAgainstThatMoment(t *testing.T) {
	key, other := newKey("past"), newKey("past other")
	clock := newClock()
	chain := must(NewChain(ChainConfig{
		Issuers: []Issuer{{Name: "a", Keys: []jwk.Key{{Public: publicKey(key)}}, Leeway: -1}},
		Now:     clock.now,
	}))
	cache := NewCache(chain, clock.now)
	token := sign(key, goodHeader, fmt.Sprintf(`{"sub":"alice","roles":["api"],"jti":"7","nbf":%d,"exp":%d}`, noon-500, noon-100))
	forged := sign(other, goodHeader, fmt.Sprintf(`{"sub":"alice","roles":["api"],"exp":%d}`, noon-100))
	f := func(text string, at int64, want Reason) {
		t.Helper()
		for _, a := range []interface {
			AuthenticateAt(ctx context.Context, token string, at time.Time) (*Principal, error)
		}{chain, cache, cache} { // the last from memory, where it was good
			p, err := a.AuthenticateAt(t.Context(), text, time.Unix(noon+at, 0))
			if got := code(err); got != want || (want == "") != (p != nil) {
				t.Errorf("at %d: %v, want %q", at, err, want)
			}
		}
	}
	f(forged, -300, BadSignature)
	f(token, 0, Expired)
	f(token, -501, NotYetValid)
	f(token, -100, Expired)
	f(token, -101, "")
	f(token, -500, "")
	f(token, -300, "")
	f(token, -501, NotYetValid)
	f(token, 0, Expired)
	if _, err := cache.Authenticate(t.Context(), token); code(err) != Expired {
		t.Errorf("now: %v", err)
	}

	revoked := must(ParseRevocations([]byte(`{"tokens": ["7"]}`)))
	if err := chain.SetRevocations(revoked); err != nil {
		t.Fatal(err)
	}
	f(token, -300, Revoked)
	if err := chain.SetRevocations(nil); err != nil {
		t.Fatal(err)
	}
	f(token, -300, "")
	if err := chain.SetKeys("a", []jwk.Key{{Public: publicKey(other)}}); err != nil {
		t.Fatal(err)
	}
	f(token, -300, BadSignature)
	f(forged, -300, "")
}

func TestPastVerdictsAreBoundedAndFade(t *testing.T) {
	key := newKey("past")
	clock := newClock()
	chain := must(NewChain(ChainConfig{Issuers: []Issuer{{Name: "a", Keys: []jwk.Key{{Public: publicKey(key)}}}}, Now: clock.now}))
	cache := NewCache(chain, clock.now)
	for i := range cacheSize + 10 {
		token := sign(key, goodHeader, fmt.Sprintf(`{"sub":"alice","jti":"%d"}`, i))
		if _, err := cache.AuthenticateAt(t.Context(), token, clock.now()); err != nil {
			t.Fatal(err)
		}
		if n := len(cache.past.all); n > cacheSize {
			t.Fatalf("%d verdicts", n)
		}
	}
	clock.advance(cacheAge)
	cache.past.get(digest{}, clock.now())
	if n := len(cache.past.all); n != 0 {
		t.Errorf("%d verdicts a minute later", n)
	}
	if _, err := NewCache(cache, clock.now).AuthenticateAt(t.Context(), "x", clock.now()); err == nil {
		t.Error("not a chain, and no error")
	}
}
