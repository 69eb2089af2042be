package nats

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
)

// mayNot asserts that the server denies what f asks for.
func mayNot(t *testing.T, address, what string, f func(*natsgo.Conn) error, options ...natsgo.Option) {
	t.Helper()
	denied := make(chan error, 10)
	c := connect(t, address, append(options, natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
		denied <- err
	}))...)
	if err := f(c); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	eventually(t, what+" is denied", func() bool { return len(denied) > 0 })
	if err := <-denied; !errors.Is(err, natsgo.ErrPermissionViolation) {
		t.Errorf("%s: %v", what, err)
	}
}

func TestEmbeddedServerDeniesSubscriptions(t *testing.T) {
	h := newHarness(t)
	s := h.subscribe("")
	var read [][]byte
	listen := func(m *natsgo.Msg) { read = append(read, m.Data) }
	subjects := []string{">", "*", "_INBOX.>", "_INBOX.*.*", "$SYS.>", "hpc.>", "hpc.*", subject}
	for _, to := range subjects {
		mayNot(t, addressOf(s), "subscribing to "+to, func(c *natsgo.Conn) error {
			_, err := c.Subscribe(to, listen)
			return err
		})
		mayNot(t, addressOf(s), "joining a queue on "+to, func(c *natsgo.Conn) error {
			_, err := c.QueueSubscribe(to, "workers", listen)
			return err
		})
	}
	mayNot(t, addressOf(s), "asking for an answer", func(c *natsgo.Conn) error {
		_, err := c.SubscribeSync(c.NewRespInbox())
		return err
	})
	// All these clients are still connected. None may receive this.
	publish(t, connect(t, addressOf(s)), bearer("secret"))
	eventually(t, "it is stored", func() bool { return h.stored("secret") })
	if len(read) != 0 {
		t.Errorf("%d messages were read", len(read))
	}
	if n := s.embedded.server.NumSubscriptions(); n != 2 { // in the account of guests as well
		t.Errorf("%d subscriptions, want only our own", n)
	}
}

func TestPublishersReachOnlyTheConfiguredSubjects(t *testing.T) {
	h := newHarness(t)
	s := h.subscribe("")
	for _, to := range []string{"hpc", "hpc.metrics.more", "other", "_INBOX.x", "$SYS.REQ.SERVER.PING", "$JS.API.INFO"} {
		mayNot(t, addressOf(s), "publishing to "+to, func(c *natsgo.Conn) error { return c.Publish(to, nil) })
	}
}

// Our own credential gives no rights to a client over TCP.
func TestOwnCredentialIsUselessOverTCP(t *testing.T) {
	h := newHarness(t)
	s := h.subscribe("")
	own := natsgo.UserInfo(s.embedded.own.user, s.embedded.own.password)
	mayNot(t, addressOf(s), "subscribing", func(c *natsgo.Conn) error {
		_, err := c.Subscribe(subject, func(*natsgo.Msg) {})
		return err
	}, own)

	h = newHarness(t)
	h.options.Username, h.options.Password = "collector", "open sesame"
	s = h.subscribe("")
	own = natsgo.UserInfo(s.embedded.own.user, s.embedded.own.password)
	if c, err := natsgo.Connect(addressOf(s), own); err == nil {
		c.Close()
		t.Error("our own credential replaced the publishers' password")
	}

	// In process, without the library, which would not stop writing when the server refuses it.
	c, err := s.embedded.server.InProcessConn()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	answers := bufio.NewScanner(c)
	answers.Scan() // INFO
	if _, err := c.Write([]byte("CONNECT {\"user\":\"collector\",\"pass\":\"open sesame\"}\r\n")); err != nil {
		t.Fatal(err)
	}
	answers.Scan()
	mustContain(t, "the answer to the publishers' password from inside", answers.Text(), "-ERR 'Authorization Violation'")
}

// What a publisher has flushed is stored before Close returns.
func TestFlushedMessagesAreStoredOnClose(t *testing.T) {
	h := newHarness(t)
	s := h.subscribe("")
	hosts := hostNames(2000)
	publish(t, connect(t, addressOf(s)), bearers(hosts)...)
	h.close(s)
	if got := len(h.hosts()); got != len(hosts) {
		t.Errorf("%d of %d stored", got, len(hosts))
	}
}

