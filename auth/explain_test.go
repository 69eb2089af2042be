package auth

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/auth/authtest"
)

// An explanation lists the checks up to the first that failed, and agrees with Authenticate.
func TestExplain(t *testing.T) {
	c := newCentre(t)
	now := c.clock.now()
	user := authtest.KeycloakUser(now, realm, "jupyter", "alice", "student")
	f := func(name, token, want string) *Explanation {
		t.Helper()
		e, err := c.chain.Explain(t.Context(), token, Policy{}, false)
		_, plain := c.chain.Authenticate(t.Context(), token)
		if code(err) != code(plain) || e.Accepted != (err == nil) {
			t.Errorf("%s: explained %v, authenticated %v", name, err, plain)
		}
		var got []string
		for i, check := range e.Checks {
			if check.Name != checks[i].name || check.Code != "" && i != len(e.Checks)-1 {
				t.Errorf("%s: check %d: %+v", name, i, check)
			}
			if check.Code != "" {
				got = append(got, check.Name+": "+string(check.Code))
			}
		}
		if e.Accepted {
			got = append(got, e.Issuer, e.Key, describe(e.Principal))
		}
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("%s:\n got %s\nwant %s", name, s, want)
		}
		// It contains no part of the signature, and only the claims that the settings name.
		if text := fmt.Sprintf("%+v", *e); strings.Contains(text, token[strings.LastIndexByte(token, '.')+1:]) && token != "" || strings.Contains(text, "192.0.2.7") {
			t.Errorf("%s: the explanation reveals too much: %s", name, text)
		}
		return e
	}
	e := f("good", c.keycloak.Token(user), `hpc-sso; RSA 2048 with the kid "kc-1"; hpc-sso alice [user] jobs:alice`)
	if len(e.Checks) != len(checks) || e.Claims["given_name"] != nil || e.Claims["preferred_username"] != "alice" || e.Claims["typ"] != "Bearer" {
		t.Errorf("%+v", e)
	}
	if got := fmt.Sprint(e.May); got != "[{whoami {true []}} {own_jobs {true []}}]" {
		t.Errorf("may %s", got)
	}
	verbose, err := c.chain.Explain(t.Context(), c.keycloak.Token(user), Policy{}, true)
	if err != nil || verbose.Claims["given_name"] != "A" {
		t.Errorf("%+v, %v", verbose, err)
	}
	bot := f("bot", c.openMetadata.Token(authtest.OpenMetadataBot(now, "ingestion-bot")),
		`openmetadata; RSA 2048 with the kid "Gb389a-9f76-gdjs-a92j-0242bk94356"; openmetadata ingestion-bot [api] @fritz never expires`)
	if got := fmt.Sprint(bot.May); !strings.Contains(got, "{write {false [fritz]}}") || strings.Contains(got, "metrics") {
		t.Errorf("may %s", got)
	}
	f("a claim without a name", c.openMetadata.Token(with(authtest.OpenMetadataBot(now, "ingestion-bot"), map[string]any{"": "192.0.2.7"})),
		`openmetadata; RSA 2048 with the kid "Gb389a-9f76-gdjs-a92j-0242bk94356"; openmetadata ingestion-bot [api] @fritz never expires`)
	f("nothing", "", "format: missing")
	f("garbage", "a.b.garbage", "format: malformed")
	f("unknown issuer", c.keycloak.Token(with(user, map[string]any{"iss": "x"})), "issuer: unknown_issuer")
	f("algorithm", c.cc.Token(user), "algorithm: bad_algorithm")
	f("ID token", c.keycloak.Token(with(user, map[string]any{"typ": "ID"})), "token type: wrong_type")
	f("expired", c.keycloak.Token(with(user, map[string]any{"exp": 1})), "times: expired")
	f("audience", c.keycloak.Token(with(user, map[string]any{"aud": "x"})), "audience: wrong_audience")
	f("party", c.keycloak.Token(with(user, map[string]any{"azp": "x"})), "authorized party: wrong_party")
	f("claims", c.keycloak.Token(with(user, map[string]any{"typ": nil})), "required claims: wrong_claim")
	f("principal", c.keycloak.Token(with(user, map[string]any{"preferred_username": 1})), "principal: bad_claims")
	f("key", c.keycloak.Named("x").Token(user), "key: unknown_key")
	forged := f("forged", mallory().Named("kc-1").Token(user), "signature: bad_signature")
	if len(forged.Tried) != 1 || forged.Key != "" || forged.Accepted || forged.Fits != nil {
		t.Errorf("%+v", forged)
	}
	// What a refused token claims is no right, and the key that made its signature is named.
	fits := func(name, token, want string) {
		t.Helper()
		e, _ := c.chain.Explain(t.Context(), token, Policy{}, false)
		if got := fmt.Sprint(e.Fits); got != want || e.May != nil || e.Accepted {
			t.Errorf("%s: fits %s, want %s; may %v", name, got, want, e.May)
		}
	}
	fits("another key's kid", c.keycloak.Named("x").Token(user), `[{hpc-sso RSA 2048 with the kid "kc-1"}]`)
	fits("expired", c.keycloak.Token(with(user, map[string]any{"exp": 1})), `[{hpc-sso RSA 2048 with the kid "kc-1"}]`)
	fits("another issuer", c.cc.Token(map[string]any{"iss": "x", "sub": "a"}), "[{cc-backend Ed25519 without a kid}]")
	fits("nobody's", mallory().Token(user), "[]")
	fits("garbage", "a.b.c", "[]")
	if err := c.chain.SetRevocations(must(ParseRevocations([]byte(`{"subjects":[{"issuer":"hpc-sso","sub":"alice"}]}`)))); err != nil {
		t.Fatal(err)
	}
	f("revoked", c.keycloak.Token(user), "revocation: revoked")
}
