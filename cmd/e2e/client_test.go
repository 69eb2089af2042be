package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest/resttest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"

	natsgo "github.com/nats-io/nats.go"
)

type httpClient struct {
	*http.Client
	scheme string
}

// newClient returns a client with connections of its own, for HTTPS if trust is not nil. It checks
// every answer against the OpenAPI document.
func newClient(t testing.TB, trust *tls.Config) httpClient {
	scheme := "http"
	if trust != nil {
		scheme = "https"
	}
	return httpClient{&http.Client{
		Transport: contract().Transport(t, &http.Transport{TLSClientConfig: trust, MaxIdleConnsPerHost: 16, ExpectContinueTimeout: cmdtest.Patience}),
		Timeout:   cmdtest.Patience,
	}, scheme}
}

// reply is a complete answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// send sends one request, without a token if that is empty. headers are pairs of name and value.
func (p *program) send(t testing.TB, token, method, path, body string, headers ...string) reply {
	t.Helper()
	r, err := p.try(token, method, path, strings.NewReader(body), headers...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (p *program) try(token, method, path string, body io.Reader, headers ...string) (reply, error) {
	req, err := http.NewRequest(method, p.url+path, body)
	if err != nil {
		return reply{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(got)}, err
}

// write writes line protocol for cluster alpha.
func (p *program) write(t testing.TB, lines string) {
	t.Helper()
	if got := p.send(t, token("api"), "POST", "/api/write/?cluster=alpha", lines); got.status != 200 || got.body != "" {
		t.Fatalf("write: %d %.500s", got.status, got.body)
	}
}

// query sends a body to /api/query as cc-backend does.
func (p *program) query(t testing.TB, body string) answer {
	t.Helper()
	got := p.send(t, token("api"), "GET", "/api/query?version=v2", body)
	return got.answer(t)
}

// samples returns one series of cluster alpha: its values by time, without nulls.
func (p *program) samples(t testing.TB, host, metric string, from, to int64) map[int64]float64 {
	t.Helper()
	a := p.query(t, fmt.Sprintf(`{"cluster":"alpha","from":%d,"to":%d,"queries":[{"metric":%q,"host":%q}]}`, from, to, metric, host))
	if len(a.Results[0]) == 0 {
		return nil
	}
	return a.Results[0][0].ByTime()
}

type answer = resttest.Answer

func (r reply) answer(t testing.TB) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal([]byte(r.body), &a); err != nil || r.status != 200 {
		t.Fatalf("status %d, %v: %.300q", r.status, err, r.body)
	}
	return a
}

// failure returns the body of an error. Every error must have one.
func (r reply) failure(t testing.TB) (f struct {
	Status, Error string
	Accepted      int
	Rejected      []struct {
		Line   int
		Reason string
	}
},
) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), &f); err != nil || f.Error == "" || f.Status != http.StatusText(r.status) {
		t.Errorf("status %d, %v: %.300q", r.status, err, r.body)
	}
	return f
}

var sampleLine = regexp.MustCompile(`(?m)^([a-z_]+(?:\{.*\})?) (\S+)$`)

// metric returns the sum over the series of one name in /metrics that have all of these labels,
// each as `name="value"`.
func (p *program) metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	got := p.send(t, token("admin"), "GET", "/metrics", "")
	if got.status != 200 {
		t.Fatalf("/metrics: %d", got.status)
	}
	var sum float64
	for _, m := range sampleLine.FindAllStringSubmatch(got.body, -1) {
		series, rest, _ := strings.Cut(m[1], "{")
		if series != name {
			continue
		}
		has := true
		for _, l := range labels {
			has = has && strings.Contains(rest, l)
		}
		if v, err := strconv.ParseFloat(m[2], 64); has && err == nil {
			sum += v
		}
	}
	return sum
}

// connect opens a publisher's NATS connection.
func connect(t testing.TB, url string, options ...natsgo.Option) *natsgo.Conn {
	t.Helper()
	options = append(options, natsgo.NoReconnect(), natsgo.Timeout(cmdtest.Patience),
		natsgo.ErrorHandler(func(*natsgo.Conn, *natsgo.Subscription, error) {}))
	c, err := natsgo.Connect(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// message returns a message, with a token if that is not empty.
func message(token, body string) *natsgo.Msg {
	m := natsgo.NewMsg(subject)
	if token != "" {
		m.Header.Set("Authorization", "Bearer "+token)
	}
	m.Data = []byte(body)
	return m
}

func publish(t testing.TB, c *natsgo.Conn, m *natsgo.Msg) {
	t.Helper()
	if err := c.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	if err := c.FlushTimeout(cmdtest.Patience); err != nil {
		t.Fatal(err)
	}
}

// now returns the current time in whole minutes, so that samples with a frequency of one minute
// keep their timestamps.
func now() int64 { return time.Now().Truncate(time.Minute).Unix() }
