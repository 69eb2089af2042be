// Package auth says who is knocking and what they may do: it turns a token that somebody else issued into a
// Principal, decides by one role table what a principal may do, and keeps the audit of those who were turned away.
//
// It only verifies; nothing here can sign. It knows no HTTP and no NATS (the doors hand it strings), no
// configuration file (cmd hands it keys and durations), and logs nothing but through an injected *slog.Logger.
package auth

import (
	"context"
	"slices"
	"strings"
	"time"
)

// An Authenticator turns a token into a Principal. Whatever is wrong with the token is a *Refusal; any other error
// is a fault on our side and tells nothing about the token. Implementations are safe for concurrent use.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (*Principal, error)
}

// A Principal is who a verified token speaks for. It is shared between requests: nobody may change it.
type Principal struct {
	Issuer    string       // the issuer's configured name, not what the token calls it
	Subject   string       // who, unique within the issuer; never empty, printable, at most 256 bytes
	JobUser   string       // the cluster user whose jobs are this principal's own; empty: owns none
	Roles     Roles        // may be empty
	Projects  []string     // the projects whose jobs a manager may see
	Clusters  []string     // the clusters that the principal is restricted to; nil: no restriction
	Limited   []MappedRole // those of its roles that hold on some clusters only, each once
	Resources []Resource   // what else the principal may query, as the token says
	TokenID   string       // the token's jti; empty when it has none
	Expires   time.Time    // the token's exp, without leeway; zero when it never expires
}

// RolesOn returns the roles that hold on a cluster.
func (p *Principal) RolesOn(cluster string) Roles {
	if p.Clusters != nil && !slices.Contains(p.Clusters, cluster) {
		return 0
	}
	roles := p.Roles
	for _, l := range p.Limited {
		if !slices.Contains(l.Clusters, cluster) {
			roles &^= l.Role
		}
	}
	return roles
}

// rolesAnywhere returns the roles that hold on one cluster at least.
func (p *Principal) rolesAnywhere() Roles {
	if p.Clusters != nil && len(p.Clusters) == 0 {
		return 0
	}
	roles := p.Roles
	for _, l := range p.Limited {
		if p.Clusters != nil && !intersect(l.Clusters, p.Clusters) {
			roles &^= l.Role
		}
	}
	return roles
}

// rolesEverywhere returns the roles that hold on every cluster there is or will be.
func (p *Principal) rolesEverywhere() Roles {
	if p.Clusters != nil {
		return 0
	}
	roles := p.Roles
	for _, l := range p.Limited {
		roles &^= l.Role
	}
	return roles
}

// Roles is a set of roles.
type Roles uint8

// The roles, named as cc-backend names them.
const (
	Admin Roles = 1 << iota
	API
	Support
	Manager
	User
)

// roleNames holds the name of 1<<i at i.
var roleNames = [...]string{"admin", "api", "support", "manager", "user"}

// ParseRole returns the role of exactly that name; case matters. Issuers have roles of their own, so a name that
// is none of ours is not an error but false.
func ParseRole(name string) (Roles, bool) {
	for i, n := range roleNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// Has reports whether every role of want is in r.
func (r Roles) Has(want Roles) bool { return r&want == want }

// Names lists the roles in r by name; it is empty but not nil for the empty set.
func (r Roles) Names() []string {
	names := make([]string, 0, len(roleNames))
	for i, n := range roleNames {
		if r.Has(1 << i) {
			names = append(names, n)
		}
	}
	return names
}

// String joins the names with commas.
func (r Roles) String() string { return strings.Join(r.Names(), ",") }
