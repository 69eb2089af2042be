package rest

import (
	"errors"
	"net/http"

	"github.com/ringstore/ringstore/auth"
)

// transport names this door to the audit and the counters.
const transport = "http"

// admit returns nil if the request may do action, and else why not. Everybody
// who is turned away is counted and audited.
func (h *Handler) admit(r *http.Request, action auth.Action) error {
	if action == 0 {
		return nil
	}
	p, err := h.authorize(r, action)
	var code auth.Reason
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		code = refusal.Code
	} else if denied, ok := errors.AsType[*auth.Denied](err); ok {
		code = denied.Code
	} else {
		return err
	}
	h.counters.refused(code)
	if h.Audit != nil {
		e := auth.Event{Transport: transport, Peer: peer(r).String(), Action: action, Code: code}
		if p != nil {
			e.Issuer, e.Subject, e.Roles = p.Issuer, p.Subject, p.Roles
		}
		h.Audit.Record(e)
	}
	return err
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
