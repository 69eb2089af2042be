package configs_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/configs"
)

// accepting has these issuers and other members of "auth".
func accepting(issuers string, members ...string) string {
	return minimal(`"auth": {` + strings.Join(append(members, `"issuers": [`+issuers+`]`), ", ") + `}`)
}

const at = "config.json: auth.issuers[0]"

// sso is a configuration with an issuer with these additional members, which start with a comma.
func sso(members string) string {
	return accepting(`{"name": "sso", "issuer": "https://sso", "jwks-urls": ["https://sso/jwks"]` + members + `}`)
}

func TestRefusedIssuers(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }
	const known = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519, HS256, HS384, HS512"

	f(accepting(`5`), at+": expected an object; got a number")
	f(accepting(`{}`), at+`.name: missing: what to call this issuer in logs, such as "sso"`)
	f(accepting(`{"name": "a\nb"}`), at+".name: expected at most 64 bytes of printable text")
	f(accepting(`{"name": "a", "issuer": "x"}`), at+": no key: set one of discovery, public-key, public-key-file, jwks-urls, jwks-file, shared-secret")
	f(accepting(`{"name": "a", "issuer": "x", "publik-key": "k"}`), at+`.publik-key: unknown key; did you mean "public-key"?`,
		at+": no key: set one of discovery, public-key, public-key-file, jwks-urls, jwks-file, shared-secret")
	f(accepting(`{"name": "a"}, {"name": "b"}`),
		`config.json: auth.issuers[1].issuer: missing: only one entry may be for tokens without "iss", and auth.issuers[0] is`)
	f(accepting(`{"name": "a", "issuer": "x", "public-key": "k"}, {"name": "a", "issuer": "x", "public-key": "k"}`),
		`config.json: auth.issuers[1].name: "a" is already the name of auth.issuers[0]`,
		`config.json: auth.issuers[1].issuer: "x" is already the issuer of auth.issuers[0]`)
	f(accepting(`{"name": "a", "discovery": true, "audience": ["m"]}`), at+".discovery: needs issuer, the URL of the provider")
	f(accepting(`{"name": "a", "discovery": true, "audience": ["m"], "issuer": "open-metadata.org"}`),
		at+".issuer: expected an absolute URL such as https://sso.example.org/realms/hpc")
	f(accepting(`{"name": "a", "discovery": true, "audience": ["m"], "issuer": "http://sso.example.org"}`),
		at+".issuer: expected an https URL: others on the network could replace the keys")
	f(accepting(`{"name": "a", "issuer": "x", "jwks-urls": ["https://h/a", "http://h/b", "ftp://h", "https://u:hunter2@h", "/jwks"]}`),
		at+".jwks-urls[1]: expected an https URL: others on the network could replace the keys",
		at+".jwks-urls[2]: expected an absolute URL such as https://sso.example.org/realms/hpc",
		at+".jwks-urls[3]: expected a URL without user, password and fragment",
		at+".jwks-urls[4]: expected an absolute URL such as https://sso.example.org/realms/hpc")
	f(accepting(`{"name": "a", "issuer": "x", "jwks-urls": "https://h/a"}`), at+".jwks-urls: expected an array; got a string")
	f(sso(`, "key-id": "k"`), at+".key-id: needs public-key or public-key-file, whose key it names")
	f(accepting(`{"name": "a", "issuer": "x", "public-key": "k", "public-key-file": "f", "key-id": "k"}`),
		at+".key-id: names one key, but public-key and public-key-file are both set")
	f(accepting(`{"name": "a", "issuer": "x", "public-key": "azure-kv://vault"}`),
		at+`.public-key: expected "azure-kv://VAULT/NAME" or "azure-kv://VAULT/NAME/VERSION"`)

	f(sso(`, "algorithms": ["none"]`), at+`.algorithms[0]: expected one of `+known+`; got "none"`)
	f(sso(`, "algorithms": ["rs256"]`), at+`.algorithms[0]: expected one of `+known+`; got "rs256"`)
	f(sso(`, "algorithms": ["RS256", "RS256"]`), at+`.algorithms[1]: "RS256" is listed twice`)
	f(sso(`, "algorithms": ["HS256"]`), at+`.algorithms[0]: "HS256" needs a shared-secret`)
	f(sso(`, "default-roles": ["Admin"]`), at+`.default-roles[0]: expected one of admin, api, support, manager, user; got "Admin"`)
	f(sso(`, "role-map": {"a": "root", "b.c": {"clusters": ["x"]}, "d": 5, "": "user"}`),
		at+".role-map.d: expected an object; got a number",
		at+`.role-map[""]: is empty`,
		at+`.role-map.a: expected one of admin, api, support, manager, user; got "root"`,
		at+`.role-map["b.c"].role: missing: one of admin, api, support, manager, user`)
	f(sso(`, "role-map": {"a": {"role": "api", "cluster": ["x"]}}`), at+`.role-map.a.cluster: unknown key; did you mean "clusters"?`)
	f(sso(`, "role-map": {"a": {"role": "api", "clusters": ["alex", ""]}}, "clusters": ["fritz"]`),
		at+`.role-map.a.clusters[0]: "alex" is not among the clusters of the issuer`, at+`.role-map.a.clusters[1]: the name is empty`)
	f(sso(`, "clusters": ["a\u0000"]`), at+".clusters[0]: the name contains a control character")
	f(sso(`, "require-claims": {"typ": [], "": "x", "a": 5, "b": ["", 1]}`),
		at+".require-claims.a: expected an array; got a number", at+".require-claims.b[1]: expected a string; got a number",
		at+`.require-claims[""]: is empty`, at+".require-claims.b[0]: is empty",
		at+".require-claims.typ: missing: the value or the list of values that the claim must have")
	f(sso(`, "audience": [""], "authorized-parties": ["a\u200b"], "principal-claims": [""], "job-user-claim": "\n"`),
		at+".audience[0]: is empty", at+".authorized-parties[0]: expected at most 1024 bytes of printable text",
		at+".principal-claims[0]: is empty", at+".job-user-claim: expected at most 1024 bytes of printable text")
	f(sso(`, "leeway": "1h", "max-lifetime": "-1s", "require-expiry": "yes"`), at+`.max-lifetime: expected a duration of at least 0; got "-1s"`,
		at+".require-expiry: expected true or false; got a string", at+".leeway: expected at most 10m0s; got 1h0m0s")
	f(accepting(``, `"leeway": "20m"`, `"poll-interval": "1ms"`), "config.json: auth.poll-interval: expected at least 1s; got 1ms",
		"config.json: auth.leeway: expected at most 10m0s; got 20m0s")
	f(accepting(strings.Repeat(`{},`, 100)+`{}`), "config.json: auth.issuers: expected at most 100 issuers; got 101")
}

