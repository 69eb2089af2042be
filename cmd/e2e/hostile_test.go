package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
	"github.com/ringstore/ringstore/cmd/internal/server"
	"github.com/ringstore/ringstore/cmd/internal/setup"
)

func gzipped(t testing.TB, data []byte) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestHostileRequests: each malformed request is answered with what is wrong, and does not affect
// the next one.
func TestHostileRequests(t *testing.T) {
	s := newSettings(t)
	s["limits"] = map[string]any{"body-bytes": 1 << 20, "hosts": 20, "devices-per-host": 10, "name-bytes": 64, "values-per-query": 20_000_000}
	p := serve(t, s)
	line := func(key string) string { return key + " value=1" }
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format+"\n", i)
		}
		return b.String()
	}
	big := strings.Repeat(line("fast,hostname=n1")+"\n", 60_000) // 1.6 MB
	f := func(status int, method, path, body, want string, headers ...string) {
		t.Helper()
		got := p.send(t, token("admin"), method, path, body, headers...)
		if got.status != status || !strings.Contains(got.body, want) {
			t.Errorf("%s %s %.60q: %d %.300s, want %d %s", method, path, body, got.status, got.body, status, want)
		}
		if status >= 400 {
			got.failure(t)
		}
		if len(got.body) > 64<<10 {
			t.Errorf("%s %s %.60q: an answer of %d bytes", method, path, body, len(got.body))
		}
		if alive := p.send(t, "", "GET", "/-/ready", ""); alive.status != 200 {
			t.Fatalf("after %s %s %.60q: %d", method, path, body, alive.status)
		}
	}
	const write = "/api/write?cluster=alpha"
	f(400, "POST", write, "rubbish", `"line":1`)
	f(400, "POST", write, line("fast,hostname=n1")+"\nrubbish\n"+line("fast,hostname=n2"), `"accepted":2,"rejected":[{"line":2,`)
	f(400, "POST", write, many(100_000, "bad%d"), `"accepted":0`)
	f(400, "POST", write, strings.Repeat("x", 1<<20), `"line":1`)
	f(400, "POST", write, strings.Repeat("\x00", 1<<10), `"line":1`)
	f(400, "POST", write, line("fast,hostname=../../etc"), "slash")
	f(400, "POST", write, line("fast,hostname=.."), "..")
	f(400, "POST", write, line("fast,cluster=..,hostname=n1"), "..")
	f(400, "POST", write, line("fast,hostname=n1,type=hwthread,type-id=\x1b[31m"), "control character")
	f(400, "POST", write, line("fast,hostname=\xff\xfe"), "UTF-8")
	f(400, "POST", write, line("fast,hostname="+strings.Repeat("n", 65)), "longer than 64 bytes")
	f(400, "POST", write, line("fast"), "hostname")
	f(400, "POST", "/api/write", line("fast,hostname=n1"), "cluster")
	f(400, "POST", "/api/write?cluster=..%2F..", line("fast,hostname=n1"), "slash")
	f(400, "POST", write, "fast,hostname=n1 value=NaN", `"line":1`)
	f(400, "POST", write, "fast,hostname=n1 value=1e999", `"line":1`)
	f(400, "POST", write, "fast,hostname=n1 value=1 99999999999999999999", `"line":1`)
	f(400, "POST", write, fmt.Sprintf("fast,hostname=n1 value=1 %d", now()+3600), "future")
	f(400, "POST", write, "fast,hostname=n1 value=1 1000000000", "older than the retention")
	f(400, "POST", write, many(30, "fast,hostname=h%d value=1"), "limit")
	f(400, "POST", write, many(30, "fast,hostname=n1,type=hwthread,type-id=%d value=1"), "limit")
	f(200, "POST", write, "", "")
	f(200, "POST", write, "\n\n# a comment\n", "")
	f(200, "POST", write, line("no_such_metric,hostname=n1"), "")
	f(413, "POST", write, big, "1048576 bytes")
	f(413, "POST", write, gzipped(t, []byte(big)), "1048576 bytes", "Content-Encoding", "gzip")
	f(413, "POST", write, gzipped(t, make([]byte, 16<<20)), "1048576 bytes", "Content-Encoding", "gzip")
	f(200, "POST", write, gzipped(t, []byte(line("fast,hostname=n1"))), "", "Content-Encoding", "gzip")
	f(400, "POST", write, gzipped(t, []byte(big))[:1000], "", "Content-Encoding", "gzip")
	f(400, "POST", write, "not gzip", "gzip", "Content-Encoding", "gzip")
	f(415, "POST", write, "x", "gzip", "Content-Encoding", "br")
	f(415, "POST", write, "x", "gzip", "Content-Encoding", "gzip, gzip")

	f(400, "POST", "/api/query", "", "empty")
	f(400, "POST", "/api/query", "{", "JSON")
	f(400, "POST", "/api/query", "[]", "an object")
	f(400, "POST", "/api/query", strings.Repeat("[", 500_000), "JSON")
	f(400, "POST", "/api/query", `{"queries":`+strings.Repeat("[", 500_000), "JSON")
	f(400, "POST", "/api/query", `{"from":"today"}`, "from")
	f(400, "POST", "/api/query", `{"from":1e99}`, "from")
	f(400, "POST", "/api/query", `{"queries":["x"]}`, "queries[0]")
	f(400, "POST", "/api/query", `{"cluster":"alpha"} {"cluster":"alpha"}`, "more data after it")
	f(400, "POST", "/api/query", `{"queries":[`+strings.Repeat(`{},`, 100_000)+`{}]}`, "more than 100000")
	f(400, "POST", "/api/query", `{"queries":[{"metric":"`+strings.Repeat("m", 300)+`"}]}`, "256 bytes")
	f(400, "POST", "/api/query", `{"cluster":"alpha","from":0,"to":99999999999,"queries":[`+
		strings.Repeat(`{"metric":"fast","host":"n1"},`, 200)+`{}]}`, "more than 20000000 values")
	f(200, "POST", "/api/query", `{"cluster":"alpha","from":0,"to":99999999999,"queries":[{"metric":"cpu_load","host":"n1"}]}`, "results")
	f(200, "POST", "/api/query", `{"cluster":"alpha","from":-9223372036854775808,"to":9223372036854775807,"queries":[{"metric":"cpu_load","host":"n1","resolution":9223372036854775807}]}`, "results")
	f(200, "POST", "/api/query", `{"cluster":"../..","from":0,"to":1,"queries":[{"metric":"../x","host":"/etc/passwd"}]}`, "results")
	f(400, "POST", "/api/healthcheck", `{"nodes":"n1"}`, "nodes")
	f(400, "POST", "/api/healthcheck", `{"surprise":1}`, "surprise")
	f(400, "POST", "/api/free?to=x", `[["*"]]`, "'to'")
	f(400, "POST", "/api/free?to=1", `[[]]`, `[\"*\"]`)
	f(404, "GET", "/api/debug?selector=%00", "", "")
	f(404, "GET", "/api/debug?selector="+strings.Repeat(":", 10_000), "", "")
	f(405, "GET", "/api/write", "", "POST")
	f(405, "DELETE", "/api/free?to=1", "", "POST")
	f(405, "PUT", "/metrics", "", "GET")
	f(404, "GET", "/api/writes", "", "")

	if got := p.metric(t, "ringstore_store_hosts"); got > 20 {
		t.Errorf("%v hosts", got)
	}
}

