package main

import (
	"cmp"
	"fmt"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/configs"
)

// plainIssuer names the issuer of tokens without "iss" where main.jwt-public-key
// is all that the configuration says of it.
const plainIssuer = "jwt-public-key"

// configuredIssuers are the entries of auth.issuers, and one for
// main.jwt-public-key if none of them is for tokens without "iss".
func configuredIssuers(cfg *configs.Config) []configs.Issuer {
	issuers := cfg.Auth.Issuers
	for _, i := range issuers {
		if i.Issuer == "" {
			return issuers
		}
	}
	if cfg.Main.JWTPublicKey == "" {
		return issuers
	}
	return append(issuers[:len(issuers):len(issuers)], configs.Issuer{Name: plainIssuer})
}

// newIssuer is an entry's settings, without keys.
func newIssuer(c configs.Issuer, rules configs.Auth) (auth.Issuer, error) {
	requireExpiry, maxLifetime, leeway := rules.TimesOf(c)
	i := auth.Issuer{
		Name:              c.Name,
		Issuer:            c.Issuer,
		Algorithms:        c.Algorithms,
		Audience:          c.Audience,
		AuthorizedParties: c.AuthorizedParties,
		PrincipalClaims:   c.PrincipalClaims,
		JobUserClaim:      c.JobUserClaim,
		ProjectsClaims:    c.ProjectsClaims,
		ResourcesClaim:    c.ResourcesClaim,
		RolesClaims:       c.RolesClaims,
		Clusters:          c.Clusters,
		RequireExpiry:     &requireExpiry,
		MaxLifetime:       maxLifetime,
		Leeway:            cmp.Or(leeway, -1), // 0 is the default there, and none here
	}
	if c.RequireClaims != nil {
		i.RequireClaims = make(map[string][]string, len(c.RequireClaims))
		for claim, values := range c.RequireClaims {
			i.RequireClaims[claim] = values
		}
	}
	if c.RoleMap != nil {
		i.RoleMap = make(map[string]auth.MappedRole, len(c.RoleMap))
		for value, grant := range c.RoleMap {
			role, ok := auth.ParseRole(grant.Role)
			if !ok {
				return i, fmt.Errorf("role-map: %q is no role", grant.Role)
			}
			i.RoleMap[value] = auth.MappedRole{Role: role, Clusters: grant.Clusters}
		}
	}
	for _, name := range c.DefaultRoles {
		role, ok := auth.ParseRole(name)
		if !ok {
			return i, fmt.Errorf("default-roles: %q is no role", name)
		}
		i.DefaultRoles |= role
	}
	return i, nil
}