func TestRefusedSharedSecrets(t *testing.T) {
	const combined = at + ".shared-secret: cannot be combined with public keys: it would be ambiguous which key a token uses"
	f := func(members string, want ...string) {
		t.Helper()
		refused(t, accepting(`{"name": "a", "issuer": "x", "algorithms": ["HS256"], `+members+`}`), want...)
	}
	f(`"shared-secret": "env:S", "public-key": "k"`, combined)
	f(`"shared-secret": "env:S", "public-key-file": "k"`, combined)
	f(`"shared-secret": "env:S", "jwks-file": "k"`, combined)
	f(`"shared-secret": "env:S", "jwks-urls": ["https://h"]`, combined)
	f(`"shared-secret": "hunter2-hunter2-hunter2-hunter2"`, at+".shared-secret: expected at least 32 bytes")
	f(`"shared-secret": "base64:aHVudGVyMg=="`, at+".shared-secret: expected at least 32 bytes")
	f(`"shared-secret": "base64:hunter2!"`, at+`.shared-secret: expected standard base64 after "base64:"`)
	f(`"shared-secret": "env:"`, at+`.shared-secret: expected a name after "env:"`)
	f(`"shared-secret": "base64:file:"`, at+`.shared-secret: expected a name after "file:"`)
	f(`"shared-secret": 5`, at+".shared-secret: expected a string; got a number")

	const needs = " needs public keys, but this issuer has a shared-secret"
	refused(t, accepting(`{"name": "a", "issuer": "x", "shared-secret": "env:S"}`),
		at+".algorithms: missing: one or more of HS256, HS384, HS512")
	refused(t, accepting(`{"name": "a", "issuer": "x", "shared-secret": "env:S", "algorithms": ["HS256", "RS256"]}`), at+`.algorithms[1]: "RS256"`+needs)
	// jwt-public-key is a key of the entry without "issuer".
	refused(t, accepting(`{"name": "a", "shared-secret": "env:S", "algorithms": ["HS256"]}`), combined)
}

