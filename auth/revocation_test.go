package auth

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jwk"
)

func TestParseRevocationsIsStrict(t *testing.T) {
	f := func(data, want string) {
		t.Helper()
		r, err := ParseRevocations([]byte(data))
		if r != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", data, r, err, want)
		}
	}
	f(``, "not a JSON object")
	f(`[]`, "not a JSON object")
	f(`{"tokens":["a"]`, "not a JSON object")
	f(`{"tokens":["a"],"tokens":[]}`, "duplicate member name")
	f(`{"Tokens":["a"]}`, `"Tokens": unknown member`)
	f(`{"token":["a"]}`, `"token": unknown member`)
	f(`{"tokens":"a"}`, "tokens: not an array")
	f(`{"tokens":null}`, "tokens: not an array")
	f(`{"tokens":["a",1]}`, "tokens[1]: expected a jti")
	f(`{"tokens":[""]}`, "tokens[0]: expected a jti")
	f(`{"tokens":["a "]}`, "tokens[0]: expected a jti")
	f(`{"subjects":["a"]}`, "subjects[0]: not an object")
	f(`{"subjects":[{"sub":"a"}]}`, "subjects[0].issuer: not a name")
	f(`{"subjects":[{"issuer":"i"}]}`, "subjects[0].sub: not a name")
	f(`{"subjects":[{"issuer":"i","sub":"a","notBefore":1}]}`, `subjects[0]: "notBefore": unknown member`)
	for _, bad := range []string{`null`, `-1`, `0`, `0.5`, `1e-323`, `true`, `"yesterday"`, `"2026-01-01"`, `1e300`, `[]`, `"1800000000"`} {
		f(`{"subjects":[{"issuer":"i","sub":"a"},{"issuer":"i","sub":"a","not-before":`+bad+`}]}`, "subjects[1].not-before: expected")
	}
	f(`{"tokens":["`+strings.Repeat("a", MaxRevocations)+`"]}`, "longer than")
	f(`{"tokens":[`+strings.Repeat(`"a",`, maxRevocationItems)+`"a"]}`, "too many values")
}

