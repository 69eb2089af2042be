package nats

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/auth"
)

// onBothServers runs a test with an external server and with an embedded one.
func onBothServers(t *testing.T, f func(t *testing.T, h *harness, publisher *natsgo.Conn)) {
	t.Run("external", func(t *testing.T) {
		h := newHarness(t)
		url := runServer(t, server.Options{}).ClientURL()
		h.subscribe(url)
		f(t, h, connect(t, url))
	})
	t.Run("embedded", func(t *testing.T) {
		h := newHarness(t)
		f(t, h, connect(t, addressOf(h.subscribe(""))))
	})
}

// send publishes a message for a host and waits until it is stored or refused. It returns the
// reason of the refusal, or "".
func (h *harness) send(c *natsgo.Conn, host string, header ...string) (reason string) {
	h.t.Helper()
	before := h.audit.String()
	refused := h.sum("ringstore_nats_refused_total")
	publish(h.t, c, message(line(host), header...))
	eventually(h.t, "the message is stored or refused", func() bool {
		return h.stored(host) || h.sum("ringstore_nats_refused_total") > refused
	})
	if h.stored(host) {
		return ""
	}
	eventually(h.t, "the refusal is audited", func() bool { return len(h.audit.String()) > len(before) })
	var event struct{ Transport, Peer, Subject, Action, Code string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(h.audit.String(), before)), &event); err != nil {
		h.t.Fatal(err)
	}
	if event.Transport != "nats" || event.Peer != subject || event.Action != "write" {
		h.t.Errorf("audited as %+v", event)
	}
	if h.sum("ringstore_nats_refused_total", subject, event.Code) == 0 {
		h.t.Errorf("refused as %q, but not counted under it", event.Code)
	}
	return event.Code
}

func TestRolesThatMayWrite(t *testing.T) {
	onBothServers(t, func(t *testing.T, h *harness, c *natsgo.Conn) {
		f := func(host, want string, roles ...string) {
			t.Helper()
			if got := h.send(c, host, "Authorization", "Bearer "+token(roles...)); got != want {
				t.Errorf("%s: %q, want %q", host, got, want)
			}
		}
		const denied = string(auth.InsufficientRole)
		f("none", denied)
		f("user", denied, "user")
		f("manager", denied, "manager")
		f("support", denied, "support")
		f("unknown", denied, "root")
		f("other-case", denied, "Admin", "API")
		f("all-that-may-not", denied, "support", "manager", "user")
		f("api", "", "api")
		f("admin", "", "admin")
		f("admin-api", "", "admin", "api")
		f("user-api", "", "user", "api")
	})
}

