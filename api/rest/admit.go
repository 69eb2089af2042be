package rest

import (
	"errors"
	"net/http"

	"github.com/ringstore/ringstore/api/access"
	"github.com/ringstore/ringstore/auth"
)

// transport names this door to the audit and the counters.
const transport = "http"

// admit returns nil if the request may do action, and else why not. Everybody
// who is turned away is counted and audited. The exchange keeps who it is.
func (h *Handler) admit(x *exchange, r *http.Request, action auth.Action) (err error) {
	if action == 0 {
		return nil
	}
	x.principal, err = h.authorize(r, action)
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		h.turnedAway(x, r, action, refusal.Code)
	} else if denied, ok := errors.AsType[*auth.Denied](err); ok {
		h.turnedAway(x, r, action, denied.Code)
	} else if overloaded, ok := errors.AsType[*auth.Overloaded](err); ok {
		h.counters.refused(overloaded.Code) // of whom nothing is known, so there is nothing to audit
	}
	return err
}

// turnedAway counts and audits that somebody may not do action.
func (h *Handler) turnedAway(x *exchange, r *http.Request, action auth.Action, code auth.Reason) {
	h.counters.refused(code)
	if h.Audit == nil {
		return
	}
	e := auth.Event{Transport: transport, Request: x.id, Peer: peer(r).String(), Action: action, Code: code}
	if p := x.principal; p != nil {
		e.Issuer, e.Subject, e.Roles = p.Issuer, p.Subject, p.Roles
	}
	h.Audit.Record(e)
}

// clusters returns where whoever asks may do action.
func (h *Handler) clusters(x *exchange, action auth.Action) auth.ClusterSet {
	p := x.principal
	if h.AuthDisabled {
		p = &auth.Principal{Roles: auth.Admin}
	}
	return h.Policy.Clusters(p, action)
}

// reader returns what answers whoever asks, of what they may see.
func (h *Handler) reader(w http.ResponseWriter) *access.Reader {
	if h.AuthDisabled {
		return h.gate.All()
	}
	return h.gate.For(exchangeOf(w).principal)
}

// authorize finds out who asks and whether they may. The principal is there
// whenever it is known.
func (h *Handler) authorize(r *http.Request, action auth.Action) (*auth.Principal, error) {
	if h.AuthDisabled {
		if action == auth.Profile && !peer(r).IsLoopback() {
			return nil, &auth.Denied{Action: action, Code: auth.InsufficientRole}
		}
		return nil, nil
	}
	token, err := auth.BearerToken(r.Header.Values("Authorization"), r.Header.Values("X-Auth-Token"))
	if err != nil {
		return nil, err
	}
	p, err := h.Authenticator.Authenticate(r.Context(), token)
	if err != nil {
		return nil, err
	}
	return p, h.Policy.Decide(p, action)
}

// challenge is the WWW-Authenticate header of a refusal (RFC 6750, section 3):
// without an error code where no bearer token came.
func challenge(code auth.Reason) string {
	if code == auth.Missing || code == auth.UnsupportedScheme {
		return `Bearer realm="ringstore"`
	}
	return `Bearer error="invalid_token"`
}
