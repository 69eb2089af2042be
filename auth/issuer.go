package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ringstore/ringstore/auth/jwk"
)

const (
	defaultLeeway = 30 * time.Second
	maxLeeway     = 15 * time.Minute
	// maxNames is the maximum number of entries in one list of an Issuer.
	maxNames = 256
)

// Issuer configures an issuer whose tokens are accepted, and what their claims mean. For nil lists,
// the fields' comments give the default; [Issuer.PrincipalClaims] explains how claims are named.
type Issuer struct {
	// Name is the issuer's name in logs, in the audit and in Principal.Issuer.
	Name string
	// Issuer is the iss of its tokens, compared exactly. Empty: tokens without iss.
	Issuer string

	// Keys and Secrets are the initial keys, of one kind only. Without any, tokens get *Overloaded
	// until SetKeys or SetSecrets is called.
	Keys    []jwk.Key
	Secrets []Secret
	// Algorithms are the permitted ones. Nil: all those of its public keys. With Secrets, at least
	// one of HS256, HS384 and HS512 is required; without Secrets none is permitted.
	Algorithms []string
	// Refresh starts fetching the keys again, because a token names an unknown key, and reports
	// whether it did. Until Refreshed is called, or for 5 s, tokens whose kid was first seen before
	// that get *Overloaded. It is called at most once in 5 s, on a request's goroutine, and must
	// return at once. Nil: keys are not refreshed on request.
	Refresh func() bool

	// Audience lists the accepted audiences: aud must contain one of them. Nil: aud is not checked.
	Audience []string
	// AuthorizedParties lists the clients whose tokens are accepted: the first of azp, client_id
	// and appid that is present must be one of them. Nil: all clients.
	AuthorizedParties []string
	// RequireClaims maps claims to accepted values. Each claim must have one of its values, or be
	// an array with one.
	RequireClaims map[string][]string

	// PrincipalClaims lists claims; the first one that is present becomes the subject. Nil: sub. A
	// claim's name is taken literally first. If no member has that name, the part before a dot
	// names an object, and the rest a member of it ("realm_access.roles"); the longest object name
	// is tried first. An e-mail address that the issuer marks as unverified is skipped. Entra ID's
	// issuers ignore this list: the subject is tid, a slash and oid.
	PrincipalClaims []string
	// JobUserClaim names the claim with the cluster user whose jobs are the principal's own. Empty:
	// none, or sub for tokens without iss.
	JobUserClaim string
	// ProjectsClaims lists claims with arrays of the projects whose jobs a manager sees. Nil: none,
	// or projects for tokens without iss.
	ProjectsClaims []string
	// ResourcesClaim names the claim with the hosts that a principal may also query ([Resource]).
	// Empty: none.
	ResourcesClaim string
	// RolesClaims lists claims with arrays of roles (scope and scp: a string with spaces). Nil:
	// none, or roles for tokens without iss.
	RolesClaims []string
	// RoleMap maps values of RolesClaims to our roles. Nil: values equal to the names of our roles
	// are those roles.
	RoleMap map[string]MappedRole
	// PrincipalMap maps subjects to our roles, such as those of bots. A claim that a person may
	// choose, such as preferred_username or email, must not be one of PrincipalClaims then, unless
	// the subject is a service account or TrustIsBot is set.
	PrincipalMap map[string]MappedRole
	// TrustIsBot says that the issuer sets the claim isBot itself, and only for bots: people did not
	// choose these bots' names.
	TrustIsBot bool
	// DefaultRoles are granted to all its principals.
	DefaultRoles Roles
	// Clusters restricts all its principals to these clusters. Nil: no restriction.
	Clusters []string

	// RequireExpiry refuses tokens without exp. Nil: true, or false for tokens without iss. If it
	// is explicitly false and Issuer is set, "exp": null is accepted too, as OpenMetadata writes
	// it.
	RequireExpiry *bool
	// MaxLifetime is the maximum time from iat (or nbf, or now) to exp. Zero: no limit.
	MaxLifetime time.Duration
	// Leeway is the tolerance for exp, nbf and iat, for clocks that differ. Zero: 30 s; negative:
	// none.
	Leeway time.Duration
}

// MappedRole is one of our roles, optionally limited to some clusters.
type MappedRole struct {
	Role     Roles    // exactly one
	Clusters []string // nil: all clusters that the issuer's principals are not restricted from
}