func TestRefusedAzureKV(t *testing.T) {
	const at = "config.json: auth.azure-kv"
	f := func(members string, want ...string) {
		t.Helper()
		refused(t, minimal(`"auth": {"azure-kv": {`+members+`}}`), want...)
	}
	f(`"client-id": "c"`, at+": set all of tenant-id, client-id and client-secret, or none")
	f(`"tenant-id": "t", "client-id": "c", "client-secret": "hunter2"`,
		at+`.client-secret: expected a reference, "env:NAME", "file:PATH" or "azure-kv://VAULT/NAME"; do not write a secret itself into the configuration`)
	f(`"tenant-id": "t", "client-id": "c", "client-secret": "azure-kv://vault/s"`, at+".client-secret: cannot be in the vault that it opens")
	f(`"authority-host": "http://login.example.org"`, at+".authority-host: expected an https URL: others on the network could replace the keys")
	f(`"name-prefix": "a/b"`, at+".name-prefix: expected letters, digits and hyphens")
}

func TestWarnedOfIssuers(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); loaded(t, text, want...) }

	f(accepting(`{"name": "a", "issuer": "https://h", "discovery": true}`),
		at+".audience: missing: tokens that this issuer issues for other services are accepted here too")
	f(accepting(`{"name": "a", "issuer": "x", "shared-secret": "`+strings.Repeat("k", 32)+`", "algorithms": ["HS256"]}`),
		at+".shared-secret: is written in the configuration: everyone who can read the file can create tokens; use a reference, "+
			`such as "env:NAME", "file:PATH" or "azure-kv://VAULT/NAME"`)
	f(accepting(`{"name": "a", "issuer": "http://127.0.0.1:8080/x", "discovery": true, "audience": ["m"]}`))
	f(accepting(`{"name": "a", "issuer": "x", "shared-secret": "base64:azure-kv://vault/key", "algorithms": ["HS512"]}`))
	f(accepting(`{"name": "cc-backend"}`)) // with jwt-public-key
	f(minimal(`"main": {"addr": ":1"}`, `"auth": {"issuers": [{"name": "cc-backend", "public-key-file": "keys/cc.pem"}]}`))
	f(minimal(`"main": {"addr": ":1", "jwt-public-key": "file:keys/cc.pub"}`))
	f(minimal(`"nats": {"address": "nats://h", "username": "u", "password": "azure-kv://vault/nats"}`))
}

