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

// connection is one connection of the client library, with a subscription for each feed. The
// library reconnects by itself. After some errors of the server it closes the connection for good,
// and then the Subscriber has to make a new one.
type connection struct {
	conn *natsgo.Conn
	gone chan struct{} // closed when the library has closed conn

	mu      sync.Mutex
	subs    []subscription
	callout *natsgo.Subscription // nil without one
}

type subscription struct {
	*natsgo.Subscription
	feed    *feed
	dropped int // messages counted so far
}

// dial makes a connection. An unreachable server is not an error: the library keeps trying.
func (s *Subscriber) dial() (*connection, error) {
	c := &connection{gone: make(chan struct{})}
	var err error
	if c.conn, err = natsgo.Connect(s.o.Address, s.connectOptions(c)...); err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if err := s.subscribe(c); err != nil && !c.conn.IsClosed() { // closed already: see gone
		c.close()
		return nil, err
	}
	return c, nil
}

// subscribe adds the subscriptions of all subjects without a stream.
func (s *Subscriber) subscribe(c *connection) error {
	if s.callout != nil {
		var err error
		if c.callout, err = c.conn.QueueSubscribe(server.AuthCalloutSubject, calloutQueue, s.enqueueRequest); err != nil {
			return fmt.Errorf("subscribing to the auth callout: %w", err)
		}
	}
	for _, f := range s.feeds {
		if f.Stream != "" {
			continue
		}
		if err := c.subscribe(f, s.enqueue, s.o.PendingMessages, s.o.PendingBytes); err != nil {
			return fmt.Errorf("subscribing to %q: %w", f.Subject.Subject, err)
		}
	}
	return nil
}

func (s *Subscriber) connectOptions(c *connection) []natsgo.Option {
	options := []natsgo.Option{
		natsgo.Name("ringstore"),
		natsgo.MaxReconnects(-1),
		natsgo.RetryOnFailedConnect(true),
		natsgo.IgnoreAuthErrorAbort(), // else a second refusal closes the connection for good
		natsgo.ReconnectWait(s.o.ReconnectWait),
		natsgo.PingInterval(20 * time.Second), // detects a lost server within a minute
		natsgo.ConnectHandler(s.onConnect),
		natsgo.ReconnectHandler(s.onConnect),
		natsgo.DisconnectErrHandler(s.onDisconnect),
		natsgo.ReconnectErrHandler(s.onDisconnect),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { s.onError(c, err) }),
		natsgo.ClosedHandler(func(*natsgo.Conn) { close(c.gone) }),
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
	if s.embedded != nil {
		s.countLost(c)
	}
	s.o.Log.Info("NATS connected", "server", s.serverName(c))
}

// serverName returns the server's name for the log, without credentials.
func (s *Subscriber) serverName(c *natsgo.Conn) string {
	if s.embedded != nil {
		return "embedded"
	}
	return c.ConnectedUrlRedacted()
}

// onDisconnect logs lost connections and failed attempts.
func (s *Subscriber) onDisconnect(c *natsgo.Conn, err error) {
	if c != nil {
		s.losses.disconnected(c)
	}
	if err != nil && !s.stopping() {
		s.disconnected.add(1, "error", truncated(err.Error()))
	}
}

// onError logs errors of the server and counts dropped messages.
func (s *Subscriber) onError(c *connection, err error) {
	switch {
	case errors.Is(err, natsgo.ErrSlowConsumer):
		c.countDropped()
	case errors.Is(err, natsgo.ErrBadHeaderMsg): // the library delivers the message without headers
	case !s.stopping():
		s.serverErrors.add(1, "error", truncated(err.Error()))
	}
}

// subscribe adds a subscription that passes messages to handle, which may block. messages and bytes
// bound what waits for it.
func (c *connection) subscribe(f *feed, handle func(*feed, *natsgo.Msg), messages, bytes int) error {
	sub, err := c.conn.Subscribe(f.Subject.Subject, func(m *natsgo.Msg) { handle(f, m) })
	if err != nil {
		return err
	}
	if err := sub.SetPendingLimits(messages, bytes); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs = append(c.subs, subscription{Subscription: sub, feed: f})
	return nil
}

// countDropped counts what the library has dropped since the last call.
func (c *connection) countDropped() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.subs {
		c.subs[i].countDropped()
	}
}

func (s *subscription) countDropped() {
	if n, err := s.Dropped(); err == nil && n > s.dropped {
		s.feed.drop(n - s.dropped)
		s.dropped = n
	}
}

// drain tells the server to send no more. It lifts the limits, so that nothing is dropped from then
// on: the drops of an ended subscription cannot be counted.
func (s *subscription) drain() {
	_ = s.SetPendingLimits(-1, -1) // this and Drain fail only on an ended subscription
	s.countDropped()
	_ = s.Drain()
}

// drain tells the server to send no more, and waits until every received message has been handled.
// When ctx is done, it no longer waits for the server.
func (c *connection) drain(ctx context.Context) {
	if c.callout != nil {
		_ = c.callout.Drain() // fails only without a connection
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !c.drained(ctx.Err() != nil) {
		<-tick.C
	}
	c.countDropped()
}

// drained drains subscriptions that are not draining yet, and reports whether all are done. A
// subscription is done when it has ended, or when it has no pending messages and the server is gone
// or, with hurry, ignored. A message is pending until its callback has returned.
func (c *connection) drained(hurry bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	done := c.calloutDrained(hurry)
	for i := range c.subs {
		sub := &c.subs[i]
		connected := c.conn.IsConnected() // before Pending: once it is false, nothing arrives
		if n, _, err := sub.Pending(); err != nil {
			continue // it has ended
		} else if n > 0 || connected && !hurry {
			done = false
		}
		if connected && !sub.IsDraining() {
			sub.drain()
		}
	}
	return done
}

func (c *connection) calloutDrained(hurry bool) bool {
	if c.callout == nil {
		return true
	}
	connected := c.conn.IsConnected()
	n, _, err := c.callout.Pending()
	return err != nil || n == 0 && (!connected || hurry)
}

// close closes the connection and waits until it is closed.
func (c *connection) close() {
	c.conn.Close()
	<-c.gone
}
