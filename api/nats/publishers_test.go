package nats

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/auth/authtest"
)

// connecting configures an embedded server that checks tokens at the connection.
func (h *harness) connecting() *harness {
	h.options.Subjects = []Subject{{Subject: subject, ClusterTag: "alpha", Authorization: Connection}}
	h.options.Embedded = &Embedded{Listen: "127.0.0.1:0"}
	return h
}

// serve runs an embedded server whose connections only the test checks.
func (h *harness) serve() *embedded {
	h.t.Helper()
	if err := h.options.complete(); err != nil {
		h.t.Fatal(err)
	}
	c := newCounters(func() bool { return true })
	e := newEmbedded(&h.options, c)
	c.more = append(c.more, newPublisherGauges(e.publishers, e.clients))
	h.registry.MustRegister(c)
	h.t.Cleanup(e.shutdown)
	if err := e.start(); err != nil {
		h.t.Fatal(err)
	}
	if err := e.listen(); err != nil {
		h.t.Fatal(err)
	}
	return e
}

// pushing sends a sample of a new host every few milliseconds until it is stopped.
type pushing struct {
	c       *natsgo.Conn
	stop    chan struct{}
	stopped chan int
}

func push(t testing.TB, c *natsgo.Conn) *pushing {
	p := &pushing{c, make(chan struct{}), make(chan int)}
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-p.stop:
				p.stopped <- n
				return
			case <-tick.C:
				_ = c.Publish(subject, []byte(line(fmt.Sprint("push", n)))) // the sink continues after an error
			}
		}
	}()
	return p
}

// end returns how many samples were sent.
func (p *pushing) end() int {
	close(p.stop)
	return <-p.stopped
}

