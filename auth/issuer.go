package auth

import (
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
	// maxNames is the most audiences, claims or roles that one member of an Issuer may list.
	maxNames = 256
)

// Issuer configures whose tokens are believed, and what their claims mean here. Nil lists mean the default that
// their comment tells; for claims, see [Issuer.PrincipalClaims] on how they are named.
type Issuer struct {
	// Name is the issuer's name in logs, in the audit and in Principal.Issuer.
	Name string
	// Issuer is the iss of its tokens, compared exactly. Empty: the tokens without iss.
	Issuer string

	// Keys and Secrets are what it signs with at first, one kind only. Without any, tokens are answered with
	// *Overloaded until SetKeys or SetSecrets brings some.
	Keys    []jwk.Key
	Secrets []Secret
	// Algorithms are those that its tokens may use. Nil: all that are for its public keys. With Secrets one of
	// HS256, HS384 and HS512 must be listed, and without Secrets none may be.
	Algorithms []string
	// Refresh asks for the keys to be fetched anew, because a token came whose key is not there, and reports whether
	// that is being done; tokens of a kid that was seen first before that are answered with *Overloaded until Refreshed
	// is called, or for 5 s. It is called at most once in 5 s, on a request's goroutine, and must return at once. Nil: the
	// keys are what they are.
	Refresh func() bool

	// Audience lists whom tokens are for: aud must have one of them. Nil: aud is not looked at.
	Audience []string
	// AuthorizedParties lists the clients that tokens may have been given to: azp, or where there is none client_id,
	// or appid, must be one of them. Nil: anyone.
	AuthorizedParties []string
	// RequireClaims lists for claims the values of which each must have one; an array must contain one.
	RequireClaims map[string][]string

	// PrincipalClaims name the claims of which the first that is there is the subject. Nil: sub. A claim is named
	// exactly; where there is no member of that name, what precedes a dot names an object and what follows a member
	// of it ("realm_access.roles"), the longest such object first. An e-mail that the issuer calls unverified is
	// passed over. For Entra ID's issuers it has no effect: the subject is tid, a slash and oid.
	PrincipalClaims []string
	// JobUserClaim names the claim with the cluster user whose jobs are the principal's own. Empty: nobody's, or sub
	// for tokens without iss.
	JobUserClaim string
	// ProjectsClaims name arrays of the projects that a manager sees. Nil: none, or projects for tokens without iss.
	ProjectsClaims []string
	// ResourcesClaim names the claim with what a principal may query besides its jobs ([Resource]). Empty: no token may
	// say so.
	ResourcesClaim string
	// RolesClaims name arrays of roles (or scope or scp, a string with spaces). Nil: none, or roles for tokens without iss.
	RolesClaims []string
	// RoleMap says what the values of RolesClaims are here. It also maps the subject itself, unless a person may have
	// chosen that: a preferred_username, e-mail or the like that is not a service account's. Nil: values that are
	// named as our roles are those.
	RoleMap map[string]MappedRole
	// DefaultRoles are everybody's.
	DefaultRoles Roles
	// Clusters are those that all its principals are restricted to. Nil: no restriction.
	Clusters []string

	// RequireExpiry refuses tokens without exp. Nil: true, or false for tokens without iss. With an explicit false,
	// an issuer that is named by iss may also write "exp": null, as OpenMetadata does.
	RequireExpiry *bool
	// MaxLifetime is the longest time from iat (nbf, or now) to exp that is accepted. Zero: any.
	MaxLifetime time.Duration
	// Leeway is granted on exp, nbf and iat for clocks that differ. Zero means 30 s, a negative one means none.
	Leeway time.Duration
}

// MappedRole is one of our roles, perhaps on some clusters only.
type MappedRole struct {
	Role     Roles    // exactly one
	Clusters []string // nil: wherever the issuer's principals may be
}

// issuer is an Issuer with its defaults filled in, and the keys that it has now.
type issuer struct {
	Issuer
	requireExpiry bool
	nullExpiry    bool     // "exp": null means none
	tenant        string   // of Entra ID; empty for others
	ownRoles      bool     // roles are named as ours, there being no map
	required      []string // the names of RequireClaims, sorted, so that of two reasons the same is given
	keys          atomic.Pointer[keySet]
	refresh       *refresher
}

