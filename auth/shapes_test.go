package auth

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jwk"
)

const (
	realm   = "https://sso.example.org/realms/data-sec"
	tenant  = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	object1 = "11111111-2222-4333-8444-555555555555"
	appID   = "c4a2a7a0-0d1f-4e3b-9a53-000000000001"
)

// centre holds the issuers of a computing centre, and a signer for each.
type centre struct {
	chain                                                 *Chain
	clock                                                 *clock
	cc, keycloak, openMetadata, dataHub, entraV1, entraV2 *authtest.Signer
}

// issuers returns the configuration. Tests may change it before they make a chain.
func (c *centre) issuers() []Issuer {
	trusted := func(s *authtest.Signer) []jwk.Key { return []jwk.Key{{ID: s.KID(), Public: s.Public()}} }
	return []Issuer{
		{Name: "cc-backend", Keys: trusted(c.cc)},
		{
			Name: "hpc-sso", Issuer: realm, Keys: trusted(c.keycloak), Algorithms: []string{"RS256", "ES256"},
			Audience: []string{"metric-store"}, AuthorizedParties: []string{"jupyter", "ingest"},
			PrincipalClaims: []string{"preferred_username", "email", "sub"}, JobUserClaim: "preferred_username",
			ProjectsClaims: []string{"groups"},
			RolesClaims:    []string{"realm_access.roles", "resource_access.metric-store.roles"},
			RoleMap: map[string]MappedRole{
				"hpc-admin": {Role: Admin}, "student": {Role: User},
			},
			PrincipalMap:  map[string]MappedRole{"service-account-ingest": {Role: API, Clusters: []string{"fritz"}}},
			RequireClaims: map[string][]string{"typ": {"Bearer"}},
		},
		{
			Name: "openmetadata", Issuer: "open-metadata.org", Keys: trusted(c.openMetadata), RequireExpiry: new(bool),
			PrincipalMap: map[string]MappedRole{"ingestion-bot": {Role: API}}, Clusters: []string{"fritz"},
		},
		{
			Name: "datahub", Issuer: "datahub-metadata-service", Secrets: []Secret{must(NewSecret("", c.dataHub.Secret()))},
			Algorithms: []string{"HS256"}, PrincipalClaims: []string{"actorId"}, DefaultRoles: Support,
			RequireClaims: map[string][]string{"type": {"PERSONAL", "SESSION"}, "version": {"1", "2"}},
		},
		{
			Name: "entra-v1", Issuer: "https://sts.windows.net/" + tenant + "/", Keys: trusted(c.entraV1),
			Audience: []string{"api://metric-store"}, AuthorizedParties: []string{appID},
			RolesClaims: []string{"roles"}, RoleMap: map[string]MappedRole{"Metrics.Read": {Role: Support}},
		},
		{
			Name: "entra-v2", Issuer: "https://login.microsoftonline.com/" + tenant + "/v2.0", Keys: trusted(c.entraV2),
			Audience: []string{"6e74172b-be56-4843-9ff4-e66a39bb12e3"}, RolesClaims: []string{"roles"},
			RoleMap:      map[string]MappedRole{"Metrics.Read": {Role: Support}},
			PrincipalMap: map[string]MappedRole{tenant + "/" + object1: {Role: Manager}},
		},
	}
}

// rsaSigners are generated once, because that takes a second.
var rsaSigners = sync.OnceValue(func() (s [5]*authtest.Signer) {
	for i := range s {
		s[i] = authtest.NewSigner("RS256", "")
	}
	return s
})

// mallory returns a signer that no issuer trusts.
func mallory() *authtest.Signer { return rsaSigners()[4] }

func newCentre(t testing.TB) *centre {
	t.Helper()
	rsa := rsaSigners()
	c := &centre{
		clock: newClock(), cc: authtest.NewSigner("EdDSA", ""), keycloak: rsa[0].Named("kc-1"),
		openMetadata: rsa[1].Named("Gb389a-9f76-gdjs-a92j-0242bk94356"), dataHub: authtest.NewSigner("HS256", ""),
		entraV1: rsa[2].Named("e1"), entraV2: rsa[3].Named("e2"),
	}
	c.chain = newChain(t, ChainConfig{Issuers: c.issuers(), Now: c.clock.now})
	return c
}

