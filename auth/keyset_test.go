package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	f("its own key", k, k[5], "")
	f("the right key, with the kid of another", k, k[0].Named("2"), BadSignature)
	f("the right key, with an unknown kid", k, k[0].Named("7"), UnknownKey)
	f("the first key, no kid", k, k[0].Named(""), "")
	f("the fourth key, no kid", k, k[3].Named(""), "")
	f("the fifth key, no kid: not tried", k, k[4].Named(""), BadSignature)
	f("keys without a kid", n, n[3], "")
	f("keys without a kid, a token with one", n, n[3].Named("../x"), "")
	s := []*authtest.Signer{k[0].Named("s"), k[1].Named("s"), k[2].Named("s"), k[3].Named("s"), k[4].Named("s"), n[0]}
	f("the first of several keys with one kid", s, s[0], "")
	f("the fourth of several keys with one kid", s, s[3], "")
	f("the fifth of several keys with one kid", s, s[4], BadSignature)
	f("no key, although several have the kid", s, k[5].Named("s"), BadSignature)
	f("a key without a kid, although several have the kid", s, n[0].Named("s"), BadSignature)
	f("a key without a kid beside one with that kid", append(k[:1:1], n[0]), n[0].Named("1"), BadSignature)
	f("a key without a kid beside others", append(k[:1:1], n[0]), n[0].Named("9"), "")
	f("a key with a kid beside one without", append(k[:1:1], n[0]), k[0].Named("9"), BadSignature)
}

// The alg of a JWK binds its key (RFC 7517 section 4.4).
func TestKeysBoundToAnAlgorithm(t *testing.T) {
	signer := rsaSigners()[0].Named("k")
	chain := newChain(t, ChainConfig{Issuers: []Issuer{{Name: "op", Issuer: "op", Keys: []jwk.Key{{ID: "k", Algorithm: "PS256", Public: signer.Public()}}}}})
	if _, err := chain.Authenticate(t.Context(), signer.Token(opClaims)); code(err) != BadAlgorithm {
		t.Errorf("RS256 with a key for PS256: %v", err)
	}
}

// A key from a file and a JWK set is one key. If one of them binds it to an algorithm, it is bound.
func TestOneKeyFromSeveralSources(t *testing.T) {
	public := rsaSigners()[0].Public()
	f := func(want string, keys ...jwk.Key) {
		t.Helper()
		for _, keys := range [][]jwk.Key{keys, {keys[1], keys[0]}} {
			set, err := newKeySet(keys, nil)
			got := fmt.Sprint(err)
			if err == nil {
				var all []string
				for _, key := range set.public {
					all = append(all, key.ID+":"+key.Algorithm)
				}
				slices.Sort(all)
				got = strings.Join(all, " ")
			}
			if got != want {
				t.Errorf("%v: %s, want %s", keys, got, want)
			}
		}
	}
	f("k:", jwk.Key{ID: "k", Public: public}, jwk.Key{ID: "k", Public: public})
	f("k:RS256", jwk.Key{ID: "k", Public: public}, jwk.Key{ID: "k", Algorithm: "RS256", Public: public})
	f(":", jwk.Key{Public: public}, jwk.Key{Public: public})
	f("k:PS256 k:RS256", jwk.Key{ID: "k", Algorithm: "RS256", Public: public}, jwk.Key{ID: "k", Algorithm: "PS256", Public: public})
	f("k: k:", jwk.Key{ID: "k", Public: public}, jwk.Key{ID: "k", Public: mallory().Public()})
}

