package auth

import (
	"slices"
	"strings"
)

// mapRoles sets the principal's roles: from its roles claims, from its subject unless a person may
// have chosen that, and the default roles.
func (i *issuer) mapRoles(p *Principal, claims map[string]any, id identity) error {
	granted := []MappedRole{{Role: i.DefaultRoles}}
	for _, claim := range i.RolesClaims {
		values, err := lookupRoles(claims, claim)
		if err != nil {
			return err
		}
		for _, value := range values {
			granted = append(granted, i.mapRole(value))
		}
	}
	if mapped, ok := i.PrincipalMap[id.subject]; ok && !id.selfChosen {
		granted = append(granted, mapped)
	}
	p.Roles, p.Limited = union(granted)
	return nil
}

// mapRole returns no role for an unknown value: issuers also have roles that mean nothing here.
func (i *issuer) mapRole(value string) MappedRole {
	if i.ownRoles {
		role, _ := ParseRole(value)
		return MappedRole{Role: role}
	}
	return i.RoleMap[value]
}

// lookupRoles is lookupStrings, except that scope and scp are strings of words (RFC 8693 section
// 4.2).
func lookupRoles(claims map[string]any, claim string) ([]string, error) {
	if claim == "scope" || claim == "scp" {
		if words, ok := claims[claim].(string); ok {
			return strings.Fields(words), nil
		}
	}
	return lookupStrings(claims, claim)
}

// union combines the granted roles. A role that is granted once without a limit has none.
func union(granted []MappedRole) (roles Roles, limited []MappedRole) {
	var unlimited Roles
	for _, g := range granted {
		roles |= g.Role
		if g.Clusters == nil {
			unlimited |= g.Role
		}
	}
	for _, g := range granted {
		if unlimited.Has(g.Role) {
			continue
		}
		at := slices.IndexFunc(limited, func(l MappedRole) bool { return l.Role == g.Role })
		if at < 0 {
			limited = append(limited, MappedRole{g.Role, slices.Clone(g.Clusters)})
			continue
		}
		for _, cluster := range g.Clusters {
			if !slices.Contains(limited[at].Clusters, cluster) {
				limited[at].Clusters = append(limited[at].Clusters, cluster)
			}
		}
	}
	return roles, limited
}