func TestBadTokensAreRefused(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	payload, err := json.Marshal(claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	// forged returns a token with any header, signed by f.
	forged := func(header string, f func(text string) []byte) string {
		text := b64([]byte(header)) + "." + b64(payload)
		return text + "." + b64(f(text))
	}
	good := token("api")
	_, goodSignature, _ := strings.Cut(good[strings.Index(good, ".")+1:], ".")
	signature := func(string) []byte {
		s, err := base64.RawURLEncoding.DecodeString(goodSignature)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	hs256 := func(text string) []byte {
		mac := hmac.New(sha256.New, issuer.PublicKey())
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	with := func(changes map[string]any) string { return issuer.Token(claims(changes)) }
	now := time.Now()

	onBothServers(t, func(t *testing.T, h *harness, c *natsgo.Conn) {
		f := func(host string, want auth.Reason, header ...string) {
			t.Helper()
			if got := h.send(c, host, header...); got != string(want) {
				t.Errorf("%s: %q, want %q", host, got, want)
			}
		}
		bad := func(host string, want auth.Reason, token string) {
			t.Helper()
			f(host, want, "Authorization", "Bearer "+token)
			mustNotContain(t, "the log", h.log.String(), token)
			mustNotContain(t, "the audit", h.audit.String(), token)
		}
		f("no-header", auth.Missing)
		f("other-header", auth.Missing, "X-Auth-Token", good)
		f("empty", auth.Missing, "Authorization", "")
		f("scheme-only", auth.Missing, "Authorization", "Bearer ")
		f("no-scheme", auth.UnsupportedScheme, "Authorization", good)
		f("basic", auth.UnsupportedScheme, "Authorization", "Basic "+good)
		f("two-tokens", auth.ConflictingTokens, "Authorization", "Bearer "+good, "Authorization", "Bearer "+token("admin"))
		f("two-cases", auth.ConflictingTokens, "Authorization", "Bearer "+good, "authorization", "Bearer "+token("admin"))
		f("one-of-two-bad", auth.ConflictingTokens, "Authorization", "Bearer "+good, "AUTHORIZATION", "Bearer x.y.z")

		if err := h.chain.SetRevocations(revocations(t, `{"tokens": ["revoked"]}`)); err != nil {
			t.Fatal(err)
		}
		bad("revoked", auth.Revoked, with(map[string]any{"jti": "revoked"}))
		bad("garbage", auth.Malformed, "garbage")
		bad("three-parts", auth.Malformed, "not.a.token")
		bad("truncated", auth.BadSignature, good[:len(good)-6])
		bad("without-signature", auth.Malformed, good[:strings.LastIndexByte(good, '.')])
		bad("wrong-key", auth.BadSignature, otherIssuer.Token(claims(nil)))
		bad("none", auth.BadAlgorithm, forged(`{"alg":"none","typ":"JWT"}`, func(string) []byte { return nil }))
		bad("None", auth.BadAlgorithm, forged(`{"alg":"None","typ":"JWT"}`, signature))
		bad("HS256", auth.BadAlgorithm, forged(`{"alg":"HS256","typ":"JWT"}`, hs256))
		bad("eddsa", auth.BadAlgorithm, forged(`{"alg":"eddsa","typ":"JWT"}`, signature))
		bad("expired", auth.Expired, with(map[string]any{"exp": now.Add(-time.Hour).Unix()}))
		bad("not-yet-valid", auth.NotYetValid, with(map[string]any{"nbf": now.Add(time.Hour).Unix()}))
		bad("issued-in-the-future", auth.IssuedInFuture, with(map[string]any{"iat": now.Add(time.Hour).Unix()}))
		bad("roles-as-a-string", auth.BadClaims, with(map[string]any{"roles": "api"}))
		bad("empty-sub", auth.BadClaims, with(map[string]any{"sub": ""}))
		bad("no-sub", auth.BadClaims, with(map[string]any{"sub": nil}))
		bad("100-kB", auth.TooLarge, with(map[string]any{"padding": strings.Repeat("x", 75_000)}))
		bad("100-kB-of-nothing", auth.TooLarge, strings.Repeat("a", 100_000))

		if got := h.hosts(); len(got) != 0 {
			t.Errorf("stored: %q", got)
		}
		f("good", "", "Authorization", "Bearer "+good)
		f("good-in-lower-case", "", "authorization", "bearer "+good)
		f("good-twice", "", "Authorization", "Bearer "+good, "AUTHORIZATION", "BEARER "+good)
		f("good-without-exp", "", "Authorization", "Bearer "+with(map[string]any{"exp": nil}))
	})
}

func TestRefusalsAreAuditedAndLogIsRateLimited(t *testing.T) {
	h := newHarness(t)
	h.options.Subjects = []Subject{{Subject: "hpc.*"}}
	s := h.subscribe("")
	c := connect(t, addressOf(s))
	for _, host := range hostNames(500) {
		m := message(line(host), "Authorization", "Bearer "+token("user"))
		m.Subject = "hpc." + host
		publish(t, c, m)
	}
	eventually(t, "all are refused", func() bool { return h.sum("ringstore_nats_refused_total", "hpc.*") == 500 })
	h.close(s)
	if err := h.auditor.Close(); err != nil {
		t.Fatal(err)
	}
	mustContain(t, "the audit", h.audit.String(), `"peer":"hpc.*","issuer":"jwt-public-key","subject":"alice","roles":["user"],"action":"write","code":"insufficient_role"`)
	mustContain(t, "the audit", h.audit.String(), `"suppressed":`)
	if n := strings.Count(h.log.String(), "refused"); n > 20 {
		t.Errorf("%d log lines for 500 refusals", n)
	}
}

func TestATrustedSubjectNeedsNoToken(t *testing.T) {
	h := newHarness(t)
	h.options.Subjects = []Subject{{Subject: subject, ClusterTag: "alpha", Authorization: Trusted}}
	h.options.Authenticator = nil
	c := connect(t, addressOf(h.subscribe("")))
	mustContain(t, "the log", h.log.String(), `level=WARN msg="NATS subject is trusted`)
	publish(t, c, message(line("plain")), message(line("bad-token"), "Authorization", "Bearer garbage"))
	eventually(t, "both are stored", func() bool { return len(h.hosts()) == 2 })
}

func TestTrustedSubjectDoesNotOpenAnother(t *testing.T) {
	h := newHarness(t)
	h.options.Subjects = append(h.options.Subjects, Subject{Subject: "hpc.trusted", ClusterTag: "alpha", Authorization: Trusted})
	c := connect(t, addressOf(h.subscribe("")))
	if got := h.send(c, "outsider"); got != string(auth.Missing) {
		t.Errorf("refused as %q", got)
	}
}

// broken is an authenticator that always fails.
type broken struct{ err error }

func (b broken) Authenticate(context.Context, string) (*auth.Principal, error) { return nil, b.err }

func (b broken) AuthenticateAt(context.Context, string, time.Time) (*auth.Principal, error) {
	return nil, b.err
}

func (broken) Generation() uint64 { return 0 }

func TestFailingAuthenticatorAcceptsNothing(t *testing.T) {
	f := func(err error, reason string) {
		t.Helper()
		h := newHarness(t)
		h.options.Authenticator = broken{err}
		c := connect(t, addressOf(h.subscribe("")))
		publish(t, c, bearer("h"))
		eventually(t, "it is counted", func() bool { return h.sum("ringstore_nats_failed_total", subject, reason) == 1 })
		if h.stored("h") {
			t.Error("stored")
		}
		if h.audit.String() != "" {
			t.Error("the sender is audited")
		}
	}
	f(errors.New("no keys today"), "authenticator")
	f(&auth.Overloaded{Code: auth.Busy}, "busy")
	f(&auth.Overloaded{Code: auth.NoKeys}, "no_keys")
}