func TestIssuers(t *testing.T) {
	t.Setenv("RS_REALM", "hpc")
	config := loaded(t, accepting(`{
		"name": "sso", "issuer": "https://sso.example.org/realms/${RS_REALM}", "discovery": true, "public-key": "file:k", "public-key-file": "f",
		"jwks-urls": ["https://sso.example.org/${RS_PATH:-jwks}"], "jwks-file": "j", "audience": ["m"], "authorized-parties": ["p"],
		"algorithms": ["RS256", "Ed25519"], "principal-claims": ["preferred_username", "sub"], "job-user-claim": "u", "projects-claims": ["groups"],
		"roles-claims": ["realm_access.roles"], "role-map": {"hpc admin": "admin", "bot": {"role": "api", "clusters": ["fritz"]}},
		"default-roles": ["user"], "require-claims": {"typ": "Bearer", "version": ["1", "2"]}, "clusters": ["fritz", "alex"],
		"require-expiry": false, "max-lifetime": "0s", "leeway": "0s"
	}, {"name": "om", "issuer": "om", "public-key": "k", "key-id": "1", "leeway": ""}`,
		`"leeway": "1m"`, `"max-lifetime": "2160h"`, `"revocation-file": "revoked.json"`, `"poll-interval": "1s"`,
		`"azure-kv": {"tenant-id": "t", "client-id": "c", "client-secret": "env:S", "authority-host": "https://l", "name-prefix": "p"}`))
	want := configs.Auth{
		Issuers: []configs.Issuer{
			{
				Name: "sso", Issuer: "https://sso.example.org/realms/hpc", Discovery: true, PublicKey: "file:k", PublicKeyFile: "f",
				JWKSURLs: []string{"https://sso.example.org/jwks"}, JWKSFile: "j", Audience: []string{"m"}, AuthorizedParties: []string{"p"},
				Algorithms: []string{"RS256", "Ed25519"}, PrincipalClaims: []string{"preferred_username", "sub"}, JobUserClaim: "u",
				ProjectsClaims: []string{"groups"}, RolesClaims: []string{"realm_access.roles"},
				RoleMap:      map[string]configs.Grant{"hpc admin": {Role: "admin"}, "bot": {Role: "api", Clusters: []string{"fritz"}}},
				DefaultRoles: []string{"user"}, RequireClaims: map[string]configs.Values{"typ": {"Bearer"}, "version": {"1", "2"}},
				Clusters: []string{"fritz", "alex"},
				Times:    configs.Times{RequireExpiry: new(false), MaxLifetime: new(time.Duration(0)), Leeway: new(time.Duration(0))},
			},
			{Name: "om", Issuer: "om", PublicKey: "k", KeyID: "1"},
		},
		Times:        configs.Times{MaxLifetime: new(2160 * time.Hour), Leeway: new(time.Minute)},
		PollInterval: time.Second, RevocationFile: "revoked.json",
		AzureKV: configs.AzureKV{TenantID: "t", ClientID: "c", ClientSecret: "env:S", AuthorityHost: "https://l", NamePrefix: "p"},
		Jobs:    configs.Jobs{Backend: configs.BackendJobs{PollInterval: 30 * time.Second}, MaxStaleness: 10 * time.Minute},
	}
	if !reflect.DeepEqual(config.Auth, want) {
		t.Errorf("\n got %+v\nwant %+v", config.Auth, want)
	}
}

