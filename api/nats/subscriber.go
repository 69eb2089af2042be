package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/memstore"
)

const (
	flushInterval           = 5 * time.Second // of the rate-limited logs
	connectionCheckInterval = time.Second     // of tokens and rates
)

// Subscriber receives messages until it is closed. They wait in the client library, bounded per
// subject, until a worker is free.
type Subscriber struct {
	o        Options
	feeds    []*feed
	counters *counters
	embedded *embedded // nil with an external server
	callout  *callout  // nil without an auth callout

	pullers                    []*puller // of the subjects with a stream
	disconnected, serverErrors *rateLimitedLog
	decompressors              decompressors

	losses losses // of the embedded server's connection to us

	connection atomic.Pointer[connection] // replaced only by supervise
	jobs       chan job                   // unbuffered: a job that was sent is with a worker
	ctx        context.Context            // of the work; done when Close gives up waiting
	cancel     context.CancelFunc

	stop       chan struct{} // closed when Close begins
	drained    chan struct{} // closed when no more jobs come
	pulling    sync.WaitGroup
	supervisor sync.WaitGroup
	workers    sync.WaitGroup
	closing    sync.Once
	closed     error
}

// job is a message to handle. A worker calls done with the verdict, unless it is nil.
type job struct {
	feed   *feed
	msg    *natsgo.Msg
	at     time.Time       // when the message reached its stream; zero without one
	origin memstore.Origin // zero without a stream
	done   func(verdict)
}

