package nats

import (
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/ringstore/ringstore/auth"
)

// admission decides who may connect, and which subjects a connection may publish to. The embedded
// server and the auth callout use it.
type admission struct {
	o        *Options
	counters *counters
	refused  *rateLimitedLog
	failed   *rateLimitedLog
	// password is what clients without a token log in with; empty: they cannot.
	password credential
	// embedded says that it decides for the embedded server, where some clients need no token.
	embedded bool
}

type credential struct{ user, password string }

func (c credential) equal(other credential) bool {
	user := subtle.ConstantTimeCompare([]byte(c.user), []byte(other.user))
	password := subtle.ConstantTimeCompare([]byte(c.password), []byte(other.password))
	return user&password == 1
}

// request is a client's request to connect. Its token is the NATS auth token, an alternative to the
// password.
type request struct {
	host  string
	given credential
	token string
}

// grant is what a connection may do.
type grant struct {
	principal *auth.Principal // nil for a guest
	token     string          // empty for a guest
	guest     bool            // it has no password either
	subjects  []string        // that it may publish to
}

func newAdmission(o *Options, c *counters) *admission {
	return &admission{
		o: o, counters: c,
		refused: newRateLimitedLog(o.Log, slog.LevelWarn, 1, "NATS publishers refused"),
		failed:  newRateLimitedLog(o.Log, slog.LevelError, 1, "NATS publishers could not be checked and must reconnect"),
	}
}

func (a *admission) limitedLogs() []*rateLimitedLog { return []*rateLimitedLog{a.refused, a.failed} }

// admit decides a request. It has counted and audited a *auth.Refusal and a *auth.Denied; any other
// error is not the client's fault.
func (a *admission) admit(ctx context.Context, r request) (grant, error) {
	token := r.given.password
	if token == "" {
		token = r.token
	}
	subjects, guest := a.guestSubjects(r)
	if guest && (token == "" || a.knows(r) || a.o.Authenticator == nil) {
		return grant{guest: !a.knows(r), subjects: subjects}, nil
	}
	g := grant{token: token}
	var err error
	if a.o.Authenticator == nil {
		err = &auth.Refusal{Code: auth.Missing} // wrong password
	} else if g.principal, err = a.o.Authenticator.Authenticate(ctx, token); err == nil {
		g.subjects, err = a.subjects(g.principal)
	}
	if err != nil && guest {
		return grant{guest: true, subjects: subjects}, nil
	}
	if err != nil {
		a.recordRefusal(r.host, g.principal, err)
	}
	return g, err
}

// guestSubjects returns the subjects that the client may publish to without a token, and false if
// it needs one.
func (a *admission) guestSubjects(r request) (subjects []string, ok bool) {
	if !a.embedded {
		return nil, false
	}
	knows := a.knows(r)
	all := true
	for _, s := range a.o.Subjects {
		if s.Guests || knows && s.Authorization != Connection {
			subjects = append(subjects, s.Subject)
		} else {
			all = false
		}
	}
	if len(subjects) == 0 {
		return nil, false
	}
	// If a token permits more subjects, a client with a bad one is no guest.
	return subjects, knows || all || r.given.password == "" && r.token == ""
}

// knows reports whether the client knows the password for clients without a token.
func (a *admission) knows(r request) bool {
	return a.password != credential{} && r.given.equal(a.password)
}

// subjects returns the subjects that p may publish to: those that it may write, and those that
// check each message.
func (a *admission) subjects(p *auth.Principal) ([]string, error) {
	clusters, denied := writable(a.o.Policy, p)
	var subjects []string
	for _, s := range a.o.Subjects {
		var may bool
		switch {
		case s.Events != nil:
			all, err := s.Events.May(p)
			may = err == nil && (all == nil || s.Authorization == Header)
		case denied != nil:
		case s.Authorization == Connection:
			may = clusters == nil || s.ClusterTag != "" && clusters(s.ClusterTag)
		case s.Authorization == Header:
			may = true
		case s.Authorization == Trusted:
			may = a.embedded && s.Guests
		}
		if may {
			subjects = append(subjects, s.Subject)
		}
	}
	switch {
	case len(subjects) > 0:
		return subjects, nil
	case denied != nil:
		return nil, denied
	}
	return nil, errOtherCluster
}

// errOtherCluster denies a write to clusters that the principal does not hold.
var errOtherCluster = &auth.Denied{Action: auth.Write, Code: auth.OtherCluster}

// writable returns which clusters p may write to, nil for all.
func writable(policy auth.Policy, p *auth.Principal) (func(cluster string) bool, error) {
	if err := policy.Decide(p, auth.Write); err != nil {
		return nil, err
	}
	clusters := policy.Clusters(p, auth.Write)
	if clusters.All() {
		return nil, nil
	}
	return clusters.Has, nil
}

// generation returns the Authenticator's generation, 0 without one.
func (a *admission) generation() uint64 {
	if a.o.Authenticator == nil {
		return 0
	}
	return a.o.Authenticator.Generation()
}

// recheck returns an error if a grant no longer holds, or could not be checked. An expired token is
// no such error, as its connection has a deadline.
func (a *admission) recheck(ctx context.Context, g grant, now time.Time) error {
	p, err := a.reauthenticate(ctx, g, now)
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok && refusal.Code == auth.Expired {
		return nil
	}
	if err != nil {
		return err
	}
	subjects, err := a.subjects(p)
	if err == nil && !slices.Equal(subjects, g.subjects) {
		return errRightsChanged
	}
	return err
}

// errRightsChanged closes a connection whose principal may publish to other subjects now. It gets
// the new grant when it reconnects.
var errRightsChanged = errors.New("permissions have changed")

func (a *admission) reauthenticate(ctx context.Context, g grant, now time.Time) (*auth.Principal, error) {
	if exp := g.principal.Expires; !exp.IsZero() && !now.Before(exp) {
		before := exp.Add(-time.Nanosecond) // without leeway, the token has expired at exp
		return a.o.Authenticator.AuthenticateAt(ctx, g.token, before)
	}
	return a.o.Authenticator.Authenticate(ctx, g.token)
}

// reasonOf returns the code of a *auth.Refusal or *auth.Denied, and false for any other error.
func reasonOf(err error) (auth.Reason, bool) {
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		return refusal.Code, true
	}
	if denied, ok := errors.AsType[*auth.Denied](err); ok {
		return denied.Code, true
	}
	return "", false
}

// recordRefusal counts, logs and audits that a client was not admitted.
func (a *admission) recordRefusal(host string, p *auth.Principal, err error) {
	code, ok := reasonOf(err)
	if !ok {
		a.counters.unchecked.Inc()
		a.failed.add(1, "error", truncated(err.Error()))
		return
	}
	a.counters.connectionsRefused.WithLabelValues(string(code)).Inc()
	a.refused.add(1, "reason", string(code), "host", truncated(host))
	auditRefusal(a.o.Audit, host, p, code)
}

// auditRefusal audits a refused write. audit may be nil.
func auditRefusal(audit *auth.Audit, peer string, p *auth.Principal, code auth.Reason) {
	if audit == nil {
		return
	}
	event := auth.Event{Transport: transport, Peer: peer, Action: auth.Write, Code: code}
	if p != nil {
		event.Issuer, event.Subject, event.Roles = p.Issuer, p.Subject, p.Roles
	}
	audit.Record(event)
}
