package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const streamName, durableName = "METRICS", "ringstore"

// streaming configures a stream for the subject.
func (h *harness) streaming() *harness {
	h.options.Subjects = []Subject{{Subject: subject, ClusterTag: "alpha", Stream: streamName, Durable: durableName}}
	h.options.MaxAge = time.Hour
	return h
}

// streamServer runs a server with streams in the test's directory.
func streamServer(t testing.TB) *server.Server {
	t.Helper()
	return runServer(t, server.Options{JetStream: true, StoreDir: t.TempDir()})
}

// queue publishes messages and returns when the stream has them.
func queue(t testing.TB, c *natsgo.Conn, messages ...*natsgo.Msg) {
	t.Helper()
	js := newJetStream(t, c)
	for _, m := range messages {
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
}

func newJetStream(t testing.TB, c *natsgo.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func makeStream(t testing.TB, c *natsgo.Conn, change func(*jetstream.StreamConfig)) jetstream.Stream {
	t.Helper()
	config := jetstream.StreamConfig{Name: streamName, Subjects: []string{subject}}
	if change != nil {
		change(&config)
	}
	s, err := newJetStream(t, c).CreateStream(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// consumerInfo returns the state of our consumer, nil if there is none.
func consumerInfo(t testing.TB, c *natsgo.Conn) *jetstream.ConsumerInfo {
	t.Helper()
	consumer, err := newJetStream(t, c).Consumer(context.WithoutCancel(t.Context()), streamName, durableName)
	if err != nil {
		return nil
	}
	return consumer.CachedInfo()
}

func waitForAcks(t testing.TB, c *natsgo.Conn) {
	t.Helper()
	eventually(t, "all messages are acknowledged", func() bool {
		info := consumerInfo(t, c)
		return info != nil && info.NumPending == 0 && info.NumAckPending == 0
	})
}

func TestAStreamAndItsConsumerAreMade(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	url := streamServer(t).ClientURL()
	s := h.subscribe(url)
	c := connect(t, url)
	eventually(t, "the consumer is there", func() bool { return consumerInfo(t, c) != nil })
	stream, err := newJetStream(t, c).Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().Config; got.MaxAge != time.Hour || len(got.Subjects) != 1 || got.Subjects[0] != subject || got.Storage != jetstream.FileStorage {
		t.Errorf("the stream: %+v", got)
	}
	got := consumerInfo(t, c).Config
	if got.AckPolicy != jetstream.AckExplicitPolicy || got.AckWait != 30*time.Second || got.MaxAckPending != maxAckPending || got.FilterSubject != subject {
		t.Errorf("the consumer: %+v", got)
	}
	queue(t, c, bearers(hostNames(300))...)
	eventually(t, "all are stored", func() bool { return len(h.hosts()) == 300 })
	waitForAcks(t, c)
	h.close(s)
	if got := h.sum("ringstore_nats_stream_messages_total", subject, "ack"); got != 300 {
		t.Errorf("%v acknowledged", got)
	}
	if info, err := stream.Info(t.Context()); err != nil || info.State.Msgs != 300 {
		t.Errorf("the stream must keep messages for other consumers: %+v, %v", info, err)
	}
}

// The token of a message is checked for the time when the stream received it, not when we do.
func TestQueuedMessagesAreCheckedForTheirArrival(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	url := streamServer(t).ClientURL()
	c := connect(t, url)
	makeStream(t, c, nil)
	with := func(host string, changes map[string]any) *natsgo.Msg {
		return message(line(host), "Authorization", "Bearer "+issuer.Token(claims(changes)))
	}
	soon := time.Now().Add(2 * time.Second).Truncate(time.Second)
	queue(t, c,
		with("expired-then", map[string]any{"exp": soon.Add(-time.Minute).Unix()}),
		with("not-yet-then", map[string]any{"nbf": soon.Unix()}),
		with("not-yet-issued-then", map[string]any{"iat": soon.Unix()}),
		with("revoked-since", map[string]any{"jti": "revoked", "exp": soon.Unix()}),
		with("no-right", map[string]any{"roles": []string{"user"}}),
		message(line("no-token")),
		with("good-then", map[string]any{"exp": soon.Unix()}),
		with("good", nil),
	)
	if err := h.chain.SetRevocations(revocations(t, `{"tokens": ["revoked"]}`)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(soon))
	h.subscribe(url)
	eventually(t, "the good ones are stored", func() bool { return h.stored("good") && h.stored("good-then") })
	waitForAcks(t, c)
	if got := h.hosts(); len(got) != 2 {
		t.Errorf("stored: %q", got)
	}
	for _, reason := range []string{"expired", "not_yet_valid", "issued_in_future", "revoked", "insufficient_role", "missing"} {
		if got := h.sum("ringstore_nats_refused_total", subject, reason); got != 1 {
			t.Errorf("%v refused as %s", got, reason)
		}
		mustContain(t, "the audit", h.audit.String(), fmt.Sprintf("%q", reason))
	}
	if got := h.sum("ringstore_nats_stream_messages_total", subject, "term"); got != 6 {
		t.Errorf("%v terminated, want 6", got)
	}
}

func TestBadMessagesAreTerminated(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	h.options.MaxBody = 1 << 10
	url := streamServer(t).ClientURL()
	h.subscribe(url)
	c := connect(t, url)
	eventually(t, "the consumer is there", func() bool { return consumerInfo(t, c) != nil })
	authorization := []string{"Authorization", "Bearer " + token("api")}
	queue(t, c,
		message("rubbish\n", authorization...),
		message(strings.Repeat("\n", 1<<10+1), authorization...),
		message("not gzip", append(authorization, "Content-Encoding", "gzip")...),
		message(line("h1")+"rubbish\n", authorization...),
	)
	eventually(t, "the good line is stored", func() bool { return h.stored("h1") })
	waitForAcks(t, c)
	if terminated, acked := h.sum("ringstore_nats_stream_messages_total", "term"), h.sum("ringstore_nats_stream_messages_total", "ack"); terminated != 3 || acked != 1 {
		t.Errorf("%v terminated, %v acknowledged", terminated, acked)
	}
}

// testRedelivery checks that nothing is acknowledged while something fails, and that everything is
// stored afterwards.
func testRedelivery(t *testing.T, h *harness, fail func(error)) {
	url := streamServer(t).ClientURL()
	h.subscribe(url)
	c := connect(t, url)
	eventually(t, "the consumer is there", func() bool { return consumerInfo(t, c) != nil })
	fail(errors.New("out of order"))
	queue(t, c, bearers(hostNames(20))...)
	eventually(t, "all have failed", func() bool { return h.sum("ringstore_nats_stream_messages_total", "nak") >= 20 })
	if n := consumerInfo(t, c).AckFloor.Stream; n != 0 {
		t.Errorf("%d are acknowledged", n)
	}
	fail(nil)
	eventually(t, "all are stored", func() bool { return len(h.hosts()) == 20 })
	eventually(t, "they are delivered again", func() bool { return h.sum("ringstore_nats_redelivered_total", subject) >= 20 })
	waitForAcks(t, c)
}

func TestMessagesAreRedeliveredAfterStoreErrors(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	testRedelivery(t, h, h.gate.fail)
}

func TestMessagesAreRedeliveredAfterSyncErrors(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	disk := new(gate)
	h.options.SyncPoint = func() func(context.Context) error {
		return func(context.Context) error {
			disk.mu.Lock()
			defer disk.mu.Unlock()
			return disk.err
		}
	}
	testRedelivery(t, h, disk.fail)
}

// The disk fails after a message was stored, and works again at the sync.
func TestMessageLostBeforeSyncIsRedelivered(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	h.options.SyncPoint = func() func(context.Context) error {
		before := h.stored("h1")
		return func(context.Context) error {
			if !before && h.stored("h1") {
				return errors.New("the disk failed meanwhile")
			}
			return nil
		}
	}
	url := streamServer(t).ClientURL()
	h.subscribe(url)
	c := connect(t, url)
	eventually(t, "the consumer is there", func() bool { return consumerInfo(t, c) != nil })
	queue(t, c, bearer("h1"))
	eventually(t, "it is delivered again", func() bool { return h.sum("ringstore_nats_redelivered_total", subject) == 1 })
	waitForAcks(t, c)
}

func TestMessagesAreRedeliveredAfterAuthenticatorErrors(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	authenticator := &failingAuthenticator{Authenticator: h.options.Authenticator}
	h.options.Authenticator = authenticator
	testRedelivery(t, h, func(err error) { authenticator.failing.Store(err != nil) })
}

// A consumer that would lose messages and cannot be updated ends the start, and nothing is left
// running.
func TestConsumerThatWouldLoseMessagesEndsTheStart(t *testing.T) {
	t.Parallel()
	f := func(name, want string, config jetstream.ConsumerConfig) {
		h := newHarness(t).streaming()
		url := streamServer(t).ClientURL()
		stream := makeStream(t, connect(t, url), nil)
		config.Durable = durableName
		var err error
		if config.DeliverSubject != "" {
			_, err = stream.CreatePushConsumer(t.Context(), config)
		} else {
			_, err = stream.CreateConsumer(t.Context(), config)
		}
		if err != nil {
			t.Fatal(err)
		}
		h.options.Address = url
		s, err := Subscribe(h.options)
		if err == nil {
			h.close(s)
			t.Errorf("%s: started", name)
			return
		}
		const differs = `nats: stream "METRICS": consumer "ringstore" differs from the configuration and cannot be updated: `
		if !strings.HasPrefix(err.Error(), differs+want) || !strings.HasSuffix(err.Error(), "messages would be lost: delete it, or choose another durable") {
			t.Errorf("%s: %v", name, err)
		}
	}
	const explicit = `instead of AckExplicit`
	f("all", `filter "" instead of "hpc.metrics", acknowledgement AckAll `+explicit, jetstream.ConsumerConfig{AckPolicy: jetstream.AckAllPolicy})
	f("none", `acknowledgement AckNone `+explicit, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, FilterSubject: subject})
	f("push", "it is a push consumer", jetstream.ConsumerConfig{DeliverSubject: "deliver", AckPolicy: jetstream.AckExplicitPolicy})
}

// The consumer follows the configuration: with a wider subject it delivers what a narrower one left
// out, at an external server and at the embedded one.
func TestConsumerFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	const wide = "hpc.*"
	both := func(c *natsgo.Conn, h *harness, run string) {
		t.Helper()
		for _, to := range []string{subject, "hpc.other"} {
			m := message(line(run+to), "Authorization", "Bearer "+token("api"))
			m.Subject = to
			publish(t, c, m)
		}
		eventually(t, run+" is stored", func() bool { return h.stored(run+subject) && h.stored(run+"hpc.other") })
	}
	t.Run("external", func(t *testing.T) {
		h := newHarness(t).streaming()
		url := streamServer(t).ClientURL()
		c := connect(t, url)
		stream := makeStream(t, c, func(s *jetstream.StreamConfig) { s.Subjects = []string{wide} })
		h.close(h.subscribe(url))
		if info := consumerInfo(t, c); info == nil || info.Config.FilterSubject != subject {
			t.Fatalf("%+v", info)
		}
		// An operator's own settings stay, unless messages would be lost.
		config := consumerInfo(t, c).Config
		config.MaxDeliver, config.HeadersOnly, config.MaxAckPending, config.Description = 3, true, 7, "ours"
		if _, err := stream.UpdateConsumer(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		h.options.Subjects[0].Subject = wide
		h.options.Registerer = nil
		h.subscribe(url)
		got := consumerInfo(t, c).Config
		if got.FilterSubject != wide || got.MaxDeliver != -1 || got.HeadersOnly || got.MaxAckPending != maxAckPending || got.Description != "ours" || got.AckWait != 30*time.Second {
			t.Errorf("%+v", got)
		}
		mustContain(t, "the log", h.log.String(), `differed="filter \"hpc.metrics\" instead of \"hpc.*\", headers only, at most 3 deliveries, at most 7 unacknowledged messages`)
		both(c, h, "external-")
	})
	t.Run("embedded", func(t *testing.T) {
		h := newHarness(t).streaming()
		h.options.Embedded = &Embedded{Listen: "127.0.0.1:0", StoreDir: t.TempDir()}
		h.close(h.subscribe(""))
		h.options.Subjects[0].Subject = wide
		h.options.Registerer = nil
		c := connect(t, addressOf(h.subscribe("")))
		both(c, h, "embedded-")
	})
}

func TestStreamOfOtherSubjectsIsLogged(t *testing.T) {
	t.Parallel()
	f := func(want bool, subjects ...string) {
		t.Helper()
		h := newHarness(t).streaming()
		url := streamServer(t).ClientURL()
		makeStream(t, connect(t, url), func(c *jetstream.StreamConfig) { c.Subjects = subjects })
		h.subscribe(url)
		eventually(t, "it is opened or logged", func() bool {
			log := h.log.String()
			return strings.Contains(log, "NATS stream opened") || strings.Contains(log, "cannot be read")
		})
		if got := strings.Contains(h.log.String(), "does not cover"); got != want {
			t.Errorf("%q: logged %v", subjects, got)
		}
	}
	f(true, "other")
	f(true, "hpc.other")
	f(false, "hpc.>")
	f(false, subject)
}

// Several instances share a stream: the server maps the hosts to as many subjects, and each
// instance subscribes to one.
func TestPartitionsOfAStream(t *testing.T) {
	t.Parallel()
	url := streamServer(t).ClientURL()
	c := connect(t, url)
	makeStream(t, c, func(s *jetstream.StreamConfig) {
		s.Subjects = []string{"hosts.*"}
		s.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "hosts.*", Destination: "part.{{partition(2,1)}}.{{wildcard(1)}}"}
	})
	var houses []*harness
	for i := range 2 {
		h := newHarness(t)
		h.options.Subjects = []Subject{{
			Subject: fmt.Sprintf("part.%d.*", i), ClusterTag: "alpha", Stream: streamName, Durable: fmt.Sprintf("ringstore%d", i),
		}}
		h.subscribe(url)
		houses = append(houses, h)
	}
	hosts := hostNames(200)
	for _, host := range hosts {
		m := bearer(host)
		m.Subject = "hosts." + host
		queue(t, c, m)
	}
	eventually(t, "each host is stored by one instance", func() bool { return len(houses[0].hosts())+len(houses[1].hosts()) == len(hosts) })
	if a, b := len(houses[0].hosts()), len(houses[1].hosts()); a < 50 || b < 50 {
		t.Errorf("%d and %d hosts", a, b)
	}
}

func TestLagMetrics(t *testing.T) {
	t.Parallel()
	h := newHarness(t).streaming()
	url := streamServer(t).ClientURL()
	c := connect(t, url)
	makeStream(t, c, nil)
	queue(t, c, bearers(hostNames(fetchMessages+7))...)
	h.gate.shut()
	h.subscribe(url)
	eventually(t, "the lag is exported", func() bool { return h.sum("ringstore_nats_stream_pending", streamName, durableName) == fetchMessages+7 })
	h.gate.release()
	eventually(t, "nothing waits", func() bool { return h.sum("ringstore_nats_stream_pending") == 0 })
}

// Two instances share a consumer, and one of them stops while it has messages.
func TestUnfinishedMessagesGoToAnotherInstance(t *testing.T) {
	t.Parallel()
	url := streamServer(t).ClientURL()
	first, second := newHarness(t).streaming(), newHarness(t).streaming()
	first.options.AckWait = time.Second
	first.gate.shut()
	s := first.subscribe(url)
	c := connect(t, url)
	eventually(t, "the consumer is there", func() bool { return consumerInfo(t, c) != nil })
	hosts := hostNames(50)
	queue(t, c, bearers(hosts)...)
	eventually(t, "the first has messages", func() bool { return first.gate.waiting.Load() > 0 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close with unfinished messages: %v", err)
	}
	first.t = nopErrors{t}
	second.subscribe(url)
	eventually(t, "the second has stored all", func() bool { return len(second.hosts()) == len(hosts) })
	waitForAcks(t, c)
}

func TestTheEmbeddedServerKeepsAStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func(h *harness) *Subscriber {
		h.streaming()
		h.options.Subjects[0].Authorization = Connection
		h.options.Embedded = &Embedded{Listen: "127.0.0.1:0", StoreDir: dir}
		return h.subscribe("")
	}
	h := newHarness(t)
	s := open(h)
	with := natsgo.UserInfo("collector", token("api"))
	for _, to := range []string{"$JS.API.STREAM.DELETE." + streamName, "$JS.API.STREAM.NAMES", "$JS.ACK.x"} {
		mayNot(t, addressOf(s), "publishing to "+to, func(c *natsgo.Conn) error { return c.Publish(to, nil) }, with)
	}
	c := connect(t, addressOf(s), with)
	publish(t, c, plain(subject, "h1"))
	eventually(t, "it is stored", func() bool { return h.stored("h1") })

	// A message that cannot be stored before Close waits for the next start.
	h.gate.fail(errors.New("out of order"))
	publish(t, c, plain(subject, "h2"))
	eventually(t, "it is deferred", func() bool { return h.sum("ringstore_nats_stream_messages_total", "nak") > 0 })
	c.Close()
	h.close(s)
	next := newHarness(t)
	s = open(next)
	eventually(t, "it is stored after the restart", func() bool { return next.stored("h2") })
	if next.stored("h1") {
		t.Error("an acknowledged message was delivered again")
	}
	next.close(s)
}