// TestHostileConnections: clients that stall, disconnect or send garbage do not affect others, and
// leave no goroutines behind.
func TestHostileConnections(t *testing.T) {
	p := serve(t, newSettings(t))
	before := runtime.NumGoroutine()
	address := strings.TrimPrefix(p.url, "http://")
	var open []net.Conn
	say := func(text string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		return c
	}
	head := "POST /api/write?cluster=alpha HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token("api") + "\r\n"
	for range 100 {
		say("")
		say("POST /api/wri")
		say(head + "Content-Length: 1000\r\n\r\nfast,hostname=n1 val")
		say(head + "Transfer-Encoding: chunked\r\n\r\n5\r\nfast,")
		say("GET /api/query HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n") // without a token
	}
	for _, c := range []struct {
		text   string
		status int
	}{
		{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
		{"GET / HTTP/9.9\r\n\r\n", 505},
		{head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
		{head + "Content-Length: -1\r\n\r\n", 400},
		{head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		{head + "X: a\x00b\r\n\r\n", 400},
	} {
		resp, err := http.ReadResponse(bufio.NewReader(say(c.text)), nil)
		if err != nil {
			t.Errorf("%.60q: %v", c.text, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%.60q: %d, want %d", c.text, resp.StatusCode, c.status)
		}
	}
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1 %d", now()-60))
	if got := p.samples(t, "n1", "cpu_load", now()-120, now()); len(got) != 1 {
		t.Errorf("%v", got)
	}
	for _, c := range open {
		c.Close()
	}
	cmdtest.Eventually(t, "the end of the goroutines that served them", func() bool { return runtime.NumGoroutine() <= before+10 })
}

// TestClientThatStallsAStop: its request is cancelled after the drain time, the stop writes a
// checkpoint and succeeds, and the log says so.
func TestClientThatStallsAStop(t *testing.T) {
	file := newSettings(t).file(t)
	cfg, err := setup.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	var stderr cmdtest.Output
	s, err := server.Start(t.Context(), server.Options{
		Config: cfg, Log: slog.New(slog.NewTextHandler(&stderr, nil)), Audit: &stderr, Version: testVersion, DrainTime: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := program{url: "http://" + s.Addr(), client: newClient(t, nil)}
	defer p.client.CloseIdleConnections()
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1 %d", now()-60))

	body, write := io.Pipe()
	broken := make(chan error, 1)
	go func() {
		got, err := p.try(token("api"), "POST", "/api/write/?cluster=alpha", body, "Expect", "100-continue")
		if err == nil && got.status == http.StatusOK {
			err = errors.New("acknowledged")
		}
		broken <- err
	}()
	fmt.Fprint(write, "cpu_load,hostname=n2 value=1") // no more follows
	if err := s.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	write.CloseWithError(context.Canceled)
	if err := <-broken; err == nil || err.Error() == "acknowledged" {
		t.Errorf("the write: %v", err)
	}
	for _, want := range []string{`msg="requests in flight were cancelled" transport=http after=50ms`, `msg="checkpoint written"`, "hosts=1"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("missing: %s in\n%s", want, stderr.String())
		}
	}
}

// TestEmbeddedNATSGivesNothingAway: headers of messages hold tokens, so publishers cannot
// subscribe, and publish only to subjects that the server subscribes to.
func TestEmbeddedNATSGivesNothingAway(t *testing.T) {
	p := serve(t, newSettings(t))
	complaints := make(chan error, 16)
	c, err := natsgo.Connect(p.nats, natsgo.NoReconnect(), natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
		complaints <- err
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	refused := func(what string) {
		t.Helper()
		if err := c.FlushTimeout(cmdtest.Patience); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-complaints:
			if !errors.Is(err, natsgo.ErrPermissionViolation) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(cmdtest.Patience):
			t.Fatalf("%s: is allowed", what)
		}
	}
	for _, spy := range []string{subject, ">", "*", "_INBOX.>", "$SYS.>"} {
		if _, err := c.Subscribe(spy, func(m *natsgo.Msg) { t.Errorf("%s: got %s", spy, m.Header) }); err != nil {
			t.Fatal(err)
		}
		refused("subscribing to " + spy)
	}
	if err := c.Publish("other", nil); err != nil {
		t.Fatal(err)
	}
	refused("publishing to another subject")

	publish(t, connect(t, p.nats), message(token("api"), "fast,hostname=n1 value=1\nrubbish\nfast,hostname=n2 value=1"))
	cmdtest.Eventually(t, "the good lines", func() bool { return p.metric(t, "ringstore_ingest_samples_total", `transport="nats"`) == 2 })
	if got := p.metric(t, "ringstore_nats_rejected_lines_total"); got != 1 {
		t.Errorf("rejected: %v", got)
	}
	zipped := message(token("api"), gzipped(t, []byte("fast,hostname=n3 value=1")))
	zipped.Header.Set("Content-Encoding", "gzip")
	publish(t, c, zipped)
	cmdtest.Eventually(t, "a compressed message", func() bool { return p.metric(t, "ringstore_ingest_samples_total", `transport="nats"`) == 3 })
}
