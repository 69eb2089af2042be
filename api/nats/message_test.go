package nats

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/memstore"
)

func zip(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func s2zip(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := s2.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestBodies(t *testing.T) {
	const limit = 1 << 16
	h := newHarness(t)
	h.options.MaxBody = limit
	c := connect(t, addressOf(h.subscribe("")))
	authorization := []string{"Authorization", "Bearer " + token("api")}

	bad := func(reason, host, body string, header ...string) {
		t.Helper()
		before := h.sum("ringstore_nats_failed_total", subject, reason)
		publish(t, c, message(body, append(header, authorization...)...))
		eventually(t, host+" is refused", func() bool { return h.sum("ringstore_nats_failed_total", subject, reason) == before+1 })
		if h.stored(host) {
			t.Errorf("%s: stored", host)
		}
	}
	good := func(host, body string, header ...string) {
		t.Helper()
		publish(t, c, message(body, append(header, authorization...)...))
		eventually(t, host+" is stored", func() bool { return h.stored(host) })
	}
	const encoding = "Content-Encoding"
	// full returns a batch of n bytes.
	full := func(host string, n int) string {
		first := line(host)
		return first + strings.Repeat("\n", n-len(first))
	}
	zipped := zip(t, line("corrupt"))

	bad("content_encoding", "br", line("br"), encoding, "br")
	bad("content_encoding", "both", zip(t, line("both")), encoding, "gzip", encoding, "identity")
	bad("content_encoding", "both-cases", zip(t, line("both-cases")), encoding, "gzip", "content-encoding", "br")
	bad("content_encoding", "not-gzip", line("not-gzip"), encoding, "gzip")
	bad("content_encoding", "corrupt", zipped[:len(zipped)-9]+"xxxxxxxxx", encoding, "gzip")
	bad("content_encoding", "nothing", "", encoding, "gzip")
	bad("content_encoding", "nothing-in-s2", "", encoding, "s2")
	bad("content_encoding", "not-s2", line("not-s2"), encoding, "s2")
	bad("content_encoding", "gzip-and-s2", zipped, encoding, "gzip", encoding, "s2")
	bad("too_large", "long", full("long", limit+1))
	mustContain(t, "the log", h.log.String(), "NATS messages not stored")

	good("plain", line("plain"))
	good("identity", line("identity"), encoding, "identity")
	good("gzip", zip(t, line("gzip")), encoding, "gzip")
	good("gzip-in-other-case", zip(t, line("gzip-in-other-case")), "content-encoding", "GZip")
	good("x-gzip", zip(t, line("x-gzip")), encoding, "x-gzip")
	good("s2", s2zip(t, line("s2")), encoding, "s2")
	good("s2-again", s2zip(t, line("s2-again")), encoding, "S2")
	good("marked", "\xef\xbb\xbf"+line("marked"))
	good("marked-gzip", zip(t, "\xef\xbb\xbf"+line("marked-gzip")), encoding, "gzip")
	good("marked-s2", s2zip(t, "\xef\xbb\xbf"+line("marked-s2")), encoding, "s2")
	good("two-members", zip(t, "\n")+zip(t, line("two-members")), encoding, "gzip")
	good("at-the-limit", full("at-the-limit", limit))
	good("at-the-limit-in-gzip", zip(t, full("at-the-limit-in-gzip", limit)), encoding, "gzip")
	if got := h.sum("ringstore_nats_failed_total"); got != 10 {
		t.Errorf("%v failed, want the 10 bad ones", got)
	}
}

// A body may be larger than what is parsed at once, and than the default payload of NATS.
func TestABodyOfManyBatches(t *testing.T) {
	h := newHarness(t)
	h.options.Embedded = &Embedded{Listen: "127.0.0.1:0", MaxPayload: 16 << 20}
	c := connect(t, addressOf(h.withPassword().subscribe("")), natsgo.UserInfo(withPassword()))
	const lines = 150_000
	second := time.Now().Unix() - 3000
	var body strings.Builder
	for i := range lines {
		fmt.Fprintf(&body, "load,hostname=h,type=hwthread,type-id=%d value=%d %d\n", i%50, i, second+int64(i/50))
	}
	authorization := []string{"Authorization", "Bearer " + token("api")}
	stored := func() float64 { return h.sum("ringstore_ingest_samples_total") }
	for i, m := range []*natsgo.Msg{
		message(body.String(), authorization...),
		message(zip(t, body.String()), append(authorization, "Content-Encoding", "gzip")...),
		message(s2zip(t, body.String()), append(authorization, "Content-Encoding", "s2")...),
	} {
		publish(t, c, m)
		eventually(t, "all lines are stored", func() bool { return stored() == float64((i+1)*lines) })
	}
}

func TestABombCostsNoMoreThanTheLimit(t *testing.T) {
	h := newHarness(t)
	h.options.MaxBody = 1 << 16
	c := connect(t, addressOf(h.subscribe("")))
	bomb := strings.Repeat("\n", 32<<20)
	publish(t, c,
		message(zip(t, bomb), "Content-Encoding", "gzip", "Authorization", "Bearer "+token("api")),
		message(s2zip(t, bomb), "Content-Encoding", "s2", "Authorization", "Bearer "+token("api")))
	eventually(t, "both are rejected", func() bool { return h.sum("ringstore_nats_failed_total", subject, "too_large") == 2 })
}

func TestBodyOfRefusedMessageIsNotRead(t *testing.T) {
	h := newHarness(t)
	c := connect(t, addressOf(h.subscribe("")))
	publish(t, c, message("not gzip", "Content-Encoding", "gzip"))
	eventually(t, "it is refused", func() bool { return h.sum("ringstore_nats_refused_total", subject, "missing") == 1 })
	if h.sum("ringstore_nats_failed_total") != 0 {
		t.Error("the body was read")
	}
}

func TestBadLinesDoNotAffectGoodOnes(t *testing.T) {
	h := newHarness(t)
	s := h.subscribe("")
	c := connect(t, addressOf(s))
	long := strings.Repeat("long", 10_000)
	body := line("h1") + "rubbish\n" + "load,hostname=" + long + " value=x\n" + line("h2")
	publish(t, c, message(body, "Authorization", "Bearer "+token("api")))
	eventually(t, "the good ones are stored", func() bool { return h.stored("h1") && h.stored("h2") })
	h.close(s)
	if got := h.sum("ringstore_nats_rejected_lines_total", subject); got != 2 {
		t.Errorf("%v lines rejected", got)
	}
	if got := h.sum("ringstore_nats_messages_total", subject); got != 1 {
		t.Errorf("%v messages", got)
	}
	if got := h.sum("ringstore_nats_bytes_total", subject); got != float64(len(body)) {
		t.Errorf("%v bytes", got)
	}
	if got := h.sum("ringstore_ingest_samples_total", "nats"); got != 2 {
		t.Errorf("%v samples", got)
	}
	mustContain(t, "the log", h.log.String(), "NATS messages with bad lines")
	mustNotContain(t, "the log", h.log.String(), long[:1000])
}

func TestStoreErrorsAreCountedAndLogged(t *testing.T) {
	h := newHarness(t)
	h.gate.fail(errors.New("disk full"))
	c := connect(t, addressOf(h.subscribe("")))
	publish(t, c, bearers(hostNames(50))...)
	eventually(t, "all are counted", func() bool { return h.sum("ringstore_nats_failed_total", subject, "store") == 50 })
	mustContain(t, "the log", h.log.String(), "disk full")
	if n := strings.Count(h.log.String(), "disk full"); n > 5 {
		t.Errorf("%d log lines", n)
	}
	h.gate.fail(nil)
	publish(t, c, bearer("h"))
	eventually(t, "the next message is stored", func() bool { return h.stored("h") })
}

func TestFullMemoryIsCounted(t *testing.T) {
	h := newHarness(t)
	h.gate.fail(fmt.Errorf("storing: %w", memstore.ErrMemory))
	c := connect(t, addressOf(h.subscribe("")))
	publish(t, c, bearer("h"))
	eventually(t, "it is counted", func() bool { return h.sum("ringstore_nats_failed_total", subject, "memory") == 1 })
	mustContain(t, "the log", h.log.String(), memstore.ErrMemory.Error())
}

// nats.go does not send such headers, but other clients may.
func TestMalformedHeadersAreIgnored(t *testing.T) {
	h := newHarness(t)
	c := connect(t, addressOf(h.subscribe("")), natsgo.Name("raw"))
	for _, header := range []string{
		"HTTP/1.1\r\nAuthorization: Bearer " + token("api") + "\r\n\r\n",
		"NATS/1.0\r\nAuthorization Bearer " + token("api") + "\r\n\r\n",
		"NATS/1.0\r\nAuthorization : Bearer " + token("api") + "\r\n\r\n",
	} {
		before := h.sum("ringstore_nats_refused_total", subject, "missing")
		raw(t, c.ConnectedAddr(), header, line("h"))
		eventually(t, "it is refused", func() bool { return h.sum("ringstore_nats_refused_total", subject, "missing") == before+1 })
	}
	raw(t, c.ConnectedAddr(), "NATS/1.0\r\nAuthorization:Bearer "+token("api")+"\r\n\r\n", line("tight"))
	eventually(t, "a header without a space is stored", func() bool { return h.stored("tight") })
	if h.stored("h") {
		t.Error("stored")
	}
}

// BenchmarkMessage handles one host's batch, with its token's check, but without a server.
func BenchmarkMessage(b *testing.B) {
	const lines = 678
	h := newHarness(b)
	s := h.subscribe("")
	var body strings.Builder
	for i := range lines {
		fmt.Fprintf(&body, "load,hostname=h,type=hwthread,type-id=%d value=%d\n", i, i)
	}
	m := message(body.String(), "Authorization", "Bearer "+token("api"))
	b.SetBytes(int64(len(m.Data)))
	for b.Loop() {
		s.handle(job{feed: s.feeds[0], msg: m})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/sample")
}

// At debug level the log says which metrics of a message are not configured.
func TestUnconfiguredMetricsAreLogged(t *testing.T) {
	h := newHarness(t)
	c := connect(t, addressOf(h.subscribe("")))
	publish(t, c, message(line("h")+"cpu_loda,hostname=h value=1\ntopproc1,hostname=h value=\"python3\"\n", "Authorization", "Bearer "+token("api")))
	eventually(t, "the metrics are logged", func() bool {
		return strings.Contains(h.log.String(), `accepted=1 unconfigured=2 metrics="topproc1 cpu_loda" duplicates=0`)
	})
	if strings.Contains(h.log.String(), "NATS messages with bad lines") {
		t.Error("the lines count as bad")
	}
}

// With EachField a message has lines of several fields, as Telegraf's nats output sends them: in
// nanoseconds, with host for the host.
func TestTelegrafMessages(t *testing.T) {
	h := newHarness(t)
	h.options.Subjects = append(h.options.Subjects, Subject{Subject: "telegraf", ClusterTag: "alpha", Authorization: Header, EachField: true})
	c := connect(t, addressOf(h.subscribe("")))
	bearer := []string{"Authorization", "Bearer " + token("api")}
	stamp := time.Now().UnixNano()
	for i, body := range []string{
		fmt.Sprintf("load,host=t1 value=1,note=\"a, b\",up=true %d\n", stamp),
		zip(t, fmt.Sprintf("load,host=t2 value=2,load15=0.5 %d\n", stamp)),
	} {
		m := message(body, bearer...)
		if i == 1 {
			m.Header.Set("Content-Encoding", "gzip")
		}
		m.Subject = "telegraf"
		publish(t, c, m)
	}
	eventually(t, "both are stored", func() bool { return h.stored("t1") && h.stored("t2") })
	unknown := func() float64 { return h.sum("ringstore_ingest_unknown_metric_lines_total", "nats") }
	eventually(t, "the other fields are counted", func() bool { return unknown() == 2 })
	if got := h.sum("ringstore_ingest_rejected_lines_total"); got != 0 {
		t.Errorf("%v lines rejected", got)
	}
	// On another subject the same line has one metric.
	publish(t, c, message(fmt.Sprintf("load,host=t3 value=1,up=true %d\n", stamp), bearer...))
	eventually(t, "it is stored", func() bool { return h.stored("t3") })
	if got := unknown(); got != 2 {
		t.Errorf("%v unknown", got)
	}
	if _, err := mergeSubjects([]Subject{{Subject: "a"}, {Subject: "a", ClusterTag: "x", EachField: true}}); err == nil {
		t.Error("two dialects of one subject")
	}
}