func TestThePublisherOutlivesARestart(t *testing.T) {
	t.Parallel()
	h := newHarness(t).connecting()
	s := h.subscribe("")
	h.options.Embedded.Listen = s.Addr().String()
	p := push(t, sink(t, addressOf(s), token("api")))
	eventually(t, "its samples are stored", func() bool { return len(h.hosts()) > 20 })
	h.close(s)
	time.Sleep(100 * time.Millisecond) // the publisher loses its connection

	h.options.Registerer = nil // the first subscriber's counters are still registered
	h.subscribe("")
	before := len(h.hosts())
	eventually(t, "its samples are stored again", func() bool { return len(h.hosts()) > before+20 })
	sent := p.end()
	if err := p.c.FlushTimeout(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the samples that it kept meanwhile are stored", func() bool { return h.stored(fmt.Sprint("push", sent-1)) })
	// Core NATS may lose messages that were in flight when the connection broke.
	if got := len(h.hosts()); got < sent*9/10 {
		t.Errorf("%d of %d stored", got, sent)
	}
	if p.c.IsClosed() {
		t.Error("the publisher gave up")
	}
}

func TestThePublisherOutlivesARotationWithOverlap(t *testing.T) {
	t.Parallel()
	h := newHarness(t).connecting()
	s := h.subscribe("")
	next := authtest.NewIssuer("the next key")
	old := sink(t, addressOf(s), token("api"))
	p := push(t, old)
	eventually(t, "its samples are stored", func() bool { return len(h.hosts()) > 5 })
	set := func(issuers ...*authtest.Issuer) {
		t.Helper()
		if err := h.chain.SetKeys(issuerName, keys(issuers...)); err != nil {
			t.Fatal(err)
		}
	}
	set(issuer, next)
	eventually(t, "all connections are checked", func() bool {
		return s.embedded.publishers.allOf(h.chain.Generation())
	})
	publish(t, sink(t, addressOf(s), next.Token(claims(nil))), plain(subject, "new"))
	eventually(t, "a sample with the new key is stored", func() bool { return h.stored("new") })
	before := len(h.hosts())
	eventually(t, "samples with the old key are still stored", func() bool { return len(h.hosts()) > before+5 })
	if n := old.Stats().Reconnects; n != 0 {
		t.Errorf("reconnected %d times", n)
	}
	p.end()
	// Then the old key is removed.
	set(next)
	eventually(t, "its connection is closed for good", old.IsClosed)
}

// allOf reports whether all connections were last checked under a generation.
func (p *publishers) allOf(generation uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.byID {
		if one.generation != generation {
			return false
		}
	}
	return len(p.byID) > 0
}

func TestAPublisherWithANewTokenOutlivesTheOldOnes(t *testing.T) {
	t.Parallel()
	h := newHarness(t).connecting()
	h.options.Embedded.ExpiryGrace = time.Second
	s := h.subscribe("")
	exp := time.Now().Add(2 * time.Second).Truncate(time.Second)
	old := sink(t, addressOf(s), issuer.Token(claims(map[string]any{"exp": exp.Unix()})))
	publish(t, old, plain(subject, "old"))
	renewed := sink(t, addressOf(s), token("api"))
	p := push(t, renewed)
	time.Sleep(time.Until(exp.Add(50 * time.Millisecond)))
	publish(t, old, plain(subject, "in-the-grace"))
	eventually(t, "the connection outlives its token", func() bool { return h.stored("in-the-grace") })
	eventually(t, "the connection is closed after the grace", func() bool { return !old.IsConnected() })
	if time.Now().Before(exp.Add(time.Second)) {
		t.Error("it was closed within the grace")
	}
	before := len(h.hosts())
	eventually(t, "samples with the new token are still stored", func() bool { return len(h.hosts()) > before+5 })
	p.end()
	if renewed.Stats().Reconnects != 0 {
		t.Error("it had to reconnect")
	}
	eventually(t, "the reason is audited", func() bool { return strings.Contains(h.audit.String(), `"code":"expired"`) })
}

func TestTokenExpiryWarningsAndGauge(t *testing.T) {
	t.Parallel()
	h := newHarness(t).connecting()
	e := h.serve()
	now := time.Now()
	as := func(name string, exp any) {
		t.Helper()
		connect(t, "nats://"+e.addr.String(), natsgo.UserInfo("c", issuer.Token(claims(map[string]any{"sub": name, "exp": exp}))))
	}
	as("never", nil)
	as("late", now.Add(100*time.Hour).Unix())
	as("soon", now.Add(time.Hour).Unix())
	as("soon", now.Add(2*time.Hour).Unix())
	if n := h.sum("ringstore_nats_clients"); n != 4 {
		t.Errorf("%v clients", n)
	}
	if n := h.sum("ringstore_nats_publishers"); n != 4 {
		t.Errorf("%v publishers", n)
	}
	left := func(name string) float64 { return h.sum("ringstore_nats_token_left_seconds", issuerName, name) }
	f := func(after time.Duration, warnings int) {
		t.Helper()
		e.publishers.now = func() time.Time { return now.Add(after) }
		e.publishers.check(t.Context())
		if n := strings.Count(h.log.String(), "token expires"); n != warnings {
			t.Errorf("after %v: %d warnings, want %d", after, n, warnings)
		}
	}
	f(0, 2) // for those that expire within a day
	f(0, 2)
	if got := left("soon"); got > 3600 || got < 3590 {
		t.Errorf("soon: %v seconds left, want the shorter", got)
	}
	if got := left("late"); got < 99*3600 {
		t.Errorf("late: %v seconds left", got)
	}
	if left("never") != 0 {
		t.Error("a token without exp has a gauge")
	}
	f(61*time.Minute, 3) // one has expired
	if got := left("soon"); got > -50 {
		t.Errorf("soon: %v seconds left, want less than -50", got)
	}
	f(62*time.Minute, 3)
}

func TestGuestsAndTokens(t *testing.T) {
	t.Parallel()
	f := func(name, user, password string, want func(t *testing.T, h *harness, address string)) {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t).connecting()
			h.options.Subjects = append(h.options.Subjects, Subject{Subject: "hpc.header", ClusterTag: "alpha"},
				Subject{Subject: "hpc.trusted", ClusterTag: "alpha", Authorization: Trusted})
			h.options.Username, h.options.Password = user, password
			switch {
			case user == "closed":
				h.closed, h.options.Username = true, ""
			case password == "both":
				h.options.Subjects[1].Guests = true
			}
			want(t, h, addressOf(h.subscribe("")))
		})
	}
	publishing := func(to string) func(*natsgo.Conn) error {
		return func(c *natsgo.Conn) error { return c.Publish(to, []byte(line("x"))) }
	}
	withToken := natsgo.UserInfo("x", token("api"))
	refused := func(t *testing.T, address, user, password string) {
		t.Helper()
		if _, err := natsgo.Connect(address, natsgo.UserInfo(user, password)); !errors.Is(err, natsgo.ErrAuthorization) {
			t.Errorf("%q with %q: %v", user, password, err)
		}
	}
	f("anybody", "", "", func(t *testing.T, h *harness, address string) {
		mustContain(t, "the log", h.log.String(), "accepts publishers without a password")
		mayNot(t, address, "publishing without a token", publishing(subject))
		publish(t, connect(t, address), plain("hpc.trusted", "guest"))
		eventually(t, "what is trusted is stored", func() bool { return h.stored("guest") })
		refused(t, address, "x", "garbage")
		refused(t, address, "x", token("user"))
		publish(t, connect(t, address, withToken), plain(subject, "h1"), plain("hpc.trusted", "h2"))
		eventually(t, "a token opens all", func() bool { return h.stored("h1") && h.stored("h2") })
	})
	f("nobody", "closed", "", func(t *testing.T, h *harness, address string) {
		refused(t, address, "", "")
		refused(t, address, "x", "garbage")
		mayNot(t, address, "publishing with a token where nothing is checked", publishing("hpc.trusted"), withToken)
		publish(t, connect(t, address, withToken), plain(subject, "h1"))
		eventually(t, "the token's is stored", func() bool { return h.stored("h1") })
		mustNotContain(t, "the log", h.log.String(), "accepts publishers without a password")
	})
	f("guests beside a password", "guest", "both", func(t *testing.T, h *harness, address string) {
		mayNot(t, address, "publishing elsewhere", publishing("hpc.trusted"))
		m := bearer("h1")
		m.Subject = "hpc.header"
		publish(t, connect(t, address), m)
		publish(t, connect(t, address, natsgo.UserInfo("guest", "both")), plain("hpc.trusted", "h2"))
		eventually(t, "both are stored", func() bool { return h.stored("h1") && h.stored("h2") })
	})
	f("with a password", "guest", "open sesame", func(t *testing.T, h *harness, address string) {
		refused(t, address, "", "")
		refused(t, address, "guest", "garbage")
		guest := natsgo.UserInfo("guest", "open sesame")
		mayNot(t, address, "publishing without a token", publishing(subject), guest)
		publish(t, connect(t, address, guest), plain("hpc.trusted", "guest"))
		eventually(t, "what is trusted is stored", func() bool { return h.stored("guest") })
		mayNot(t, address, "publishing where the password is wanted", publishing("hpc.trusted"), withToken)
		publish(t, connect(t, address, withToken), plain(subject, "h1"))
		eventually(t, "the token's is stored", func() bool { return h.stored("h1") })
	})
}

