package nats

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
)

func TestReconnectAfterServerRestart(t *testing.T) {
	h := newHarness(t)
	first := runServer(t, server.Options{})
	s := h.subscribe(first.ClientURL())
	publish(t, connect(t, first.ClientURL()), bearer("before"))
	eventually(t, "it is stored", func() bool { return h.stored("before") })
	if h.sum("ringstore_nats_connected") != 1 {
		t.Error("not shown as connected")
	}

	port := portOf(first)
	stopServer(first)
	eventually(t, "the loss is detected", func() bool { return !s.Connected() })
	if h.sum("ringstore_nats_connected") != 0 {
		t.Error("still shown as connected")
	}
	second := runServer(t, server.Options{Port: port})
	eventually(t, "it has subscribed again", func() bool { return second.NumSubscriptions() > 0 && s.Connected() })
	hosts := hostNames(100)
	publish(t, connect(t, second.ClientURL()), bearers(hosts)...)
	eventually(t, "all are stored", func() bool { return len(h.hosts()) == 1+len(hosts) })
}

func TestServerMayStartLater(t *testing.T) {
	h := newHarness(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := h.subscribe("nats://" + address.String())
	if s.Connected() {
		t.Error("connected to nothing")
	}
	eventually(t, "it is logged", func() bool { return strings.Contains(h.log.String(), "NATS not connected") })

	late := runServer(t, server.Options{Port: address.Port})
	eventually(t, "it has subscribed", func() bool { return late.NumSubscriptions() > 0 })
	publish(t, connect(t, late.ClientURL()), bearer("late"))
	eventually(t, "it is stored", func() bool { return h.stored("late") })
}

// refuser refuses and counts all clients.
type refuser struct{ refused atomic.Int64 }

func (r *refuser) Check(server.ClientAuthentication) bool {
	r.refused.Add(1)
	return false
}

func TestWrongPasswordIsRetried(t *testing.T) {
	const secret = "kept-from-the-log"
	var refuser refuser
	first := runServer(t, server.Options{CustomClientAuthentication: &refuser})
	h := newHarness(t)
	h.options.Username, h.options.Password = "ringstore", secret
	s := h.subscribe(first.ClientURL())
	eventually(t, "it retries after the second refusal", func() bool { return refuser.refused.Load() > 4 })
	mustContain(t, "the log", h.log.String(), "Authorization Violation")

	port := portOf(first)
	stopServer(first)
	second := runServer(t, server.Options{Port: port, Username: "ringstore", Password: secret})
	eventually(t, "it connects", func() bool { return second.NumSubscriptions() > 0 && s.Connected() })
	publish(t, connect(t, second.ClientURL(), natsgo.UserInfo("ringstore", secret)), bearer("h"))
	eventually(t, "it is stored", func() bool { return h.stored("h") })
	mustNotContain(t, "the log", h.log.String(), secret)
}

func TestRefusalAfterReconnectIsRetried(t *testing.T) {
	const secret = "kept-from-the-log"
	first := runServer(t, server.Options{Username: "ringstore", Password: secret})
	h := newHarness(t)
	s := h.subscribe(strings.Replace(first.ClientURL(), "nats://", "nats://ringstore:"+secret+"@", 1))
	eventually(t, "it connects", s.Connected)

	port := portOf(first)
	stopServer(first)
	var refuser refuser
	second := runServer(t, server.Options{Port: port, CustomClientAuthentication: &refuser})
	eventually(t, "it is refused several times", func() bool { return refuser.refused.Load() > 4 })
	stopServer(second)
	third := runServer(t, server.Options{Port: port, Username: "ringstore", Password: secret})
	eventually(t, "it connects again", func() bool { return third.NumSubscriptions() > 0 && s.Connected() })
	mustNotContain(t, "the log", h.log.String(), secret)
}

// The client library closes its connection for good after an error that it does not know, such as
// "Connection throttling is active".
func TestAConnectionClosedForGoodIsReplaced(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	done := make(chan error)
	go func() { done <- serveOneError(l) }()

	h := newHarness(t)
	s := h.subscribe(fmt.Sprintf("nats://127.0.0.1:%d", port))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	real := runServer(t, server.Options{Port: port})
	eventually(t, "it has subscribed", func() bool { return real.NumSubscriptions() > 0 && s.Connected() })
	mustContain(t, "the log", h.log.String(), "throttling")
	publish(t, connect(t, real.ClientURL()), bearer("h"))
	eventually(t, "it is stored", func() bool { return h.stored("h") })
}

// serveOneError accepts one NATS client and then answers it with an error.
func serveOneError(l net.Listener) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := l.Close(); err != nil {
		return err
	}
	if _, err := c.Write([]byte(`INFO {"server_id":"x","version":"2.10.0","headers":true,"max_payload":1048576}` + "\r\n")); err != nil {
		return err
	}
	for in := bufio.NewScanner(c); in.Scan(); {
		if strings.HasPrefix(in.Text(), "SUB ") {
			break
		}
		if in.Text() == "PING" {
			if _, err := c.Write([]byte("PONG\r\n")); err != nil {
				return err
			}
		}
	}
	_, err = c.Write([]byte("-ERR 'Connection throttling is active. Please try again later.'\r\n"))
	return err
}

