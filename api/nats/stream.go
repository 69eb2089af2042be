package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	fetchMessages = 128                    // at a time, acknowledged together
	fetchWait     = 500 * time.Millisecond // for them; a message is stored when it comes
	mostUnacked   = 1024                   // messages that were delivered and not acknowledged
	infoEvery     = 2 * time.Second        // the lag is asked for
	apiTime       = 5 * time.Second        // for an answer of the server
	leastBackoff  = time.Second            // before a message comes again
	mostBackoff   = time.Minute
	replicas      = 3  // of a stream that is made in a cluster
	patience      = 10 // attempts to make it so
)

// puller takes the messages of one subject from a stream. What was stored is
// acknowledged when it is on disk, so that what is lost with us comes again.
type puller struct {
	feed *feed
	s    *Subscriber
	log  *slog.Logger
	fail *note

	conn     *natsgo.Conn // that consumer was made with
	consumer jetstream.Consumer
	asked    time.Time // for the lag
	tooFew   int       // attempts that found too few servers for the replicas
}

func newPuller(s *Subscriber, f *feed) *puller {
	log := s.o.Log.With("subject", f.Subject.Subject, "stream", f.Stream, "durable", f.Durable)
	return &puller{feed: f, s: s, log: log, fail: newNote(log, slog.LevelError, 1, "NATS stream cannot be read, trying again")}
}

// run takes messages until the Subscriber stops.
func (p *puller) run() {
	for !p.s.stopping() {
		if err := p.step(); err != nil && !p.s.stopping() {
			p.fail.add(1, "error", clip(err.Error()))
			p.consumer = nil
			p.s.pause(p.s.o.ReconnectWait)
		}
	}
	if p.conn != nil && p.conn.IsConnected() {
		_ = p.conn.FlushTimeout(apiTime) // or the last acknowledgements do not leave
	}
}

// step takes what comes within a moment.
func (p *puller) step() error {
	ctx, cancel := context.WithTimeout(p.s.ctx, apiTime)
	defer cancel()
	if err := p.open(ctx); err != nil {
		return err
	}
	p.lag(ctx)
	batch, err := p.consumer.Fetch(p.messages(), jetstream.FetchMaxWait(fetchWait))
	if err != nil {
		return fmt.Errorf("fetching: %w", err)
	}
	sync := p.s.o.SyncPoint()
	p.settle(p.handle(batch.Messages()), sync)
	if err := batch.Error(); err != nil {
		return fmt.Errorf("fetching: %w", err)
	}
	return nil
}

// messages returns how many to fetch. They are bounded by number, though bytes
// are meant: a cluster's server ends a request for bytes before the messages of
// it that its peers have yet to hear of, which nobody takes then.
func (p *puller) messages() int {
	return int(min(max(int64(p.s.o.PendingBytes)/max(p.conn.MaxPayload(), 1), 1), fetchMessages))
}

// settled is a message and what became of it.
type settled struct {
	msg     jetstream.Msg
	verdict verdict
}

// handle has the workers handle all messages, side by side.
func (p *puller) handle(messages <-chan jetstream.Msg) []settled {
	var all []*settled
	var handled sync.WaitGroup
	for m := range messages {
		one := &settled{m, later}
		all = append(all, one)
		meta, err := m.Metadata()
		if err != nil { // no message of a stream
			one.verdict = never
			continue
		}
		if meta.NumDelivered > 1 {
			p.feed.counters.redelivered.WithLabelValues(p.feed.Subject.Subject).Inc()
		}
		handled.Add(1)
		j := job{p.feed, &natsgo.Msg{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()}, meta.Timestamp, func(v verdict) {
			one.verdict = v
			handled.Done()
		}}
		select {
		case p.s.jobs <- j:
		case <-p.s.ctx.Done():
			handled.Done()
		}
	}
	handled.Wait()
	done := make([]settled, len(all))
	for i, one := range all {
		done[i] = *one
	}
	return done
}

// settle tells the stream what became of the messages. What cannot be told
// comes again, which changes nothing in the store.
func (p *puller) settle(all []settled, sync func(context.Context) error) {
	synced := p.synced(all, sync)
	for _, one := range all {
		v := one.verdict
		if v == accepted && !synced {
			v = later
		}
		p.feed.counters.streams.WithLabelValues(p.feed.Subject.Subject, v.String()).Inc()
		switch v {
		case accepted:
			_ = one.msg.Ack()
		case never:
			_ = one.msg.TermWithReason("refused by RingStore")
		case later:
			_ = one.msg.NakWithDelay(backoff(one.msg))
		}
	}
}

// synced tells whether the messages that were accepted are on disk.
func (p *puller) synced(all []settled, sync func(context.Context) error) bool {
	if !slices.ContainsFunc(all, func(one settled) bool { return one.verdict == accepted }) {
		return true
	}
	if err := sync(p.s.ctx); err != nil {
		p.feed.fail(failedStore, fmt.Errorf("syncing: %w", err))
		return false
	}
	return true
}