func TestTheEmbeddedServerUsesTLS(t *testing.T) {
	t.Parallel()
	h := newHarness(t).connecting()
	roots := x509.NewCertPool()
	h.options.Embedded.CertFile, h.options.Embedded.KeyFile = certificate(t, roots)
	s := h.subscribe("")
	if _, err := natsgo.Connect(addressOf(s), natsgo.UserInfo("c", token("api")), natsgo.Secure(&tls.Config{RootCAs: x509.NewCertPool()})); err == nil {
		t.Error("connected without the root certificate")
	}
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintf(c, "CONNECT {\"user\":\"c\",\"pass\":%q}\r\nPUB %s 4\r\nxxxx\r\nPING\r\n", token("api"), subject); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	for n := 0; err == nil; n, err = c.Read(answer) {
		if strings.Contains(string(answer[:n]), "PONG") {
			t.Error("served without TLS")
		}
	}
	publish(t, connect(t, addressOf(s), natsgo.UserInfo("c", token("api")), natsgo.Secure(&tls.Config{RootCAs: roots})), plain(subject, "h"))
	eventually(t, "it is stored", func() bool { return h.stored("h") })
	mustNotContain(t, "the log", h.log.String(), "without TLS")
}

// certificate creates a certificate for loopback and adds it to the roots.
func certificate(t *testing.T, roots *x509.CertPool) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(cert)
	dir := t.TempDir()
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", private)
}