func FuzzParseRevocations(f *testing.F) {
	f.Add([]byte(`{"tokens":["a"],"subjects":[{"issuer":"i","sub":"a","not-before":1}]}`))
	f.Add([]byte(`{"subjects":[{"issuer":"i","sub":"a","not-before":"2026-01-01T00:00:00Z"},{"issuer":"i","sub":"a"}]}`))
	f.Add([]byte(`{"tokens":["` + strings.Repeat("0a", 32) + `"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRevocations(data)
		if (r == nil) == (err == nil) {
			t.Errorf("%q: %v, %v", data, r, err)
		}
	})
}

func TestRevocation(t *testing.T) {
	key := authtest.NewSigner("ES256", "")
	issuers := []Issuer{
		{Name: "sso", Issuer: "https://sso", Keys: trusted(key), PrincipalClaims: []string{"preferred_username", "sub"}},
		{Name: "other", Issuer: "https://other", Keys: trusted(key)},
	}
	token := key.Token(map[string]any{"iss": "https://sso", "sub": "uuid", "preferred_username": "alice", "jti": "id", "iat": noon - 100, "exp": noon + 600})
	undated := key.Token(map[string]any{"iss": "https://sso", "sub": "uuid", "exp": noon + 600})
	others := key.Token(map[string]any{"iss": "https://other", "sub": "alice", "iat": noon - 100, "exp": noon + 600})
	hash := func(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }

	// want lists which of the three tokens are revoked.
	f := func(file, want string) {
		t.Helper()
		chain := newChain(t, ChainConfig{Issuers: issuers})
		cache := NewCache(chain, newClock().now)
		for _, token := range []string{token, undated, others} { // from now on they are cached
			if _, err := cache.Authenticate(t.Context(), token); err != nil {
				t.Fatal(err)
			}
		}
		r, err := ParseRevocations([]byte(file))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := chain.SetRevocations(r); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		got := ""
		for i, token := range []string{token, undated, others} {
			switch _, err := cache.Authenticate(t.Context(), token); code(err) {
			case "":
			case Revoked:
				got += []string{"token ", "undated ", "others "}[i]
			default:
				t.Error(err)
			}
		}
		if strings.TrimSpace(got) != want {
			t.Errorf("%s: revoked %s, want %s", file, got, want)
		}
		if err := chain.SetRevocations(nil); err != nil {
			t.Error(err)
		}
		if _, err := cache.Authenticate(t.Context(), token); err != nil {
			t.Errorf("after the revocations were removed: %v", err)
		}
	}
	f(`{}`, "")
	f(`{"tokens":[],"subjects":[]}`, "")
	f(`{"tokens":["id"]}`, "token")
	f(`{"tokens":["ID","di"]}`, "")
	f(`{"tokens":["`+hash(token)+`"]}`, "token")
	f(`{"tokens":["`+strings.ToUpper(hash(token))+`","x","`+hash(others)+`"]}`, "token others")
	f(`{"tokens":["`+hash(token)[1:]+`"]}`, "")
	f(`{"subjects":[{"issuer":"sso","sub":"alice"}]}`, "token")
	f(`{"subjects":[{"issuer":"https://sso","sub":"alice"}]}`, "token")
	f(`{"subjects":[{"issuer":"sso","sub":"uuid"}]}`, "token undated")
	f(`{"subjects":[{"issuer":"other","sub":"alice"}]}`, "others")
	f(`{"subjects":[{"issuer":"sso","sub":"Alice"}]}`, "")
	f(`{"subjects":[{"issuer":"sso","sub":"uuid","not-before":1799999900}]}`, "undated")
	f(`{"subjects":[{"issuer":"sso","sub":"uuid","not-before":1799999900.5}]}`, "token undated")
	f(`{"subjects":[{"issuer":"sso","sub":"uuid","not-before":"2027-01-15T07:58:21Z"}]}`, "token undated")
	f(`{"subjects":[{"issuer":"sso","sub":"uuid","not-before":"2027-01-15T08:58:20+01:00"}]}`, "undated")
	// Of two entries for one subject, the stricter one applies.
	f(`{"subjects":[{"issuer":"sso","sub":"alice","not-before":1},{"issuer":"sso","sub":"alice"}]}`, "token")
	f(`{"subjects":[{"issuer":"sso","sub":"alice"},{"issuer":"sso","sub":"alice","not-before":1}]}`, "token")
	f(`{"subjects":[{"issuer":"sso","sub":"alice","not-before":1799999901},{"issuer":"sso","sub":"alice","not-before":1}]}`, "token")

	// An unknown issuer is an error, and then nothing changes.
	chain := newChain(t, ChainConfig{Issuers: issuers})
	if err := chain.SetRevocations(must(ParseRevocations([]byte(`{"tokens":["id"]}`)))); err != nil {
		t.Fatal(err)
	}
	if err := chain.SetRevocations(must(ParseRevocations([]byte(`{"subjects":[{"issuer":"ssso","sub":"a"}]}`)))); err == nil || !strings.Contains(err.Error(), `"ssso"`) {
		t.Error(err)
	}
	if _, err := chain.Authenticate(t.Context(), token); code(err) != Revoked {
		t.Error(err)
	}
}

// The holder of a revoked token with an ECDSA signature can rewrite the signature; the rewritten
// token is revoked too.
func TestRevokedECDSATokens(t *testing.T) {
	for _, alg := range []string{"ES256", "ES384", "ES512", "EdDSA"} {
		key := authtest.NewSigner(alg, "")
		chain := newChain(t, ChainConfig{Issuers: []Issuer{{Name: "op", Issuer: "op", Keys: []jwk.Key{{Public: key.Public()}}}}})
		revoked := key.Token(opClaims)
		parsed, err := readToken(revoked)
		if err != nil {
			t.Fatal(err)
		}
		twin, ok := parsed.twin()
		if ok != (alg != "EdDSA") {
			t.Fatalf("%s: got a twin: %t", alg, ok)
		}
		tokens := []string{revoked}
		if ok {
			if _, err := chain.Authenticate(t.Context(), twin); err != nil || twin == revoked {
				t.Fatalf("%s: the twin is not valid: %v", alg, err)
			}
			tokens = append(tokens, twin)
		}
		file := fmt.Sprintf(`{"tokens":["%x"]}`, sha256.Sum256([]byte(revoked)))
		if err := chain.SetRevocations(must(ParseRevocations([]byte(file)))); err != nil {
			t.Fatal(err)
		}
		for i, token := range tokens {
			if _, err := chain.Authenticate(t.Context(), token); code(err) != Revoked {
				t.Errorf("%s, twin %d: %v", alg, i, err)
			}
		}
		if _, err := chain.Authenticate(t.Context(), key.Token(with(opClaims, map[string]any{"sub": "b"}))); err != nil {
			t.Errorf("%s: another token: %v", alg, err)
		}
	}
}
