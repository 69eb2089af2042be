package rest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest/resttest"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jwk"
	"github.com/ringstore/ringstore/memstore"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(resttest.Suite{M: m, Contract: contract()})
}

// contract is what all answers have to keep.
var contract = sync.OnceValue(func() *resttest.Contract {
	c, err := resttest.ReadContract("openapi.json")
	if err != nil {
		panic(err)
	}
	return c
})

// The tests' clock stands still; base is where the recorded samples begin.
const (
	base = int64(1_700_000_400)
	now  = base + 101_000
)

func clock() time.Time { return time.Unix(now, 0) }

// door is a running server with all behind it that is real.
type door struct {
	*httptest.Server
	store  *memstore.Store
	issuer *authtest.Issuer
	audit  *syncBuffer
	log    *syncBuffer
}

// storage is the Writer and Freer of a store without a disk.
type storage struct{ *memstore.Store }

func (s storage) Write(_ context.Context, batch []memstore.Sample) ([]memstore.Refusal, error) {
	return s.Store.Write(batch)
}

func (s storage) Free(_ context.Context, path [][]string, to int64) (int, error) {
	return s.Store.Free(path, to), nil
}

func metrics() []memstore.Metric {
	minute := func(name string, a memstore.Aggregation) memstore.Metric {
		return memstore.Metric{Name: name, Frequency: time.Minute, Aggregation: a}
	}
	return []memstore.Metric{
		minute("cpu_load", memstore.AggregateNone),
		minute("mem_used", memstore.AggregateNone),
		minute("nfs4_read", memstore.AggregateNone),
		minute("ipc", memstore.AggregateAvg),
		minute("flops_any", memstore.AggregateSum),
		minute("cpu_power", memstore.AggregateSum),
		minute("acc_power", memstore.AggregateSum),
		minute("file_bw", memstore.AggregateSum),
		{Name: "fast", Frequency: time.Second, Aggregation: memstore.AggregateSum},
	}
}

// open starts a door; change may alter its options before.
func open(t testing.TB, change ...func(*rest.Options)) *door {
	t.Helper()
	store, err := memstore.New(memstore.Options{Metrics: metrics(), Retention: 72 * time.Hour, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	d := &door{store: store, issuer: authtest.NewIssuer("rest"), audit: new(syncBuffer), log: new(syncBuffer)}
	verifier, err := auth.NewChain(auth.ChainConfig{Issuers: []auth.Issuer{{Name: "jwt-public-key", Keys: []jwk.Key{{Public: d.issuer.PublicKey()}}}}, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	o := rest.Options{
		Store:         store,
		Freer:         storage{store},
		Ingester:      ingest.New(ingest.Options{Store: store, Writer: storage{store}, Now: clock, Registerer: registry}),
		Authenticator: auth.NewCache(verifier, clock),
		Audit:         auth.NewAudit(d.audit, clock),
		Operator:      still{},
		Registry:      registry,
		Log:           slogTo(d.log),
	}
	for _, f := range change {
		f(&o)
	}
	handler, err := rest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	d.Server = httptest.NewServer(handler)
	t.Cleanup(func() {
		d.Close()
		for _, s := range authtest.SecretsIn(d.log.String() + d.audit.String()) {
			t.Errorf("a secret is in a log: %.20s...", s)
		}
	})
	client := d.Client()
	client.Transport = contract().Transport(t, client.Transport)
	return d
}

// undescribed is for what a server with other options answers.
func (d *door) undescribed() { d.Client().Transport = resttest.Bare(d.Client().Transport) }

// token returns a token with these roles.
func (d *door) token(roles ...string) string {
	return d.issuer.Token(map[string]any{"sub": "tester", "roles": append([]string{}, roles...), "exp": now + 3600})
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

func readReply(t testing.TB, resp *http.Response) reply {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

// send does one request as admin, unless a header says otherwise.
func (d *door) send(t testing.TB, method, path string, body string, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.token("admin"))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
		}
	}
	resp, err := d.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return readReply(t, resp)
}

// write stores lines of cluster alpha, "{N}" in them being base+N.
func (d *door) write(t testing.TB, lines ...string) {
	t.Helper()
	if got := d.send(t, "POST", "/api/write?cluster=alpha", atBase(strings.Join(lines, "\n"))); got.status != 200 || got.body != "" {
		t.Fatalf("write: %d %s", got.status, got.body)
	}
}

var offsets = regexp.MustCompile(`\{(-?[0-9]+)\}`)

func atBase(text string) string {
	return offsets.ReplaceAllStringFunc(text, func(s string) string {
		n, _ := strconv.ParseInt(s[1:len(s)-1], 10, 64)
		return strconv.FormatInt(base+n, 10)
	})
}

// failure is the body of an error.
type failure struct {
	Status   string
	Error    string
	Accepted *int
	Rejected []ingest.Rejected
}

func (r reply) failure(t testing.TB) failure {
	t.Helper()
	var f failure
	if err := json.Unmarshal([]byte(r.body), &f); err != nil {
		t.Fatalf("status %d: not a JSON error: %q", r.status, r.body)
	}
	if f.Status != http.StatusText(r.status) || f.Error == "" || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("status %d, Content-Type %q: %s", r.status, r.header.Get("Content-Type"), r.body)
	}
	return f
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

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

func gunzipped(t testing.TB, s string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