// A guest's messages are small, as they cost memory before anything is known of their sender. Those
// of others are not.
func TestGuestsSendSmallMessages(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.options.Subjects = append(h.options.Subjects, Subject{Subject: "hpc.*.more", ClusterTag: "alpha", Authorization: Trusted})
	address := addressOf(h.subscribe(""))
	large := bearer("large")
	large.Data = append(large.Data, bytes.Repeat([]byte("\n"), maxGuestPayload)...)
	guest := connect(t, address, natsgo.NoReconnect())
	if err := errors.Join(guest.PublishMsg(large), guest.Flush()); err == nil {
		eventually(t, "the guest is disconnected", guest.IsClosed)
	}
	publish(t, connect(t, address), bearer("small"), plain("hpc.x.more", "other"))
	eventually(t, "a small one is stored, with a wildcard too", func() bool { return h.stored("small") && h.stored("other") })
	if h.stored("large") {
		t.Error("the large message of a guest is stored")
	}
	publish(t, connect(t, address, natsgo.UserInfo("", token("api"))), large)
	eventually(t, "the large one of a token is stored", func() bool { return h.stored("large") })
}

func TestPublishersNeedTheConfiguredPassword(t *testing.T) {
	h := newHarness(t)
	h.options.Username, h.options.Password = "collector", "open sesame"
	s := h.subscribe("")
	f := func(user, password string, want error) {
		t.Helper()
		c, err := natsgo.Connect(addressOf(s), natsgo.UserInfo(user, password))
		if !errors.Is(err, want) {
			t.Errorf("%q %q: %v, want %v", user, password, err, want)
		}
		if err == nil {
			publish(t, c, bearer("h"))
			c.Close()
		}
	}
	f("", "", natsgo.ErrAuthorization)
	f("collector", "", natsgo.ErrAuthorization)
	f("collector", "open sesame ", natsgo.ErrAuthorization)
	f("", "open sesame", natsgo.ErrAuthorization)
	f("Collector", "open sesame", natsgo.ErrAuthorization)
	f("collector", "open sesame", nil)
	eventually(t, "the good one is stored", func() bool { return h.stored("h") })
	mustNotContain(t, "the log", h.log.String(), "open sesame")
	mayNot(t, addressOf(s), "subscribing with the password", func(c *natsgo.Conn) error {
		_, err := c.Subscribe(">", func(*natsgo.Msg) {})
		return err
	}, natsgo.UserInfo("collector", "open sesame"))
}

// The server quotes input that it cannot parse.
func TestServerErrorsHaveNoCredentials(t *testing.T) {
	h := newHarness(t)
	s := h.subscribe("")
	for _, input := range []string{
		"CONNECT {\"user\":\"u\",\"pass\":\"hunter2\"}\r\nWHAT hunter2\r\n",
		"hunter2\r\n",
		"CONNECT {\"pass\":\"hunter2" + strings.Repeat("2", maxControlLine) + "\"}\r\n",
	} {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(input)); err != nil {
			t.Fatal(err)
		}
		for b := make([]byte, 1024); err == nil; {
			_, err = c.Read(b) // until the server closes it
		}
		_ = c.Close()
	}
	h.close(s)
	mustContain(t, "the log", h.log.String(), "ERROR")
	mustNotContain(t, "the log", h.log.String(), "hunter2")
}

func TestEmbeddedServerWarnings(t *testing.T) {
	f := func(listen, user string, want, not string) {
		t.Helper()
		h := newHarness(t)
		h.options.Embedded, h.options.Username = &Embedded{Listen: listen}, user
		h.close(h.subscribe(""))
		mustContain(t, "the log for "+listen, h.log.String(), want)
		mustNotContain(t, "the log for "+listen, h.log.String(), not)
	}
	f("127.0.0.1:0", "", "without a password", "without TLS")
	f("localhost:0", "", "without a password", "without TLS")
	f("127.0.0.1:0", "u", "listens", "WARN")
	f("0.0.0.0:0", "u", "without TLS", "without a password")
	f(":0", "u", "without TLS", "without a password")
}