// issuer is an Issuer with its defaults filled in, and its current keys.
type issuer struct {
	Issuer
	requireExpiry bool
	nullExpiry    bool     // "exp": null counts as absent
	tenant        string   // of Entra ID; empty for others
	ownRoles      bool     // without a RoleMap: role names are ours
	required      []string // the names of RequireClaims, sorted, so that the reported reason is deterministic
	keys          atomic.Pointer[keySet]
	refresh       *refresher
}

// compileIssuer checks the settings. Errors name the field as in the configuration.
func compileIssuer(c Issuer, log *slog.Logger) (*issuer, error) {
	i := &issuer{Issuer: c}
	i.setDefaults()
	for _, check := range []func() error{
		i.checkNames, i.checkAlgorithms, i.checkTimes, i.checkTenant, i.checkRoles,
	} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	keys, err := i.newKeySet(c.Keys, c.Secrets)
	if err != nil {
		return nil, err
	}
	i.keys.Store(keys)
	i.warnOfKeys(log)
	i.warnOfSettings(log)
	return i, nil
}

func (i *issuer) setDefaults() {
	withoutISS := i.Issuer.Issuer == ""
	i.requireExpiry = !withoutISS
	if i.RequireExpiry != nil {
		i.requireExpiry = *i.RequireExpiry
		i.nullExpiry = !i.requireExpiry && !withoutISS
	}
	if i.PrincipalClaims == nil {
		i.PrincipalClaims = []string{"sub"}
	}
	if withoutISS { // as cc-backend issues them
		if i.JobUserClaim == "" {
			i.JobUserClaim = "sub"
		}
		if i.ProjectsClaims == nil {
			i.ProjectsClaims = []string{"projects"}
		}
		if i.RolesClaims == nil {
			i.RolesClaims = []string{"roles"}
		}
	}
	i.ownRoles = i.RoleMap == nil
	i.required = slices.Sorted(maps.Keys(i.RequireClaims))
	if i.Leeway == 0 {
		i.Leeway = defaultLeeway
	}
	i.Leeway = max(i.Leeway, 0)
	i.refresh = newRefresher(i.Refresh)
	algs := make([]string, len(i.Algorithms))
	for n, alg := range i.Algorithms {
		algs[n] = algorithmName(alg)
	}
	i.Algorithms = algs
}

func (i *issuer) checkNames() error {
	if !IsName(i.Name) {
		return errors.New("name: expected printable text of 1 to 256 bytes")
	}
	if i.Issuer.Issuer != "" && !IsName(i.Issuer.Issuer) {
		return errors.New("issuer: expected printable text of at most 256 bytes")
	}
	lists := []struct {
		field string
		names []string
	}{
		{"audience", i.Audience},
		{"authorized-parties", i.AuthorizedParties},
		{"principal-claims", i.PrincipalClaims},
		{"projects-claims", i.ProjectsClaims},
		{"roles-claims", i.RolesClaims},
		{"clusters", i.Clusters},
	}
	for _, l := range lists {
		if err := checkList(l.names); err != nil {
			return fmt.Errorf("%s: %w", l.field, err)
		}
	}
	if len(i.PrincipalClaims) == 0 {
		return errors.New("principal-claims: empty: tokens would have no subject")
	}
	if i.JobUserClaim != "" && !IsName(i.JobUserClaim) {
		return errors.New("job-user-claim: not a claim name")
	}
	if i.ResourcesClaim != "" && !IsName(i.ResourcesClaim) {
		return errors.New("resources-claim: not a claim name")
	}
	for claim, values := range i.RequireClaims {
		if !IsName(claim) || len(values) == 0 {
			return fmt.Errorf("require-claims: %q: no values, or not a claim name", claim)
		}
		if err := checkList(values); err != nil {
			return fmt.Errorf("require-claims: %q: %w", claim, err)
		}
	}
	return nil
}

// checkList refuses an empty list, which could be mistaken for no restriction, and names that
// cannot match anything.
func checkList(names []string) error {
	if names != nil && len(names) == 0 {
		return errors.New("empty list: remove it or add an entry")
	}
	if len(names) > maxNames {
		return fmt.Errorf("expected at most %d entries, got %d", maxNames, len(names))
	}
	for n, name := range names {
		if !IsName(name) {
			return fmt.Errorf("%q is not printable text of at most %d bytes", name, maxName)
		}
		if slices.Contains(names[:n], name) {
			return fmt.Errorf("%q is listed twice", name)
		}
	}
	return nil
}