// A rule of an entry overrides the rule of "auth", which overrides the default.
func TestTimesOf(t *testing.T) {
	type times struct {
		requireExpiry       bool
		maxLifetime, leeway time.Duration
	}
	f := func(common, entry configs.Times, iss string, want times) {
		t.Helper()
		var got times
		got.requireExpiry, got.maxLifetime, got.leeway = configs.Auth{Times: common}.TimesOf(configs.Issuer{Issuer: iss, Times: entry})
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	none := configs.Times{}
	strict := configs.Times{RequireExpiry: new(true), MaxLifetime: new(time.Hour), Leeway: new(time.Minute)}
	lax := configs.Times{RequireExpiry: new(false), MaxLifetime: new(time.Duration(0)), Leeway: new(time.Duration(0))}

	f(none, none, "", times{false, 0, configs.DefaultLeeway})
	f(none, none, "x", times{true, 0, configs.DefaultLeeway})
	f(strict, none, "", times{true, time.Hour, time.Minute})
	f(lax, none, "x", times{false, 0, 0})
	f(strict, lax, "x", times{false, 0, 0})
	f(lax, strict, "", times{true, time.Hour, time.Minute})
}

// The value of a variable stays inside its string. A missing variable is reported with the path.
func TestVariables(t *testing.T) {
	t.Setenv("RS_VALUE", `x", "disabled": true, "y": "`)
	t.Setenv("RS_HOURS", "12h")
	t.Setenv("RS_HOST", "127.0.0.1")
	config := loaded(t, minimal(`"auth": {"audit-log": "${RS_VALUE}"}`,
		`"main": {"addr": "${RS_HOST}:${RS_PORT:-8082}", "jwt-public-key": "`+key+`", "user": "$${HOME}"}`,
		`"metric-store": {"retention-in-memory": "${RS_HOURS}"}`, `"unknown": "${RS_UNSET}"`),
		"config.json: unknown: unknown section, ignored")
	if config.Auth.AuditLog != `x", "disabled": true, "y": "` || config.Auth.Disabled || config.Main.Addr != "127.0.0.1:8082" ||
		config.Main.User != "${HOME}" || config.MetricStore.RetentionInMemory != 12*time.Hour {
		t.Errorf("%+v", config)
	}
	const unset = `the environment variable "RS_UNSET" is not set, and no default is given`
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }
	f(minimal(`"main": {"addr": "${RS_UNSET}", "jwt-public-key": "${RS_UNSET}"}`),
		"config.json: main.addr: "+unset, "config.json: main.jwt-public-key: "+unset)
	f(minimal(`"auth": {"issuers": [{"name": "a", "issuer": "x", "jwks-urls": ["https://h", "${RS_UNSET}"]}]}`),
		at+".jwks-urls[1]: "+unset)
	f(minimal(`"metrics-file": "${RS_UNSET}/m.json"`), "config.json: metrics-file: "+unset)
	f(minimal(`"limits": {"hosts": "${RS_HOURS}"}`), "config.json: limits.hosts: expected a whole number; got a string")

	const emptied = "empty after expanding its variables: leave the key out if that is intended"
	t.Setenv("RS_EMPTY", "")
	f(sso(`, "role-map": {"${RS_UNSET}": "user"}`), at+`.role-map["${RS_UNSET}"]: the key: `+unset)
	f(sso(`, "role-map": {"12h": "user", "${RS_HOURS}": "admin"}`), at+`.role-map["${RS_HOURS}"]: duplicate key after expanding its variables`)
	f(sso(`, "role-map": {"${RS_EMPTY}": "user"}`), at+`.role-map[""]: is empty`)
	f(minimal(`"auth": {"issuers": [{"name": "a", "issuer": "${RS_EMPTY}"}]}`),
		at+".issuer: "+emptied)
	f(sso(`, "max-lifetime": "${RS_EMPTY}"`), at+".max-lifetime: "+emptied)
	f(minimal(`"auth": {"revocation-file": "${RS_EMPTY}", "max-lifetime": "${RS_UNSET:-}"}`),
		"config.json: auth.max-lifetime: "+emptied, "config.json: auth.revocation-file: "+emptied)
	config = loaded(t, sso(`, "role-map": {"${RS_HOURS}": "user"}, "require-claims": {"${RS_HOST}": "x"}`))
	if i := config.Auth.Issuers[0]; i.RoleMap["12h"].Role != "user" || len(i.RequireClaims["127.0.0.1"]) != 1 {
		t.Errorf("%+v", i)
	}
}

func TestVariableInSectionFile(t *testing.T) {
	inDirectory(t, "metrics.json", `{"cpu_load": {"frequency": 10, "aggregation": "${RS_AGGREGATION}"}}`)
	t.Setenv("RS_NAME", "metrics")
	t.Setenv("RS_AGGREGATION", "avg")
	text := "{" + mainSection + "," + storeSection + `, "metrics-file": "${RS_NAME}.json"}`
	if config := loaded(t, text); config.Metrics["cpu_load"].Aggregation != configs.AvgAggregation {
		t.Errorf("%+v", config.Metrics)
	}
}
