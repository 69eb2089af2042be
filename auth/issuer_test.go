package auth

import (
	"bytes"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jwk"
)

// Every setting is checked, and the error names the entry and the field.
func TestSettings(t *testing.T) {
	key := jwk.Key{ID: "k", Public: publicKey(newKey("k"))}
	secret := must(NewSecret("", []byte("0123456789abcdef0123456789abcdef")))
	f := func(want string, issuers ...Issuer) {
		t.Helper()
		chain, err := NewChain(ChainConfig{Issuers: issuers})
		if chain != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v:\n got %v\nwant %s", issuers, err, want)
		}
	}
	one := func(want string, change func(*Issuer)) {
		t.Helper()
		i := Issuer{Name: "op", Issuer: "https://op.example.org", Keys: []jwk.Key{key}}
		change(&i)
		f(want, Issuer{Name: "first"}, i)
	}
	const second = `issuers[1] "op": `
	f("issuers: none")
	f(`issuers[0] "": name: expected printable text`, Issuer{})
	f(`name: already used by another issuer`, Issuer{Name: "a"}, Issuer{Name: "a", Issuer: "x"})
	f(`issuers[1] "b": issuer: same as that of "a"`, Issuer{Name: "a", Issuer: "x"}, Issuer{Name: "b", Issuer: "x"})
	f(`issuers[1] "b": issuer: same as that of "a"`, Issuer{Name: "a"}, Issuer{Name: "b"})
	f(`the issuer of`, Issuer{Name: "a", Issuer: "b"}, Issuer{Name: "b", Issuer: "c"})
	one("name: expected printable text", func(i *Issuer) { i.Name = "a\nb" })
	one(second+"issuer: ", func(i *Issuer) { i.Issuer = " https://x" })
	one(second+"audience: empty list", func(i *Issuer) { i.Audience = []string{} })
	one(second+`audience: "" is not`, func(i *Issuer) { i.Audience = []string{""} })
	one(second+`audience: "a" is listed twice`, func(i *Issuer) { i.Audience = []string{"a", "a"} })
	one(second+"authorized-parties: empty list", func(i *Issuer) { i.AuthorizedParties = []string{} })
	one(second+"principal-claims: empty list", func(i *Issuer) { i.PrincipalClaims = []string{} })
	one(second+"projects-claims: ", func(i *Issuer) { i.ProjectsClaims = []string{" "} })
	one(second+"roles-claims: expected at most 256 entries, got 257", func(i *Issuer) { i.RolesClaims = make([]string, 257) })
	one(second+"clusters: empty list", func(i *Issuer) { i.Clusters = []string{} })
	one(second+"job-user-claim: ", func(i *Issuer) { i.JobUserClaim = " sub" })
	one(second+`require-claims: "typ": no value`, func(i *Issuer) { i.RequireClaims = map[string][]string{"typ": nil} })
	one(second+`require-claims: "typ": "" is not`, func(i *Issuer) { i.RequireClaims = map[string][]string{"typ": {""}} })
	one(second+`require-claims: "": no values, or not a claim name`, func(i *Issuer) { i.RequireClaims = map[string][]string{"": {"a"}} })
	for _, alg := range []string{"none", "rs256", "", "HS1", "RS256 ", "A256GCM"} {
		one(fmt.Sprintf(second+"algorithms: %q is not", alg), func(i *Issuer) { i.Algorithms = []string{alg} })
	}
	one(second+`algorithms: "EdDSA" is listed twice`, func(i *Issuer) { i.Algorithms = []string{"EdDSA", "Ed25519"} })
	one(second+"algorithms: some are for shared secrets, some for public keys", func(i *Issuer) { i.Algorithms = []string{"EdDSA", "HS256"} })
	one(second+"algorithms: HMAC requires a shared-secret", func(i *Issuer) { i.Algorithms = []string{"HS256"} })
	one(second+"algorithms: a shared-secret requires HS256, HS384 or HS512", func(i *Issuer) { i.Keys, i.Secrets = nil, []Secret{secret} })
	one(second+"algorithms: a shared-secret requires HS256, HS384 or HS512", func(i *Issuer) { i.Keys, i.Secrets, i.Algorithms = nil, []Secret{secret}, []string{"RS256"} })
	one(second+"algorithms: HMAC requires a shared-secret", func(i *Issuer) { i.Secrets, i.Algorithms = []Secret{secret}, []string{"HS256"} })
	one(second+"secret 1: 32 bytes, HS512 requires at least 64", func(i *Issuer) { i.Keys, i.Secrets, i.Algorithms = nil, []Secret{secret}, []string{"HS512"} })
	one(second+"secret 1: not made by NewSecret", func(i *Issuer) { i.Keys, i.Secrets, i.Algorithms = nil, []Secret{{}}, []string{"HS256"} })
	one(second+"none of the keys fits one of the algorithms", func(i *Issuer) { i.Algorithms = []string{"RS256"} })
	one(second+"key 1: a key of type Ed25519 is not for RS256", func(i *Issuer) { i.Keys = []jwk.Key{{Algorithm: "RS256", Public: key.Public}} })
	one(second+"key 1: a public key of type string", func(i *Issuer) { i.Keys = []jwk.Key{{Public: "0123456789abcdef0123456789abcdef"}} })
	one(second+"key 1: a public key of type []uint8", func(i *Issuer) { i.Keys = []jwk.Key{{Public: make([]byte, 64)}} })
	one(second+`role-map: "x": expected one of admin, api`, func(i *Issuer) { i.RoleMap = map[string]MappedRole{"x": {}} })
	one(second+`role-map: "x": expected one of admin, api`, func(i *Issuer) { i.RoleMap = map[string]MappedRole{"x": {Role: Admin | User}} })
	one(second+`role-map: "x": expected one of admin, api`, func(i *Issuer) { i.RoleMap = map[string]MappedRole{"x": {Role: 1 << 5}} })
	one(second+`role-map: expected names of 1 to`, func(i *Issuer) { i.RoleMap = map[string]MappedRole{"": {Role: User}} })
	one(second+`role-map: "x": clusters: empty list`, func(i *Issuer) { i.RoleMap = map[string]MappedRole{"x": {Role: User, Clusters: []string{}}} })
	one(second+`role-map: "x": clusters: "alex" is not one of the issuer's`, func(i *Issuer) {
		i.Clusters, i.RoleMap = []string{"fritz"}, map[string]MappedRole{"x": {Role: User, Clusters: []string{"alex"}}}
	})
	one(second+"default-roles: ", func(i *Issuer) { i.DefaultRoles = 1 << 6 })
	one(second+"leeway: 1h0m0s is more than 15m0s", func(i *Issuer) { i.Leeway = time.Hour })
	one(second+"max-lifetime: negative", func(i *Issuer) { i.MaxLifetime = -1 })
	for _, iss := range []string{
		"https://login.microsoftonline.com/common/v2.0", "https://login.microsoftonline.com/organizations/v2.0", "https://sts.windows.net/",
		"https://sts.windows.net/" + tenant, "https://login.microsoftonline.com/" + tenant + "/v2.0/", "https://login.microsoftonline.com/{tenantid}/v2.0",
		"https://sts.windows.net/" + strings.ToUpper(tenant) + "/",
	} {
		one(second+"issuer: expected one Entra ID tenant", func(i *Issuer) { i.Issuer = iss })
	}
}

