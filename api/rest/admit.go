package rest

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/ringstore/ringstore/api/access"
	"github.com/ringstore/ringstore/auth"
)

// transport is the name of HTTP in the audit log and the counters.
const transport = "http"

// admit returns nil if the request may perform action, or the reason why not. Denials are counted
// and audited. The exchange keeps the principal.
func (h *Handler) admit(x *exchange, r *http.Request, action auth.Action) (err error) {
	if action == 0 {
		return nil
	}
	x.principal, err = h.authorize(r, action)
	if err == nil {
		x.admitted = action
	}
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		h.auditDenial(x, r, action, refusal.Code)
	} else if denied, ok := errors.AsType[*auth.Denied](err); ok {
		h.auditDenial(x, r, action, denied.Code)
	} else if overloaded, ok := errors.AsType[*auth.Overloaded](err); ok {
		h.counters.refused(overloaded.Code) // the sender is unknown, so there is nothing to audit
	}
	if err == nil {
		connectionOf(r.Context()).identify()
	}
	return err
}

// auditDenial counts and audits that a request for action was denied.
func (h *Handler) auditDenial(x *exchange, r *http.Request, action auth.Action, code auth.Reason) {
	h.counters.refused(code)
	h.audit(x, r, action, code)
}

// auditPerformed audits that an administrative action was performed, or may have been in part.
func (h *Handler) auditPerformed(x *exchange, r *http.Request) {
	refused := x.status >= http.StatusBadRequest && x.status < statusGone
	if x.admitted.IsAdministrative() && !refused {
		h.audit(x, r, x.admitted, auth.Accepted)
	}
}

func (h *Handler) audit(x *exchange, r *http.Request, action auth.Action, code auth.Reason) {
	if h.Audit == nil {
		return
	}
	e := auth.Event{Transport: transport, Request: x.id, Peer: peer(r).String(), Action: action, Code: code}
	if p := x.principal; p != nil {
		e.Issuer, e.Subject, e.Roles = p.Issuer, p.Subject, p.Roles
	}
	h.Audit.Record(e)
}

// clusters returns the clusters on which the caller may perform action.
func (h *Handler) clusters(x *exchange, action auth.Action) auth.ClusterSet {
	p := x.principal
	if h.AuthDisabled {
		p = auth.Unauthenticated()
	}
	return h.Policy.Clusters(p, action)
}

// reader returns a reader of the data that the caller may see.
func (h *Handler) reader(w http.ResponseWriter) *access.Reader {
	if h.AuthDisabled {
		return h.gate.All()
	}
	return h.gate.For(exchangeOf(w).principal)
}

// authorize identifies the caller and checks the permission for action. It returns the principal
// also with an error, if it is known.
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

// challenge returns the WWW-Authenticate header of a refusal (RFC 6750, section 3). It has no error
// code if the request had no bearer token.
func challenge(refusal *auth.Refusal) string {
	switch {
	case refusal.Code == auth.Missing, refusal.Code == auth.UnsupportedScheme:
		return `Bearer realm="ringstore"`
	case refusal.Description() != "":
		return fmt.Sprintf(`Bearer error="invalid_token", error_description="%s"`, refusal.Description())
	}
	return `Bearer error="invalid_token"`
}
