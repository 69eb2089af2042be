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

// admission decides who may connect, and to which subjects it may publish
// then. The embedded server asks it, and the auth callout does.
type admission struct {
	o        *Options
	counters *counters
	refused  *note
	failed   *note
	// guests are who comes without a token; empty: anybody. With a server
	// elsewhere there are none.
	guests *credential
}

type credential struct{ user, password string }

func (c credential) equal(other credential) bool {
	user := subtle.ConstantTimeCompare([]byte(c.user), []byte(other.user))
	password := subtle.ConstantTimeCompare([]byte(c.password), []byte(other.password))
	return user&password == 1
}

// request is what somebody who connects says. token is the auth token, which
// may stand for the password.
type request struct {
	host  string // where it comes from
	given credential
	token string
}

// grant is what somebody who connects may do.
type grant struct {
	principal *auth.Principal // nil for a guest
	token     string          // empty for a guest
	subjects  []string        // to publish to
}

func newAdmission(o *Options, c *counters) *admission {
	return &admission{
		o: o, counters: c,
		refused: newNote(o.Log, slog.LevelWarn, 1, "NATS publishers refused"),
		failed:  newNote(o.Log, slog.LevelError, 1, "NATS publishers not checked, they have to come again"),
	}
}

func (a *admission) notes() []*note { return []*note{a.refused, a.failed} }

// admit decides about a request. A *auth.Refusal or *auth.Denied has been
// counted and audited; any other error tells nothing about who asked.
func (a *admission) admit(ctx context.Context, r request) (grant, error) {
	if subjects, ok := a.asGuest(r); ok {
		return grant{subjects: subjects}, nil
	}
	token := r.given.password
	if token == "" {
		token = r.token
	}
	g := grant{token: token}
	var err error
	if a.o.Authenticator == nil {
		err = &auth.Refusal{Code: auth.Missing} // a wrong password
	} else if g.principal, err = a.o.Authenticator.Authenticate(ctx, token); err == nil {
		g.subjects, err = a.subjects(g.principal)
	}
	if err != nil {
		a.turnAway(r.host, g.principal, err)
	}
	return g, err
}

// asGuest returns what one without a token may publish to.
func (a *admission) asGuest(r request) (subjects []string, ok bool) {
	if a.guests == nil {
		return nil, false
	}
	open := *a.guests == credential{}
	for _, s := range a.o.Subjects {
		if s.Authorization != Connection {
			subjects = append(subjects, s.Subject)
		}
	}
	all := len(subjects) == len(a.o.Subjects)
	switch {
	case len(subjects) == 0:
		return nil, false
	case !open:
		return subjects, r.given.equal(*a.guests)
	default:
		// Where tokens open more, a bad one must not pass for none.
		return subjects, all || r.given.password == "" && r.token == ""
	}
}

// subjects are those that p may publish to: what it may write, and where each
// message is asked for its own token.
func (a *admission) subjects(p *auth.Principal) ([]string, error) {
	clusters, denied := writable(a.o.Policy, p)
	open := a.guests != nil && *a.guests == credential{}
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
			may = open
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
	return nil, deniedElsewhere
}

// deniedElsewhere is for somebody who may write to no cluster that is here.
var deniedElsewhere = &auth.Denied{Action: auth.Write, Code: auth.OtherCluster}

// writable returns on which clusters p may write, nil for all.
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

// generation is the Authenticator's, 0 without one.
func (a *admission) generation() uint64 {
	if a.o.Authenticator == nil {
		return 0
	}
	return a.o.Authenticator.Generation()
}

// holds tells whether what was granted still is; the error says why it is not.
// That a token has expired meanwhile is no reason: its connection has a
// deadline.
func (a *admission) holds(ctx context.Context, g grant, now time.Time) error {
	p, err := a.again(ctx, g, now)
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok && refusal.Code == auth.Expired {
		return nil
	}
	if err != nil {
		return err
	}
	subjects, err := a.subjects(p)
	if err == nil && !slices.Equal(subjects, g.subjects) {
		return errChanged
	}
	return err
}

// errChanged is for a connection whose principal may do something else now. It
// gets that when it comes again.
var errChanged = errors.New("its rights have changed")

func (a *admission) again(ctx context.Context, g grant, now time.Time) (*auth.Principal, error) {
	if exp := g.principal.Expires; !exp.IsZero() && !now.Before(exp) {
		before := exp.Add(-time.Nanosecond) // without leeway, the token has expired at exp
		return a.o.Authenticator.AuthenticateAt(ctx, g.token, before)
	}
	return a.o.Authenticator.Authenticate(ctx, g.token)
}

// reasonOf returns the code of a refusal, and false if the error is none.
func reasonOf(err error) (auth.Reason, bool) {
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		return refusal.Code, true
	}
	if denied, ok := errors.AsType[*auth.Denied](err); ok {
		return denied.Code, true
	}
	return "", false
}

// turnAway counts and audits that somebody at host may not do what it asked for.
func (a *admission) turnAway(host string, p *auth.Principal, err error) {
	code, ok := reasonOf(err)
	if !ok {
		a.counters.unchecked.Inc()
		a.failed.add(1, "error", clip(err.Error()))
		return
	}
	a.counters.turnedAway.WithLabelValues(string(code)).Inc()
	a.refused.add(1, "reason", string(code), "host", clip(host))
	record(a.o.Audit, host, p, code)
}

// record audits a write that was refused. audit may be nil.
func record(audit *auth.Audit, peer string, p *auth.Principal, code auth.Reason) {
	if audit == nil {
		return
	}
	event := auth.Event{Transport: transport, Peer: peer, Action: auth.Write, Code: code}
	if p != nil {
		event.Issuer, event.Subject, event.Roles = p.Issuer, p.Subject, p.Roles
	}
	audit.Record(event)
}
