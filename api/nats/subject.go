package nats

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// Authorization is how a subject checks the permission to write.
type Authorization string

const (
	// Header expects a token in each message's header "Authorization: Bearer".
	Header Authorization = "header"
	// Connection expects a token when a publisher connects, as its password or auth token, and
	// permits it to publish where the principal may write. It needs an embedded server, or a
	// [Callout] for an external one.
	Connection Authorization = "connection"
	// Trusted checks nothing: any client that may publish on the server may write.
	Trusted Authorization = "trusted"
)

// Subject is one subject to subscribe to. Subjects that overlap must have the same Authorization,
// and with Connection the same ClusterTag.
type Subject struct {
	Subject string // a NATS subject, wildcards allowed
	// ClusterTag is the cluster of lines without a cluster tag; empty: such lines are rejected.
	// With Connection it is the only cluster that a line may have.
	ClusterTag    string
	Authorization Authorization // empty means Header
	// EachField reads each field of a line as a metric, see [lineprotocol.Dialect]. Telegraf's lines
	// have several.
	EachField bool

	// Stream and Durable name a JetStream stream and its consumer, which are created if missing.
	// Set both or neither. Two subjects must not share a consumer.
	Stream, Durable string

	// Guests lets clients without a token or password publish, at the embedded server. In a stream,
	// it bounds what unverifiable messages can hold up. Not with Connection.
	Guests bool

	// Events handles the messages; nil means that they are metrics. Such a subject has no Stream,
	// and with Connection it must not overlap any other subject.
	Events Events
}

// mergeSubjects checks the subjects and merges duplicates. A subject with several cluster tags gets
// none, so that its lines need a cluster tag.
func mergeSubjects(subjects []Subject) ([]Subject, error) {
	if len(subjects) == 0 {
		return nil, errors.New("no subjects to subscribe to")
	}
	var merged []Subject
	for _, s := range subjects {
		if s.Authorization == "" {
			s.Authorization = Header
		}
		if err := s.check(); err != nil {
			return nil, err
		}
		i := slices.IndexFunc(merged, func(m Subject) bool { return m.Subject == s.Subject })
		if i >= 0 && (s.Events != nil || merged[i].Events != nil) {
			return nil, fmt.Errorf("subject %q: events need a subject of their own", s.Subject)
		}
		if i < 0 {
			merged = append(merged, s)
			continue
		}
		if merged[i].Authorization != s.Authorization {
			return nil, fmt.Errorf("subject %q: two kinds of authorization", s.Subject)
		}
		if merged[i].Guests != s.Guests {
			return nil, fmt.Errorf("subject %q: with and without guests", s.Subject)
		}
		if merged[i].EachField != s.EachField {
			return nil, fmt.Errorf("subject %q: two dialects", s.Subject)
		}
		if merged[i].Stream != s.Stream || merged[i].Durable != s.Durable {
			return nil, fmt.Errorf("subject %q: two streams or consumers", s.Subject)
		}
		if merged[i].ClusterTag != s.ClusterTag {
			merged[i].ClusterTag = ""
		}
	}
	for i, s := range merged {
		if s.Stream == "" {
			continue
		}
		if slices.ContainsFunc(merged[:i], func(m Subject) bool { return m.Stream == s.Stream && m.Durable == s.Durable }) {
			return nil, fmt.Errorf("subject %q: another subject has the consumer %q", s.Subject, s.Durable)
		}
	}
	return merged, checkOverlaps(merged)
}

// checkOverlaps checks that overlapping subjects need the same permission. A message that matches
// both is handled for both, so permission for one would otherwise give permission for the other.
func checkOverlaps(subjects []Subject) error {
	for i, s := range subjects {
		for _, other := range subjects[:i] {
			if server.SubjectsCollide(s.Subject, other.Subject) && !s.sameCheck(other) {
				return fmt.Errorf("subject %q overlaps with %q, which needs another permission: with one, a publisher would have the other", s.Subject, other.Subject)
			}
		}
	}
	return nil
}

// sameCheck reports whether publishing to either subject needs the same permission, or both check
// each message.
func (s Subject) sameCheck(other Subject) bool {
	return s.Authorization == other.Authorization && s.Guests == other.Guests &&
		(s.Authorization != Connection || s.Events == nil && other.Events == nil && s.ClusterTag == other.ClusterTag)
}

func (s Subject) check() error {
	if !server.IsValidSubject(s.Subject) || strings.ContainsFunc(s.Subject, notInSubject) {
		return fmt.Errorf("subject %q is not valid", s.Subject)
	}
	switch s.Authorization {
	case Header, Connection, Trusted:
	default:
		return fmt.Errorf("subject %q: authorization: expected %q, %q or %q, got %q", s.Subject, Header, Connection, Trusted, s.Authorization)
	}
	if s.Events != nil && (s.Authorization == Trusted || s.Stream != "") {
		return fmt.Errorf("subject %q: events must not be %q or in a stream", s.Subject, Trusted)
	}
	if s.Guests && (s.Authorization == Connection || s.Events != nil) {
		return fmt.Errorf("subject %q: guests may publish neither events nor where authorization is %q", s.Subject, Connection)
	}
	if (s.Stream == "") != (s.Durable == "") {
		return fmt.Errorf("subject %q: set stream and durable both or neither", s.Subject)
	}
	for _, name := range []string{s.Stream, s.Durable} {
		if strings.ContainsAny(name, ".*>/\\") || strings.ContainsFunc(name, notInSubject) {
			return fmt.Errorf("subject %q: %q cannot name a stream or consumer", s.Subject, name)
		}
	}
	return nil
}

func notInSubject(r rune) bool { return r <= ' ' || r == 0x7f }

// overlaps returns the pairs of subjects that overlap. A message that matches both is handled for
// each.
func overlaps(subjects []Subject) (pairs [][2]string) {
	for i, a := range subjects {
		for _, b := range subjects[i+1:] {
			if server.SubjectsCollide(a.Subject, b.Subject) {
				pairs = append(pairs, [2]string{a.Subject, b.Subject})
			}
		}
	}
	return pairs
}
