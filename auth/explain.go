package auth

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// Explanation is the result of each check of a token. It contains no signature. Unless Accepted,
// nothing in it is verified.
type Explanation struct {
	Accepted  bool
	Issuer    string        // the configured name; empty if the token matches no issuer
	Tried     []string      // kind and kid of the keys that the signature is checked with
	Key       string        // the one that made the signature; empty if none did
	Checks    []CheckResult // in order, up to the first that failed
	Principal *Principal    // nil if a check failed before it was read
	// Fits lists the keys of any issuer that made the signature of a token that is refused, such as
	// one for another issuer.
	Fits []FittingKey
	// May lists what the principal may do and where, ordered by action; nothing, unless Accepted.
	May []Permission
	// Claims are those that the issuer's settings name, and iss, exp, nbf, iat and jti; with
	// verbose all of them.
	Claims map[string]any
}

// CheckResult is the result of one check.
type CheckResult struct {
	Name   string
	Code   Reason // empty if the check passed
	Detail string // from a *Refusal: fixed words and names from the configuration
}

// FittingKey is a key that made a signature, and its issuer's configured name.
type FittingKey struct{ Issuer, Key string }

// Permission is an action and the clusters it is permitted on; all clusters, for an action that
// concerns none.
type Permission struct {
	Action   Action
	Clusters ClusterSet
}

// Explain verifies a token as Authenticate does, with the same error, and reports each check. With
// verbose, the Explanation contains all claims.
func (c *Chain) Explain(ctx context.Context, token string, policy Policy, verbose bool) (*Explanation, error) {
	now := c.now()
	v := verification{chain: c, ctx: ctx, text: token, now: now, at: now}
	e := new(Explanation)
	var err error
	for i := 0; i < len(checks) && err == nil; i++ {
		err = checks[i].run(&v)
		e.Checks = append(e.Checks, newCheckResult(checks[i].name, err))
	}
	e.Accepted = err == nil
	e.Principal = v.principal
	e.Issuer = v.issuerName()
	for _, candidate := range v.candidates {
		e.Tried = append(e.Tried, candidate.String())
	}
	if e.Accepted {
		e.Key = v.key.String()
		e.May = policy.Permissions(v.principal)
	}
	if v.token != nil {
		if !e.Accepted {
			e.Fits = c.fitting(v.token)
		}
		e.Claims = v.claims(verbose)
	}
	return e, v.describe(err, checks[len(e.Checks):])
}

// fitting returns the keys that made a token's signature, ordered by issuer.
func (c *Chain) fitting(t *token) (fits []FittingKey) {
	issuers := c.issuers.Load().byName
	for _, name := range slices.Sorted(maps.Keys(issuers)) {
		for _, candidate := range issuers[name].keys.Load().supporting(t.alg) {
			if candidate.verify(t) {
				fits = append(fits, FittingKey{name, candidate.String()})
			}
		}
	}
	return fits
}

func newCheckResult(name string, err error) CheckResult {
	r := CheckResult{Name: name}
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		r.Code, r.Detail = refusal.Code, refusal.Detail
	} else if overloaded, ok := errors.AsType[*Overloaded](err); ok {
		r.Code = overloaded.Code
	} else if err != nil {
		r.Code = Busy
	}
	return r
}

// Permissions lists what p may do and where, ordered by action.
func (policy Policy) Permissions(p *Principal) (list []Permission) {
	for a := range Action(len(table)) {
		if clusters := policy.Clusters(p, a); policy.Decide(p, a) == nil {
			list = append(list, Permission{a, clusters})
		}
	}
	return list
}

// claims returns the claims that an Explanation shows.
func (v *verification) claims(all bool) map[string]any {
	if all {
		return maps.Clone(v.token.claims)
	}
	names := []string{"iss", "exp", "nbf", "iat", "jti"}
	if i := v.issuer; i != nil {
		names = slices.Concat(names, i.PrincipalClaims, i.ProjectsClaims, i.RolesClaims, []string{i.JobUserClaim})
		names = slices.AppendSeq(names, maps.Keys(i.RequireClaims))
		if i.Audience != nil {
			names = append(names, "aud")
		}
		if i.AuthorizedParties != nil {
			names = append(names, "azp", "client_id", "appid")
		}
		if i.tenant != "" {
			names = append(names, "tid", "oid")
		}
	}
	shown := make(map[string]any)
	for _, name := range names {
		if value, found, err := lookup(v.token.claims, name); err == nil && found && name != "" {
			shown[name] = value
		}
	}
	return shown
}
