package nats

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/memstore"
)

// transport is this package's name in counters and in the audit.
const transport = "nats"

// feed is a subscribed subject with its counters and logs.
type feed struct {
	Subject
	// may reports whether messages without a token may write to a cluster; nil: to all.
	may                                func(cluster string) bool
	counters                           *counters
	refused, failed, rejected, dropped *rateLimitedLog
	dead                               *rateLimitedLog
	skipped                            *rateLimitedLog // nil unless debug messages are logged
}

func newFeed(s Subject, c *counters, log *slog.Logger) *feed {
	log = log.With("subject", s.Subject)
	f := &feed{
		Subject: s, counters: c,
		refused:  newRateLimitedLog(log, slog.LevelWarn, 1, "NATS messages refused"),
		failed:   newRateLimitedLog(log, slog.LevelError, 1, "NATS messages not stored"),
		rejected: newRateLimitedLog(log, slog.LevelWarn, 1, "NATS messages with bad lines"),
		dropped:  newRateLimitedLog(log, slog.LevelWarn, 1, "NATS messages dropped: they arrive faster than they are stored"),
		dead:     newRateLimitedLog(log, slog.LevelWarn, 1, "NATS messages given up: they could not be verified, or were too far in the future, at every delivery"),
	}
	if log.Enabled(context.Background(), slog.LevelDebug) {
		f.skipped = newRateLimitedLog(log, slog.LevelDebug, 1, "NATS messages with lines of unconfigured metrics, or that replace each other")
	}
	if s.Authorization == Connection && s.ClusterTag != "" {
		// Principals that may publish here hold this cluster, and perhaps no other.
		f.may = func(cluster string) bool { return cluster == s.ClusterTag }
	}
	for _, counter := range c.bySubject() { // exported as 0 before the first event
		counter.WithLabelValues(s.Subject)
	}
	for _, reason := range [...]string{failedEncoding, failedTooLarge, failedAuth, failedStore, failedMemory, failedUnusable} {
		c.failed.WithLabelValues(s.Subject, reason)
	}
	for _, reason := range [...]string{deadAttempts, deadShare} {
		c.deadLetters.WithLabelValues(s.Subject, reason)
	}
	c.refused.WithLabelValues(s.Subject, string(auth.Missing))
	return f
}

func (f *feed) limitedLogs() []*rateLimitedLog {
	all := []*rateLimitedLog{f.refused, f.failed, f.rejected, f.dropped, f.dead}
	if f.skipped != nil {
		all = append(all, f.skipped)
	}
	return all
}

func (f *feed) drop(messages int) {
	f.counters.dropped.WithLabelValues(f.Subject.Subject).Add(float64(messages))
	f.dropped.add(messages)
	if f.Events != nil {
		f.Events.MarkLost()
	}
}

func (f *feed) fail(reason string, err error) {
	f.counters.failed.WithLabelValues(f.Subject.Subject, reason).Inc()
	f.failed.add(1, "reason", reason, "error", truncated(err.Error()))
}

// verdict is the result of a message.
type verdict uint8

const (
	accepted verdict = iota // its good lines are stored
	retry                   // not stored; it may be if it is delivered again
	discard                 // cannot be stored
	putOff                  // like retry, but the fault may be the sender's
	early                   // like putOff: samples are too far in the future, by our clock
)

// handle authorizes and stores one message. Workers handle metrics concurrently: their order
// matters only to samples of the same series and time, and for these the store knows the order of a
// stream's messages.
func (s *Subscriber) handle(j job) verdict {
	f, m, at := j.feed, j.msg, j.at
	f.counters.messages.WithLabelValues(f.Subject.Subject).Inc()
	f.counters.bytes.WithLabelValues(f.Subject.Subject).Add(float64(len(m.Data)))
	if f.Events != nil {
		return s.handleEvent(f, m, at)
	}
	src := ingest.Source{
		Cluster: f.ClusterTag, Transport: transport, May: f.may, ListUnconfigured: f.skipped != nil,
		Dialect: lineprotocol.Dialect{EachField: f.EachField}, Origin: j.origin,
	}
	var p *auth.Principal
	if f.Authorization == Header {
		var err error
		if p, src.May, err = s.authorize(m.Header, at); err != nil {
			return s.refuse(f, p, err)
		}
	}
	report, reason, err := s.store(src, m)
	if report.RejectedTotal > 0 {
		f.counters.rejected.WithLabelValues(f.Subject.Subject).Add(float64(report.RejectedTotal))
		first := report.Rejected[0]
		f.rejected.add(1, "lines", report.RejectedTotal, "line", first.Line, "reason", truncated(first.Reason))
	}
	if f.skipped != nil && report.Unknown+report.Duplicates > 0 {
		f.skipped.add(1, "accepted", report.Accepted, "unconfigured", report.Unknown,
			"metrics", strings.Join(report.Unconfigured, " "), "duplicates", report.Duplicates)
	}
	if report.Forbidden > 0 {
		_ = s.refuse(f, p, errOtherCluster)
	}
	switch {
	case errors.Is(err, memstore.ErrMemory):
		f.fail(failedMemory, err)
		return retry
	case errors.Is(err, ingest.ErrUnusable):
		f.fail(failedUnusable, err)
		return discard
	case err != nil:
		f.fail(reason, err)
		if reason == failedStore {
			return retry
		}
		return discard
	case report.Future > 0: // in a stream, it is stored once our clock, if that is slow, is right
		return early
	case report.Accepted == 0 && report.RejectedTotal > 0:
		return discard
	}
	return accepted
}

// authorize returns the principal of the header's token and which clusters it may write to, nil for
// all.
func (s *Subscriber) authorize(h natsgo.Header, at time.Time) (*auth.Principal, func(cluster string) bool, error) {
	p, err := s.authenticate(h, at)
	if err != nil {
		return nil, nil, err
	}
	may, err := writable(s.o.Policy, p)
	return p, may, err
}

// authenticate returns the principal of the header's token. If the message waited in a stream, its
// token must have been valid when the message reached it.
func (s *Subscriber) authenticate(h natsgo.Header, at time.Time) (*auth.Principal, error) {
	token, err := auth.BearerToken(values(h, "Authorization"), nil)
	if err != nil {
		return nil, err
	}
	if at.IsZero() {
		return s.o.Authenticator.Authenticate(s.ctx, token)
	}
	return s.o.Authenticator.AuthenticateAt(s.ctx, token, at)
}

// values returns all values of a header. NATS header names are case-sensitive, but senders do not
// agree on the case.
func values(h natsgo.Header, name string) []string {
	var all []string
	for key, v := range h {
		if strings.EqualFold(key, name) {
			all = append(all, v...)
		}
	}
	return all
}

// refuse counts and audits a refused message. The audit's peer is the subject that we subscribed
// to: a message does not name its publisher, and under a wildcard the publisher chooses its
// subject.
func (s *Subscriber) refuse(f *feed, p *auth.Principal, err error) verdict {
	code, ok := reasonOf(err)
	if overloaded, busy := errors.AsType[*auth.Overloaded](err); busy {
		f.fail(string(overloaded.Code), err)
		return putOff
	}
	if !ok {
		f.fail(failedAuth, err)
		return putOff
	}
	f.counters.refused.WithLabelValues(f.Subject.Subject, string(code)).Inc()
	f.refused.add(1, "reason", string(code))
	auditRefusal(s.o.Audit, f.Subject.Subject, p, code)
	return discard
}