func (i *issuer) checkAlgorithms() error {
	shared := 0
	for n, name := range i.Algorithms {
		alg, ok := algorithms[name]
		if !ok {
			return fmt.Errorf("algorithms: %q is not a known signature algorithm", name)
		}
		if slices.Contains(i.Algorithms[:n], name) {
			return fmt.Errorf("algorithms: %q is listed twice", name)
		}
		if alg.minSecret > 0 {
			shared++
		}
	}
	switch {
	case shared > 0 && shared < len(i.Algorithms):
		return errors.New("algorithms: some are for shared secrets, some for public keys: an issuer uses one kind")
	case shared > 0 && len(i.Keys) > 0:
		return errors.New("algorithms: HMAC requires a shared-secret; public keys are never used as one")
	case shared == 0 && len(i.Secrets) > 0:
		return errors.New("algorithms: a shared-secret requires HS256, HS384 or HS512")
	}
	return nil
}

func (i *issuer) checkRoles() error {
	if err := errors.Join(i.checkMap("role-map", i.RoleMap), i.checkMap("principal-map", i.PrincipalMap)); err != nil {
		return err
	}
	if i.DefaultRoles >= 1<<len(roleNames) {
		return fmt.Errorf("default-roles: expected some of %s", strings.Join(roleNames[:], ", "))
	}
	return errors.Join(i.checkSubjectsInRoleMap(), i.checkPrincipalMap())
}

// checkMap checks the entries of a role map or principal map.
func (i *issuer) checkMap(field string, entries map[string]MappedRole) error {
	if len(entries) > maxNames {
		return fmt.Errorf("%s: expected at most %d entries, got %d", field, maxNames, len(entries))
	}
	for value, mapped := range entries {
		if value == "" || len(value) > maxName {
			return fmt.Errorf("%s: expected names of 1 to %d bytes, got %d: %.40q", field, maxName, len(value), value)
		}
		if names := mapped.Role.Names(); len(names) != 1 || mapped.Role >= 1<<len(roleNames) {
			return fmt.Errorf("%s: %q: expected one of %s, got %q", field, value, strings.Join(roleNames[:], ", "), strings.Join(names, ", "))
		}
		if err := checkList(mapped.Clusters); err != nil {
			return fmt.Errorf("%s: %q: clusters: %w", field, value, err)
		}
		for _, cluster := range mapped.Clusters {
			if i.Clusters != nil && !slices.Contains(i.Clusters, cluster) {
				return fmt.Errorf("%s: %q: clusters: %q is not one of the issuer's", field, value, cluster)
			}
		}
	}
	return nil
}

// checkSubjectsInRoleMap refuses entries of the role map that no role can have: subjects, which it
// mapped too up to version 0.9.0. Its error has the text to write instead.
func (i *issuer) checkSubjectsInRoleMap() error {
	subjects := make(map[string]MappedRole)
	for value, mapped := range i.RoleMap {
		tenant, object, _ := strings.Cut(value, "/")
		if len(i.RolesClaims) == 0 || strings.HasPrefix(value, serviceAccountPrefix) || isGUID(tenant) && isGUID(object) {
			subjects[value] = mapped
		}
	}
	if len(subjects) == 0 {
		return nil
	}
	what := "it maps roles only, and these are subjects"
	if len(i.RolesClaims) == 0 {
		what = "it maps values of roles-claims, of which there are none"
	}
	return fmt.Errorf(`role-map: %s; move them: "principal-map": %s`, what, mapText(subjects))
}

// mapText returns a role map or principal map as the configuration writes it.
func mapText(entries map[string]MappedRole) string {
	type entry struct {
		Role     string   `json:"role"`
		Clusters []string `json:"clusters,omitempty"`
	}
	written := make(map[string]any, len(entries))
	for value, mapped := range entries {
		written[value] = mapped.Role.String()
		if mapped.Clusters != nil {
			written[value] = entry{mapped.Role.String(), mapped.Clusters}
		}
	}
	text, err := json.Marshal(written)
	if err != nil { // impossible: strings only
		return err.Error()
	}
	return string(text)
}

// checkPrincipalMap refuses to map names that people may choose.
func (i *issuer) checkPrincipalMap() error {
	if i.tenant != "" || i.TrustIsBot {
		return nil
	}
	at := slices.IndexFunc(i.PrincipalClaims, isSelfChosen)
	if at < 0 {
		return nil
	}
	for _, subject := range slices.Sorted(maps.Keys(i.PrincipalMap)) {
		if !strings.HasPrefix(subject, serviceAccountPrefix) {
			return fmt.Errorf(`principal-map: %q: people may choose their %s, one of principal-claims: `+
				`use a claim that they cannot choose, such as sub, or set "trust-is-bot": true if the issuer sets isBot for bots only`,
				subject, i.PrincipalClaims[at])
		}
	}
	return nil
}

