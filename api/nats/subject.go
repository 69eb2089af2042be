package nats

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// Authorization is how the right to write is checked on a subject.
type Authorization string

const (
	// Header wants a token in each message's header "Authorization: Bearer".
	Header Authorization = "header"
	// Connection wants a token where a publisher connects, as its password or
	// auth token, and lets it publish to what the principal may write. It needs
	// an embedded server, or a [Callout] of the server elsewhere.
	Connection Authorization = "connection"
	// Trusted checks nothing: whoever may publish on the server may write.
	Trusted Authorization = "trusted"
)

// Subject is one subject to subscribe to. Those that have messages in common
// ask for the same Authorization, with Connection also for the same ClusterTag.
type Subject struct {
	Subject string // as NATS has them, wildcards allowed
	// ClusterTag is the cluster of lines that name none; empty if they have to.
	// With Connection it is the only one that a line may name.
	ClusterTag    string
	Authorization Authorization // empty means Header

	// Stream and Durable name a stream of JetStream and a consumer of it, which
	// are made if they are not there; both or neither. No two subjects share a
	// consumer.
	Stream, Durable string

	// Events takes the messages; nil means that they are metrics. With Connection
	// no other subject may have messages in common with this one. No Stream.
	Events Events
}

// mergeSubjects leaves each subject once. One that came with several cluster
// tags has none, so that its lines need their own.
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
			return nil, fmt.Errorf("subject %q is there for events, and for something else", s.Subject)
		}
		if i < 0 {
			merged = append(merged, s)
			continue
		}
		if merged[i].Authorization != s.Authorization {
			return nil, fmt.Errorf("subject %q is there with two kinds of authorization", s.Subject)
		}
		if merged[i].Stream != s.Stream || merged[i].Durable != s.Durable {
			return nil, fmt.Errorf("subject %q is there with two streams or consumers", s.Subject)
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
			return nil, fmt.Errorf("subject %q: another has the consumer %q of its stream", s.Subject, s.Durable)
		}
	}
	return merged, checkOverlaps(merged)
}

// checkOverlaps makes sure that who may publish to one subject cannot thereby
// do on another what is not asked for there: a message that matches both is
// taken on both, and where the connection was asked nobody asks the message.
func checkOverlaps(subjects []Subject) error {
	for i, s := range subjects {
		for _, other := range subjects[:i] {
			if server.SubjectsCollide(s.Subject, other.Subject) && !s.asksAs(other) {
				return fmt.Errorf("subject %q overlaps with %q, where another right is asked for: who has one would have the other", s.Subject, other.Subject)
			}
		}
	}
	return nil
}

// asksAs tells whether publishing to either subject takes the same right, or
// each message is asked on both.
func (s Subject) asksAs(other Subject) bool {
	return s.Authorization == other.Authorization &&
		(s.Authorization != Connection || s.Events == nil && other.Events == nil && s.ClusterTag == other.ClusterTag)
}

func (s Subject) check() error {
	if !server.IsValidSubject(s.Subject) || strings.ContainsFunc(s.Subject, notInSubject) {
		return fmt.Errorf("subject %q is not valid", s.Subject)
	}
	switch s.Authorization {
	case Header, Connection, Trusted:
	default:
		return fmt.Errorf("subject %q: authorization %q is none of %q, %q and %q", s.Subject, s.Authorization, Header, Connection, Trusted)
	}
	if s.Events != nil && (s.Authorization == Trusted || s.Stream != "") {
		return fmt.Errorf("subject %q: events are neither %q nor in a stream", s.Subject, Trusted)
	}
	if (s.Stream == "") != (s.Durable == "") {
		return fmt.Errorf("subject %q: a stream needs a durable consumer, and that a stream", s.Subject)
	}
	for _, name := range []string{s.Stream, s.Durable} {
		if strings.ContainsAny(name, ".*>/\\") || strings.ContainsFunc(name, notInSubject) {
			return fmt.Errorf("subject %q: %q cannot name a stream or consumer", s.Subject, name)
		}
	}
	return nil
}

func notInSubject(r rune) bool { return r <= ' ' || r == 0x7f }

// overlaps names pairs of subjects that one message can match, which is then
// handled for each.
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