// Valid settings that are probably mistakes cause a warning.
func TestWarnings(t *testing.T) {
	f := func(want string, i Issuer) {
		t.Helper()
		var log bytes.Buffer
		i.Name = "op"
		if _, err := NewChain(ChainConfig{Issuers: []Issuer{i}, Log: slog.New(slog.NewTextHandler(&log, nil))}); err != nil {
			t.Error(err)
		}
		if got := log.String(); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%+v: warned %q, want %q", i, got, want)
		}
	}
	f("", Issuer{Keys: []jwk.Key{{Public: publicKey(newKey("k"))}}})
	keys := func(n int, kid func(int) string) (keys []jwk.Key) {
		for i := range n {
			keys = append(keys, jwk.Key{ID: kid(i), Public: publicKey(newKey(fmt.Sprint(i)))})
		}
		return keys
	}
	same := func(int) string { return "k" }
	unnamed := func(int) string { return "" }
	f("", Issuer{Keys: keys(maxKeys, same)})
	f("", Issuer{Keys: keys(maxKeys, unnamed)})
	f("with the same kid or none: the last ones are not used\" issuer=op unused=2 limit=4", Issuer{Keys: keys(maxKeys+2, same)})
	f("with the same kid or none: the last ones are not used\" issuer=op unused=1 limit=4", Issuer{Keys: keys(maxKeys+1, unnamed)})
	f("", Issuer{Keys: keys(maxKeySet, strconv.Itoa)})
	f("too many keys: the last ones are not used\" issuer=op unused=3 limit=64", Issuer{Keys: keys(maxKeySet+3, strconv.Itoa)})
	f("no audience", Issuer{Issuer: "https://op.example.org"})
	f("", Issuer{Issuer: "https://op.example.org", Audience: []string{"rs"}})
	f("principal-claims has no effect", Issuer{Issuer: "https://sts.windows.net/" + tenant + "/", Audience: []string{"rs"}, PrincipalClaims: []string{"email"}})
	f("DataHub's documentation", Issuer{Issuer: "x", Secrets: []Secret{must(NewSecret("", []byte(publishedSecret)))}, Algorithms: []string{"HS256"}})
}

