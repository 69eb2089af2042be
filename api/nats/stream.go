package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ringstore/ringstore/memstore"
)

const (
	fetchMessages      = 128                    // per fetch; acknowledged together
	fetchWait          = 500 * time.Millisecond // for a full fetch
	maxAckPending      = 1024                   // messages delivered but not acknowledged
	lagInterval        = 2 * time.Second        // between requests for the lag
	apiTimeout         = 5 * time.Second        // for an answer of the server
	minBackoff         = time.Second            // before a message is delivered again
	maxBackoff         = time.Minute
	maxStreamBytes     = 16 << 30 // of a stream created here
	minStreamBytes     = 1 << 20
	replicas           = 3  // of a stream created in a cluster
	maxReplicaAttempts = 10 // before a stream is created without replicas
)

// puller fetches the messages of one subject from a stream. It acknowledges a message when its
// samples are on disk, so that the stream delivers again what is lost in a crash.
type puller struct {
	feed *feed
	s    *Subscriber
	log  *slog.Logger
	fail *rateLimitedLog

	conn       *natsgo.Conn // of consumer
	consumer   jetstream.Consumer
	stream     jetstream.Stream
	streamID   uint64 // identifies the stream, not only its name
	lagUpdated time.Time
	tooFew     int // attempts that found too few servers for the replicas

	waiting  map[uint64]bool // messages that are put off, by sequence
	gapsUpTo uint64          // the sequence up to which gaps are counted
	floor    atomic.Uint64   // the messages up to this sequence are settled
}

func newPuller(s *Subscriber, f *feed) *puller {
	log := s.o.Log.With("subject", f.Subject.Subject, "stream", f.Stream, "durable", f.Durable)
	return &puller{feed: f, s: s, log: log, waiting: make(map[uint64]bool), fail: newRateLimitedLog(log, slog.LevelError, 1, "NATS stream cannot be read, retrying")}
}

// run fetches messages until the Subscriber stops.
func (p *puller) run() {
	for !p.s.stopping() {
		if err := p.step(); err != nil && !p.s.stopping() {
			p.fail.add(1, "error", truncated(err.Error()))
			p.consumer = nil
			p.s.pause(p.s.o.ReconnectWait)
		}
	}
	if p.conn != nil && p.conn.IsConnected() {
		_ = p.conn.FlushTimeout(apiTimeout) // sends the last acknowledgements
	}
}

// step fetches and handles messages once.
func (p *puller) step() error {
	ctx, cancel := context.WithTimeout(p.s.ctx, apiTimeout)
	defer cancel()
	if err := p.open(ctx); err != nil {
		return err
	}
	p.updateLag(ctx)
	batch, err := p.consumer.Fetch(p.fetchSize(), jetstream.FetchMaxWait(fetchWait))
	if err != nil {
		return fmt.Errorf("fetching: %w", err)
	}
	sync := p.s.o.SyncPoint()
	p.acknowledge(p.handle(batch.Messages()), sync)
	if err := batch.Error(); err != nil {
		return fmt.Errorf("fetching: %w", err)
	}
	return nil
}

// fetchSize returns how many messages to fetch. It bounds their number although their bytes matter:
// in a cluster, a request for bytes may end before some messages of it are delivered, and these
// would wait for their AckWait.
func (p *puller) fetchSize() int {
	return int(min(max(int64(p.s.o.PendingBytes)/max(p.conn.MaxPayload(), 1), 1), fetchMessages))
}

// result is a message and its verdict.
type result struct {
	msg     jetstream.Msg
	verdict verdict
}

