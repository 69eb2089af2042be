package configs

import "time"

// Issuer is an entry of "auth.issuers": an issuer whose tokens are accepted, and what these permit.
// Package auth documents the meaning of empty lists and strings.
type Issuer struct {
	// Name is the issuer's name in logs, metrics and principals. Required, unique.
	Name string `json:"name"`
	// Issuer is the exact "iss" of its tokens. It may be empty in one entry: this entry is for
	// tokens without "iss", and main.jwt-public-key is one of its keys.
	Issuer string `json:"issuer"`

	// Discovery finds the keys by OpenID Connect Discovery at Issuer, which must be an https URL
	// (or http on loopback).
	Discovery bool `json:"discovery"`
	// PublicKey is a key as PEM, base64 or JWK, or a [Reference] to one.
	PublicKey string `json:"public-key"`
	// PublicKeyFile is a file with a key (PEM, DER, base64 or JWK). It is read again when it
	// changes.
	PublicKeyFile string `json:"public-key-file"`
	// KeyID is the "kid" of the key in PublicKey or PublicKeyFile; empty: the key has none.
	KeyID string `json:"key-id"`
	// JWKSURLs are https URLs (or http on loopback) of JWK sets (RFC 7517), JWKSFile is a file with
	// a JWK set.
	JWKSURLs []string `json:"jwks-urls"`
	JWKSFile string   `json:"jwks-file"`
	// SharedSecret is the key of HS256, HS384 and HS512, or a [Reference] to it. Either may follow
	// "base64:" if the key is in base64. At least 32 bytes. It cannot be combined with another kind
	// of key.
	SharedSecret Secret `json:"shared-secret"`
	// Algorithms are the accepted values of "alg"; empty: all that fit the keys. Required with
	// SharedSecret.
	Algorithms []string `json:"algorithms"`

	Audience          []string          `json:"audience"`           // "aud" must contain one of these; empty: not checked
	AuthorizedParties []string          `json:"authorized-parties"` // "azp" or "client_id" must be one of these; empty: not checked
	RequireClaims     map[string]Values `json:"require-claims"`     // by claim: one of these values

	PrincipalClaims []string         `json:"principal-claims"` // the first one in a token is its principal
	JobUserClaim    string           `json:"job-user-claim"`   // the user on the cluster
	ProjectsClaims  []string         `json:"projects-claims"`
	ResourcesClaim  string           `json:"resources-claim"` // hosts and times that the token makes visible; empty: none
	RolesClaims     []string         `json:"roles-claims"`
	RoleMap         map[string]Grant `json:"role-map"`      // by value of a roles claim
	PrincipalMap    map[string]Grant `json:"principal-map"` // by principal, whose name nobody may choose
	TrustIsBot      bool             `json:"trust-is-bot"`  // the issuer sets "isBot" for bots only
	DefaultRoles    []string         `json:"default-roles"` // of all tokens, in addition to those of their claims
	Clusters        []string         `json:"clusters"`      // empty: all

	Times
}

// Times are rules for the times of tokens, of one issuer or of all; see [Auth.TimesOf]. nil: not
// set here.
type Times struct {
	RequireExpiry *bool          `json:"require-expiry"` // refuse tokens without "exp"
	MaxLifetime   *time.Duration `json:"max-lifetime"`   // maximum time from "iat" to "exp"; 0: no limit
	Leeway        *time.Duration `json:"leeway"`         // maximum difference of clocks
}

// DefaultLeeway is the default of [Times.Leeway].
const DefaultLeeway = 30 * time.Second

// Values is a list of strings. In the file it may also be a single string.
type Values []string

// Grant is a value of "role-map" and "principal-map": a role, and the clusters that it is restricted to. In the file it
// may also be a role as a string.
type Grant struct {
	Role     string   `json:"role"`     // admin, api, support, manager or user
	Clusters []string `json:"clusters"` // empty: all clusters of the issuer
}

// AzureKV is "auth.azure-kv": how to log in at Azure Key Vault. The zero value uses
// DefaultAzureCredential, which reads the environment.
type AzureKV struct {
	// TenantID, ClientID and ClientSecret are the login of an application; either all are set or
	// none. ClientSecret is a [Reference] to a file or an environment variable.
	TenantID     string `json:"tenant-id"`
	ClientID     string `json:"client-id"`
	ClientSecret string `json:"client-secret"`
	// AuthorityHost is the https URL of the identity service; empty: that of the public cloud.
	AuthorityHost string `json:"authority-host"`
	// NamePrefix and a hyphen are put before the name of every secret; empty: nothing.
	NamePrefix string `json:"name-prefix"`
}

// TimesOf returns the rules for an issuer's tokens: its own, or else those of section "auth", or
// else the defaults: tokens with "iss" must expire, no maximum lifetime, [DefaultLeeway].
func (a Auth) TimesOf(i Issuer) (requireExpiry bool, maxLifetime, leeway time.Duration) {
	requireExpiry, leeway = i.Issuer != "", DefaultLeeway
	for _, t := range []Times{a.Times, i.Times} {
		if t.RequireExpiry != nil {
			requireExpiry = *t.RequireExpiry
		}
		if t.MaxLifetime != nil {
			maxLifetime = *t.MaxLifetime
		}
		if t.Leeway != nil {
			leeway = *t.Leeway
		}
	}
	return requireExpiry, maxLifetime, leeway
}