func TestCloseHandlesReceivedMessages(t *testing.T) {
	hosts := hostNames(300)
	f := func(name string, embedded bool, before func(*server.Server)) {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.gate.shut()
			var outside *server.Server
			var s *Subscriber
			var c *natsgo.Conn
			if embedded {
				s = h.subscribe("")
				c = connect(t, addressOf(s))
			} else {
				outside = runServer(t, server.Options{})
				s = h.subscribe(outside.ClientURL())
				c = connect(t, outside.ClientURL())
			}
			publish(t, c, bearers(hosts)...)
			eventually(t, "the workers are busy", func() bool { return h.gate.waiting.Load() == int64(s.o.Workers) })
			if !embedded {
				l := s.connection.Load()
				eventually(t, "all are received", func() bool { return l.conn.Stats().InMsgs == uint64(len(hosts)) })
			}
			if before != nil {
				before(outside)
			}
			closed := make(chan error)
			go func() { closed <- s.Close(context.Background()) }()
			if outside != nil && before == nil {
				eventually(t, "it has unsubscribed", func() bool { return outside.NumSubscriptions() == 0 })
				publish(t, c, bearer("too-late"))
			}
			select {
			case <-closed:
				t.Fatal("closed before the messages were handled")
			case <-time.After(20 * time.Millisecond):
			}
			h.gate.release()
			if err := <-closed; err != nil {
				t.Error(err)
			}
			if got := len(h.hosts()); got != len(hosts) {
				t.Errorf("%d of %d stored", got, len(hosts))
			}
			if dropped := h.sum("ringstore_nats_dropped_total"); dropped != 0 {
				t.Errorf("%v dropped", dropped)
			}
		})
	}
	f("connected", false, nil)
	f("with the server gone", false, stopServer)
	f("with the server embedded", true, nil)
}