// handle passes all messages to the workers and waits for their verdicts.
func (p *puller) handle(messages <-chan jetstream.Msg) []result {
	var all []*result
	var handled sync.WaitGroup
	for m := range messages {
		one := &result{m, retry}
		all = append(all, one)
		meta, err := m.Metadata()
		if err != nil { // not from a stream
			one.verdict = discard
			continue
		}
		if meta.NumDelivered > 1 {
			p.feed.counters.redelivered.WithLabelValues(p.feed.Subject.Subject).Inc()
		}
		handled.Add(1)
		j := job{
			feed: p.feed, msg: &natsgo.Msg{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()}, at: meta.Timestamp,
			origin: memstore.Origin{Stream: p.streamID, Sequence: meta.Sequence.Stream},
			done: func(v verdict) {
				one.verdict = v
				handled.Done()
			},
		}
		select {
		case p.s.jobs <- j:
		case <-p.s.ctx.Done():
			handled.Done()
		}
	}
	handled.Wait()
	done := make([]result, len(all))
	for i, one := range all {
		done[i] = *one
	}
	return done
}

// acknowledge sends the verdicts to the stream. A message whose verdict is lost is delivered and
// stored again, which changes nothing: the store keeps what later messages wrote.
func (p *puller) acknowledge(all []result, sync func(context.Context) error) {
	synced := p.synced(all, sync)
	for _, one := range all {
		v := one.verdict
		if v == accepted && !synced {
			v = retry
		}
		v = p.bounded(one.msg, v)
		p.feed.counters.streams.WithLabelValues(p.feed.Subject.Subject, v.String()).Inc()
		switch v {
		case accepted:
			_ = one.msg.Ack()
		case discard:
			_ = one.msg.TermWithReason("refused by RingStore")
		default:
			_ = one.msg.NakWithDelay(backoff(one.msg))
		}
	}
}

// synced waits until the accepted messages are on disk, and reports whether they are.
func (p *puller) synced(all []result, sync func(context.Context) error) bool {
	if !slices.ContainsFunc(all, func(one result) bool { return one.verdict == accepted }) {
		return true
	}
	if err := sync(p.s.ctx); err != nil {
		p.feed.fail(failedStore, fmt.Errorf("syncing: %w", err))
		return false
	}
	return true
}

// String returns the verdict's name in JetStream.
func (v verdict) String() string { return [...]string{"ack", "nak", "term", "nak", "nak"}[v] }

// backoff returns how long to wait before the next delivery. It doubles with each one.
func backoff(m jetstream.Msg) time.Duration {
	wait := minBackoff
	if meta, err := m.Metadata(); err == nil {
		for n := uint64(1); n < meta.NumDelivered && wait < maxBackoff; n++ {
			wait *= 2
		}
	}
	return min(wait, maxBackoff)
}

// open finds or creates the stream and its consumer, once per connection.
func (p *puller) open(ctx context.Context) error {
	conn := p.s.connection.Load().conn
	if p.consumer != nil && p.conn == conn {
		return nil
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	stream, err := p.findStream(ctx, js)
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	consumer, err := p.durable(ctx, stream)
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	p.consumer, p.conn, p.stream, p.streamID = consumer, conn, stream, identity(stream.CachedInfo())
	clear(p.waiting)
	p.log.Info("NATS stream opened")
	return nil
}

func (p *puller) findStream(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	want := p.streamConfig()
	stream, err := js.Stream(ctx, p.feed.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return p.newStream(ctx, js, want)
	}
	if err != nil {
		return nil, err
	}
	if p.s.embedded != nil { // the stream is ours alone
		return p.updateStream(ctx, js, stream.CachedInfo(), want)
	}
	have := stream.CachedInfo().Config
	if have.SubjectTransform == nil && len(have.Sources) == 0 && have.Mirror == nil && !covers(have.Subjects, p.feed.Subject.Subject) {
		p.log.Warn("NATS stream does not cover the subject", "holds", have.Subjects)
	}
	return stream, nil
}

// updateStream changes our own stream to what is configured.
func (p *puller) updateStream(ctx context.Context, js jetstream.JetStream, have *jetstream.StreamInfo, want jetstream.StreamConfig) (jetstream.Stream, error) {
	want.MaxBytes = limitOf(have)
	return limited(want, int64(have.State.Bytes), func(c jetstream.StreamConfig) (jetstream.Stream, error) { return js.UpdateStream(ctx, c) })
}

// limitOf returns the limit of our own stream in bytes: a stream from before streams had one must
// not lose messages.
func limitOf(have *jetstream.StreamInfo) int64 {
	if have.Config.MaxBytes > 0 {
		return have.Config.MaxBytes
	}
	return max(maxStreamBytes, int64(have.State.Bytes))
}

func (p *puller) createStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	return limited(want, minStreamBytes, func(c jetstream.StreamConfig) (jetstream.Stream, error) { return js.CreateStream(ctx, c) })
}

