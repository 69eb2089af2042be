package auth

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/auth/authtest"
)

// TestSubjectsNeverTakeRoles: a role map maps roles only, so calling oneself as one of its entries,
// by any claim and under any spelling of its name, grants nothing.
func TestSubjectsNeverTakeRoles(t *testing.T) {
	key := authtest.NewSigner("ES256", "")
	for _, claim := range []string{
		"sub", "preferred_username", "https://hpc.example.org/preferred_username", "urn:hpc:preferred_username", "user.name",
		"cognito:username", "userName", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "display-name", "hpc#nickname",
	} {
		chain := newChain(t, ChainConfig{Issuers: []Issuer{{
			Name: "sso", Issuer: "https://sso", Keys: trusted(key), PrincipalClaims: []string{claim},
			RolesClaims: []string{"groups"}, RoleMap: map[string]MappedRole{"hpc-admin": {Role: Admin}},
		}}})
		p, err := chain.Authenticate(t.Context(), key.Token(map[string]any{"iss": "https://sso", claim: "hpc-admin", "isBot": true, "exp": noon + 600}))
		if err != nil || p.Roles != 0 {
			t.Errorf("%s: %v, %v", claim, p, err)
		}
		if p != nil && p.SelfChosen != (claim != "sub") {
			t.Errorf("%s: self-chosen %v", claim, p.SelfChosen)
		}
	}
}

// TestPrincipalMap maps subjects that nobody can choose, and no others.
func TestPrincipalMap(t *testing.T) {
	key := authtest.NewSigner("ES256", "")
	f := func(i Issuer, claims map[string]any, want string) {
		t.Helper()
		i.Name, i.Issuer, i.Keys = "sso", "https://sso", trusted(key)
		chain := newChain(t, ChainConfig{Issuers: []Issuer{i}})
		p, err := chain.Authenticate(t.Context(), key.Token(with(claims, map[string]any{"iss": "https://sso", "exp": noon + 600})))
		if err != nil {
			t.Errorf("%v: %v", claims, err)
		} else if got := p.Subject + " " + p.Roles.String(); got != want {
			t.Errorf("%v: %s, want %s", claims, got, want)
		}
	}
	bots := map[string]MappedRole{"bot": {Role: API}}
	f(Issuer{PrincipalMap: bots}, map[string]any{"sub": "bot"}, "bot api")
	f(Issuer{PrincipalMap: bots}, map[string]any{"sub": "Bot"}, "Bot ")
	f(Issuer{PrincipalMap: bots, RolesClaims: []string{"groups"}}, map[string]any{"sub": "x", "groups": []string{"bot"}}, "x ")
	f(Issuer{PrincipalMap: bots, RolesClaims: []string{"groups"}}, map[string]any{"sub": "bot", "groups": []string{"admin"}}, "bot admin,api")
	named := []string{"preferred_username", "sub"}
	f(Issuer{PrincipalMap: bots, TrustIsBot: true, PrincipalClaims: named}, map[string]any{"sub": "u", "preferred_username": "bot", "isBot": true}, "bot api")
	for _, isBot := range []any{false, "true", 1, nil} {
		f(Issuer{PrincipalMap: bots, TrustIsBot: true, PrincipalClaims: named}, map[string]any{"sub": "u", "preferred_username": "bot", "isBot": isBot}, "bot ")
	}
	account := Issuer{PrincipalMap: map[string]MappedRole{"service-account-ingest": {Role: API}}, PrincipalClaims: named}
	f(account, map[string]any{"sub": "u", "preferred_username": "service-account-ingest", "client_id": "ingest"}, "service-account-ingest api")
	f(account, map[string]any{"sub": "u", "preferred_username": "ingest"}, "ingest ")
}