func TestCloseReturnsErrorWhenContextEnds(t *testing.T) {
	h := newHarness(t)
	h.gate.shut()
	s := h.subscribe("")
	publish(t, connect(t, addressOf(s)), bearers(hostNames(50))...)
	eventually(t, "the workers are busy", func() bool { return h.gate.waiting.Load() == int64(s.o.Workers) })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := s.Close(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if again := s.Close(context.Background()); !errors.Is(again, context.Canceled) {
		t.Errorf("the second Close says %v", again)
	}
	lost := h.sum("ringstore_nats_dropped_total") + h.sum("ringstore_nats_failed_total")
	if lost != 50 {
		t.Errorf("%v of 50 lost messages are counted", lost)
	}
	h.t = nopErrors{t} // the cleanup closes it again
}

// nopErrors is a test that ignores errors.
type nopErrors struct{ testing.TB }

func (nopErrors) Error(...any) {}

func TestSlowStoreDropsAndCounts(t *testing.T) {
	h := newHarness(t)
	h.options.Workers, h.options.PendingMessages = 1, 10
	h.gate.shut()
	url := runServer(t, server.Options{}).ClientURL()
	s := h.subscribe(url)
	c := connect(t, url)
	const sent = 500
	publish(t, c, bearers(hostNames(sent))...)
	eventually(t, "drops are counted", func() bool { return h.sum("ringstore_nats_dropped_total", subject) > 0 })
	h.gate.release()
	h.close(s)
	dropped, taken := h.sum("ringstore_nats_dropped_total"), h.sum("ringstore_nats_messages_total")
	if dropped+taken != sent {
		t.Errorf("%v dropped and %v taken of %d", dropped, taken, sent)
	}
	if stored := len(h.hosts()); stored != int(taken) {
		t.Errorf("%d stored of %v taken", stored, taken)
	}
	mustContain(t, "the log", h.log.String(), "NATS messages dropped")
	if n := strings.Count(h.log.String(), "dropped"); n > 5 {
		t.Errorf("%d log lines for one burst", n)
	}
}

func TestFloodOnOneSubjectDoesNotAffectAnother(t *testing.T) {
	h := newHarness(t)
	h.options.Workers, h.options.PendingMessages = 1, 10
	h.options.Subjects = append(h.options.Subjects, Subject{Subject: "hpc.quiet", ClusterTag: "alpha"})
	h.gate.shut()
	s := h.subscribe("")
	c := connect(t, addressOf(s))
	publish(t, c, bearers(hostNames(500))...)
	quiet := bearer("quiet")
	quiet.Subject = "hpc.quiet"
	publish(t, c, quiet)
	eventually(t, "drops are counted", func() bool { return h.sum("ringstore_nats_dropped_total", subject) > 0 })
	h.gate.release()
	eventually(t, "the other message is stored", func() bool { return h.stored("quiet") })
	if h.sum("ringstore_nats_dropped_total", "hpc.quiet") != 0 {
		t.Error("messages of the other subject were dropped")
	}
}

func TestASubjectWithTwoClusterTagsHasNone(t *testing.T) {
	h := newHarness(t)
	h.options.Subjects = []Subject{{Subject: subject, ClusterTag: "alpha"}, {Subject: subject, ClusterTag: "beta"}}
	c := connect(t, addressOf(h.subscribe("")))
	publish(t, c, message("load,hostname=h1 value=1\nload,hostname=h2,cluster=alpha value=1\nload,hostname=h3,cluster=beta value=1\n",
		"Authorization", "Bearer "+token("api")))
	eventually(t, "the lines with a cluster are stored", func() bool { return h.stored("h2") && len(h.store.Hosts("beta")) == 1 })
	if got := h.sum("ringstore_nats_rejected_lines_total", subject); got != 1 {
		t.Errorf("%v lines rejected", got)
	}
	if got := h.sum("ringstore_nats_messages_total"); got != 1 {
		t.Errorf("handled %v times", got)
	}
}

func TestOverlappingSubjectsWarning(t *testing.T) {
	h := newHarness(t)
	h.options.Subjects = []Subject{{Subject: "hpc.*"}, {Subject: "hpc.a"}, {Subject: "other"}}
	h.subscribe("")
	mustContain(t, "the log", h.log.String(), "subject=hpc.* other=hpc.a")
	mustNotContain(t, "the log", h.log.String(), "other=other")
}

func TestSubscribeErrorsLeaveNothingBehind(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	h := newHarness(t)
	f := func(want string, change func(o *Options)) {
		t.Helper()
		o := h.options
		o.Embedded = &Embedded{Listen: "127.0.0.1:0"}
		change(&o)
		s, err := Subscribe(o)
		if err == nil {
			h.close(s)
			t.Errorf("no error, want %q", want)
			return
		}
		mustContain(t, "the error", err.Error(), want)
		mustNotContain(t, "the error", err.Error(), "s3cret")
	}
	external := func(address string) func(*Options) {
		return func(o *Options) { o.Address, o.Embedded = address, nil }
	}
	subjects := func(s ...Subject) func(*Options) { return func(o *Options) { o.Subjects = s } }

	f("not both", external(""))
	f("not both", func(o *Options) { o.Address = "nats://localhost" })
	f("no ingester", func(o *Options) { o.Ingester = nil })
	f("no authenticator", func(o *Options) { o.Authenticator = nil })
	f("address 1: expected a URL", external("nats://u:s3cret/x@host:4222"))
	f("address 2: expected a URL", external("nats://a,nats://u:s3cret%zz@b"))
	f("address 1: expected a URL", external(" , nats://a"))
	f("address 1: the scheme", external("http://u:s3cret@a"))
	f("no subjects", subjects())
	f(`subject "" is not valid`, subjects(Subject{}))
	f(`subject "a b" is not valid`, subjects(Subject{Subject: "a b"}))
	f(`subject "a..b" is not valid`, subjects(Subject{Subject: "a..b"}))
	f(`subject "a.>.b" is not valid`, subjects(Subject{Subject: "a.>.b"}))
	f(`got "none"`, subjects(Subject{Subject: "a", Authorization: "none"}))
	f(`"connection" needs`, func(o *Options) {
		o.Address, o.Embedded, o.Subjects = "nats://a", nil, []Subject{{Subject: "a", Authorization: Connection}}
	})
	f("has no auth callout", func(o *Options) { o.Callout = new(Callout) })
	f("account seed", func(o *Options) { o.Address, o.Embedded, o.Callout = "nats://a", nil, &Callout{AccountSeed: "s3cret"} })
	f("account seed", func(o *Options) { o.Address, o.Embedded, o.Callout = "nats://a", nil, &Callout{AccountSeed: userSeed} })
	f("xkey seed", func(o *Options) {
		o.Address, o.Embedded, o.Callout = "nats://a", nil, &Callout{AccountSeed: accountSeed, XKeySeed: accountSeed}
	})
	f("xkey seed", func(o *Options) {
		o.Address, o.Embedded, o.Callout = "nats://a", nil, &Callout{AccountSeed: accountSeed, XKeySeed: "s3cret"}
	})
	f("set stream and durable both", subjects(Subject{Subject: "a", Stream: "S"}))
	f("set stream and durable both", subjects(Subject{Subject: "a", Durable: "d"}))
	f("cannot name a stream", subjects(Subject{Subject: "a", Stream: "a.b", Durable: "d"}))
	f("two streams", subjects(Subject{Subject: "a"}, Subject{Subject: "a", Stream: "S", Durable: "d"}))
	f("another subject has the consumer", subjects(Subject{Subject: "a", Stream: "S", Durable: "d"}, Subject{Subject: "b", Stream: "S", Durable: "d"}))
	f("no directory for streams", subjects(Subject{Subject: "a", Authorization: Trusted, Stream: "S", Durable: "d"}))
	f("both a certificate and its key", func(o *Options) { o.Embedded.CertFile = "x" })
	f("TLS certificate", func(o *Options) { o.Embedded.CertFile, o.Embedded.KeyFile = "x", "y" })
	f("payload: expected at most", func(o *Options) { o.Embedded.MaxPayload = 65 << 20 })
	f("two kinds of authorization", subjects(Subject{Subject: "a"}, Subject{Subject: "a", Authorization: Trusted}))
	f("creds file: open /nowhere", func(o *Options) { o.CredsFile = "/nowhere" })
	f("no user seed in it", func(o *Options) { o.CredsFile = "subscriber_test.go" })
	f("nkey seed file: open /nowhere", func(o *Options) { o.NkeySeedFile = "/nowhere" })
	f("no seed in it", func(o *Options) { o.NkeySeedFile = "subscriber_test.go" })
	f("set a creds file or an nkey seed file", func(o *Options) { o.CredsFile, o.NkeySeedFile = "a", "b" })
	f("missing port", func(o *Options) { o.Embedded = &Embedded{Listen: "localhost"} })
	f(`"x" is not a port`, func(o *Options) { o.Embedded = &Embedded{Listen: "localhost:x"} })
	f("address already in use", func(o *Options) { o.Embedded = &Embedded{Listen: taken.Addr().String()} })

	h.subscribe("") // registers its metrics, so the failed ones have left none
	f("metrics: duplicate", func(*Options) {})
}