func TestSecrets(t *testing.T) {
	f := func(want string, secret []byte) {
		t.Helper()
		_, err := NewSecret("", secret)
		if err == nil || !strings.Contains(err.Error(), want) || len(secret) > 8 && strings.Contains(err.Error(), string(secret)) {
			t.Errorf("%q: %v, want %q", secret, err, want)
		}
	}
	f("expected at least 32 bytes, got 0", nil)
	f("expected at least 32 bytes, got 31", []byte("0123456789abcdef0123456789abcde"))
	f("all bytes are the same", make([]byte, 64))
	f("all bytes are the same", bytes.Repeat([]byte("a"), 32))
	f("at most", bytes.Repeat([]byte("ab"), 1<<20))

	// The secret is never printed, and does not share memory with the slice it was made from.
	text := "s3cret-s3cret-s3cret-s3cret-s3cret"
	raw := []byte(text)
	secret, err := NewSecret("kid", raw)
	if err != nil {
		t.Fatal(err)
	}
	clear(raw)
	if string(secret.bytes) != text {
		t.Error("the secret is the caller's slice")
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "secret", secret, "in", Issuer{Secrets: []Secret{secret}})
	fmt.Fprintf(&log, "%v %+v %#v %s %x %q %d %v %+v", secret, secret, secret, secret, secret, secret, secret, &secret, Issuer{Secrets: []Secret{secret}})
	if strings.Contains(log.String(), "s3cret-") || strings.Contains(log.String(), fmt.Sprintf("%x", text)) || strings.Contains(log.String(), "115 51 99") {
		t.Errorf("printed: %s", log.String())
	}
}

// Expiry, leeway and lifetime are settings of each issuer.
func TestTimesPerIssuer(t *testing.T) {
	key := authtest.NewSigner("EdDSA", "")
	const hour = 3600
	yes := true
	f := func(i Issuer, claims map[string]any, want Reason) {
		t.Helper()
		i.Name, i.Keys = "op", []jwk.Key{{Public: key.Public()}}
		chain := newChain(t, ChainConfig{Issuers: []Issuer{i}})
		claims = with(map[string]any{"sub": "a"}, claims)
		if i.Issuer != "" {
			claims["iss"] = i.Issuer
		}
		if _, err := chain.Authenticate(t.Context(), key.Token(claims)); code(err) != want {
			t.Errorf("%+v, %v: %v, want %q", i, claims, err, want)
		}
	}
	type c = map[string]any
	f(Issuer{}, c{}, "")
	f(Issuer{RequireExpiry: &yes}, c{}, NoExpiry)
	f(Issuer{Issuer: "x"}, c{}, NoExpiry)
	f(Issuer{Issuer: "x", RequireExpiry: new(bool)}, c{}, "")
	f(Issuer{Issuer: "x", RequireExpiry: new(bool)}, c{"exp": null}, "")
	f(Issuer{Issuer: "x", RequireExpiry: new(bool)}, c{"nbf": null}, BadClaims)
	f(Issuer{Issuer: "x", RequireExpiry: &yes}, c{"exp": null}, BadClaims)
	f(Issuer{RequireExpiry: new(bool)}, c{"exp": null}, BadClaims)
	f(Issuer{Leeway: time.Minute}, c{"exp": noon - 59}, "")
	f(Issuer{Leeway: time.Minute}, c{"exp": noon - 60}, Expired)
	f(Issuer{MaxLifetime: time.Hour}, c{}, "")
	f(Issuer{MaxLifetime: time.Hour}, c{"iat": noon - 10, "exp": noon - 10 + hour}, "")
	f(Issuer{MaxLifetime: time.Hour}, c{"iat": noon - 10, "exp": noon - 9 + hour}, TooLongLived)
	f(Issuer{MaxLifetime: time.Hour}, c{"nbf": noon - 10, "exp": noon - 9 + hour}, TooLongLived)
	f(Issuer{MaxLifetime: time.Hour}, c{"exp": noon + hour}, "")
	f(Issuer{MaxLifetime: time.Hour}, c{"exp": noon + hour + 1}, TooLongLived)
	f(Issuer{MaxLifetime: time.Hour}, c{"iat": 0, "exp": noon + 1}, TooLongLived)
	f(Issuer{MaxLifetime: time.Hour}, c{"exp": 253402300799}, TooLongLived)
}

// Claims are found by exact name first, then by path.
func TestLookup(t *testing.T) {
	claims := map[string]any{
		"sub": "a", "a.b": "exact", "a": map[string]any{"b": "path", "c.d": "dots", "e": map[string]any{"f": "deep"}},
		"https://x.example/roles": "url", "https://y.example": map[string]any{"com": "half"},
		"client.with.dots": map[string]any{"roles": "dotted"}, "s": "string", "n": nil,
	}
	f := func(name, want string) {
		t.Helper()
		value, found, err := lookup(claims, name)
		got := fmt.Sprint(value)
		if err != nil {
			got = "error"
		} else if !found {
			got = "none"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	f("sub", "a")
	f("Sub", "none")
	f("a.b", "exact")
	f("a.c.d", "dots")
	f("a.e.f", "deep")
	f("a.e.g", "none")
	f("a.x", "none")
	f("a.e.f.g", "error")
	f("https://x.example/roles", "url")
	f("https://y.example.com", "half")
	f("client.with.dots.roles", "dotted")
	f("client.with", "none")
	f("s.x", "error")
	f("n.x", "error")
	f("n", "<nil>")
	f("", "none")
	f(".", "none")
	f("a.", "none")
	f(".a", "none")
	f("x"+strings.Repeat(".x", 120), "none")
}
