package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jwk"
)

func trusted(signers ...*authtest.Signer) (keys []jwk.Key) {
	for _, s := range signers {
		keys = append(keys, jwk.Key{ID: s.KID(), Public: s.Public()})
	}
	return keys
}

func edSigners(kids ...string) (signers []*authtest.Signer) {
	for _, kid := range kids {
		signers = append(signers, authtest.NewSigner("EdDSA", kid))
	}
	return signers
}

var opClaims = map[string]any{"iss": "op", "sub": "a", "exp": noon + 600}

func TestWhichKeyIsTried(t *testing.T) {
	f := func(name string, keys []*authtest.Signer, token *authtest.Signer, want Reason) {
		t.Helper()
		chain := newChain(t, ChainConfig{Issuers: []Issuer{{Name: "op", Issuer: "op", Keys: trusted(keys...)}}})
		if _, err := chain.Authenticate(t.Context(), token.Token(opClaims)); code(err) != want {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	k := edSigners("1", "2", "3", "4", "5", "6")
	n := edSigners("", "", "", "")
	f("its own", k, k[5], "")
	f("the right key, called as another", k, k[0].Named("2"), BadSignature)
	f("the right key, called as none there is", k, k[0].Named("7"), UnknownKey)
	f("the right key, not called: the first", k, k[0].Named(""), "")
	f("the right key, not called: the fourth", k, k[3].Named(""), "")
	f("the right key, not called: the fifth is not tried", k, k[4].Named(""), BadSignature)
	f("keys without a name", n, n[3], "")
	f("keys without a name, called as any", n, n[3].Named("../x"), "")
	f("a key without a name beside one that is called so", append(k[:1:1], n[0]), n[0].Named("1"), BadSignature)
	f("a key without a name beside others", append(k[:1:1], n[0]), n[0].Named("9"), "")
	f("a key with a name beside one without", append(k[:1:1], n[0]), k[0].Named("9"), BadSignature)
}

// The alg of a JWK binds its key (RFC 7517 section 4.4).
func TestKeysBoundToAnAlgorithm(t *testing.T) {
	signer := rsaSigners()[0].Named("k")
	chain := newChain(t, ChainConfig{Issuers: []Issuer{{Name: "op", Issuer: "op", Keys: []jwk.Key{{ID: "k", Algorithm: "PS256", Public: signer.Public()}}}}})
	if _, err := chain.Authenticate(t.Context(), signer.Token(opClaims)); code(err) != BadAlgorithm {
		t.Errorf("RS256 with a key for PS256: %v", err)
	}
}

// A key that comes from a file and from a JWK set is one key, and what one of them says of it holds.
func TestOneKeyFromSeveralSources(t *testing.T) {
	public := rsaSigners()[0].Public()
	f := func(want string, keys ...jwk.Key) {
		t.Helper()
		for _, keys := range [][]jwk.Key{keys, {keys[1], keys[0]}} {
			set, err := newKeySet(keys, nil)
			got := fmt.Sprint(err)
			if err == nil {
				got = ""
				for _, key := range set.public {
					got += fmt.Sprintf("%s:%s ", key.ID, key.Algorithm)
				}
			}
			if strings.TrimSpace(got) != want {
				t.Errorf("%v: %s, want %s", keys, got, want)
			}
		}
	}
	f("k:", jwk.Key{ID: "k", Public: public}, jwk.Key{ID: "k", Public: public})
	f("k:RS256", jwk.Key{ID: "k", Public: public}, jwk.Key{ID: "k", Algorithm: "RS256", Public: public})
	f(":", jwk.Key{Public: public}, jwk.Key{Public: public})
	f("key 2: the same key is for another algorithm, too", jwk.Key{ID: "k", Algorithm: "RS256", Public: public}, jwk.Key{ID: "k", Algorithm: "PS256", Public: public})
	f("key 2: another key has its kid", jwk.Key{ID: "k", Public: public}, jwk.Key{ID: "k", Public: mallory().Public()})
}

// How many signatures one forged token makes us check.
func TestForgeriesCostFourChecksAtMost(t *testing.T) {
	set, err := newKeySet(trusted(edSigners("1", "2", "3", "4", "5", "6")...), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := func(tok token, want int) {
		t.Helper()
		if candidates, _ := set.candidates(&tok); len(candidates) != want {
			t.Errorf("%+v: %d keys", tok, len(candidates))
		}
	}
	f(token{alg: "EdDSA"}, maxKeys)
	f(token{alg: "EdDSA", kid: "6", hasKID: true}, 1)
	f(token{alg: "EdDSA", kid: "7", hasKID: true}, 0)
	f(token{alg: "RS256"}, 0)
	f(token{alg: "HS256"}, 0)
	f(token{alg: "none"}, 0)
}

func TestReplacingKeys(t *testing.T) {
	k := edSigners("1", "2", "3")
	chain := newChain(t, ChainConfig{Issuers: []Issuer{{Name: "op", Issuer: "op"}, {Name: "cc", Keys: trusted(k[2])}}})
	cache := NewCache(chain, newClock().now)
	show := func(s *authtest.Signer, want Reason) {
		t.Helper()
		if _, err := cache.Authenticate(t.Context(), s.Token(opClaims)); code(err) != want {
			t.Errorf("%s: %v, want %q", s.KID(), err, want)
		}
	}
	set := func(want string, keys ...jwk.Key) {
		t.Helper()
		if err := chain.SetKeys("op", keys); fmt.Sprint(err) != want && !(err != nil && want != "" && strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	show(k[0], NoKeys)
	set("<nil>", trusted(k[0])...)
	show(k[0], "")
	show(k[1], UnknownKey)
	generation := chain.Generation()
	set("<nil>", trusted(k[0])...)
	if chain.Generation() != generation {
		t.Error("the same keys are a new generation")
	}
	set("<nil>", trusted(k[0], k[1])...)
	show(k[0], "")
	show(k[1], "")
	// A bad set changes nothing.
	set(`issuer "op": no keys`)
	set("key 2: weak Ed25519 key", jwk.Key{ID: "9", Public: k[2].Public()}, jwk.Key{ID: "8", Public: publicKey(make([]byte, 64))})
	set("another key has its kid", jwk.Key{ID: "1", Public: k[2].Public()}, trusted(k[0])[0])
	show(k[0], "")
	// A withdrawn key's tokens are refused at once, cached as they are.
	set("<nil>", trusted(k[1])...)
	show(k[0], UnknownKey)
	show(k[1], "")

	if err := chain.SetKeys("nobody", trusted(k...)); err == nil {
		t.Error("keys of nobody")
	}
	if err := chain.SetSecrets("op", []Secret{must(NewSecret("", []byte(publishedSecret)))}); err == nil {
		t.Error("an issuer of public keys took a secret")
	}
}

func TestReplacingSettings(t *testing.T) {
	k := edSigners("1")
	issuers := func(role Roles, keys ...*authtest.Signer) []Issuer {
		return []Issuer{{Name: "op", Issuer: "op", DefaultRoles: role, Keys: trusted(keys...)}}
	}
	chain := newChain(t, ChainConfig{Issuers: issuers(User)})
	if err := chain.SetKeys("op", trusted(k...)); err != nil {
		t.Fatal(err)
	}
	cache := NewCache(chain, newClock().now)
	f := func(want string) {
		t.Helper()
		p, err := cache.Authenticate(t.Context(), k[0].Token(opClaims))
		got := string(code(err))
		if err == nil {
			got = p.Roles.String()
		}
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f("user")
	if err := chain.SetIssuers(issuers(Support, k...)); err != nil {
		t.Fatal(err)
	}
	f("support")
	for _, bad := range [][]Issuer{nil, {{}}, {{Name: "op", Issuer: "op", Algorithms: []string{"RS256"}, Keys: trusted(k...)}}} {
		if err := chain.SetIssuers(bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	f("support")
	if err := chain.SetIssuers([]Issuer{{Name: "op", Issuer: "other"}}); err != nil {
		t.Fatal(err)
	}
	f("unknown_issuer")
	if err := chain.SetIssuers(issuers(User, k...)); err != nil {
		t.Fatal(err)
	}
	f("user")
	if err := chain.SetIssuers(issuers(User)); err != nil { // nothing says that the key is to stay
		t.Fatal(err)
	}
	f("no_keys")
}

// An unknown key makes the issuer be asked again, however many tokens come, at most once in refreshEvery.
func TestRefreshing(t *testing.T) {
	clock := newClock()
	k := edSigners("1", "2")
	asked, answer := 0, true
	chain := newChain(t, ChainConfig{Now: clock.now, Issuers: []Issuer{{
		Name: "op", Issuer: "op", Keys: trusted(k[0]), Refresh: func() bool { asked++; return answer },
	}}})
	show := func(s *authtest.Signer, want Reason, wantAsked int) {
		t.Helper()
		if _, err := chain.Authenticate(t.Context(), s.Token(with(opClaims, map[string]any{"exp": noon + 6000}))); code(err) != want || asked != wantAsked {
			t.Errorf("%s: %v, asked %d times; want %q, %d", s.KID(), err, asked, want, wantAsked)
		}
	}
	bad := edSigners("1", "x", "y")
	show(k[0], "", 0)
	show(bad[0], BadSignature, 0) // the key is there, and did not sign this
	show(bad[1], Refreshing, 1)
	show(bad[2], Refreshing, 1)
	show(k[0], "", 1)
	if err := chain.SetKeys("op", trusted(k[0])); err != nil { // the answer: there is no such key
		t.Fatal(err)
	}
	show(bad[1], UnknownKey, 1)
	clock.advance(9 * time.Second)
	show(bad[1], UnknownKey, 1)
	clock.advance(time.Second)
	// Now the issuer has rotated. The flood has used nothing up: the next question is allowed as ever.
	show(k[1], Refreshing, 2)
	if err := chain.SetKeys("op", trusted(k...)); err != nil {
		t.Fatal(err)
	}
	show(k[1], "", 2)
	// No answer: tokens are not put off for ever.
	clock.advance(10 * time.Second)
	show(bad[1], Refreshing, 3)
	clock.advance(5 * time.Second)
	show(bad[1], UnknownKey, 3)
	// Nobody is asked: as the keys have been fetched a moment ago.
	clock.advance(10 * time.Second)
	answer = false
	show(bad[1], UnknownKey, 4)
	show(bad[1], UnknownKey, 4)
	// A token that names no key may be of one that is not there yet.
	clock.advance(10 * time.Second)
	answer = true
	show(bad[1].Named(""), Refreshing, 5)
	// A clock that is set back does not stop it.
	clock.advance(-time.Hour)
	show(bad[1], Refreshing, 6)
}

// An attacker who sends unknown kids has no token of a new key refused, and none of a kid accepted or put off for ever
// that is looked for in vain.
func TestRotationBesideAnAttacker(t *testing.T) {
	clock := newClock()
	k := edSigners("1", "2", "withdrawn")
	asked := 0
	chain := newChain(t, ChainConfig{Now: clock.now, Issuers: []Issuer{{
		Name: "op", Issuer: "op", Keys: trusted(k[0]), Refresh: func() bool { asked++; return true },
	}}})
	show := func(s *authtest.Signer, want Reason) {
		t.Helper()
		if _, err := chain.Authenticate(t.Context(), s.Token(with(opClaims, map[string]any{"exp": noon + 6000}))); code(err) != want {
			t.Errorf("%.20s: %v, want %q", s.KID(), err, want)
		}
	}
	answer := func(keys ...*authtest.Signer) {
		t.Helper()
		if err := chain.SetKeys("op", trusted(keys...)); err != nil {
			t.Fatal(err)
		}
	}
	junk := authtest.NewSigner("EdDSA", "junk")
	show(junk, Refreshing)
	show(k[2], Refreshing)
	answer(k[0])
	show(junk, UnknownKey)
	for range 9 { // the new key was published a moment after
		clock.advance(time.Second)
		for n := range 2 * maxSought {
			show(junk.Named(fmt.Sprint("junk", n)), Refreshing)
		}
		show(k[1], Refreshing)
		show(k[2], Refreshing) // it came after the question
		show(junk, UnknownKey)
		show(junk.Named(strings.Repeat("x", maxName+1)), Refreshing)
	}
	clock.advance(time.Second)
	show(junk, Refreshing)
	answer(k[:2]...)
	show(k[0], "")
	show(k[1], "")
	show(k[2], UnknownKey) // looked for in vain, as long as it is asked for
	show(junk.Named("junk9"), UnknownKey)
	clock.advance(10 * time.Second)
	show(junk, Refreshing)
	answer(k[:2]...)
	show(k[2], UnknownKey)
	if asked != 3 {
		t.Errorf("asked %d times, want 3", asked)
	}
}

// Keys are replaced while tokens are verified: good tokens are never refused, and withdrawn keys' never accepted after.
func TestRotationUnderLoad(t *testing.T) {
	clock := newClock()
	k := edSigners("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	chain := newChain(t, ChainConfig{Now: clock.now, Parallel: 16, Issuers: []Issuer{{Name: "op", Issuer: "op", Keys: trusted(k[0], k[1])}}})
	cache := NewCache(chain, clock.now)
	tokens := make([]string, len(k))
	for i, s := range k {
		tokens[i] = s.Token(opClaims)
	}
	var current atomic.Int64 // the keys current and current+1 are there
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				before := current.Load()
				_, withdrawn := cache.Authenticate(ctx, tokens[max(before-1, 0)])
				_, good := cache.Authenticate(ctx, tokens[before+1])
				if before > 0 && withdrawn == nil {
					t.Error("a withdrawn key's token was accepted")
				}
				if after := current.Load(); after == before && good != nil && ctx.Err() == nil {
					t.Errorf("a good token was refused: %v", good)
				}
			}
		})
	}
	for i := int64(1); i+1 < int64(len(k)); i++ {
		time.Sleep(5 * time.Millisecond)
		if err := chain.SetKeys("op", trusted(k[i], k[i+1])); err != nil {
			t.Error(err)
		}
		current.Store(i)
		if err := errors.Join(chain.SetRevocations(nil), chain.SetIssuers([]Issuer{{Name: "op", Issuer: "op", Keys: trusted(k[i], k[i+1])}})); err != nil {
			t.Error(err)
		}
	}
	stop()
	wg.Wait()
}