// describe returns the fields of a principal that the tests compare.
func describe(p *Principal) string {
	s := fmt.Sprintf("%s %s [%s]", p.Issuer, p.Subject, p.Roles)
	if p.JobUser != "" {
		s += " jobs:" + p.JobUser
	}
	if len(p.Projects) > 0 {
		s += " projects:" + strings.Join(p.Projects, ",")
	}
	for _, l := range p.Limited {
		s += fmt.Sprintf(" %s@%s", l.Role, strings.Join(l.Clusters, ","))
	}
	if p.Clusters != nil {
		s += " @" + strings.Join(p.Clusters, ",")
	}
	if p.Expires.IsZero() {
		s += " never expires"
	}
	return s
}

// with returns the claims with changes: nil removes a claim, and null sets it to a JSON null.
func with(claims map[string]any, changes map[string]any) map[string]any {
	claims = maps.Clone(claims)
	if claims == nil {
		claims = make(map[string]any)
	}
	for name, value := range changes {
		switch value {
		case nil:
			delete(claims, name)
		case null:
			claims[name] = nil
		default:
			claims[name] = value
		}
	}
	return claims
}

const null = "\x00null"

// The tokens of each issuer are accepted, and refused if one thing is wrong with them.
func TestShapes(t *testing.T) {
	c := newCentre(t)
	now := c.clock.now()
	good := func(name string, s *authtest.Signer, claims map[string]any, want string) {
		t.Helper()
		p, err := c.chain.Authenticate(t.Context(), s.Token(claims))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := describe(p); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	type change = map[string]any
	bad := func(name string, s *authtest.Signer, claims, changes change, want Reason) {
		t.Helper()
		p, err := c.chain.Authenticate(t.Context(), s.Token(with(claims, changes)))
		if p != nil || code(err) != want {
			t.Errorf("%s %v: %v, %v; want %q", name, changes, p, err, want)
		}
	}
	// Wrong times are refused for every issuer.
	times := func(name string, s *authtest.Signer, claims change) {
		t.Helper()
		bad(name, s, claims, change{"exp": now.Add(-time.Minute).Unix()}, Expired)
		bad(name, s, claims, change{"exp": "soon"}, BadClaims)
		bad(name, s, claims, change{"exp": 0}, Expired)
		bad(name, s, claims, change{"exp": -1}, BadClaims)
		bad(name, s, claims, change{"exp": 1e300}, BadClaims)
		bad(name, s, claims, change{"nbf": now.Add(time.Minute).Unix()}, NotYetValid)
		bad(name, s, claims, change{"iat": now.Add(time.Minute).Unix()}, IssuedInFuture)
		bad(name, s, claims, change{"jti": 7}, BadClaims)
	}
	foreign := func(name string, s *authtest.Signer, claims change) {
		t.Helper()
		times(name, s, claims)
		bad(name, s, claims, change{"iss": "https://evil.example.org"}, UnknownIssuer)
		bad(name, s, claims, change{"iss": strings.ToUpper(claims["iss"].(string))}, UnknownIssuer)
		bad(name, s, claims, change{"iss": claims["iss"].(string) + " "}, UnknownIssuer)
		bad(name, s, claims, change{"iss": ""}, UnknownIssuer)
		bad(name, s, claims, change{"iss": null}, BadClaims)
		bad(name, s, claims, change{"iss": []string{claims["iss"].(string)}}, BadClaims)
	}
	wrongKey := func(name string, alg, kid string, claims change, want Reason) {
		t.Helper()
		signer := mallory()
		if alg != "RS256" {
			signer = authtest.NewSigner(alg, "")
		}
		bad(name+" wrong key", signer.Named(kid), claims, nil, want)
	}

	cc := authtest.CCBackend(now, "alice", "user")
	good("cc-backend", c.cc, cc, "cc-backend alice [user] jobs:alice")
	good("cc-backend, never expires", c.cc, with(cc, change{"exp": nil}), "cc-backend alice [user] jobs:alice never expires")
	good("cc-backend, a manager", c.cc, with(cc, change{"roles": []string{"manager", "api"}, "projects": []string{"p"}}), "cc-backend alice [api,manager] jobs:alice projects:p")
	times("cc-backend", c.cc, cc)
	wrongKey("cc-backend", "EdDSA", "", cc, BadSignature)
	wrongKey("cc-backend", "RS256", "", cc, BadAlgorithm)
	bad("cc-backend", c.cc, cc, change{"exp": null}, BadClaims)
	bad("cc-backend", c.cc, cc, change{"sub": nil}, BadClaims)
	bad("cc-backend", c.cc, cc, change{"roles": "admin"}, BadClaims)
	bad("cc-backend", c.cc, cc, change{"projects": "p"}, BadClaims)
	bad("cc-backend", c.cc, cc, change{"iss": "cc-backend"}, UnknownIssuer)
	bad("cc-backend, with another iss", c.cc, cc, change{"iss": realm, "aud": "metric-store", "azp": "jupyter", "typ": "Bearer"}, BadAlgorithm)

	om := authtest.OpenMetadataBot(now, "ingestion-bot")
	good("OpenMetadata", c.openMetadata, om, "openmetadata ingestion-bot [api] @fritz never expires")
	good("OpenMetadata, no exp", c.openMetadata, with(om, change{"exp": nil}), "openmetadata ingestion-bot [api] @fritz never expires")
	good("OpenMetadata, an hour", c.openMetadata, with(om, change{"exp": now.Add(time.Hour).Unix()}), "openmetadata ingestion-bot [api] @fritz")
	good("OpenMetadata, another bot", c.openMetadata, authtest.OpenMetadataBot(now, "lineage-bot"), "openmetadata lineage-bot [] @fritz never expires")
	foreign("OpenMetadata", c.openMetadata, om)
	wrongKey("OpenMetadata", "RS256", c.openMetadata.KID(), om, BadSignature)
	wrongKey("OpenMetadata", "RS256", "another", om, UnknownKey)
	wrongKey("OpenMetadata", "RS256", "", om, BadSignature) // without a kid, all keys are tried
	bad("OpenMetadata", c.openMetadata, om, change{"sub": nil}, BadClaims)

	user := authtest.KeycloakUser(now, realm, "jupyter", "alice", "student")
	good("Keycloak", c.keycloak, user, "hpc-sso alice [user] jobs:alice")
	good("Keycloak, client role", c.keycloak, with(user, change{"resource_access": change{"metric-store": change{"roles": []string{"hpc-admin"}}}}), "hpc-sso alice [admin,user] jobs:alice")
	good("Keycloak, groups", c.keycloak, with(user, change{"groups": []string{"/p1", "/p2"}}), "hpc-sso alice [user] jobs:alice projects:/p1,/p2")
	good("Keycloak, e-mail", c.keycloak, with(user, change{"preferred_username": nil}), "hpc-sso alice@example.org [user]")
	good("Keycloak, e-mail not verified", c.keycloak, with(user, change{"preferred_username": nil, "email_verified": false}), "hpc-sso f8f2d3f4-6a3b-4a52-9c3e-1d2f3a4b5c6d [user]")
	good("Keycloak, our role names without a mapping", c.keycloak, with(user, change{"realm_access": change{"roles": []string{"admin", "api"}}}), "hpc-sso alice [] jobs:alice")
	good("Keycloak, a user with the name of a role", c.keycloak, authtest.KeycloakUser(now, realm, "jupyter", "hpc-admin"), "hpc-sso hpc-admin [] jobs:hpc-admin")
	good("Keycloak, roles in other claims", c.keycloak, with(user, change{"roles": []string{"hpc-admin"}, "Realm_access": change{"roles": []string{"hpc-admin"}}}), "hpc-sso alice [user] jobs:alice")
	foreign("Keycloak", c.keycloak, user)
	wrongKey("Keycloak", "RS256", "kc-1", user, BadSignature)
	wrongKey("Keycloak", "RS256", "kc-2", user, UnknownKey)
	wrongKey("Keycloak", "ES256", "kc-1", user, BadAlgorithm) // permitted, but no key is for it
	bad("Keycloak", c.keycloak, user, change{"exp": nil}, NoExpiry)
	bad("Keycloak", c.keycloak, user, change{"exp": null}, BadClaims)
	bad("Keycloak", c.keycloak, user, change{"aud": "account"}, WrongAudience)
	bad("Keycloak", c.keycloak, user, change{"aud": nil}, WrongAudience)
	bad("Keycloak", c.keycloak, user, change{"aud": "metric-store "}, WrongAudience)
	bad("Keycloak", c.keycloak, user, change{"aud": change{"metric-store": true}}, BadClaims)
	bad("Keycloak", c.keycloak, user, change{"aud": []any{"metric-store", 1}}, BadClaims)
	bad("Keycloak", c.keycloak, user, change{"azp": "evil"}, WrongParty)
	bad("Keycloak", c.keycloak, user, change{"azp": nil}, WrongParty)
	bad("Keycloak", c.keycloak, user, change{"azp": 1}, BadClaims)
	bad("Keycloak", c.keycloak, user, change{"azp": "evil", "client_id": "jupyter"}, WrongParty)
	bad("Keycloak's ID token", c.keycloak, user, change{"typ": "ID", "aud": "metric-store"}, WrongType)
	bad("Keycloak's refresh token", c.keycloak, user, change{"typ": "Refresh"}, WrongType)
	bad("Keycloak's offline token", c.keycloak, user, change{"typ": "Offline"}, WrongType)
	bad("Keycloak's ID token, untyped", c.keycloak, user, change{"typ": nil, "at_hash": "x"}, WrongType)
	bad("an ID token without typ", c.keycloak, user, change{"typ": nil, "scope": nil, "nonce": "n"}, WrongType)
	good("Keycloak before version 25", c.keycloak, with(user, change{"nonce": "n"}), "hpc-sso alice [user] jobs:alice")
	bad("Keycloak, bound to a key", c.keycloak, user, change{"cnf": change{"jkt": "x"}}, WrongType)
	bad("Keycloak", c.keycloak, user, change{"typ": nil}, WrongClaim)
	bad("Keycloak", c.keycloak, user, change{"typ": "bearer"}, WrongClaim)
	bad("Keycloak", c.keycloak, user, change{"typ": true}, BadClaims)
	bad("Keycloak", c.keycloak, user, change{"realm_access": "hpc-admin"}, BadClaims)
	bad("Keycloak", c.keycloak, user, change{"realm_access": change{"roles": "hpc-admin"}}, BadClaims)
	bad("Keycloak", c.keycloak, user, change{"realm_access": change{"roles": []any{"hpc-admin", 1}}}, BadClaims)
	bad("Keycloak", c.keycloak, user, change{"preferred_username": 1}, BadClaims)
	bad("Keycloak", c.keycloak, user, change{"preferred_username": ""}, BadClaims)
	bad("Keycloak", c.keycloak, user, change{"groups": "p"}, BadClaims)
	bad("Keycloak", c.keycloak, user, change{"preferred_username": nil, "email": nil, "sub": nil}, BadClaims)

	// A service account differs from a user with the same name, and no user is a service account.
	account := authtest.KeycloakServiceAccount(now, realm, "ingest")
	const ingest = "hpc-sso service-account-ingest [api] api@fritz"
	good("service account", c.keycloak, account, ingest)
	good("service account before Keycloak 20", c.keycloak, with(account, change{"client_id": nil, "clientId": "ingest"}), ingest)
	good("service account with an e-mail", c.keycloak, with(account, change{"email": "alice@example.org", "email_verified": true}), ingest)
	good("service account without its name", c.keycloak, with(account, change{"preferred_username": nil, "email": "alice@example.org", "email_verified": true}), ingest)
	good("service account without its name", c.keycloak, with(account, change{"preferred_username": nil, "client_id": nil, "clientId": "ingest", "clientHost": nil}),
		"hpc-sso 0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d []")
	bad("of another party, without its name", c.keycloak, account, change{"preferred_username": nil, "azp": "jupyter"}, BadClaims)
	foreign("service account", c.keycloak, account)
	bad("a user of that name", c.keycloak, authtest.KeycloakUser(now, realm, "ingest", "service-account-ingest"), nil, BadClaims)
	bad("a user of that name", c.keycloak, user, change{"preferred_username": "service-account-ingest"}, BadClaims)
	bad("a user of that e-mail", c.keycloak, user, change{"preferred_username": nil, "email": "service-account-ingest"}, BadClaims)
	bad("of another client", c.keycloak, account, change{"client_id": "jupyter", "azp": "jupyter"}, BadClaims)
	bad("of another party", c.keycloak, account, change{"azp": "jupyter"}, BadClaims)
	bad("no client", c.keycloak, account, change{"client_id": nil}, BadClaims)
	bad("client of a wrong type", c.keycloak, account, change{"client_id": []string{"ingest"}}, BadClaims)
	bad("in other case", c.keycloak, account, change{"preferred_username": "service-account-Ingest"}, BadClaims)

	for _, kind := range []string{"PERSONAL", "SESSION"} {
		dh := authtest.DataHub(now, kind, "alice")
		good("DataHub", c.dataHub, dh, "datahub alice [support]")
		foreign("DataHub", c.dataHub, dh)
		wrongKey("DataHub", "HS256", "", dh, BadSignature)
		wrongKey("DataHub", "HS512", "", dh, BadAlgorithm)
		wrongKey("DataHub", "EdDSA", "", dh, BadAlgorithm)
		bad("DataHub", c.dataHub, dh, change{"type": nil}, WrongClaim)
		bad("DataHub", c.dataHub, dh, change{"type": "SERVICE"}, WrongClaim)
		bad("DataHub", c.dataHub, dh, change{"version": "3"}, WrongClaim)
		bad("DataHub", c.dataHub, dh, change{"version": 2}, BadClaims)
		bad("DataHub", c.dataHub, dh, change{"actorId": nil}, BadClaims)
		bad("DataHub", c.dataHub, dh, change{"exp": nil}, NoExpiry)
		bad("DataHub", c.dataHub, dh, change{"exp": null}, BadClaims)
	}

	for _, v := range []struct {
		name   string
		signer *authtest.Signer
		claims func(time.Time, string, string, ...string) map[string]any
		client string
		role   string
	}{{"entra-v1", c.entraV1, authtest.EntraV1, "appid", "support"}, {"entra-v2", c.entraV2, authtest.EntraV2, "azp", "support,manager"}} {
		claims := v.claims(now, tenant, object1, "Metrics.Read")
		want := v.name + " " + tenant + "/" + object1 + " [" + v.role + "]"
		good(v.name, v.signer, claims, want)
		good(v.name+", another e-mail", v.signer, with(claims, change{"email": "b@example.org", "preferred_username": "b@example.org", "upn": "b", "sub": "x"}), want)
		foreign(v.name, v.signer, claims)
		wrongKey(v.name, "RS256", v.signer.KID(), claims, BadSignature)
		wrongKey(v.name, "RS256", "x", claims, UnknownKey)
		bad(v.name, v.signer, claims, change{"tid": "72f988bf-86f1-41af-91ab-2d7cd011db48"}, WrongTenant)
		bad(v.name, v.signer, claims, change{"tid": strings.ToUpper(tenant)}, WrongTenant)
		bad(v.name, v.signer, claims, change{"tid": nil}, BadClaims)
		bad(v.name, v.signer, claims, change{"oid": nil}, BadClaims)
		bad(v.name, v.signer, claims, change{"oid": "alice"}, BadClaims)
		bad(v.name, v.signer, claims, change{"oid": []string{object1}}, BadClaims)
		bad(v.name, v.signer, claims, change{"aud": "00000003-0000-0000-c000-000000000000"}, WrongAudience)
		bad(v.name, v.signer, claims, change{"exp": nil}, NoExpiry)
		bad(v.name+"'s ID token", v.signer, claims, change{v.client: nil}, WrongType)
	}
	bad("entra-v1 to another client", c.entraV1, authtest.EntraV1(now, tenant, object1), change{"appid": object1}, WrongParty)
}

// One issuer's key cannot sign tokens of another issuer.
func TestKeysOfOtherIssuers(t *testing.T) {
	c := newCentre(t)
	now := c.clock.now()
	signers := map[string]*authtest.Signer{
		"": c.cc, realm: c.keycloak, "open-metadata.org": c.openMetadata, "datahub-metadata-service": c.dataHub,
		"https://sts.windows.net/" + tenant + "/": c.entraV1, "https://login.microsoftonline.com/" + tenant + "/v2.0": c.entraV2,
	}
	for iss, claims := range map[string]map[string]any{
		"": authtest.CCBackend(now, "alice", "admin"), realm: authtest.KeycloakUser(now, realm, "jupyter", "alice", "hpc-admin"),
		"open-metadata.org":                                     authtest.OpenMetadataBot(now, "ingestion-bot"),
		"datahub-metadata-service":                              authtest.DataHub(now, "PERSONAL", "alice"),
		"https://sts.windows.net/" + tenant + "/":               authtest.EntraV1(now, tenant, object1),
		"https://login.microsoftonline.com/" + tenant + "/v2.0": authtest.EntraV2(now, tenant, object1),
	} {
		for owner, signer := range signers {
			p, err := c.chain.Authenticate(t.Context(), signer.Token(claims))
			if own := owner == iss; (err == nil) != own {
				t.Errorf("%q's key under %q: %v, %v", owner, iss, p, err)
			}
			// A kid of the other issuer's key makes no difference.
			for _, kid := range []string{"kc-1", "e1", "e2", c.openMetadata.KID()} {
				alg := map[bool]string{true: "RS256", false: "EdDSA"}[signer != c.cc && signer != c.dataHub]
				if signer == c.dataHub {
					alg = "HS256"
				}
				p, err := c.chain.Authenticate(t.Context(), signer.Sign(map[string]any{"alg": alg, "kid": kid}, claims))
				if err == nil && owner != iss {
					t.Errorf("%q's key as %s under %q: %v", owner, kid, iss, p)
				}
			}
		}
	}
}
