package nats

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"

	"github.com/klauspost/compress/gzip"
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
	for _, counter := range c.plain() { // a counter is there from the start, not from the first event on
		counter.WithLabelValues(s.Subject)
	}
	return f
}

func (f *feed) notes() []*note { return []*note{f.refused, f.failed, f.rejected, f.dropped} }

func (f *feed) drop(messages int) {
	f.counters.dropped.WithLabelValues(f.Subject.Subject).Add(float64(messages))
	f.dropped.add(messages)
}

func (f *feed) fail(reason string, err error) {
	f.counters.failed.WithLabelValues(f.Subject.Subject, reason).Inc()
	f.failed.add(1, "reason", reason, "error", clip(err.Error()))
}

// handle takes one message to where it belongs. Messages of one subject are
// handled side by side: their order matters only where two write the same
// moment of the same series.
func (s *Subscriber) handle(f *feed, m *natsgo.Msg) {
	f.counters.messages.WithLabelValues(f.Subject.Subject).Inc()
	f.counters.bytes.WithLabelValues(f.Subject.Subject).Add(float64(len(m.Data)))
	if f.Authorization == Header {
		if p, err := s.authorize(m.Header); err != nil {
			s.refuse(f, p, err)
			return
		}
	}
	report, reason, err := s.store(f, m)
	if report.RejectedTotal > 0 {
		f.counters.rejected.WithLabelValues(f.Subject.Subject).Add(float64(report.RejectedTotal))
		first := report.Rejected[0]
		f.rejected.add(1, "lines", report.RejectedTotal, "line", first.Line, "reason", clip(first.Reason))
	}
	switch {
	case errors.Is(err, memstore.ErrMemory):
		f.fail(failedMemory, err)
	case err != nil:
		f.fail(reason, err)
	}
}

// authorize returns whose token the header carries, and why that may not write.
func (s *Subscriber) authorize(h natsgo.Header) (*auth.Principal, error) {
	token, err := auth.BearerToken(values(h, "Authorization"), nil)
	if err != nil {
		return nil, err
	}
	p, err := s.o.Authenticator.Authenticate(s.ctx, token)
	if err != nil {
		return nil, err
	}
	return p, s.o.Policy.Decide(p, auth.Write)
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
func (s *Subscriber) refuse(f *feed, p *auth.Principal, err error) {
	event := auth.Event{Transport: transport, Peer: f.Subject.Subject, Action: auth.Write}
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		event.Code = refusal.Code
	} else if denied, ok := errors.AsType[*auth.Denied](err); ok {
		event.Code = denied.Code
	} else if overloaded, ok := errors.AsType[*auth.Overloaded](err); ok {
		f.fail(string(overloaded.Code), err)
		return
	} else {
		f.fail(failedAuth, err)
		return
	}
	if p != nil {
		event.Issuer, event.Subject, event.Roles = p.Issuer, p.Subject, p.Roles
	}
	f.counters.refused.WithLabelValues(f.Subject.Subject, string(event.Code)).Inc()
	f.refused.add(1, "reason", string(event.Code))
	if s.o.Audit != nil {
		s.o.Audit.Record(event)
	}
}

// Errors of a message's body.
var (
	errTooLarge = errors.New("the body is larger than the limit")
	errEncoding = errors.New("Content-Encoding is neither gzip nor identity")
)

// store hands the body to the ingester. With an error comes the reason that it
// is counted under.
func (s *Subscriber) store(f *feed, m *natsgo.Msg) (report ingest.Report, reason string, err error) {
	src := ingest.Source{Cluster: f.ClusterTag, Transport: transport}
	zipped, err := gzipped(values(m.Header, "Content-Encoding"))
	switch {
	case err != nil:
		return report, failedEncoding, err
	case int64(len(m.Data)) > s.o.MaxBody:
		return report, failedTooLarge, errTooLarge
	case zipped:
		return s.storeGzip(s.ctx, src, m.Data)
	}
	report, err = s.o.Ingester.Batch(s.ctx, src, m.Data)
	return report, failedStore, err
}

func (s *Subscriber) storeGzip(ctx context.Context, src ingest.Source, data []byte) (ingest.Report, string, error) {
	z, _ := s.unzippers.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	defer s.unzippers.Put(z)
	if err := z.Reset(bytes.NewReader(data)); err != nil {
		return ingest.Report{}, failedEncoding, err
	}
	body := &boundedReader{r: z, left: s.o.MaxBody + 1}
	report, err := s.o.Ingester.Stream(ctx, src, body)
	switch {
	case body.err == nil:
		return report, failedStore, err
	case errors.Is(body.err, errTooLarge):
		return report, failedTooLarge, err
	default:
		return report, failedEncoding, err
	}
}

// gzipped tells whether a body is compressed.
func gzipped(encodings []string) (bool, error) {
	var zipped, plain bool
	for _, e := range encodings {
		switch strings.ToLower(strings.TrimSpace(e)) {
		case "gzip", "x-gzip": // the same to RFC 9110 section 8.4.1.3
			zipped = true
		case "", "identity":
			plain = true
		default:
			return false, errEncoding
		}
	}
	if zipped && plain {
		return false, errEncoding
	}
	return zipped, nil
}

// boundedReader fails with errTooLarge when left, one byte more than may come,
// has been read. It keeps the error that it or r ended with, unless io.EOF.
type boundedReader struct {
	r    io.Reader
	left int64
	err  error
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if b.left == 0 {
		err = errTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}
