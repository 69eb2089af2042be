package nats

import (
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/auth"
)

// Events handles the messages of a subject for events instead of metrics; [jobs.Events] is one.
// Events decide who may read what, so such a subject is never Trusted.
type Events interface {
	// May returns which clusters p may report events of, nil for all. The error is a *auth.Denied.
	May(p *auth.Principal) (func(cluster string) bool, error)
	// Handle handles a message whose sender may report events of some clusters. It must not keep
	// the message. The error is about the parts of the message that it did not apply.
	Handle(may func(cluster string) bool, message []byte) error
	// MarkAlive is called every second or so while there is a connection.
	MarkAlive()
	// MarkLost is called when messages were dropped because too many were waiting.
	MarkLost()
}

// handleEvent handles one message of a subject with events.
func (s *Subscriber) handleEvent(f *feed, m *natsgo.Msg, at time.Time) verdict {
	var p *auth.Principal
	var may func(cluster string) bool // all: with Connection, only such principals may publish here
	if f.Authorization == Header {
		var err error
		if p, err = s.authenticate(m.Header, at); err == nil {
			may, err = f.Events.May(p)
		}
		if err != nil {
			return s.refuse(f, p, err)
		}
	}
	if e, err := encodingOf(values(m.Header, "Content-Encoding")); err != nil || e != identityEncoding {
		f.fail(failedEncoding, errPlain)
		return discard
	}
	err := f.Events.Handle(may, m.Data)
	if _, refused := reasonOf(err); refused {
		return s.refuse(f, p, err)
	}
	if err != nil {
		f.fail(failedEvent, err)
		return discard
	}
	return accepted
}

// markEventsAlive calls MarkAlive while there is a connection.
func (s *Subscriber) markEventsAlive() {
	if !s.Connected() {
		return
	}
	for _, f := range s.feeds {
		if f.Events != nil {
			f.Events.MarkAlive()
		}
	}
}
