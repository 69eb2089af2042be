package nats

import (
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/auth"
)

// Events takes what is published on a subject that has no metrics; [jobs.Events]
// is one. What a message tells counts as much as who may have sent it, so such a
// subject is never Trusted.
type Events interface {
	// May returns of which clusters p may tell, nil for all. The error is an
	// *auth.Denied.
	May(p *auth.Principal) (func(cluster string) bool, error)
	// Handle takes a message of somebody who may tell of some clusters. It must
	// not keep the message. The error is about parts of it that were left out.
	Handle(may func(cluster string) bool, message []byte) error
	// MarkAlive is called every second or so while there is a connection.
	MarkAlive()
	// MarkLost is called when messages were dropped, as they came too fast.
	MarkLost()
}

// event takes one message of a subject with events.
func (s *Subscriber) event(f *feed, m *natsgo.Msg, at time.Time) verdict {
	var p *auth.Principal
	var may func(cluster string) bool // all: who may connect to tell of events is asked that
	if f.Authorization == Header {
		var err error
		if p, err = s.bearer(m.Header, at); err == nil {
			may, err = f.Events.May(p)
		}
		if err != nil {
			return s.refuse(f, p, err)
		}
	}
	if e, err := encodingOf(values(m.Header, "Content-Encoding")); err != nil || e != identity {
		f.fail(failedEncoding, errPlain)
		return never
	}
	err := f.Events.Handle(may, m.Data)
	if _, refused := reasonOf(err); refused {
		return s.refuse(f, p, err)
	}
	if err != nil {
		f.fail(failedEvent, err)
		return never
	}
	return accepted
}

// alive tells who waits for events that these can come.
func (s *Subscriber) alive() {
	if !s.Connected() {
		return
	}
	for _, f := range s.feeds {
		if f.Events != nil {
			f.Events.MarkAlive()
		}
	}
}