// MayName reports whether a subject of the issuer can be trusted to be who the configuration means:
// whether it can come from a claim that people do not choose themselves.
func (i Issuer) MayName(subject string) bool {
	c := &issuer{Issuer: i}
	c.setDefaults()
	return c.checkTenant() == nil && (c.tenant != "" || c.TrustIsBot || strings.HasPrefix(subject, serviceAccountPrefix) ||
		slices.ContainsFunc(c.PrincipalClaims, func(claim string) bool { return !isSelfChosen(claim) }))
}

func (i *issuer) checkTimes() error {
	if i.Leeway > maxLeeway {
		return fmt.Errorf("leeway: %s is more than %s", i.Leeway, maxLeeway)
	}
	if i.MaxLifetime < 0 {
		return errors.New("max-lifetime: negative")
	}
	return nil
}

func (i *issuer) checkTenant() (err error) {
	i.tenant, err = entraTenant(i.Issuer.Issuer)
	return err
}

// ErrNoFittingKey is the error for public keys none of which fits the issuer's algorithms.
var ErrNoFittingKey = errors.New("none of the keys fits one of the algorithms")

// newKeySet checks the keys against the issuer's algorithms.
func (i *issuer) newKeySet(public []jwk.Key, secrets []Secret) (*keySet, error) {
	set, err := newKeySet(public, secrets)
	if err != nil {
		return nil, err
	}
	if len(secrets) > 0 && !i.allows("HS256") && !i.allows("HS384") && !i.allows("HS512") {
		return nil, errors.New("a shared secret without HS256, HS384 or HS512 among the algorithms")
	}
	for _, name := range i.Algorithms {
		if need := algorithms[name].minSecret; need > 0 {
			for n, secret := range set.secrets {
				if len(secret.bytes) < need {
					return nil, fmt.Errorf("secret %d: %d bytes, %s requires at least %d", n+1, len(secret.bytes), name, need)
				}
			}
		}
	}
	if !set.empty() && !slices.ContainsFunc(set.public, i.uses) && len(set.secrets) == 0 {
		return nil, ErrNoFittingKey
	}
	return set, nil
}

func (i *issuer) uses(key jwk.Key) bool { return slices.ContainsFunc(key.Algorithms(), i.allows) }

// allows reports whether tokens may use the algorithm. HMAC must be configured explicitly.
func (i *issuer) allows(alg string) bool {
	if len(i.Algorithms) > 0 {
		return slices.Contains(i.Algorithms, alg)
	}
	known, ok := algorithms[alg]
	return ok && known.minSecret == 0
}

// warnOfKeys warns of keys that are published although they are private or secret, and of keys that
// are never used.
func (i *issuer) warnOfKeys(log *slog.Logger) {
	keys := i.keys.Load()
	if keys.excess > 0 {
		log.Warn("too many keys: the last ones are not used", "issuer", i.Name, "unused", keys.excess, "limit", maxKeySet)
	}
	if n := keys.untried(); n > 0 {
		log.Warn("too many keys for one algorithm with the same kid or none: the last ones are not used",
			"issuer", i.Name, "unused", n, "limit", maxKeys)
	}
	for n, key := range keys.public {
		if err := jwk.Check(key.Public); err != nil {
			log.Warn("weak key", "issuer", i.Name, "key", n+1, "reason", err.Error())
		}
	}
	if slices.ContainsFunc(keys.secrets, Secret.published) {
		log.Warn("weak key", "issuer", i.Name,
			"reason", "the signing key from DataHub's documentation: it is public, so anyone can sign tokens")
	}
}

// warnOfSettings warns of valid settings that are probably mistakes.
func (i *issuer) warnOfSettings(log *slog.Logger) {
	if i.tenant != "" && !slices.Equal(i.PrincipalClaims, []string{"sub"}) {
		log.Warn("principal-claims has no effect for Entra ID: the subject is tid/oid", "issuer", i.Name)
	}
	if isSelfChosen(i.JobUserClaim) {
		log.Warn("job-user-claim: a user who changes this claim at the issuer sees the jobs of another user; use one that people cannot change, such as uid",
			"issuer", i.Name, "claim", i.JobUserClaim)
	}
	if strings.HasPrefix(i.Issuer.Issuer, "https://") && i.Audience == nil {
		log.Warn("no audience: tokens issued for other services are accepted too", "issuer", i.Name)
	}
}
