// Package auth authenticates and authorizes: it verifies tokens that others issued and maps them to
// a Principal, decides by one role table what a principal may do, and writes the audit of refused
// requests.
//
// Nothing in it can sign. It does not depend on HTTP, NATS or the configuration file: the
// transports pass strings, cmd passes keys and durations. It logs only through an injected
// *slog.Logger.
package auth

import (
	"context"
	"slices"
	"strings"
	"time"
)

// An Authenticator verifies a token and returns its Principal. The error is a *Refusal if the token
// is not acceptable; any other error is ours and says nothing about the token. Implementations are
// safe for concurrent use.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (*Principal, error)
}

// A Principal is the person or service that a verified token identifies. Requests share it: it must
// not be changed.
type Principal struct {
	Issuer  string // the issuer's configured name, not the token's iss
	Subject string // unique within the issuer; never empty, printable, at most 256 bytes
	// SelfChosen says that the holder may have chosen the Subject, so it must not grant anything.
	SelfChosen bool
	JobUser    string       // the cluster user whose jobs are this principal's own; empty: none
	Roles      Roles        // may be empty
	Projects   []string     // the projects whose jobs a manager may see
	Clusters   []string     // the clusters that the principal is restricted to; nil: no restriction
	Limited    []MappedRole // roles that hold on some clusters only, each once
	Resources  []Resource   // hosts and times that the token also permits to query
	TokenID    string       // the token's jti; empty if it has none
	Expires    time.Time    // the token's exp, without leeway; zero if it never expires
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

// rolesAnywhere returns the roles that hold on at least one cluster.
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

// rolesEverywhere returns the roles that hold on every cluster, including future ones.
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

// ParseRole returns the role with exactly that name; case matters. It returns false, not an error,
// for other names: issuers also have roles that mean nothing here.
func ParseRole(name string) (Roles, bool) {
	for i, n := range roleNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// Has reports whether r contains every role of want.
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