// Subscribe connects to the external server, or starts the embedded one, and receives messages from
// then on. A server that is unreachable or refuses us is not an error: Subscribe keeps trying.
// Errors are about the options, files, the registration of metrics, the address to listen on, and a
// stream's consumer that would lose messages. After an error nothing is left running.
//
// The embedded server listens only when our own subscriptions exist, so that no published message
// is lost.
func Subscribe(o Options) (*Subscriber, error) {
	err := o.complete()
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	s := &Subscriber{
		o:            o,
		disconnected: newRateLimitedLog(o.Log, slog.LevelWarn, 1, "NATS not connected, retrying"),
		serverErrors: newRateLimitedLog(o.Log, slog.LevelError, 10, "NATS server error"),
		jobs:         make(chan job),
		stop:         make(chan struct{}),
		drained:      make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.counters = newCounters(s.Connected)
	for _, subject := range o.Subjects {
		f := newFeed(subject, s.counters, o.Log)
		s.feeds = append(s.feeds, f)
		if f.Stream != "" {
			s.pullers = append(s.pullers, newPuller(s, f))
		}
	}
	if o.Embedded != nil {
		s.embedded = newEmbedded(&s.o, s.counters)
		s.counters.more = append(s.counters.more, newPublisherGauges(s.embedded.publishers, s.embedded.clients))
	}
	if o.Callout != nil {
		if s.callout, err = newCallout(&s.o, s.counters); err != nil {
			return nil, fmt.Errorf("nats: %w", err)
		}
	}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	return s, nil
}

func (s *Subscriber) open() error {
	if s.o.Registerer != nil {
		if err := s.o.Registerer.Register(s.counters); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	s.warn()
	for range s.o.Workers {
		s.workers.Go(s.work)
	}
	if s.callout != nil {
		for range calloutWorkers {
			s.workers.Go(s.answer)
		}
	}
	if err := s.connect(); err != nil {
		_ = s.Close(context.Background())
		if s.o.Registerer != nil {
			s.o.Registerer.Unregister(s.counters)
		}
		return err
	}
	for _, p := range s.pullers {
		s.pulling.Go(p.run)
	}
	s.supervisor.Go(s.supervise)
	return nil
}

func (s *Subscriber) connect() (err error) {
	if s.embedded != nil {
		if err := s.embedded.start(); err != nil {
			return err
		}
	}
	l, err := s.dial()
	if err != nil {
		return err
	}
	s.connection.Store(l)
	if l.conn.IsConnected() {
		err = l.conn.FlushTimeout(5 * time.Second) // after it, the server has the subscriptions
	}
	switch {
	case s.embedded == nil && err == nil && l.conn.IsConnected():
		return s.checkConsumers()
	case s.embedded == nil:
		return nil
	case err != nil:
		return fmt.Errorf("subscribing at the embedded server: %w", err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, 2*apiTimeout)
	defer cancel()
	for _, p := range s.pullers { // before listen: the stream keeps no message without a consumer
		if err := p.open(ctx); err != nil {
			return fmt.Errorf("embedded server: stream %q: %w", p.feed.Stream, err)
		}
	}
	return s.embedded.listen()
}

// checkConsumers opens the consumers of an external server. It returns an error for one that would
// lose messages; any other error may pass, and the pullers try again.
func (s *Subscriber) checkConsumers() error {
	ctx, cancel := context.WithTimeout(s.ctx, apiTimeout)
	defer cancel()
	for _, p := range s.pullers {
		if mismatch, ok := errors.AsType[*consumerError](p.open(ctx)); ok {
			return mismatch
		}
	}
	return nil
}

// warn logs what may be unsafe or unintended in the options.
func (s *Subscriber) warn() {
	for _, f := range s.feeds {
		if f.Authorization == Trusted {
			s.o.Log.Warn("NATS subject is trusted: any client that may publish there may write without a token", "subject", f.Subject.Subject)
		}
	}
	for _, pair := range overlaps(s.o.Subjects) {
		s.o.Log.Warn("NATS subjects overlap: a message that matches both is handled twice", "subject", pair[0], "other", pair[1])
	}
}

// Addr returns the address that the embedded server listens on, nil without one.
func (s *Subscriber) Addr() net.Addr {
	if s.embedded == nil {
		return nil
	}
	return s.embedded.addr
}

// Connected reports whether a server is connected.
func (s *Subscriber) Connected() bool {
	l := s.connection.Load()
	return l != nil && l.conn.IsConnected()
}

// enqueue passes a message to a worker. It blocks while all are busy; further messages of the
// subject wait in the library. It handles events itself to keep their order: a job's end must not
// overtake its start.
func (s *Subscriber) enqueue(f *feed, m *natsgo.Msg) {
	if f.Events != nil {
		s.handle(job{feed: f, msg: m})
		return
	}
	select {
	case s.jobs <- job{feed: f, msg: m}:
	case <-s.ctx.Done():
		f.drop(1)
	}
}

func (s *Subscriber) work() {
	for {
		select {
		case j := <-s.jobs:
			v := s.handle(j)
			if j.done != nil {
				j.done(v)
			}
		case <-s.drained:
			return
		}
	}
}

// enqueueRequest passes a server's auth callout request to a worker.
func (s *Subscriber) enqueueRequest(m *natsgo.Msg) {
	s.callout.unanswered.Add(1)
	select {
	case s.callout.requests <- m:
	case <-s.ctx.Done():
		s.callout.unanswered.Done()
	}
}

func (s *Subscriber) answer() {
	for {
		select {
		case m := <-s.callout.requests:
			s.callout.answer(s.ctx, m)
			s.callout.unanswered.Done()
		case <-s.drained:
			return
		}
	}
}

// supervise flushes the rate-limited logs, checks the embedded server's connections, and replaces
// our own connection when it is closed for good.
func (s *Subscriber) supervise() {
	flush := time.NewTicker(flushInterval)
	defer flush.Stop()
	check := time.NewTicker(connectionCheckInterval)
	defer check.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-flush.C:
			s.flushLogs()
		case <-check.C:
			if s.embedded != nil {
				s.embedded.checkConnections()
			}
			s.markEventsAlive()
		case <-s.connection.Load().gone:
			s.onDisconnect(nil, s.connection.Load().conn.LastError())
			s.redial()
		}
	}
}

// redial makes a new connection after ReconnectWait. If that fails, the old one stays, and
// supervise sees again that it is gone.
func (s *Subscriber) redial() {
	if s.pause(s.o.ReconnectWait); s.stopping() {
		return
	}
	l, err := s.dial()
	if err != nil {
		s.onDisconnect(nil, err)
		return
	}
	s.connection.Store(l)
}

// pause waits, unless Close begins.
func (s *Subscriber) pause(d time.Duration) {
	select {
	case <-s.stop:
	case <-time.After(d):
	}
}

func (s *Subscriber) flushLogs() {
	if l := s.connection.Load(); l != nil {
		l.countDropped()
	}
	for _, l := range s.limitedLogs() {
		l.flush()
	}
}

func (s *Subscriber) limitedLogs() []*rateLimitedLog {
	limitedLogs := []*rateLimitedLog{s.disconnected, s.serverErrors}
	for _, f := range s.feeds {
		limitedLogs = append(limitedLogs, f.limitedLogs()...)
	}
	for _, p := range s.pullers {
		limitedLogs = append(limitedLogs, p.fail)
	}
	if s.embedded != nil {
		limitedLogs = append(limitedLogs, s.embedded.limitedLogs()...)
	}
	if s.callout != nil {
		limitedLogs = append(limitedLogs, s.callout.limitedLogs()...)
	}
	return limitedLogs
}

func (s *Subscriber) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// Close stops receiving, handles the messages already received, and closes the connection and the
// embedded server. If ctx is done before, it drops the remaining messages and returns an error. In
// both cases nothing is left running. A second Close waits for the first and returns the same.
func (s *Subscriber) Close(ctx context.Context) error {
	s.closing.Do(func() { s.closed = s.close(ctx) })
	return s.closed
}

func (s *Subscriber) close(ctx context.Context) error {
	defer s.cancel()
	giveUp := context.AfterFunc(ctx, s.cancel)
	close(s.stop)
	s.supervisor.Wait()
	s.pulling.Wait() // unfetched messages stay in the streams
	if s.embedded != nil {
		// Before draining: publishers without a server keep their messages until they reconnect.
		s.embedded.shutdown()
	}
	if l := s.connection.Load(); l != nil {
		l.drain(s.ctx)
		if s.callout != nil {
			s.callout.unanswered.Wait() // without an answer the server refuses the client
		}
		l.close()
	}
	close(s.drained)
	s.workers.Wait()
	s.flushLogs()
	if !giveUp() {
		return fmt.Errorf("nats: closed before all messages were handled: %w", context.Cause(ctx))
	}
	return nil
}
