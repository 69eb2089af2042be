package auth

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// Explanation is what became of a token, check by check. It holds no signature, and nothing in it may be believed
// unless Accepted.
type Explanation struct {
	Accepted  bool
	Issuer    string        // the configured name; empty if none was picked
	Tried     []string      // the keys that the signature was checked with or would have been: kind and kid
	Key       string        // the one of them that made it; empty if none did
	Checks    []CheckResult // in order; those after the first that failed were not made
	Principal *Principal    // nil if it did not come to that
	// May lists what the principal may do and where, in the order of the actions.
	May []Permission
	// Claims are those that the issuer's settings name, by these names, and iss, exp, nbf, iat and jti; or all there are.
	Claims map[string]any
}

// CheckResult is one check of a token.
type CheckResult struct {
	Name   string
	Code   Reason // empty if it passed
	Detail string // of a *Refusal: words fixed in this package, and names from the configuration
}

// Permission is an action, and the clusters that it may be done on: all, for one that is about no cluster.
type Permission struct {
	Action   Action
	Clusters ClusterSet
}

// Explain does what Authenticate does and tells of it. The error is Authenticate's. verbose is for all claims in place
// of those that the settings name.
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
	}
	if v.principal != nil {
		e.May = policy.Permissions(v.principal)
	}
	if v.token != nil {
		e.Claims = v.claims(verbose)
	}
	return e, err
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

// Permissions lists what p may do and where, in the order of the actions.
func (policy Policy) Permissions(p *Principal) (list []Permission) {
	for a := range Action(len(table)) {
		if clusters := policy.Clusters(p, a); policy.Decide(p, a) == nil {
			list = append(list, Permission{a, clusters})
		}
	}
	return list
}

// claims returns those that may be shown.
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
