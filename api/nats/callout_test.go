package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/ringstore/ringstore/auth"
)

// Seeds of the auth callout.
var (
	accountSeed = seed(nkeys.PrefixByteAccount)
	userSeed    = seed(nkeys.PrefixByteUser)
	xkeySeed    = seed(nkeys.PrefixByteCurve)
)

func seed(kind nkeys.PrefixByte) string {
	pair, err := nkeys.CreatePair(kind)
	if err != nil {
		panic(err)
	}
	s, err := pair.Seed()
	if err != nil {
		panic(err)
	}
	return string(s)
}

func publicOf(seed string) string {
	pair, err := nkeys.FromSeed([]byte(seed))
	if seed[:2] == "SX" {
		pair, err = nkeys.FromCurveSeed([]byte(seed))
	}
	if err != nil {
		panic(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		panic(err)
	}
	return public
}

// calloutRequest returns a server's request as it is sent.
func calloutRequest(t testing.TB, server nkeys.KeyPair, change func(*jwt.AuthorizationRequestClaims)) *natsgo.Msg {
	t.Helper()
	id, err := server.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	r := jwt.NewAuthorizationRequestClaims(publicOf(accountSeed))
	r.Audience, r.UserNkey, r.Server.ID = "nats-authorization-request", publicOf(userSeed), id
	r.ConnectOptions.Password = token("api")
	if change != nil {
		change(r)
	}
	text, err := r.Encode(server)
	if err != nil {
		t.Fatal(err)
	}
	return &natsgo.Msg{Data: []byte(text), Header: natsgo.Header{}}
}

func newKeyPair(t testing.TB, kind nkeys.PrefixByte) nkeys.KeyPair {
	t.Helper()
	pair, err := nkeys.CreatePair(kind)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestCalloutRejectsInvalidRequests(t *testing.T) {
	t.Parallel()
	open := func(xkey string) *callout {
		h := newHarness(t)
		h.options.Callout = &Callout{AccountSeed: accountSeed, XKeySeed: xkey}
		c, err := newCallout(&h.options, newCounters(nil))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	clear, sealed := open(""), open(xkeySeed)
	server, curve := newKeyPair(t, nkeys.PrefixByteServer), newKeyPair(t, nkeys.PrefixByteCurve)
	f := func(want string, c *callout, m *natsgo.Msg) {
		t.Helper()
		_, _, err := c.read(m)
		if got := fmt.Sprint(err); !strings.Contains(got, want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	seal := func(m *natsgo.Msg, to string) *natsgo.Msg {
		t.Helper()
		from, err := curve.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		if m.Data, err = curve.Seal(m.Data, to); err != nil {
			t.Fatal(err)
		}
		m.Header.Set("Nats-Server-Xkey", from)
		return m
	}
	changed := func(change func(*jwt.AuthorizationRequestClaims)) *natsgo.Msg {
		return calloutRequest(t, server, change)
	}
	good := calloutRequest(t, server, nil)
	f("not signed by a server", clear, &natsgo.Msg{})
	f("not signed by a server", clear, &natsgo.Msg{Data: []byte(token("api"))})
	f("not signed by a server", clear, &natsgo.Msg{Data: good.Data[:len(good.Data)-2]})
	f("audience", clear, changed(func(r *jwt.AuthorizationRequestClaims) { r.Audience = "x" }))
	f("another server", clear, changed(func(r *jwt.AuthorizationRequestClaims) {
		id, _ := newKeyPair(t, nkeys.PrefixByteServer).PublicKey()
		r.Server.ID = id
	}))
	f("not valid", clear, changed(func(r *jwt.AuthorizationRequestClaims) { r.UserNkey = publicOf(accountSeed) }))
	f("too old", clear, changed(func(r *jwt.AuthorizationRequestClaims) { r.Expires = time.Now().Add(-time.Hour).Unix() }))
	f("is encrypted", clear, seal(calloutRequest(t, server, nil), publicOf(xkeySeed)))
	f("not encrypted", sealed, good)
	f("not encrypted for our", sealed, seal(calloutRequest(t, server, nil), publicOf(seed(nkeys.PrefixByteCurve))))
	f("<nil>", clear, good)
	f("<nil>", sealed, seal(calloutRequest(t, server, nil), publicOf(xkeySeed)))
}

func FuzzCalloutRequest(f *testing.F) {
	h := newHarness(f)
	h.options.Callout = &Callout{AccountSeed: accountSeed}
	c, err := newCallout(&h.options, newCounters(nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(""))
	f.Add([]byte("a.b.c"))
	f.Add([]byte(token("api")))
	f.Add(calloutRequest(f, newKeyPair(f, nkeys.PrefixByteServer), nil).Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, _, err := c.read(&natsgo.Msg{Data: data}); err == nil && r.Issuer != r.Server.ID {
			t.Error("a request of another server is accepted")
		}
	})
}

// Two instances answer, and either may stop.
func TestTwoInstancesAnswerTheCallout(t *testing.T) {
	t.Parallel()
	url := runServer(t, calloutServer(xkeySeed)).ClientURL()
	open := func() *Subscriber {
		h := newHarness(t).connecting()
		h.options.Embedded = nil
		h.options.Callout = &Callout{AccountSeed: accountSeed, XKeySeed: xkeySeed, Account: "$G"}
		h.options.Username, h.options.Password = calloutUser, calloutPassword
		s := h.subscribe(url)
		eventually(t, "it answers", s.Connected)
		t.Cleanup(func() { h.close(s) })
		return s
	}
	tryConnect := func() {
		t.Helper()
		for range 8 {
			connect(t, url, natsgo.UserInfo("c", token("api"))).Close()
			if _, err := natsgo.Connect(url, natsgo.UserInfo("c", token("user"))); !errors.Is(err, natsgo.ErrAuthorization) {
				t.Errorf("a user: %v", err)
			}
		}
	}
	first := open()
	tryConnect()
	second := open()
	tryConnect()
	if err := first.Close(t.Context()); err != nil {
		t.Error(err)
	}
	tryConnect()
	open()
	if err := second.Close(t.Context()); err != nil {
		t.Error(err)
	}
	tryConnect()
}

// Publishers stay connected while no instance runs. Core NATS loses what they publish meanwhile; a
// stream would keep it.
func TestCalloutGrantOutlivesInstanceUntilTokenExpires(t *testing.T) {
	t.Parallel()
	url := runServer(t, calloutServer("")).ClientURL()
	h := newHarness(t).connecting()
	h.options.Embedded = nil
	h.options.Callout = &Callout{AccountSeed: accountSeed}
	h.options.Username, h.options.Password = calloutUser, calloutPassword
	s := h.subscribe(url)
	eventually(t, "it answers", s.Connected)
	lasting := connect(t, url, natsgo.UserInfo("c", token("api")))
	exp := time.Now().Add(2 * time.Second).Truncate(time.Second)
	ending := connect(t, url, natsgo.UserInfo("c", issuer.Token(claims(map[string]any{"exp": exp.Unix()}))), natsgo.NoReconnect())
	h.close(s)
	publish(t, lasting, plain(subject, "lost"))
	eventually(t, "a connection ends with its token", ending.IsClosed)
	if time.Now().Before(exp) {
		t.Error("it closed before the token expired")
	}
	h.options.Registerer = nil
	s = h.subscribe(url)
	eventually(t, "it answers again", s.Connected)
	publish(t, lasting, plain(subject, "h"))
	eventually(t, "it is stored", func() bool { return h.stored("h") })
	if lasting.Stats().Reconnects != 0 {
		t.Error("reconnected")
	}
}

func TestParseViolation(t *testing.T) {
	f := func(format, host string, id uint64, ok bool) {
		t.Helper()
		if h, i, o := parseViolation(format); h != host || i != id || o != ok {
			t.Errorf("%q: %q %d %v", format, h, i, o)
		}
	}
	f("", "", 0, false)
	f("127.0.0.1:80 - cid:7 - \"v1:go\" - Something", "", 0, false)
	f(" - Publish Violation - Subject %q", "", 0, false)
	f("127.0.0.1:80 - cid: - Publish Violation - Subject %q", "", 0, false)
	f("127.0.0.1:80 - cid:99999999999999999999 - Publish Violation - Subject %q", "", 0, false)
	f("x - cid:7 - Publish Violation - Subject %q", "", 0, false)
	f("127.0.0.1:80 - cid:7 - \"v1:go\" - Publish Violation - Subject %q", "127.0.0.1", 7, true)
	f("[::1]:80 - cid:7 - Subscription Violation - Subject \"a\", SID 1", "::1", 7, true)
	f("127.0.0.1:80 - cid:7 - \"x - cid:8\" - Publish Violation - Reply %q", "127.0.0.1", 7, true)
}

// overloadedFor is an authenticator that is overloaded for one token.
type overloadedFor struct {
	Authenticator
	of    string
	asked atomic.Int64
}

func (u *overloadedFor) Authenticate(ctx context.Context, token string) (*auth.Principal, error) {
	if token == u.of {
		u.asked.Add(1)
		return nil, &auth.Overloaded{Code: auth.Refreshing}
	}
	return u.Authenticator.Authenticate(ctx, token)
}

// Any client can send a token whose key must be fetched first. That must not delay others.
func TestUncheckedClientsDoNotDelayOthers(t *testing.T) {
	t.Parallel()
	const others = 100
	h := newHarness(t)
	u := &overloadedFor{Authenticator: h.options.Authenticator, of: token("user")}
	h.options.Authenticator = u
	h.options.Subjects = []Subject{{Subject: subject, ClusterTag: "alpha", Authorization: Connection}}
	h.options.Callout = &Callout{AccountSeed: accountSeed}
	h.options.Username, h.options.Password = calloutUser, calloutPassword
	url := runServer(t, calloutServer("")).ClientURL()
	s := h.subscribe(url)
	eventually(t, "it answers the server", s.Connected)
	var knocking sync.WaitGroup
	defer knocking.Wait()
	for range others {
		knocking.Go(func() {
			if c, err := natsgo.Connect(url, natsgo.UserInfo("x", u.of)); err == nil {
				c.Close()
				t.Error("an unchecked client is admitted")
			}
		})
	}
	eventually(t, "their tokens are checked", func() bool { return u.asked.Load() >= 8 })
	publish(t, connect(t, url, natsgo.UserInfo("c", token("api"))), plain(subject, "h"))
	eventually(t, "another client's sample is stored", func() bool { return h.stored("h") })
}
