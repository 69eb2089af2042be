package configs

import (
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ringstore/ringstore/configs/secureurl"
)

// The roles of package auth and the algorithms of RFC 7518, section 3.1, RFC 8037 and RFC 9864.
var (
	roles            = []string{"admin", "api", "support", "manager", "user"}
	publicAlgorithms = []string{
		"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
	}
	secretAlgorithms = []string{"HS256", "HS384", "HS512"}
)

const (
	maxIssuers = 100
	// minSecret is the minimum for HS256 in bytes (RFC 7518, section 3.2).
	minSecret = 32
	// maxLeeway is far more than clocks differ.
	maxLeeway = 10 * time.Minute
)

func (c checker) issuers() {
	const path = "auth.issuers"
	a := c.config.Auth
	if a.PollInterval < time.Second {
		c.fail("auth.poll-interval", "expected at least 1s; got %s", a.PollInterval)
	}
	c.times("auth", a.Times)
	c.notEmptied("auth.revocation-file")
	c.azureKV("auth.azure-kv", a.AzureKV)
	if len(a.Issuers) > maxIssuers {
		c.fail(path, "expected at most %d issuers; got %d", maxIssuers, len(a.Issuers))
		return
	}
	names, issuers := map[string]string{}, map[string]string{}
	for i, issuer := range a.Issuers {
		at := joinIndex(path, i)
		c.issuer(at, issuer)
		if earlier, twice := names[issuer.Name]; twice && issuer.Name != "" {
			c.fail(at+".name", "%s is already the name of %s", quote(issuer.Name), earlier)
		}
		switch earlier, twice := issuers[issuer.Issuer]; {
		case twice && issuer.Issuer == "":
			c.fail(at+".issuer", "missing: only one entry may be for tokens without \"iss\", and %s is", earlier)
		case twice:
			c.fail(at+".issuer", "%s is already the issuer of %s", quote(issuer.Issuer), earlier)
		}
		names[issuer.Name], issuers[issuer.Issuer] = at, at
	}
}

func (c checker) issuer(at string, i Issuer) {
	switch {
	case i.Name == "":
		c.fail(at+".name", `missing: what to call this issuer in logs, such as "sso"`)
	case len(i.Name) > 64 || strings.ContainsFunc(i.Name, notPrintable):
		c.fail(at+".name", "expected at most 64 bytes of printable text")
	}
	c.claimText(at+".issuer", i.Issuer)
	c.notEmptied(at + ".issuer")
	c.keys(at, i)
	c.algorithms(at, i)
	c.texts(at+".audience", i.Audience)
	c.texts(at+".authorized-parties", i.AuthorizedParties)
	c.claims(at, i)
	c.grants(at, i)
	c.times(at, i.Times)
	if i.Discovery && len(i.Audience) == 0 {
		c.warn(at+".audience", "missing: tokens that this issuer issues for other services are accepted here too")
	}
}

// notEmptied refuses a restriction that would not apply because its variable is set but empty.
func (c checker) notEmptied(path string) {
	if c.found.emptied[path] {
		c.fail(path, "empty after expanding its variables: leave the key out if that is intended")
	}
}

// keyMembers are the members that set an issuer's keys.
var keyMembers = []string{"discovery", "public-key", "public-key-file", "jwks-urls", "jwks-file", "shared-secret"}

// anySkipped reports whether a member of an object is wrong already.
func (c checker) anySkipped(at string, members []string) bool {
	return slices.ContainsFunc(members, func(m string) bool { return c.found.skips(at + "." + m) })
}

func (c checker) keys(at string, i Issuer) {
	public := i.PublicKey != "" || i.PublicKeyFile != "" || len(i.JWKSURLs) > 0 || i.JWKSFile != "" || i.Discovery
	joined := i.Issuer == "" && c.config.Main.JWTPublicKey != ""
	switch {
	case i.SharedSecret != "" && (public || joined):
		c.fail(at+".shared-secret", "cannot be combined with public keys: it would be ambiguous which key a token uses")
	case i.SharedSecret == "" && !public && !joined && !c.anySkipped(at, keyMembers):
		c.fail(at, "no key: set one of %s", strings.Join(keyMembers, ", "))
	}
	if i.Discovery && i.Issuer == "" {
		c.fail(at+".discovery", "needs issuer, the URL of the provider")
	} else if i.Discovery {
		c.secureURL(at+".issuer", i.Issuer)
	}
	if i.KeyID != "" && i.PublicKey == "" && i.PublicKeyFile == "" {
		c.fail(at+".key-id", "needs public-key or public-key-file, whose key it names")
	}
	c.claimText(at+".key-id", i.KeyID)
	if i.PublicKey != "" && i.PublicKeyFile != "" && i.KeyID != "" {
		c.fail(at+".key-id", "names one key, but public-key and public-key-file are both set")
	}
	c.valueOrReference(at+".public-key", i.PublicKey)
	for n, text := range i.JWKSURLs {
		c.secureURL(joinIndex(at+".jwks-urls", n), text)
	}
	c.sharedSecret(at+".shared-secret", string(i.SharedSecret))
}

func (c checker) sharedSecret(path, text string) {
	if text == "" {
		return
	}
	text, encoded := strings.CutPrefix(text, "base64:")
	if !c.valueOrReference(path, text) {
		return
	}
	raw := []byte(text)
	if encoded {
		var err error
		if raw, err = base64.StdEncoding.DecodeString(text); err != nil {
			c.fail(path, "expected standard base64 after \"base64:\"")
		}
	}
	if len(raw) < minSecret {
		c.fail(path, "expected at least %d bytes", minSecret)
	}
	c.warn(path, "is written in the configuration: everyone who can read the file can create tokens; use a reference, "+
		"such as "+referenceForms)
}