func TestLimitsOfTheEmbeddedServer(t *testing.T) {
	t.Parallel()
	h := newHarness(t).connecting()
	h.options.Embedded.MaxConnections, h.options.Embedded.MaxPayload = 2, 1<<10
	s := h.subscribe("")
	with := natsgo.UserInfo("c", token("api"))
	c := connect(t, addressOf(s), with)
	connect(t, addressOf(s), with)
	if c, err := natsgo.Connect(addressOf(s), with); err == nil {
		c.Close()
		t.Error("a third connection")
	}
	if c.MaxPayload() != 1<<10 {
		t.Errorf("a payload of %d", c.MaxPayload())
	}
}

func TestRatesCloseConnections(t *testing.T) {
	t.Parallel()
	f := func(name string, messages, bytes int64, want bool) {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t).connecting()
			h.options.Embedded.MessagesPerSecond, h.options.Embedded.BytesPerSecond = messages, bytes
			e := h.serve()
			now := time.Now()
			address, with := "nats://"+e.addr.String(), natsgo.UserInfo("c", token("api"))
			modest, greedy := connect(t, address, with), connect(t, address, with, natsgo.NoReconnect())
			for range 100 {
				publish(t, greedy, &natsgo.Msg{Subject: subject, Data: []byte(strings.Repeat("\n", 1000))})
			}
			publish(t, modest, plain(subject, "modest"))
			e.rates.now = func() time.Time { return now.Add(rateWindow - time.Second) }
			e.checkConnections()
			if greedy.IsClosed() {
				t.Fatal("closed before the window was over")
			}
			e.rates.now = func() time.Time { return now.Add(rateWindow + time.Second) }
			e.checkConnections()
			if want {
				eventually(t, "it is closed", greedy.IsClosed)
				mustContain(t, "the log", h.log.String(), "publishes too much")
			}
			for _, c := range []*natsgo.Conn{modest, greedy} {
				if err := c.Flush(); (err != nil) != (want && c == greedy) {
					t.Errorf("afterwards: %v", err)
				}
			}
		})
	}
	f("messages", 10, 0, true)
	f("bytes", 0, 10_000, true)
	f("neither", 100, 100_000, false)
}

// Our own connection acknowledges the messages of all publishers.
func TestOurOwnConnectionHasNoRate(t *testing.T) {
	t.Parallel()
	h := newHarness(t).connecting().streaming()
	h.options.Embedded.StoreDir, h.options.Embedded.MessagesPerSecond = t.TempDir(), 10
	e := h.serve()
	own := connect(t, "", append(e.connectOptions(), natsgo.NoReconnect())...)
	for range 1000 {
		publish(t, own, &natsgo.Msg{Subject: "$JS.ACK.any"})
	}
	e.rates.now = func() time.Time { return time.Now().Add(2 * rateWindow) }
	e.checkConnections()
	if err := own.Flush(); err != nil {
		t.Error(err)
	}
	mustNotContain(t, "the log", h.log.String(), "publishes too much")
}

func TestOtherListenersAreOff(t *testing.T) {
	t.Parallel()
	s := newHarness(t).connecting().subscribe("")
	e := s.embedded.server
	if e.MonitorAddr() != nil || e.ClusterAddr() != nil || e.ProfilerAddr() != nil || e.NumRoutes() != 0 || e.NumLeafNodes() != 0 {
		t.Error("something else listens")
	}
	if v, err := e.Varz(nil); err != nil || v.MQTT.Port != 0 || v.Websocket.Port != 0 || v.LeafNode.Port != 0 || v.Gateway.Port != 0 {
		t.Errorf("something else listens: %v", err)
	}
}
