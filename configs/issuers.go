package configs

import (
	"time"
)

// Issuer is one entry of "auth.issuers": whose tokens are accepted, and what they may do. Empty lists and strings mean
// what package auth documents for them.
type Issuer struct {
	// Name is what logs, metrics and principals call the issuer. Required, unique.
	Name string `json:"name"`
	// Issuer is the exact "iss" of its tokens. One entry may have none: it is for tokens without "iss", and
	// main.jwt-public-key is among its keys.
	Issuer string `json:"issuer"`

	// Discovery finds the keys by OpenID Connect Discovery at Issuer, which then is an https URL (or one on loopback).
	Discovery bool `json:"discovery"`
	// PublicKey is a key as PEM, base64 or JWK, or a [Reference] to one.
	PublicKey string `json:"public-key"`
	// PublicKeyFile is a file with a key (PEM, DER, base64 or JWK), read again when it changes.
	PublicKeyFile string `json:"public-key-file"`
	// KeyID is the "kid" of PublicKey and PublicKeyFile; empty: they have none.
	KeyID string `json:"key-id"`
	// JWKSURLs are https URLs (or such on loopback) of JWK sets (RFC 7517), JWKSFile is a file with one.
	JWKSURLs []string `json:"jwks-urls"`
	JWKSFile string   `json:"jwks-file"`
	// SharedSecret is the key of HS256, HS384 and HS512, or a [Reference] to it, as the bytes are; with "base64:" in
	// front of either it is decoded. At least 32 bytes. It excludes every other kind of key.
	SharedSecret Secret `json:"shared-secret"`
	// Algorithms are the accepted "alg"; empty: all that fit the keys. Required with SharedSecret.
	Algorithms []string `json:"algorithms"`

	Audience          []string          `json:"audience"`           // one of these in "aud"; empty: "aud" is not checked
	AuthorizedParties []string          `json:"authorized-parties"` // one of these as "azp" or "client_id"; empty: not checked
	RequireClaims     map[string]Values `json:"require-claims"`     // by claim: one of these

	PrincipalClaims []string         `json:"principal-claims"` // the first that a token has names its principal
	JobUserClaim    string           `json:"job-user-claim"`   // the cluster user
	ProjectsClaims  []string         `json:"projects-claims"`
	ResourcesClaim  string           `json:"resources-claim"` // hosts and times that the token itself lets see; empty: none
	RolesClaims     []string         `json:"roles-claims"`
	RoleMap         map[string]Grant `json:"role-map"`      // by value of a roles claim, or by principal
	DefaultRoles    []string         `json:"default-roles"` // of all its tokens, beside what their claims give
	Clusters        []string         `json:"clusters"`      // empty: all

	Times
}

// Times are the rules about a token's times, of one issuer or of all; see [Auth.TimesOf]. nil: not set here.
type Times struct {
	RequireExpiry *bool          `json:"require-expiry"` // refuses tokens without "exp"
	MaxLifetime   *time.Duration `json:"max-lifetime"`   // the longest time from "iat" to "exp"; 0: any
	Leeway        *time.Duration `json:"leeway"`         // for clocks that differ
}

// DefaultLeeway is for clocks that differ.
const DefaultLeeway = 30 * time.Second

// Values is a list of strings; in the file it may be a single one.
type Values []string

// Grant is a value of "role-map": a role, and the clusters that it is restricted to. In the file it may be the role
// alone.
type Grant struct {
	Role     string   `json:"role"`     // admin, api, support, manager or user
	Clusters []string `json:"clusters"` // empty: all that the issuer has
}

// AzureKV is "auth.azure-kv": how references to Azure Key Vault are followed. Without it that is as the environment
// says, by DefaultAzureCredential.
type AzureKV struct {
	// TenantID, ClientID and ClientSecret log in as an application; all three are set or none. ClientSecret is a
	// [Reference] to a file or an environment variable.
	TenantID     string `json:"tenant-id"`
	ClientID     string `json:"client-id"`
	ClientSecret string `json:"client-secret"`
	// AuthorityHost is the https URL of the identity service; empty: the public cloud's.
	AuthorityHost string `json:"authority-host"`
	// NamePrefix stands, with a hyphen, in front of every secret's name; empty: nothing.
	NamePrefix string `json:"name-prefix"`
}

// TimesOf are the rules for an issuer's tokens: its own, or else those beside "issuers", or else the defaults: tokens
// with "iss" must expire, any lifetime will do, [DefaultLeeway].
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
