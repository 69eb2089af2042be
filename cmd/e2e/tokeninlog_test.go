package e2e

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// TestTokensInTheWrongPlace: a token that stands where another value belongs is not in the log or the
// audit, at any level: neither whole nor without its signature.
func TestTokensInTheWrongPlace(t *testing.T) {
	s := newSettings(t)
	s["main"]["slow-query"] = "1ns"
	p := serve(t, s, "-loglevel", "debug")
	secret := token("api")
	short := issuer.Token(map[string]any{"sub": "a", "exp": 2e9}) // fits where names are limited
	redacted := func() int { return strings.Count(p.stderr.String(), "[token]") }
	shown := func(what string, send func()) {
		t.Helper()
		before := redacted()
		send()
		cmdtest.Eventually(t, what+" is logged", func() bool { return redacted() > before })
	}
	raw := func(text string) {
		t.Helper()
		c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); err != nil {
			t.Fatal(err)
		}
	}
	const end = " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
	shown("a method", func() { raw(secret + " /api/query" + end + "\r\n") })
	from, to := now()-120, now()
	shown("the cluster of a slow query", func() {
		p.query(t, fmt.Sprintf(`{"cluster":%q,"from":%d,"to":%d,"queries":[{"metric":"cpu_load","host":"h"}]}`, short, from, to))
	})
	for _, text := range []string{
		"GET /" + secret + end, "GET /api/query?" + secret + "=1" + end, "GET /api/query?token=" + secret + end, "GET http://" + secret + "/" + end,
		"POST /write?u=" + secret + end, "POST /write?precision=" + secret + end, "GET / HTTP/1.1\r\nHost: " + secret + "\r\nConnection: close\r\n",
		"POST /api/write?cluster=" + secret + end + "Authorization: Bearer " + secret + "\r\nContent-Encoding: " + secret + "\r\n",
		"GET /api/query" + end + "Authorization: " + secret + "\r\n", "GET /api/query" + end + "Authorization: " + secret + " " + secret + "\r\n",
		"GET /api/query" + end + secret + ": 1\r\n", "GET /api/query" + end + "X-Request-Id: " + short[:64] + "\r\n", "GET /api/query" + end + "User-Agent: " + secret + "\r\n",
		"GET /" + url.PathEscape(strings.ReplaceAll(secret, ".", "%2e")) + end, secret + " " + secret + " " + secret + "\r\n",
		"GET /api/query" + end + "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(secret+":"+secret)) + "\r\n",
		"GET /api/query" + end + "Transfer-Encoding: " + secret + "\r\n", "GET /api/query" + end + "Content-Length: " + secret + "\r\n",
		"GET /-/ready HTTP/" + secret + "\r\n",
	} {
		raw(text + "\r\n")
	}
	for _, claims := range []map[string]any{
		{"sub": short, "roles": []string{"api"}, "exp": 2e9},
		{"sub": "x", "iss": secret, "exp": 2e9},
		{"sub": "x", "roles": []string{secret}, "exp": 2e9},
		{"sub": "x", "jti": short, "exp": 1},
		{"sub": short, "exp": 1},
	} {
		p.send(t, issuer.Token(claims), "GET", "/api/debug", "")
	}
	p.send(t, authtest.NewSigner("EdDSA", "").Named(short).Token(map[string]any{"sub": "x", "exp": 2e9}), "GET", "/api/query", "")
	for _, body := range []string{
		`{"cluster":"` + secret + `","from":1,"to":2,"queries":[{"metric":"` + secret + `","host":"` + secret + `"}]}`,
		`{"cluster":"alpha","from":1,"to":2,"queries":[{"metric":"cpu_load","host":"n1","type":"` + secret + `","type-ids":["` + secret + `"]}]}`,
		`{"` + secret + `":1}`, `{"cluster":` + secret + `}`,
	} {
		p.send(t, secret, "POST", "/api/query", body)
	}
	p.send(t, secret, "POST", "/api/write?cluster=alpha", fmt.Sprintf("%s value=1\ncpu_load,hostname=n1,%s=%s value=1 %d\ncpu_load,hostname=n1,%s=x value=1 %d\n%[1]s",
		secret, short, short, from, short, from), "Content-Type", secret)
	p.send(t, token("admin"), "POST", "/api/free?to="+secret, "")
	p.send(t, token("admin"), "POST", "/api/free?to=1", `[["alpha","`+secret+`"]]`)
	p.send(t, token("admin"), "GET", "/api/status?top="+secret, "")

	for _, o := range []natsgo.Option{
		natsgo.UserInfo(secret, "wrong"), natsgo.UserInfo("wrong", secret+"x"), natsgo.UserInfo(secret, secret+"x"), natsgo.Token(secret + "x"), natsgo.Name(secret),
	} {
		if c, err := natsgo.Connect(p.nats, o, natsgo.NoReconnect()); err == nil {
			c.Close()
		}
	}
	shown("a NATS subject", func() {
		c, err := natsgo.Connect(p.nats, natsgo.UserInfo(secret, secret), natsgo.NoReconnect(), natsgo.Name(secret))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Publish(short, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := c.SubscribeSync(short); err != nil {
			t.Fatal(err)
		}
		m := message(secret, "fast,hostname=n1 value=1")
		m.Header.Set("Content-Encoding", secret)
		m.Header.Set(secret, secret)
		m.Reply = secret
		_ = c.PublishMsg(m)
		_ = c.FlushTimeout(cmdtest.Patience)
	})
	p.stopWell(t)
	for _, part := range []string{secret[:strings.LastIndexByte(secret, '.')], secret[strings.LastIndexByte(secret, '.'):], short} {
		if strings.Contains(p.stderr.String(), part) {
			t.Errorf("a token is in the log: %.20s...", part)
		}
	}
}