// compileIssuer checks the settings; an error names the member as the configuration does.
func compileIssuer(c Issuer, log *slog.Logger) (*issuer, error) {
	i := &issuer{Issuer: c}
	i.fillIn()
	for _, check := range []func() error{
		i.checkNames, i.checkAlgorithms, i.checkRoles, i.checkTimes, i.checkTenant,
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

func (i *issuer) fillIn() {
	nameless := i.Issuer.Issuer == ""
	i.requireExpiry = !nameless
	if i.RequireExpiry != nil {
		i.requireExpiry = *i.RequireExpiry
		i.nullExpiry = !i.requireExpiry && !nameless
	}
	if i.PrincipalClaims == nil {
		i.PrincipalClaims = []string{"sub"}
	}
	if nameless { // as cc-backend issues them
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
		return errors.New("name: missing, or not printable text of at most 256 bytes")
	}
	if i.Issuer.Issuer != "" && !IsName(i.Issuer.Issuer) {
		return errors.New("issuer: not printable text of at most 256 bytes")
	}
	lists := []struct {
		member string
		names  []string
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
			return fmt.Errorf("%s: %w", l.member, err)
		}
	}
	if len(i.PrincipalClaims) == 0 {
		return errors.New("principal-claims: empty: nobody would be anybody")
	}
	if i.JobUserClaim != "" && !IsName(i.JobUserClaim) {
		return errors.New("job-user-claim: not a claim's name")
	}
	if i.ResourcesClaim != "" && !IsName(i.ResourcesClaim) {
		return errors.New("resources-claim: not a claim's name")
	}
	for claim, values := range i.RequireClaims {
		if !IsName(claim) || len(values) == 0 {
			return fmt.Errorf("require-claims: %q: no value, or not a claim's name", claim)
		}
		if err := checkList(values); err != nil {
			return fmt.Errorf("require-claims: %q: %w", claim, err)
		}
	}
	return nil
}

// checkList refuses an empty list, which would be easily taken for no restriction, and names that nothing can match.
func checkList(names []string) error {
	if names != nil && len(names) == 0 {
		return errors.New("an empty list: leave it out, or list something")
	}
	if len(names) > maxNames {
		return fmt.Errorf("%d of them, more than %d", len(names), maxNames)
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
			return fmt.Errorf("algorithms: %q is not a signature algorithm that is known here", name)
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
		return errors.New("algorithms: both for a shared secret and for public keys: an issuer signs with one kind")
	case shared > 0 && len(i.Keys) > 0:
		return errors.New("algorithms: an HMAC is for a shared-secret: no public key is ever used as one")
	case shared == 0 && len(i.Secrets) > 0:
		return errors.New("algorithms: must list HS256, HS384 or HS512 where there is a shared-secret")
	}
	return nil
}

func (i *issuer) checkRoles() error {
	if len(i.RoleMap) > maxNames {
		return fmt.Errorf("role-map: %d values, more than %d", len(i.RoleMap), maxNames)
	}
	for value, mapped := range i.RoleMap {
		if value == "" || len(value) > maxName {
			return fmt.Errorf("role-map: %q: not 1 to %d bytes", value, maxName)
		}
		if names := mapped.Role.Names(); len(names) != 1 || mapped.Role >= 1<<len(roleNames) {
			return fmt.Errorf("role-map: %q: not one of %s", value, strings.Join(roleNames[:], ", "))
		}
		if err := checkList(mapped.Clusters); err != nil {
			return fmt.Errorf("role-map: %q: clusters: %w", value, err)
		}
		for _, cluster := range mapped.Clusters {
			if i.Clusters != nil && !slices.Contains(i.Clusters, cluster) {
				return fmt.Errorf("role-map: %q: clusters: %q is not one of the issuer's", value, cluster)
			}
		}
	}
	if i.DefaultRoles >= 1<<len(roleNames) {
		return fmt.Errorf("default-roles: not of %s", strings.Join(roleNames[:], ", "))
	}
	return nil
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

// newKeySet checks that each key is of use with the issuer's algorithms.
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
					return nil, fmt.Errorf("secret %d: %d bytes, %s wants at least %d", n+1, len(secret.bytes), name, need)
				}
			}
		}
	}
	if !set.empty() && !slices.ContainsFunc(set.public, i.uses) && len(set.secrets) == 0 {
		return nil, errors.New("none of the keys is for one of the algorithms")
	}
	return set, nil
}

func (i *issuer) uses(key jwk.Key) bool { return slices.ContainsFunc(key.Algorithms(), i.allows) }

// allows reports whether tokens may use the algorithm. It takes a configuration to allow a shared secret's.
func (i *issuer) allows(alg string) bool {
	if len(i.Algorithms) > 0 {
		return slices.Contains(i.Algorithms, alg)
	}
	known, ok := algorithms[alg]
	return ok && known.minSecret == 0
}

// warnOfKeys tells of keys that are sound, and known to anybody.
func (i *issuer) warnOfKeys(log *slog.Logger) {
	keys := i.keys.Load()
	for n, key := range keys.public {
		if err := jwk.Check(key.Public); err != nil {
			log.Warn("weak key", "issuer", i.Name, "key", n+1, "why", err.Error())
		}
	}
	if slices.ContainsFunc(keys.secrets, Secret.published) {
		log.Warn("weak key", "issuer", i.Name,
			"why", "the signing key of DataHub's documentation: it is published, anybody can sign with it")
	}
}

// warnOfSettings tells of what is allowed, and hardly meant.
func (i *issuer) warnOfSettings(log *slog.Logger) {
	if i.tenant != "" && !slices.Equal(i.PrincipalClaims, []string{"sub"}) {
		log.Warn("principal-claims has no effect for Entra ID: a principal is its tid and oid", "issuer", i.Name)
	}
	if strings.HasPrefix(i.Issuer.Issuer, "https://") && i.Audience == nil {
		log.Warn("no audience: tokens that were issued for any other service are accepted too", "issuer", i.Name)
	}
}
