package rest

import (
	"encoding/json"
	"net/http"

	"github.com/ringstore/ringstore/auth"
)

// whoamiAnswer describes the principal of a token. Empty members are omitted.
type whoamiAnswer struct {
	Issuer   string              `json:"issuer"` // its name in the configuration; empty without authentication
	Subject  string              `json:"subject"`
	JobUser  string              `json:"job-user,omitempty"` // the user whose jobs it may query
	Roles    []string            `json:"roles"`
	Projects []string            `json:"projects,omitempty"`
	Clusters []string            `json:"clusters,omitempty"` // the only ones it applies to; omitted: all
	Limited  []limitedRole       `json:"limited,omitempty"`
	Granted  []grantedHosts      `json:"resources,omitempty"` // hosts granted by the token, in addition to own jobs
	TokenID  string              `json:"token-id,omitempty"`
	Expires  int64               `json:"expires,omitempty"` // Unix seconds; omitted: never
	May      map[string][]string `json:"may"`               // clusters by action, "*" for all
	Sees     map[string]string   `json:"sees,omitempty"`    // what queries show, by cluster; "*" for all others
}

// limitedRole is a role that applies to some clusters only.
type limitedRole struct {
	Role     string   `json:"role"`
	Clusters []string `json:"clusters"`
}

// grantedHosts are hosts of a cluster with the time range, in Unix seconds, that may be queried.
type grantedHosts struct {
	Cluster string   `json:"cluster"`
	Hosts   []string `json:"hosts"`
	From    int64    `json:"from"`
	To      int64    `json:"to"`
}

// whoami answers /api/whoami: the principal of the token and its permissions.
func (h *Handler) whoami(w http.ResponseWriter, r *http.Request) error {
	p := exchangeOf(w).principal
	if h.AuthDisabled {
		p = auth.Unauthenticated()
	}
	a := whoamiAnswer{
		Issuer: p.Issuer, Subject: p.Subject, JobUser: p.JobUser, Roles: p.Roles.Names(),
		Projects: h.Jobs.Projects(p.JobUser, p.Projects), Clusters: p.Clusters, TokenID: p.TokenID, May: make(map[string][]string),
	}
	if !p.Expires.IsZero() {
		a.Expires = p.Expires.Unix()
	}
	for _, l := range p.Limited {
		a.Limited = append(a.Limited, limitedRole{l.Role.String(), l.Clusters})
	}
	for _, g := range p.Resources {
		a.Granted = append(a.Granted, grantedHosts(g))
	}
	for _, m := range h.Policy.Permissions(p) {
		switch {
		case m.Action == auth.Profile && h.AuthDisabled && !peer(r).IsLoopback():
		case m.Clusters.All():
			a.May[m.Action.String()] = []string{everything}
		default:
			a.May[m.Action.String()] = m.Clusters.Names()
		}
	}
	a.Sees = h.sees(p)
	return h.answerJSON(w, r, a)
}

// sees returns how much p's queries show, by cluster; "*" stands for all others.
func (h *Handler) sees(p *auth.Principal) map[string]string {
	named, others := h.Policy.Sights(p)
	if others != auth.SeesNothing {
		named[everything] = others
	}
	sees := make(map[string]string, len(named))
	for cluster, s := range named {
		sees[cluster] = s.String()
	}
	return sees
}

// answerJSON answers a small value.
func (h *Handler) answerJSON(w http.ResponseWriter, r *http.Request, v any) error {
	return h.answering(w, r, func(a *answer) error {
		text, err := json.Marshal(v)
		a.buf = append(a.buf, text...)
		return err
	})
}