// One forged token causes at most maxKeys signature checks.
func TestChecksPerForgery(t *testing.T) {
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
	set.public[1].ID, set.public[2].ID, set.public[3].ID, set.public[4].ID, set.public[5].ID = "1", "1", "1", "1", "1"
	f(token{alg: "EdDSA", kid: "1", hasKID: true}, maxKeys)
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
	// An unusable set changes nothing.
	set(`issuer "op": no keys`)
	set("key 2: weak Ed25519 key", jwk.Key{ID: "9", Public: k[2].Public()}, jwk.Key{ID: "8", Public: publicKey(make([]byte, 64))})
	show(k[0], "")
	// Another key with the same kid is one more key.
	set("<nil>", jwk.Key{ID: "1", Public: k[2].Public()}, trusted(k[0])[0])
	show(k[0], "")
	show(k[2].Named("1"), "")
	show(mallory().Named("1"), BadAlgorithm)
	// Tokens of a withdrawn key are refused at once, although they are cached.
	set("<nil>", trusted(k[1])...)
	show(k[0], UnknownKey)
	show(k[1], "")

	// If an issuer has withdrawn all its keys, its tokens are refused.
	if err := chain.RemoveKeys("op"); err != nil {
		t.Fatal(err)
	}
	generation = chain.Generation()
	show(k[1], UnknownKey)
	if err := chain.RemoveKeys("op"); err != nil || chain.Generation() != generation {
		t.Errorf("removing no keys: %v", err)
	}
	set("<nil>", trusted(k[1])...)
	show(k[1], "")

	if err := chain.RemoveKeys("nobody"); err == nil {
		t.Error("removed keys of an unknown issuer")
	}
	if err := chain.SetKeys("nobody", trusted(k...)); err == nil {
		t.Error("set keys of an unknown issuer")
	}
	if err := chain.SetSecrets("op", []Secret{must(NewSecret("", []byte(publishedSecret)))}); err == nil {
		t.Error("an issuer of public keys accepted a secret")
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
			t.Errorf("%+v: accepted", bad)
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
	if err := chain.SetIssuers(issuers(User)); err != nil { // keys that are not listed are dropped
		t.Fatal(err)
	}
	f("no_keys")
}

// rotating is an issuer whose keys change, and counts how often they are requested.
type rotating struct {
	*testing.T
	clock  *clock
	chain  *Chain
	asked  int
	answer bool // the result of Refresh
}

func newRotating(t *testing.T, keys ...*authtest.Signer) *rotating {
	r := &rotating{T: t, clock: newClock(), answer: true}
	r.chain = newChain(t, ChainConfig{Now: r.clock.now, Issuers: []Issuer{{
		Name: "op", Issuer: "op", Keys: trusted(keys...), Refresh: func() bool { r.asked++; return r.answer },
	}}})
	return r
}

func (r *rotating) show(s *authtest.Signer, want Reason, wantAsked int) {
	r.Helper()
	_, err := r.chain.Authenticate(r.Context(), s.Token(with(opClaims, map[string]any{"exp": noon + 6000})))
	if code(err) != want || r.asked != wantAsked {
		r.Errorf("%.20s: %v, asked %d times; want %q, %d", s.KID(), err, r.asked, want, wantAsked)
	}
}

// publish sets the keys and completes the request.
func (r *rotating) publish(keys ...*authtest.Signer) {
	r.Helper()
	if err := r.chain.SetKeys("op", trusted(keys...)); err != nil {
		r.Fatal(err)
	}
	r.chain.Refreshed("op")
}

// An unknown key causes a request for keys, at most one in refreshEvery for any number of tokens.
func TestRefreshing(t *testing.T) {
	k := edSigners("1", "2")
	r := newRotating(t, k[0])
	bad := edSigners("1", "x", "y", "z", "silence")
	r.show(k[0], "", 0)
	r.show(bad[0], BadSignature, 0) // the key is known, but did not sign this
	r.show(bad[1], Refreshing, 1)
	r.show(bad[2], Refreshing, 1)
	r.show(k[0], "", 1)
	if err := r.chain.SetKeys("op", trusted(k[0])); err != nil { // from one of its sources
		t.Fatal(err)
	}
	r.show(bad[1], Refreshing, 1)
	r.chain.Refreshed("op") // the key does not exist
	r.show(bad[1], UnknownKey, 1)
	r.chain.Refreshed("op")
	r.clock.advance(refreshEvery - time.Second)
	r.show(bad[1], UnknownKey, 1)
	r.clock.advance(time.Second)
	// The issuer has rotated its keys. The flood has not used up the next request.
	r.show(k[1], Refreshing, 2)
	r.publish(k...)
	r.show(k[1], "", 2)
	// Without an answer, tokens are refused in the end.
	r.clock.advance(refreshEvery)
	r.show(bad[4], Refreshing, 3)
	r.clock.advance(refreshEvery - time.Second)
	r.show(bad[4], Refreshing, 3)
	r.clock.advance(time.Second)
	r.show(bad[4], UnknownKey, 4)
	// Refresh does not start a request, because the keys were just fetched.
	r.clock.advance(refreshEvery)
	r.answer = false
	r.show(bad[3], UnknownKey, 5)
	r.show(bad[3], UnknownKey, 5)
	// A token without a kid may be signed with a key that is not known yet.
	r.clock.advance(refreshEvery)
	r.answer = true
	r.show(bad[1].Named(""), Refreshing, 6)
	r.publish(k...)
	r.show(bad[1].Named(""), BadSignature, 6)
	// A caller that has waited meanwhile does not request again, and a clock that is set back does
	// not block requests.
	r.clock.advance(-time.Second)
	r.show(bad[1], UnknownKey, 6)
	r.clock.advance(-time.Hour)
	r.show(bad[1], Refreshing, 7)
	r.publish(k...)
	r.show(bad[1], UnknownKey, 7)
}

// An attacker's unknown kids cannot cause the refusal of a new key's token, and a kid that does not
// exist is refused even if it comes rarely.
func TestRotationBesideAnAttacker(t *testing.T) {
	k := edSigners("1", "2", "withdrawn")
	r := newRotating(t, k[0])
	junk := authtest.NewSigner("EdDSA", "junk")
	r.show(junk, Refreshing, 1)
	r.publish(k[0])
	r.show(junk, UnknownKey, 1)
	for second := range 4 { // the new key was published a moment after
		r.clock.advance(time.Second)
		for n := range 300 {
			r.show(junk.Named(fmt.Sprint(second, " ", n)), Refreshing, 1)
		}
		r.show(k[1], Refreshing, 1)
		r.show(k[2], Refreshing, 1)
		r.show(junk, UnknownKey, 1)
	}
	r.clock.advance(time.Second)
	r.show(junk, UnknownKey, 2)
	r.publish(k[:2]...)
	r.show(k[0], "", 2)
	r.show(k[1], "", 2)
	for n := range 300 {
		r.show(junk.Named(fmt.Sprint(n%4, " ", n)), UnknownKey, 2)
	}
	for asked := 3; asked < 8; asked++ {
		r.clock.advance(time.Minute)
		r.show(k[2], UnknownKey, asked)
		r.publish(k[:2]...)
	}
}

// The number of remembered kids is bounded, and kids in use are kept longest.
func TestKIDsAreBounded(t *testing.T) {
	r := newRefresher(func() bool { return true })
	at := time.Unix(noon, 0)
	r.request(at, "stale")
	r.done()
	for n := range 3 * maxKIDs {
		r.request(at.Add(time.Second), fmt.Sprint(n))
		if n%1000 == 0 && r.request(at.Add(time.Second), "stale") {
			t.Fatalf("the kid was forgotten after %d others", n)
		}
	}
	if n := r.firstSeen.Len(); n > maxKIDs {
		t.Errorf("%d are remembered, want at most %d", n, maxKIDs)
	}
}

// A token is not refused if its key arrives while it is being verified.
func TestKeysArriveDuringVerification(t *testing.T) {
	k := edSigners("1", "2")
	r := newRotating(t, k[0])
	r.show(k[1], Refreshing, 1)
	r.chain.Refreshed("op") // without the key
	v := verification{chain: r.chain, ctx: t.Context(), text: k[1].Token(with(opClaims, map[string]any{"exp": noon + 6000})), now: r.clock.now(), at: r.clock.now()}
	if err := errors.Join(v.checkFormat(), v.checkIssuer()); err != nil {
		t.Fatal(err)
	}
	r.publish(k...)
	if err := v.checkKey(); code(err) != Refreshing {
		t.Errorf("%v, want %s", err, Refreshing)
	}
}

// Keys are replaced while tokens are verified: valid tokens are never refused, and those of
// withdrawn keys are no longer accepted.
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