// limited halves the stream's limit while the server has less storage than that, but not below
// least.
func limited(c jetstream.StreamConfig, least int64, apply func(jetstream.StreamConfig) (jetstream.Stream, error)) (jetstream.Stream, error) {
	for {
		stream, err := apply(c)
		api, ok := errors.AsType[*jetstream.APIError](err)
		little := ok && (slices.Contains(tooLittleStorage[:], api.ErrorCode) || strings.Contains(api.Description, "insufficient storage"))
		if !little || c.MaxBytes/2 < max(least, minStreamBytes) {
			return stream, err
		}
		c.MaxBytes /= 2
	}
}

// tooLittleStorage are the errors for a stream whose limit exceeds the storage of the server, of the
// account, or of one stream. A cluster has one code for all reasons, and tells them in its text.
var tooLittleStorage = [...]jetstream.ErrorCode{10002, 10023, 10047, 10122}

func covers(subjects []string, subject string) bool {
	for _, s := range subjects {
		if server.SubjectMatchesFilter(subject, s) {
			return true
		}
	}
	return false
}

// newStream creates the stream, in a cluster with replicas. The cluster may only be starting, so
// newStream gives up the replicas only after maxReplicaAttempts found too few servers.
func (p *puller) newStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.Stream, error) {
	if js.Conn().ConnectedClusterName() == "" {
		return p.createStream(ctx, js, want)
	}
	if p.tooFew < maxReplicaAttempts {
		want.Replicas = replicas
	}
	stream, err := p.createStream(ctx, js, want)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && slices.Contains(tooFewServers[:], api.ErrorCode) {
		p.tooFew++
	}
	if err == nil && want.Replicas == 0 {
		p.log.Warn("NATS stream created without replicas: the cluster has too few servers")
	}
	return stream, err
}

// tooFewServers are the errors for a stream with too many replicas: no suitable peers, and replicas
// without a cluster.
var tooFewServers = [...]jetstream.ErrorCode{10005, 10074}

// streamConfig returns the configuration of a new stream, with all configured subjects of it. The
// embedded server deletes a message when it is acknowledged; in an external one, other consumers
// may need it.
func (p *puller) streamConfig() jetstream.StreamConfig {
	c := jetstream.StreamConfig{Name: p.feed.Stream, MaxAge: p.s.o.MaxAge, MaxBytes: maxStreamBytes, Storage: jetstream.FileStorage}
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
		MaxAckPending: maxAckPending,
		FilterSubject: p.feed.Subject.Subject,
	}
	if p.s.embedded != nil {
		return stream.CreateOrUpdateConsumer(ctx, want)
	}
	consumer, err := stream.Consumer(ctx, p.feed.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return stream.CreateConsumer(ctx, want)
	}
	if errors.Is(err, jetstream.ErrNotPullConsumer) {
		return nil, &consumerError{p.feed.Subject, "it is a push consumer", err}
	}
	if err != nil {
		return nil, err
	}
	return p.updateConsumer(ctx, stream, consumer, want)
}

