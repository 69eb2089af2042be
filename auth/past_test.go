package auth

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/jwk"
)

func TestAuthenticateAtComparesWithThatMoment(t *testing.T) {
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

// accepted returns how many verifications accepted a token.
func accepted(chain *Chain) (total uint64) {
	chain.Verifications(func(_ string, code Reason, n uint64) {
		if code == Accepted {
			total += n
		}
	})
	return total
}

func TestPastVerdictsAreBoundedAndExpire(t *testing.T) {
	key := newKey("past")
	clock := newClock()
	chain := must(NewChain(ChainConfig{Issuers: []Issuer{{Name: "a", Keys: []jwk.Key{{Public: publicKey(key)}}}}, Now: clock.now}))
	cache := NewCache(chain, clock.now)
	for i := range cacheSize + 10 {
		token := sign(key, goodHeader, fmt.Sprintf(`{"sub":"alice","jti":"%d"}`, i))
		if _, err := cache.AuthenticateAt(t.Context(), token, clock.now()); err != nil {
			t.Fatal(err)
		}
		if n := cache.past.Len(); n > cacheSize {
			t.Fatalf("%d verdicts", n)
		}
	}
	clock.advance(cacheAge)
	token := sign(key, goodHeader, `{"sub":"alice"}`)
	for _, verified := range []uint64{1, 0} { // from memory the second time
		before := accepted(chain)
		if _, err := cache.AuthenticateAt(t.Context(), token, clock.now()); err != nil {
			t.Fatal(err)
		}
		if n := accepted(chain) - before; n != verified {
			t.Errorf("%d verifications, want %d", n, verified)
		}
		if n := cache.past.Len(); n != 1 {
			t.Errorf("%d verdicts a minute later, want 1", n)
		}
	}
	clock.advance(-time.Second) // until lies more than a minute ahead
	before := accepted(chain)
	if _, err := cache.AuthenticateAt(t.Context(), token, clock.now().Add(time.Second)); err != nil || accepted(chain) != before+1 {
		t.Errorf("after the clock was set back: %v, %d verifications, want 1", err, accepted(chain)-before)
	}
}