func (c checker) algorithms(entry string, i Issuer) {
	path := entry + ".algorithms"
	if i.SharedSecret != "" && len(i.Algorithms) == 0 {
		c.fail(path, "missing: one or more of %s", strings.Join(secretAlgorithms, ", "))
	}
	for n, name := range i.Algorithms {
		at := joinIndex(path, n)
		secret := slices.Contains(secretAlgorithms, name)
		switch {
		case !secret && !slices.Contains(publicAlgorithms, name):
			c.fail(at, "expected one of %s; got %s", strings.Join(slices.Concat(publicAlgorithms, secretAlgorithms), ", "), quote(name))
		case secret && i.SharedSecret == "" && !c.found.skips(entry+".shared-secret"):
			c.fail(at, "%s needs a shared-secret", quote(name))
		case !secret && i.SharedSecret != "":
			c.fail(at, "%s needs public keys, but this issuer has a shared-secret", quote(name))
		case slices.Index(i.Algorithms, name) < n:
			c.fail(at, "%s is listed twice", quote(name))
		}
	}
}

func (c checker) claims(at string, i Issuer) {
	c.texts(at+".principal-claims", i.PrincipalClaims)
	c.texts(at+".projects-claims", i.ProjectsClaims)
	c.texts(at+".roles-claims", i.RolesClaims)
	c.claimText(at+".job-user-claim", i.JobUserClaim)
	c.claimText(at+".resources-claim", i.ResourcesClaim)
	for _, claim := range slices.Sorted(maps.Keys(i.RequireClaims)) {
		path := joinKey(at+".require-claims", claim)
		c.text(path, claim)
		if len(i.RequireClaims[claim]) == 0 {
			c.fail(path, "missing: the value or the list of values that the claim must have")
		}
		c.texts(path, i.RequireClaims[claim])
	}
}

func (c checker) grants(at string, i Issuer) {
	for n, role := range i.DefaultRoles {
		c.role(joinIndex(at+".default-roles", n), role)
	}
	c.grantMap(at+".role-map", i.RoleMap, i.Clusters)
	c.grantMap(at+".principal-map", i.PrincipalMap, i.Clusters)
	c.clusters(at+".clusters", i.Clusters, nil)
}

func (c checker) grantMap(at string, grants map[string]Grant, clusters []string) {
	for _, value := range slices.Sorted(maps.Keys(grants)) {
		path, grant := joinKey(at, value), grants[value]
		c.text(path, value)
		if grant.Role == "" {
			c.fail(path+".role", "missing: one of %s", strings.Join(roles, ", "))
		} else {
			c.role(path, grant.Role)
		}
		c.clusters(path+".clusters", grant.Clusters, clusters)
	}
}

func (c checker) role(path, role string) {
	if !slices.Contains(roles, role) {
		c.fail(path, "expected one of %s; got %s", strings.Join(roles, ", "), quote(role))
	}
}

// clusters checks a list of clusters. If within is not empty, they must be in it.
func (c checker) clusters(path string, list, within []string) {
	for n, name := range list {
		at := joinIndex(path, n)
		c.name(at, "the name", name)
		switch {
		case name == "":
			c.fail(at, "the name is empty")
		case len(within) > 0 && !slices.Contains(within, name):
			c.fail(at, "%s is not among the clusters of the issuer", quote(name))
		}
	}
}

func (c checker) times(at string, t Times) {
	c.notEmptied(at + ".max-lifetime")
	if t.Leeway != nil && *t.Leeway > maxLeeway {
		c.fail(at+".leeway", "expected at most %s; got %s", maxLeeway, *t.Leeway)
	}
}

// texts checks a list of texts that are compared with claims of a token.
func (c checker) texts(path string, list []string) {
	for n, text := range list {
		c.text(joinIndex(path, n), text)
	}
}

func (c checker) text(path, text string) {
	if text == "" {
		c.fail(path, "is empty")
	}
	c.claimText(path, text)
}

// claimText refuses a text that cannot equal any accepted claim.
func (c checker) claimText(path, text string) {
	if len(text) > 1024 || strings.ContainsFunc(text, notPrintable) {
		c.fail(path, "expected at most 1024 bytes of printable text")
	}
}

// secureURL checks a URL that keys are read from.
func (c checker) secureURL(path, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		c.fail(path, "expected an absolute URL such as https://sso.example.org/realms/hpc")
	case !secureurl.IsSecure(u):
		c.fail(path, "expected an https URL: others on the network could replace the keys")
	case u.User != nil || u.Fragment != "":
		c.fail(path, "expected a URL without user, password and fragment")
	}
}

func (c checker) azureKV(at string, a AzureKV) {
	given := 0
	for _, text := range []string{a.TenantID, a.ClientID, a.ClientSecret} {
		if text != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		c.fail(at, "set all of tenant-id, client-id and client-secret, or none")
	}
	c.reference(at+".client-secret", a.ClientSecret, "a secret")
	if ref, _, _ := ParseReference(a.ClientSecret); ref.Store == StoreAzureKV {
		c.fail(at+".client-secret", "cannot be in the vault that it opens")
	}
	if a.AuthorityHost != "" {
		c.secureURL(at+".authority-host", a.AuthorityHost)
	}
	if a.NamePrefix != "" && !azureName(a.NamePrefix, 64) {
		c.fail(at+".name-prefix", "expected letters, digits and hyphens")
	}
}
