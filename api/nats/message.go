package nats

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/memstore"
)

// transport is this door's name in counters and in the audit.
const transport = "nats"

// feed is a subscribed subject with what is counted and logged of it.
type feed struct {
	Subject
	may                                func(cluster string) bool // write there, nil: everywhere
	counters                           *counters
	refused, failed, rejected, dropped *note
}

func newFeed(s Subject, c *counters, log *slog.Logger) *feed {
	log = log.With("subject", s.Subject)
	f := &feed{
		Subject: s, counters: c,
		refused:  newNote(log, slog.LevelWarn, 1, "NATS messages refused"),
		failed:   newNote(log, slog.LevelError, 1, "NATS messages not stored"),
		rejected: newNote(log, slog.LevelWarn, 1, "NATS messages with bad lines"),
		dropped:  newNote(log, slog.LevelWarn, 1, "NATS messages dropped: they come faster than they are stored"),
	}
	if s.Authorization == Connection && s.ClusterTag != "" {
		// Who may publish here holds this cluster, and perhaps no other.
		f.may = func(cluster string) bool { return cluster == s.ClusterTag }
	}
	for _, counter := range c.plain() { // a counter is there from the start, not from the first event on
		counter.WithLabelValues(s.Subject)
	}
	for _, reason := range [...]string{failedEncoding, failedTooLarge, failedAuth, failedStore, failedMemory} {
		c.failed.WithLabelValues(s.Subject, reason)
	}
	c.refused.WithLabelValues(s.Subject, string(auth.Missing))
	return f
}

func (f *feed) notes() []*note { return []*note{f.refused, f.failed, f.rejected, f.dropped} }

func (f *feed) drop(messages int) {
	f.counters.dropped.WithLabelValues(f.Subject.Subject).Add(float64(messages))
	f.dropped.add(messages)
	if f.Events != nil {
		f.Events.MarkLost()
	}
}

func (f *feed) fail(reason string, err error) {
	f.counters.failed.WithLabelValues(f.Subject.Subject, reason).Inc()
	f.failed.add(1, "reason", reason, "error", clip(err.Error()))
}

// verdict is what became of a message.
type verdict uint8

const (
	accepted verdict = iota // stored, as far as it could be read
	later                   // it may be stored if it comes again
	never
)

// handle takes one message to where it belongs. Metrics of one subject are
// handled side by side: their order matters only where two write the same
// moment of the same series. at is when it reached a stream, zero if it comes
// from none.
func (s *Subscriber) handle(f *feed, m *natsgo.Msg, at time.Time) verdict {
	f.counters.messages.WithLabelValues(f.Subject.Subject).Inc()
	f.counters.bytes.WithLabelValues(f.Subject.Subject).Add(float64(len(m.Data)))
	if f.Events != nil {
		return s.event(f, m, at)
	}
	src := ingest.Source{Cluster: f.ClusterTag, Transport: transport, May: f.may}
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
		f.rejected.add(1, "lines", report.RejectedTotal, "line", first.Line, "reason", clip(first.Reason))
	}
	if report.Forbidden > 0 {
		_ = s.refuse(f, p, deniedElsewhere)
	}
	switch {
	case errors.Is(err, memstore.ErrMemory):
		f.fail(failedMemory, err)
		return later
	case err != nil:
		f.fail(reason, err)
		if reason == failedStore {
			return later
		}
		return never
	case report.Accepted == 0 && report.RejectedTotal > 0:
		return never
	}
	return accepted
}

// authorize returns whose token the header carries and where that may write
// (nil: everywhere), or why it may not.
func (s *Subscriber) authorize(h natsgo.Header, at time.Time) (*auth.Principal, func(cluster string) bool, error) {
	p, err := s.bearer(h, at)
	if err != nil {
		return nil, nil, err
	}
	may, err := writable(s.o.Policy, p)
	return p, may, err
}

// bearer returns whose token the header carries.
func (s *Subscriber) bearer(h natsgo.Header, at time.Time) (*auth.Principal, error) {
	token, err := auth.BearerToken(values(h, "Authorization"), nil)
	if err != nil {
		return nil, err
	}
	return s.authenticate(token, at)
}

// authenticate holds a token's times against the moment when its message
// reached the stream: what waited there because we were away was good then.
func (s *Subscriber) authenticate(token string, at time.Time) (*auth.Principal, error) {
	if at.IsZero() {
		return s.o.Authenticator.Authenticate(s.ctx, token)
	}
	return s.o.Authenticator.AuthenticateAt(s.ctx, token, at)
}

// values returns all values of a header. Its name's case matters to NATS, and
// not to people.
func values(h natsgo.Header, name string) []string {
	var all []string
	for key, v := range h {
		if strings.EqualFold(key, name) {
			all = append(all, v...)
		}
	}
	return all
}

// refuse counts and audits a message that was turned away. The peer is the
// subject that we subscribed to: messages carry no publisher, and under a
// wildcard their own subjects are the publisher's to choose.
func (s *Subscriber) refuse(f *feed, p *auth.Principal, err error) verdict {
	code, ok := reasonOf(err)
	if overloaded, busy := errors.AsType[*auth.Overloaded](err); busy {
		f.fail(string(overloaded.Code), err)
		return later
	}
	if !ok {
		f.fail(failedAuth, err)
		return later
	}
	f.counters.refused.WithLabelValues(f.Subject.Subject, string(code)).Inc()
	f.refused.add(1, "reason", string(code))
	record(s.o.Audit, f.Subject.Subject, p, code)
	return never
}
