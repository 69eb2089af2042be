package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
)

// link is one connection of the client library, with a subscription for each
// feed. The library reconnects by itself; after some errors of the server it
// closes the connection for good, and then a new link has to be made.
type link struct {
	conn *natsgo.Conn
	gone chan struct{} // closed when the library has closed the connection

	mu      sync.Mutex
	subs    []subscription
	callout *natsgo.Subscription // nil without one
}

type subscription struct {
	*natsgo.Subscription
	feed    *feed
	dropped int // that were counted
}

// dial makes a link. A server that cannot be reached is not an error: the
// library goes on trying.
func (s *Subscriber) dial() (*link, error) {
	l := &link{gone: make(chan struct{})}
	var err error
	if l.conn, err = natsgo.Connect(s.o.Address, s.connectOptions(l)...); err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if err := s.subscribe(l); err != nil && !l.conn.IsClosed() { // or the server was quick: see gone
		l.close()
		return nil, err
	}
	return l, nil
}

// subscribe adds all subscriptions, but for the subjects that a stream holds.
func (s *Subscriber) subscribe(l *link) error {
	if s.callout != nil {
		var err error
		if l.callout, err = l.conn.QueueSubscribe(server.AuthCalloutSubject, calloutQueue, s.ask); err != nil {
			return fmt.Errorf("subscribing to the auth callout: %w", err)
		}
	}
	for _, f := range s.feeds {
		if f.Stream != "" {
			continue
		}
		if err := l.subscribe(f, s.take, s.o.PendingMessages, s.o.PendingBytes); err != nil {
			return fmt.Errorf("subscribing to %q: %w", f.Subject.Subject, err)
		}
	}
	return nil
}

func (s *Subscriber) connectOptions(l *link) []natsgo.Option {
	options := []natsgo.Option{
		natsgo.Name("ringstore"),
		natsgo.MaxReconnects(-1),
		natsgo.RetryOnFailedConnect(true),
		natsgo.IgnoreAuthErrorAbort(), // or the second refusal would end it for good
		natsgo.ReconnectWait(s.o.ReconnectWait),
		natsgo.PingInterval(20 * time.Second), // a server that vanished is noticed within a minute
		natsgo.ConnectHandler(s.onConnect),
		natsgo.ReconnectHandler(s.onConnect),
		natsgo.DisconnectErrHandler(s.onDisconnect),
		natsgo.ReconnectErrHandler(s.onDisconnect),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { s.onError(l, err) }),
		natsgo.ClosedHandler(func(*natsgo.Conn) { close(l.gone) }),
	}
	if s.embedded != nil {
		return append(options, s.embedded.connectOptions()...)
	}
	if s.o.Username != "" || s.o.Password != "" {
		options = append(options, natsgo.UserInfo(s.o.Username, s.o.Password))
	}
	if s.o.CredsFile != "" {
		options = append(options, natsgo.UserCredentials(s.o.CredsFile))
	}
	if s.o.NkeySeedFile != "" {
		options = append(options, func(o *natsgo.Options) error {
			nkey, err := natsgo.NkeyOptionFromSeed(s.o.NkeySeedFile)
			if err != nil {
				return err
			}
			return nkey(o)
		})
	}
	return options
}

func (s *Subscriber) onConnect(c *natsgo.Conn) {
	s.counters.connects.Inc()
	s.o.Log.Info("NATS connected", "server", s.serverName(c))
}

// serverName names the server for the log, without credentials.
func (s *Subscriber) serverName(c *natsgo.Conn) string {
	if s.embedded != nil {
		return "embedded"
	}
	return c.ConnectedUrlRedacted()
}

// onDisconnect hears of lost connections and of attempts that failed.
func (s *Subscriber) onDisconnect(_ *natsgo.Conn, err error) {
	if err != nil && !s.stopping() {
		s.disconnected.add(1, "error", clip(err.Error()))
	}
}

// onError hears of what the server complains about, and of dropped messages.
func (s *Subscriber) onError(l *link, err error) {
	switch {
	case errors.Is(err, natsgo.ErrSlowConsumer):
		l.countDropped()
	case errors.Is(err, natsgo.ErrBadHeaderMsg): // the message comes without headers then
	case !s.stopping():
		s.complaints.add(1, "error", clip(err.Error()))
	}
}

// subscribe adds a subscription whose messages go to take, which may block.
func (l *link) subscribe(f *feed, take func(*feed, *natsgo.Msg), messages, bytes int) error {
	sub, err := l.conn.Subscribe(f.Subject.Subject, func(m *natsgo.Msg) { take(f, m) })
	if err != nil {
		return err
	}
	if err := sub.SetPendingLimits(messages, bytes); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subs = append(l.subs, subscription{Subscription: sub, feed: f})
	return nil
}

// countDropped tells the feeds what the library has dropped since the last time.
func (l *link) countDropped() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.subs {
		l.subs[i].countDropped()
	}
}

func (s *subscription) countDropped() {
	if n, err := s.Dropped(); err == nil && n > s.dropped {
		s.feed.drop(n - s.dropped)
		s.dropped = n
	}
}

// drain tells the server to send no more. From then on nothing is dropped, as
// a subscription that has ended does not tell how much it was.
func (s *subscription) drain() {
	_ = s.SetPendingLimits(-1, -1) // both fail only if it has ended
	s.countDropped()
	_ = s.Drain()
}

// drain tells the server to send no more and waits until every message that
// came has been taken. When ctx is done it no longer waits for the server.
func (l *link) drain(ctx context.Context) {
	if l.callout != nil {
		_ = l.callout.Drain() // fails only without a connection
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !l.drained(ctx.Err() != nil) {
		<-tick.C
	}
	l.countDropped()
}

// drained starts the draining of what does not yet, and tells whether all is
// done: the subscription has ended, or nothing waits and the server is gone or
// no matter. A message waits until its callback has returned.
func (l *link) drained(hurry bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := l.calloutDrained(hurry)
	for i := range l.subs {
		sub := &l.subs[i]
		connected := l.conn.IsConnected() // before Pending: nothing comes after it was false
		if n, _, err := sub.Pending(); err != nil {
			continue // has ended
		} else if n > 0 || connected && !hurry {
			done = false
		}
		if connected && !sub.IsDraining() {
			sub.drain()
		}
	}
	return done
}

func (l *link) calloutDrained(hurry bool) bool {
	if l.callout == nil {
		return true
	}
	connected := l.conn.IsConnected()
	n, _, err := l.callout.Pending()
	return err != nil || n == 0 && (!connected || hurry)
}

// close ends the connection and waits for it.
func (l *link) close() {
	l.conn.Close()
	<-l.gone
}