// String is the verdict as the stream is told it.
func (v verdict) String() string { return [...]string{"ack", "nak", "term"}[v] }

// backoff doubles with each delivery.
func backoff(m jetstream.Msg) time.Duration {
	wait := leastBackoff
	if meta, err := m.Metadata(); err == nil {
		for n := uint64(1); n < meta.NumDelivered && wait < mostBackoff; n++ {
			wait *= 2
		}
	}
	return min(wait, mostBackoff)
}

// open finds the consumer, unless it has, and makes what is not there.
func (p *puller) open(ctx context.Context) error {
	conn := p.s.link.Load().conn
	if p.consumer != nil && p.conn == conn {
		return nil
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	stream, err := p.stream(ctx, js)
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	consumer, err := p.durable(ctx, stream)
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	p.consumer, p.conn = consumer, conn
	p.log.Info("NATS stream opened")
	return nil
}

func (p *puller) stream(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	want := p.streamConfig()
	if p.s.embedded != nil { // nobody else's
		return js.CreateOrUpdateStream(ctx, want)
	}
	stream, err := js.Stream(ctx, p.feed.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return p.newStream(ctx, js, want)
	}
	if err != nil {
		return nil, err
	}
	have := stream.CachedInfo().Config
	if have.SubjectTransform == nil && len(have.Sources) == 0 && have.Mirror == nil && !covers(have.Subjects, p.feed.Subject.Subject) {
		p.log.Warn("NATS stream does not hold all of the subject", "holds", have.Subjects)
	}
	return stream, nil
}

func covers(subjects []string, subject string) bool {
	for _, s := range subjects {
		if server.SubjectMatchesFilter(subject, s) {
			return true
		}
	}
	return false
}

// newStream makes the stream, in a cluster with replicas. If the cluster goes on
// to have too few servers for these, and is not only starting, then without.
func (p *puller) newStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	if js.Conn().ConnectedClusterName() == "" {
		return js.CreateStream(ctx, want)
	}
	if p.tooFew < patience {
		want.Replicas = replicas
	}
	stream, err := js.CreateStream(ctx, want)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && slices.Contains(tooFewServers[:], api.ErrorCode) {
		p.tooFew++
	}
	if err == nil && want.Replicas == 0 {
		p.log.Warn("NATS stream made without replicas, as the cluster has too few servers")
	}
	return stream, err
}

// tooFewServers are the errors for a stream with more replicas than there can
// be: no suitable peers, and replicas where there is no cluster.
var tooFewServers = [...]jetstream.ErrorCode{10005, 10074}

// streamConfig holds all subjects of the stream that we know. At a server of
// our own a message goes when we have it; elsewhere others may want it.
func (p *puller) streamConfig() jetstream.StreamConfig {
	c := jetstream.StreamConfig{Name: p.feed.Stream, MaxAge: p.s.o.MaxAge, Storage: jetstream.FileStorage}
	for _, f := range p.s.feeds {
		if f.Stream == p.feed.Stream {
			c.Subjects = append(c.Subjects, f.Subject.Subject)
		}
	}
	if p.s.embedded != nil {
		c.Retention = jetstream.InterestPolicy
	}
	return c
}

func (p *puller) durable(ctx context.Context, stream jetstream.Stream) (jetstream.Consumer, error) {
	want := jetstream.ConsumerConfig{
		Durable:       p.feed.Durable,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       p.s.o.AckWait,
		MaxAckPending: mostUnacked,
		FilterSubject: p.feed.Subject.Subject,
	}
	if p.s.embedded != nil {
		return stream.CreateOrUpdateConsumer(ctx, want)
	}
	consumer, err := stream.Consumer(ctx, p.feed.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return stream.CreateConsumer(ctx, want)
	}
	if err != nil {
		return nil, err
	}
	if consumer.CachedInfo().Config.AckPolicy != jetstream.AckExplicitPolicy {
		return nil, errors.New("it is there without explicit acknowledgement, so it would lose messages")
	}
	return consumer, nil
}

// lag shows how far behind the consumer is, if it is time to ask.
func (p *puller) lag(ctx context.Context) {
	if time.Since(p.asked) < infoEvery {
		return
	}
	p.asked = time.Now()
	info, err := p.consumer.Info(ctx)
	if err != nil {
		return // fetching has the same trouble, and tells of it
	}
	c := p.feed.counters
	c.pending.WithLabelValues(p.feed.Stream, p.feed.Durable).Set(float64(info.NumPending))
	c.ackPending.WithLabelValues(p.feed.Stream, p.feed.Durable).Set(float64(info.NumAckPending))
}
