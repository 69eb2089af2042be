package nats

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/authtest"
)

// sink connects like cc-metric-collector's nats sink: with a user and a password, without handlers,
// and reconnecting forever.
func sink(t testing.TB, address, password string) *natsgo.Conn {
	t.Helper()
	c, err := natsgo.Connect(address, natsgo.UserInfo("collector", password), natsgo.MaxReconnects(-1), natsgo.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// plain returns a message as that sink sends it.
func plain(to, host string) *natsgo.Msg { return &natsgo.Msg{Subject: to, Data: []byte(line(host))} }

// connectionModes runs a test with tokens checked at the connection: by an embedded server, and by
// the callout of an external one, with and without encryption.
func connectionModes(t *testing.T, change func(*harness), f func(t *testing.T, h *harness, address string)) {
	with := func(t *testing.T) *harness {
		h := newHarness(t)
		h.options.Subjects = []Subject{{Subject: subject, ClusterTag: "alpha", Authorization: Connection}}
		if change != nil {
			change(h)
		}
		return h
	}
	t.Run("embedded", func(t *testing.T) {
		h := with(t)
		f(t, h, addressOf(h.subscribe("")))
	})
	for name, xkey := range map[string]string{"callout": "", "encrypted callout": xkeySeed} {
		t.Run(name, func(t *testing.T) {
			h := with(t)
			h.options.Callout = &Callout{AccountSeed: accountSeed, XKeySeed: xkey}
			h.options.Username, h.options.Password = calloutUser, calloutPassword
			url := runServer(t, calloutServer(xkey)).ClientURL()
			s := h.subscribe(url)
			eventually(t, "it answers the server", s.Connected)
			f(t, h, url)
		})
	}
}

const calloutUser, calloutPassword = "ringstore", "our own password"

// calloutServer returns the options of a server that asks us about all clients but ourselves.
func calloutServer(xkey string) server.Options {
	o := server.Options{
		Users:          []*server.User{{Username: calloutUser, Password: calloutPassword}},
		AuthCallout:    &server.AuthCallout{Issuer: publicOf(accountSeed), Account: "$G", AuthUsers: []string{calloutUser}},
		MaxControlLine: maxControlLine,
	}
	if xkey != "" {
		o.AuthCallout.XKey = publicOf(xkey)
	}
	return o
}

// tryConnect connects with a password. If the server refuses it, tryConnect returns the audited
// code and the server's error, else it publishes a sample of host.
func (h *harness) tryConnect(address, host, password string) (code string, err error) {
	h.t.Helper()
	before := h.audit.String()
	c, err := natsgo.Connect(address, natsgo.UserInfo("anybody", password), natsgo.NoReconnect())
	if err == nil {
		publish(h.t, c, plain(subject, host))
		eventually(h.t, host+" is stored", func() bool { return h.stored(host) })
		c.Close()
		return "", nil
	}
	eventually(h.t, "the refusal is audited", func() bool { return len(h.audit.String()) > len(before) })
	var event struct{ Transport, Peer, Action, Code string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(h.audit.String(), before)), &event); err != nil {
		h.t.Fatal(err)
	}
	if event.Transport != "nats" || event.Peer != "127.0.0.1" || event.Action != "write" {
		h.t.Errorf("audited as %+v", event)
	}
	if h.sum("ringstore_nats_connections_refused_total", event.Code) == 0 {
		h.t.Errorf("refused as %q, but not counted under it", event.Code)
	}
	return event.Code, err
}

func TestWhoMayConnect(t *testing.T) {
	t.Parallel()
	connectionModes(t, nil, func(t *testing.T, h *harness, address string) {
		if err := h.chain.SetRevocations(revocations(t, `{"tokens": ["revoked"]}`)); err != nil {
			t.Fatal(err)
		}
		// The bad publishers do not disturb a good one.
		good := sink(t, address, token("api"))
		sent := 0
		f := func(host, want, password string) {
			t.Helper()
			code, err := h.tryConnect(address, host, password)
			switch {
			case code != want:
				t.Errorf("%s: refused as %q, want %q", host, code, want)
			case want != "" && !errors.Is(err, natsgo.ErrAuthorization):
				t.Errorf("%s: got error %v", host, err)
			case want != "" && h.stored(host):
				t.Errorf("%s: stored", host)
			}
			if len(password) > 10 {
				mustNotContain(t, "the log", h.log.String(), password)
				mustNotContain(t, "the audit", h.audit.String(), password)
			}
			publish(t, good, plain(subject, fmt.Sprint("good", sent)))
			sent++
		}
		bad := func(host string, want auth.Reason, changes map[string]any) {
			t.Helper()
			f(host, string(want), issuer.Token(claims(changes)))
		}
		now := time.Now()
		f("no-password", "missing", "")
		f("garbage", "malformed", "garbage")
		f("other-key", "bad_signature", otherIssuer.Token(claims(nil)))
		f("15-kB", "malformed", strings.Repeat("a", 15000))
		bad("expired", auth.Expired, map[string]any{"exp": now.Add(-time.Hour).Unix()})
		bad("not-yet", auth.NotYetValid, map[string]any{"nbf": now.Add(time.Hour).Unix()})
		bad("revoked", auth.Revoked, map[string]any{"jti": "revoked"})
		bad("other-iss", auth.UnknownIssuer, map[string]any{"iss": "https://elsewhere"})
		bad("none", auth.InsufficientRole, map[string]any{"roles": []string{}})
		bad("unknown", auth.InsufficientRole, map[string]any{"roles": []string{"root"}})
		bad("user", auth.InsufficientRole, map[string]any{"roles": []string{"user"}})
		bad("manager", auth.InsufficientRole, map[string]any{"roles": []string{"manager"}})
		bad("support", auth.InsufficientRole, map[string]any{"roles": []string{"support"}})
		bad("gamma", auth.OtherCluster, map[string]any{"roles": []string{"api-gamma"}})
		bad("api", "", nil)
		bad("admin", "", map[string]any{"roles": []string{"admin"}})
		bad("user-api", "", map[string]any{"roles": []string{"user", "api"}})
		bad("alpha", "", map[string]any{"roles": []string{"api-alpha"}})
		bad("never-expires", "", map[string]any{"exp": nil})
		bad("12-kB", "", map[string]any{"padding": strings.Repeat("x", 9000)})
		eventually(t, "all of the good publisher's is stored", func() bool { return len(h.hosts()) == sent+6 })
		if good.Stats().Reconnects != 0 || good.LastError() != nil {
			t.Errorf("the good publisher was disturbed: %v", good.LastError())
		}
	})
}

func revocations(t testing.TB, text string) *auth.Revocations {
	t.Helper()
	r, err := auth.ParseRevocations([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNATSAuthTokenIsAccepted(t *testing.T) {
	t.Parallel()
	connectionModes(t, nil, func(t *testing.T, h *harness, address string) {
		publish(t, connect(t, address, natsgo.Token(token("api"))), plain(subject, "h"))
		eventually(t, "it is stored", func() bool { return h.stored("h") })
	})
}

func TestConnectionMayOnlyPublishToItsSubjects(t *testing.T) {
	t.Parallel()
	connectionModes(t, func(h *harness) {
		h.options.Subjects = []Subject{{Subject: "*.metrics.>", ClusterTag: "alpha", Authorization: Connection}}
	}, func(t *testing.T, h *harness, address string) {
		with := natsgo.UserInfo("collector", token("api"))
		for _, to := range []string{"other", "hpc.metrics", "_INBOX.metrics.x", "$SYS.metrics.x", "$JS.metrics.x", "_RINGSTORE.metrics.x"} {
			mayNot(t, address, "publishing to "+to, func(c *natsgo.Conn) error { return c.Publish(to, nil) }, with)
		}
		for _, to := range []string{">", "*.metrics.>", "hpc.metrics.x", "_INBOX.x", "$SYS.>"} {
			mayNot(t, address, "subscribing to "+to, func(c *natsgo.Conn) error {
				_, err := c.Subscribe(to, func(*natsgo.Msg) {})
				return err
			}, with)
		}
		publish(t, connect(t, address, with), plain("hpc.metrics.x", "h"))
		eventually(t, "the permitted message is stored", func() bool { return h.stored("h") })
		if h.options.Embedded == nil {
			return // an external server logs violations itself
		}
		eventually(t, "the violations are counted", func() bool { return h.sum("ringstore_nats_violations_total") == 11 })
		mustContain(t, "the audit", h.audit.String(), `"peer":"127.0.0.1","issuer":"jwt-public-key","subject":"alice","roles":["api"],"action":"write","code":"insufficient_role"`)
	})
}

func TestClustersLimitTheSubjectsOfAConnection(t *testing.T) {
	t.Parallel()
	connectionModes(t, func(h *harness) {
		h.options.Subjects = []Subject{
			{Subject: "alpha", ClusterTag: "alpha", Authorization: Connection},
			{Subject: "gamma", ClusterTag: "gamma", Authorization: Connection},
			{Subject: "any", Authorization: Connection},
		}
	}, func(t *testing.T, h *harness, address string) {
		alpha := natsgo.UserInfo("collector", token("api-alpha"))
		for _, to := range []string{"gamma", "any"} {
			mayNot(t, address, "publishing to "+to, func(c *natsgo.Conn) error { return c.Publish(to, []byte(line("x"))) }, alpha)
		}
		publish(t, connect(t, address, alpha), &natsgo.Msg{
			Subject: "alpha",
			Data:    []byte(line("h1") + "load,cluster=gamma,hostname=h2 value=1\nload,cluster=alpha,hostname=h3 value=1\n"),
		})
		eventually(t, "the lines of its cluster are stored", func() bool { return h.stored("h1") && h.stored("h3") })
		eventually(t, "the other is refused", func() bool { return h.sum("ringstore_nats_refused_total", "alpha", "other_cluster") == 1 })
		publish(t, connect(t, address, natsgo.UserInfo("collector", token("api"))),
			&natsgo.Msg{Subject: "any", Data: []byte("load,cluster=delta,hostname=h4 value=1\n")}, plain("gamma", "h5"))
		eventually(t, "the unrestricted principal's samples are stored", func() bool {
			return slices.Equal(h.store.Hosts("delta"), []string{"h4"}) && slices.Equal(h.store.Hosts("gamma"), []string{"h5"})
		})
		if len(h.hosts()) != 2 {
			t.Errorf("stored: %q", h.hosts())
		}
	})
}

func TestHeaderTokenLimitsClustersPerMessage(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.options.Subjects = []Subject{{Subject: subject, ClusterTag: "alpha"}}
	c := connect(t, addressOf(h.subscribe("")))
	body := line("h1") + "load,cluster=gamma,hostname=h2 value=1\n"
	publish(t, c, message(body, "Authorization", "Bearer "+token("api")))
	eventually(t, "both are stored", func() bool { return h.stored("h1") && len(h.store.Hosts("gamma")) == 1 })
	before := h.sum("ringstore_ingest_samples_total")
	f := func(forbidden float64, role, body string) {
		t.Helper()
		rejected := h.sum("ringstore_nats_rejected_lines_total")
		publish(t, c, message(body, "Authorization", "Bearer "+token(role)))
		eventually(t, "it is handled", func() bool { return h.sum("ringstore_nats_rejected_lines_total") == rejected+forbidden })
	}
	f(1, "api-alpha", body)
	f(1, "api-gamma", body)
	f(2, "api-gamma", line("new1")+line("new2"))
	if got := h.sum("ringstore_ingest_samples_total"); got != before+2 {
		t.Errorf("%v samples more", got-before)
	}
	if h.stored("new1") || len(h.store.Hosts("gamma")) != 1 {
		t.Error("a refused line made a host")
	}
	mustContain(t, "the audit", h.audit.String(), `"code":"other_cluster"`)
}

// Only a client that is known to be wrong may be refused: after a second refusal, a NATS client
// does not reconnect.
func TestUncheckedClientReconnects(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.options.Subjects = []Subject{{Subject: subject, ClusterTag: "alpha", Authorization: Connection}}
	authenticator := &failingAuthenticator{Authenticator: h.options.Authenticator}
	authenticator.failing.Store(true)
	h.options.Authenticator = authenticator
	s := h.subscribe("")
	c, err := natsgo.Connect(addressOf(s), natsgo.UserInfo("collector", token("api")), natsgo.MaxReconnects(-1),
		natsgo.RetryOnFailedConnect(true), natsgo.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Publish(subject, []byte(line("h"))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it reconnects many times", func() bool { return h.sum("ringstore_nats_connections_unchecked_total") > 5 })
	if c.IsClosed() || h.audit.String() != "" {
		t.Fatalf("closed: %v, audited: %q", c.IsClosed(), h.audit.String())
	}
	authenticator.failing.Store(false)
	eventually(t, "its message is stored", func() bool { return h.stored("h") })
}

func TestConnectionClosesWhenItsGrantEnds(t *testing.T) {
	t.Parallel()
	f := func(name, want string, lifetime time.Duration, change func(t *testing.T, h *harness)) {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.options.Subjects = []Subject{{Subject: subject, ClusterTag: "alpha", Authorization: Connection}}
			h.options.Embedded = &Embedded{Listen: "127.0.0.1:0", ExpiryGrace: -1}
			address := addressOf(h.subscribe(""))
			// The issuer has no leeway, so a token is good until it expires.
			c := connect(t, address, natsgo.NoReconnect(), natsgo.UserInfo("c", issuer.Token(claims(map[string]any{
				"jti": "7", "exp": time.Now().Add(lifetime).Unix(),
			}))))
			other := connect(t, address, natsgo.NoReconnect(), natsgo.UserInfo("c", otherIssuer.Token(claims(map[string]any{"iss": "other"}))))
			publish(t, c, plain(subject, "h"))
			eventually(t, "it is admitted", func() bool { return h.stored("h") && h.sum("ringstore_nats_publishers") == 2 })
			if change != nil {
				change(t, h)
			}
			eventually(t, "it is closed", c.IsClosed)
			eventually(t, "it is counted", func() bool { return h.sum("ringstore_nats_connections_closed_total") == 1 })
			eventually(t, "it is audited", func() bool { return strings.Contains(h.audit.String(), fmt.Sprintf("%q", want)) })
			mustContain(t, "the log", h.log.String(), "reason="+want)
			if other.IsClosed() {
				t.Error("another connection was closed")
			}
		})
	}
	set := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	f("expiry", "expired", 3*time.Second, nil)
	f("revocation", "revoked", time.Hour, func(t *testing.T, h *harness) { set(h.chain.SetRevocations(revocations(t, `{"tokens": ["7"]}`))) })
	f("rotation", "bad_signature", time.Hour, func(_ *testing.T, h *harness) {
		set(h.chain.SetKeys(issuerName, keys(authtest.NewIssuer("the next key"))))
	})
}

// The grace is for a token that was not renewed in time, not for one that was revoked.
func TestRevocationClosesConnectionInGrace(t *testing.T) {
	t.Parallel()
	h := newHarness(t).connecting()
	e := h.serve()
	exp := time.Now().Add(time.Hour).Truncate(time.Second)
	c := connect(t, "nats://"+e.addr.String(), natsgo.NoReconnect(), natsgo.UserInfo("c", issuer.Token(claims(map[string]any{"jti": "7", "exp": exp.Unix()}))))
	eventually(t, "it is admitted", func() bool { return h.sum("ringstore_nats_publishers") == 1 })
	for _, after := range []time.Duration{0, time.Minute} {
		e.publishers.now = func() time.Time { return exp.Add(after) }
		e.publishers.check(t.Context())
		if err := c.Flush(); err != nil {
			t.Fatalf("%v after it expired: %v", after, err)
		}
	}
	if err := h.chain.SetRevocations(revocations(t, `{"tokens": ["7"]}`)); err != nil {
		t.Fatal(err)
	}
	e.publishers.check(t.Context())
	eventually(t, "it is closed", c.IsClosed)
	mustContain(t, "the audit", h.audit.String(), `"code":"revoked"`)
}
