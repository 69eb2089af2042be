package nats

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// turn is how often held back log lines are summed up.
const turn = 5 * time.Second

// lookEvery is how often it is seen whether tokens still hold.
const lookEvery = time.Second

// Subscriber takes messages until it is closed. What it receives waits in the
// client library, bounded per subject, until one of a few workers is free.
type Subscriber struct {
	o        Options
	feeds    []*feed
	counters *counters
	embedded *embedded // nil with a server elsewhere
	callout  *callout  // nil if that does not ask us

	pullers                  []*puller // of the subjects with a stream
	disconnected, complaints *note
	unzippers                unzippers

	link   atomic.Pointer[link] // replaced only by supervise
	jobs   chan job             // unbuffered: what was taken is with a worker
	ctx    context.Context      // of the work; done when Close gives up waiting
	cancel context.CancelFunc

	stop       chan struct{} // Close has begun
	drained    chan struct{} // no more jobs will come
	pulling    sync.WaitGroup
	supervisor sync.WaitGroup
	workers    sync.WaitGroup
	closing    sync.Once
	closed     error
}

// job is a message to handle. settle is called with what became of it, unless
// it is nil.
type job struct {
	feed   *feed
	msg    *natsgo.Msg
	at     time.Time // when it reached its stream
	settle func(verdict)
}

// Subscribe connects, or starts the embedded server, and takes messages from
// then on. A server that cannot be reached or refuses us is not an error: it
// is tried again, forever. Errors are about the options, files, the metrics'
// registration, and the address to listen on; then nothing is left running.
//
// The embedded server starts to listen when our own subscriptions stand, so
// what a publisher could send is received.
func Subscribe(o Options) (*Subscriber, error) {
	err := o.complete()
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	s := &Subscriber{
		o:            o,
		disconnected: newNote(o.Log, slog.LevelWarn, 1, "NATS not connected, trying again"),
		complaints:   newNote(o.Log, slog.LevelError, 10, "NATS server complains"),
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
	s.link.Store(l)
	if l.conn.IsConnected() {
		err = l.conn.FlushTimeout(5 * time.Second) // then the server knows the subscriptions
	}
	switch {
	case s.embedded == nil:
		return nil
	case err != nil:
		return fmt.Errorf("subscribing at the embedded server: %w", err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, 2*apiTime)
	defer cancel()
	for _, p := range s.pullers { // before: a message without a consumer is not kept
		if err := p.open(ctx); err != nil {
			return fmt.Errorf("embedded server: stream %q: %w", p.feed.Stream, err)
		}
	}
	return s.embedded.listen()
}

// warn says at start what is not as safe as it could be.
func (s *Subscriber) warn() {
	for _, f := range s.feeds {
		if f.Authorization == Trusted {
			s.o.Log.Warn("NATS subject is trusted: whoever may publish there may write, without a token", "subject", f.Subject.Subject)
		}
	}
	for _, pair := range overlaps(s.o.Subjects) {
		s.o.Log.Warn("NATS subjects overlap: a message that matches both is handled twice", "subject", pair[0], "other", pair[1])
	}
}

// Addr is the address that the embedded server listens on, nil without one.
func (s *Subscriber) Addr() net.Addr {
	if s.embedded == nil {
		return nil
	}
	return s.embedded.addr
}

// Connected tells whether a server is connected.
func (s *Subscriber) Connected() bool {
	l := s.link.Load()
	return l != nil && l.conn.IsConnected()
}

// take hands a message to a worker. It blocks while all are busy, and what
// comes meanwhile waits in the library, subject by subject. Events stay here, in
// their order: of a job that ended at once, the end must not come first.
func (s *Subscriber) take(f *feed, m *natsgo.Msg) {
	if f.Events != nil {
		s.handle(f, m, time.Time{})
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
			v := s.handle(j.feed, j.msg, j.at)
			if j.settle != nil {
				j.settle(v)
			}
		case <-s.drained:
			return
		}
	}
}

// ask hands a server's question to a worker.
func (s *Subscriber) ask(m *natsgo.Msg) {
	s.callout.open.Add(1)
	select {
	case s.callout.requests <- m:
	case <-s.ctx.Done():
		s.callout.open.Done()
	}
}

func (s *Subscriber) answer() {
	for {
		select {
		case m := <-s.callout.requests:
			s.callout.answer(s.ctx, m)
			s.callout.open.Done()
		case <-s.drained:
			return
		}
	}
}

// supervise sums up the log and replaces a link that is gone for good.
func (s *Subscriber) supervise() {
	tick := time.NewTicker(turn)
	defer tick.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			s.turn()
		case <-look.C:
			if s.embedded != nil {
				s.embedded.turn()
			}
			s.alive()
		case <-s.link.Load().gone:
			s.onDisconnect(nil, s.link.Load().conn.LastError())
			s.redial()
		}
	}
}

// redial makes a new link after a while. If that fails the old one stays, and
// is seen to be gone again.
func (s *Subscriber) redial() {
	if s.pause(s.o.ReconnectWait); s.stopping() {
		return
	}
	l, err := s.dial()
	if err != nil {
		s.onDisconnect(nil, err)
		return
	}
	s.link.Store(l)
}

// pause waits, unless Close begins.
func (s *Subscriber) pause(d time.Duration) {
	select {
	case <-s.stop:
	case <-time.After(d):
	}
}

func (s *Subscriber) turn() {
	if l := s.link.Load(); l != nil {
		l.countDropped()
	}
	for _, n := range s.notes() {
		n.turn()
	}
}

func (s *Subscriber) notes() []*note {
	notes := []*note{s.disconnected, s.complaints}
	for _, f := range s.feeds {
		notes = append(notes, f.notes()...)
	}
	for _, p := range s.pullers {
		notes = append(notes, p.fail)
	}
	if s.embedded != nil {
		notes = append(notes, s.embedded.notes()...)
	}
	if s.callout != nil {
		notes = append(notes, s.callout.notes()...)
	}
	return notes
}

func (s *Subscriber) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// Close takes no more messages, handles those that were received, and ends the
// connection and the embedded server. When ctx is done before that, it gives
// up what is left and says so; either way nothing runs any more when it
// returns. A second Close waits for the first and returns the same.
func (s *Subscriber) Close(ctx context.Context) error {
	s.closing.Do(func() { s.closed = s.close(ctx) })
	return s.closed
}

func (s *Subscriber) close(ctx context.Context) error {
	defer s.cancel()
	giveUp := context.AfterFunc(ctx, s.cancel)
	close(s.stop)
	s.supervisor.Wait()
	s.pulling.Wait() // what is left in the streams stays there
	if s.embedded != nil {
		// First, so that publishers keep for later what they send from now on.
		s.embedded.shutdown()
	}
	if l := s.link.Load(); l != nil {
		l.drain(s.ctx)
		if s.callout != nil {
			s.callout.open.Wait() // an answer that does not come is a refusal
		}
		l.close()
	}
	close(s.drained)
	s.workers.Wait()
	s.turn()
	if !giveUp() {
		return fmt.Errorf("nats: closed before all messages were handled: %w", context.Cause(ctx))
	}
	return nil
}