// updateConsumer changes the settings of an existing consumer that differ from want. Other settings
// stay as they are.
func (p *puller) updateConsumer(ctx context.Context, stream jetstream.Stream, consumer jetstream.Consumer, want jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	have := consumer.CachedInfo().Config
	lossy, harmless := consumerDifferences(have, want)
	if len(lossy)+len(harmless) == 0 {
		return consumer, nil
	}
	text := strings.Join(append(lossy, harmless...), ", ")
	updated := have
	updated.FilterSubject, updated.FilterSubjects = want.FilterSubject, nil
	updated.AckPolicy, updated.HeadersOnly = want.AckPolicy, false
	updated.MaxDeliver, updated.MaxAckPending = -1, want.MaxAckPending
	if len(have.BackOff) == 0 {
		updated.AckWait = want.AckWait
	}
	after, err := stream.UpdateConsumer(ctx, updated)
	switch {
	case err == nil:
		p.log.Info("NATS consumer updated", "differed", text)
		return after, nil
	case len(lossy) > 0:
		return nil, &consumerError{p.feed.Subject, text, err}
	}
	p.log.Warn("NATS consumer not updated", "differs", text, "error", truncated(err.Error()))
	return consumer, nil
}

// consumerDifferences describes the settings that differ: those with which messages would be lost,
// and others.
func consumerDifferences(have, want jetstream.ConsumerConfig) (lossy, harmless []string) {
	filters := have.FilterSubjects
	if have.FilterSubject != "" {
		filters = []string{have.FilterSubject}
	}
	if !slices.Equal(filters, []string{want.FilterSubject}) {
		lossy = append(lossy, fmt.Sprintf("filter %q instead of %q", strings.Join(filters, " "), want.FilterSubject))
	}
	if have.AckPolicy != want.AckPolicy {
		lossy = append(lossy, fmt.Sprintf("acknowledgement %v instead of %v", have.AckPolicy, want.AckPolicy))
	}
	if have.HeadersOnly {
		lossy = append(lossy, "headers only")
	}
	if have.MaxDeliver > 0 {
		lossy = append(lossy, fmt.Sprintf("at most %d deliveries", have.MaxDeliver))
	}
	if have.AckWait != want.AckWait && len(have.BackOff) == 0 {
		harmless = append(harmless, fmt.Sprintf("acknowledgement within %v instead of %v", have.AckWait, want.AckWait))
	}
	if have.MaxAckPending != want.MaxAckPending {
		harmless = append(harmless, fmt.Sprintf("at most %d unacknowledged messages instead of %d", have.MaxAckPending, want.MaxAckPending))
	}
	return lossy, harmless
}

// consumerError reports that a consumer would lose messages and cannot be updated.
type consumerError struct {
	subject Subject
	differs string
	err     error
}

func (e *consumerError) Error() string {
	return fmt.Sprintf("stream %q: consumer %q differs from the configuration and cannot be updated: %s (%v); messages would be lost: "+
		"delete it, or choose another durable", e.subject.Stream, e.subject.Durable, e.differs, e.err)
}

func (e *consumerError) Unwrap() error { return e.err }

// updateLag updates the metrics of the consumer's lag, at most once per lagInterval.
func (p *puller) updateLag(ctx context.Context) {
	if time.Since(p.lagUpdated) < lagInterval {
		return
	}
	p.lagUpdated = time.Now()
	info, err := p.consumer.Info(ctx)
	if err != nil {
		return // fetching fails as well, and logs it
	}
	c := p.feed.counters
	c.pending.WithLabelValues(p.feed.Stream, p.feed.Durable).Set(float64(info.NumPending))
	c.ackPending.WithLabelValues(p.feed.Stream, p.feed.Durable).Set(float64(info.NumAckPending))
	p.floor.Store(info.AckFloor.Stream)
	p.s.settle(p.feed.Stream, p.streamID)
	if stream, err := p.stream.Info(ctx); err == nil {
		p.countGap(stream, info.Delivered.Stream)
	}
}