// TestMapsSayWhereSubjectsGo: what version 0.9.0 accepted is refused with the text to write instead.
func TestMapsSayWhereSubjectsGo(t *testing.T) {
	key := authtest.NewSigner("ES256", "")
	f := func(want string, i Issuer) {
		t.Helper()
		i.Name, i.Keys = "op", trusted(key)
		if _, err := NewChain(ChainConfig{Issuers: []Issuer{i}}); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	roles := []string{"groups"}
	f(`auth.issuers[0] "op": role-map: it maps values of roles-claims, of which there are none; move them: "principal-map": {"a":"admin","bot":{"role":"api","clusters":["fritz"]}}`,
		Issuer{Issuer: "x", RoleMap: map[string]MappedRole{"bot": {Role: API, Clusters: []string{"fritz"}}, "a": {Role: Admin}}})
	f(`role-map: it maps roles only, and these are subjects; move them: "principal-map": {"service-account-x":"api"}`,
		Issuer{Issuer: "x", RolesClaims: roles, RoleMap: map[string]MappedRole{"service-account-x": {Role: API}, "student": {Role: User}}})
	f(`move them: "principal-map": {"`+tenant+`/`+object1+`":"manager"}`,
		Issuer{Issuer: "x", RolesClaims: roles, RoleMap: map[string]MappedRole{tenant + "/" + object1: {Role: Manager}}})
	f("", Issuer{Issuer: "x", RolesClaims: roles, RoleMap: map[string]MappedRole{"student": {Role: User}, object1: {Role: User}}})
	f("", Issuer{RoleMap: map[string]MappedRole{"student": {Role: User}}}) // roles is a default
	for _, claims := range [][]string{{"preferred_username"}, {"sub", "email"}, {"https://hpc.example.org/preferred_username"}} {
		f(`principal-map: "bot": people may choose their `+claims[len(claims)-1], Issuer{Issuer: "x", PrincipalClaims: claims, PrincipalMap: map[string]MappedRole{"bot": {Role: API}}})
	}
	f("principal-map: \"x\": expected one of admin", Issuer{PrincipalMap: map[string]MappedRole{"x": {}}})
}

// TestRevokedNamesCannotBeLeftOut: a revoked person sends a token without the name, or with
// another one. The token is recognised by every other name in it.
func TestRevokedNamesCannotBeLeftOut(t *testing.T) {
	key := authtest.NewSigner("ES256", "")
	f := func(claims []string, revoked string, token map[string]any, want Reason) {
		t.Helper()
		chain := newChain(t, ChainConfig{Issuers: []Issuer{{Name: "sso", Issuer: "https://sso", Keys: trusted(key), PrincipalClaims: claims}}})
		r, err := ParseRevocations([]byte(`{"subjects": [` + revoked + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := chain.SetRevocations(r); err != nil {
			t.Fatal(err)
		}
		p, err := chain.Authenticate(t.Context(), key.Token(with(token, map[string]any{"iss": "https://sso", "exp": noon + 600})))
		if code(err) != want {
			t.Errorf("%s, %v: %v, %v; want %s", revoked, token, p, err, want)
		}
	}
	type token = map[string]any
	fallback := []string{"preferred_username", "email", "sub"}
	const name, both = `{"issuer": "sso", "sub": "alice"}`, `{"issuer": "https://sso", "name": "alice", "sub": "f8f2"}`
	const email, account = `{"issuer": "sso", "sub": "alice@example.org"}`, `{"issuer": "sso", "sub": "service-account-ingest"}`
	f(fallback, name, token{"preferred_username": "alice", "sub": "f8f2"}, Revoked)
	f(fallback, both, token{"preferred_username": "alice", "sub": "f8f2"}, Revoked)
	f(fallback, both, token{"preferred_username": "alice2", "sub": "f8f2"}, Revoked)
	f(fallback, both, token{"email": "alice@example.org", "sub": "f8f2"}, Revoked)
	f(fallback, both, token{"sub": "f8f2"}, Revoked)
	f(fallback, email, token{"preferred_username": "alice", "email": "alice@example.org", "sub": "f8f2"}, Revoked)
	f(fallback, email, token{"preferred_username": "alice", "email": "alice@example.org", "email_verified": false, "sub": "f8f2"}, Revoked)
	f(fallback, both, token{"email": "alice@example.org"}, Revoked)        // neither
	f(fallback, both, token{"preferred_username": "alice2"}, Revoked)      // renamed, without sub
	f(fallback, name, token{"preferred_username": "bob"}, Revoked)         // nothing tells bob from alice
	f([]string{"email"}, name, token{"email": "bob@x.org"}, Revoked)       // nor here
	f(fallback, both, token{"preferred_username": "bob", "sub": "a1"}, "") // but here
	f([]string{"uid"}, name, token{"uid": "bob"}, "")                      // nobody can choose it
	f([]string{"uid"}, name, token{"uid": "alice"}, Revoked)
	f(fallback, account, token{"preferred_username": "service-account-ingest", "client_id": "ingest", "sub": "0a1b"}, Revoked)
	f(fallback, account, token{"client_id": "ingest", "clientHost": "192.0.2.7", "sub": "0a1b"}, Revoked)
	f(fallback, account, token{"client_id": "Ingest", "sub": "0a1b"}, Revoked) // without a sign of what it is
	f(fallback, account, token{"clientId": "ingest", "sub": "0a1b"}, Revoked)
	f(fallback, account, token{"client_id": "ingest", "preferred_username": "bob", "sub": "a1"}, "") // a person, with that client
	f(nil, `{"issuer": "sso", "name": "alice", "sub": "f8f2", "not-before": 1800000100}`, token{"sub": "f8f2", "iat": noon + 20}, Revoked)
	f(fallback, `{"issuer": "sso", "name": "alice", "sub": "f8f2", "not-before": 1700000000}`, token{"preferred_username": "alice", "sub": "f8f2", "iat": noon}, "")
}

// TestRevocationsThatAreEscaped: a warning has the entry to write, unless the entry has it or needs
// none.
func TestRevocationsThatAreEscaped(t *testing.T) {
	key := authtest.NewSigner("ES256", "")
	f := func(claims []string, entries string, warnings int, want ...string) {
		t.Helper()
		var log strings.Builder
		chain := newChain(t, ChainConfig{Log: slog.New(slog.NewTextHandler(&log, nil)), Issuers: []Issuer{{
			Name: "sso", Issuer: "https://sso", Keys: trusted(key), PrincipalClaims: claims, Audience: []string{"x"},
		}}})
		r, err := ParseRevocations([]byte(`{"subjects": [` + entries + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := chain.SetRevocations(r); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(log.String(), "evaded"); got != warnings {
			t.Errorf("%s: %d warnings, want %d:\n%s", entries, got, warnings, log.String())
		}
		for _, w := range want {
			if !strings.Contains(log.String(), w) {
				t.Errorf("%s: no %s in\n%s", entries, w, log.String())
			}
		}
	}
	const alice = `{"issuer": "sso", "sub": "alice"}`
	f([]string{"preferred_username", "sub"}, alice, 1, `{\"issuer\": \"sso\", \"name\": \"alice\", \"sub\": \"SUB\"}`)
	f([]string{"uid", "sub"}, alice, 1)
	f([]string{"email"}, alice, 1)
	f([]string{"uid"}, alice, 0)
	f(nil, alice, 0)
	f([]string{"email"}, `{"issuer": "sso", "name": "alice", "sub": "f8f2"}`, 0)
	f([]string{"email"}, `{"issuer": "sso", "sub": "f8f2d3f4-6a3b-4a52-9c3e-1d2f3a4b5c6d"}, {"issuer": "sso", "sub": "service-account-x"}`, 0)
	var many []string
	for n := range 30 {
		many = append(many, fmt.Sprintf(`{"issuer": "sso", "sub": "u%d"}`, n))
	}
	f([]string{"email"}, strings.Join(many, ","), 11, "entries=20")
}

// TestRenamedJobUser: a job-user-claim that its owner can change gives away the jobs of others.
func TestRenamedJobUser(t *testing.T) {
	f := func(claim string, warned bool) {
		t.Helper()
		var log strings.Builder
		newChain(t, ChainConfig{Log: slog.New(slog.NewTextHandler(&log, nil)), Issuers: []Issuer{{Name: "sso", Issuer: "x", JobUserClaim: claim}}})
		if got := strings.Contains(log.String(), "job-user-claim"); got != warned {
			t.Errorf("%s: %s", claim, log.String())
		}
	}
	f("preferred_username", true)
	f("https://hpc.example.org/preferred_username", true)
	f("email", true)
	f("uid", false)
	f("", false)
}
