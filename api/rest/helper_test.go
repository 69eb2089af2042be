package rest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	promclient "github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/api/explorer"
	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/prometheus"
	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/api/rest/resttest"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jwk"
	"github.com/ringstore/ringstore/memstore"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(resttest.Suite{M: m, Contract: contract()})
}

// contract returns the description that every response must match.
var contract = sync.OnceValue(func() *resttest.Contract {
	c, err := resttest.ReadContract("openapi.json")
	if err != nil {
		panic(err)
	}
	return c
})

// Unix seconds.
const (
	base = int64(1_700_000_400) // the recorded samples begin here
	now  = base + 101_000       // the time of the tests' clock, which stands still
)

func clock() time.Time { return time.Unix(now, 0) }

// deployment is a running server with a real store, ingest, authentication and audit.
type deployment struct {
	*httptest.Server
	store  *memstore.Store
	issuer *authtest.Issuer
	audit  *syncBuffer
	log    *syncBuffer
}

// storage is the Writer and Freer of a store without a disk.
type storage struct{ *memstore.Store }

func (s storage) WriteFrom(_ context.Context, _ memstore.Origin, batch []memstore.Sample) ([]memstore.Refusal, error) {
	return s.Store.Write(batch)
}

func (s storage) Free(_ context.Context, path [][]string, to int64) (int, error) {
	return s.Store.Free(path, to), nil
}

// nopStorage is an Ingester and Freer that does nothing.
type nopStorage struct{}

func (nopStorage) Free(context.Context, [][]string, int64) (int, error) { return 0, nil }

func (nopStorage) Stream(context.Context, ingest.Source, io.Reader) (ingest.Report, error) {
	return ingest.Report{}, nil
}

func (nopStorage) Points(context.Context, ingest.Source, ingest.Points, int) (ingest.Report, error) {
	return ingest.Report{}, nil
}

// fixedAuthenticator returns the same result for every token.
type fixedAuthenticator struct {
	principal *auth.Principal
	err       error
}

func (a fixedAuthenticator) Authenticate(context.Context, string) (*auth.Principal, error) {
	return a.principal, a.err
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

// promql returns the API of Prometheus over the metrics of the tests.
func promql(t testing.TB) *prometheus.API {
	t.Helper()
	o := prometheus.Options{Now: clock}
	for _, m := range metrics() {
		o.Metrics = append(o.Metrics, prometheus.Metric{Metric: m})
	}
	a, err := prometheus.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// page returns the web page.
func page(t testing.TB) *explorer.Page {
	t.Helper()
	p, err := explorer.New()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// open starts a server. Each change may alter its options first.
func open(t testing.TB, change ...func(*rest.Options)) *deployment {
	t.Helper()
	store, err := memstore.New(memstore.Options{Metrics: metrics(), Retention: 72 * time.Hour, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{store: store, issuer: authtest.NewIssuer("rest"), audit: new(syncBuffer), log: new(syncBuffer)}
	verifier, err := auth.NewChain(auth.ChainConfig{Issuers: []auth.Issuer{{Name: "jwt-public-key", Keys: []jwk.Key{{Public: d.issuer.PublicKey()}}}}, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	registry := promclient.NewRegistry()
	o := rest.Options{
		Prometheus:    promql(t),
		Store:         store,
		Freer:         storage{store},
		Ingester:      ingest.New(ingest.Options{Store: store, Writer: storage{store}, Now: clock, Registerer: registry}),
		Authenticator: auth.NewCache(verifier, clock),
		Audit:         auth.NewAudit(d.audit, clock),
		Operator:      fixedOperator{},
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
			t.Errorf("a log contains a secret: %.20s...", s)
		}
	})
	client := d.Client()
	client.Transport = contract().Transport(t, client.Transport)
	return d
}

// skipContract stops checking responses against the description. It is for options that add
// responses that are not described.
func (d *deployment) skipContract() { d.Client().Transport = resttest.Bare(d.Client().Transport) }

// token returns a token with these roles for the subject tester.
func (d *deployment) token(roles ...string) string {
	return d.issuer.Token(map[string]any{"sub": "tester", "roles": append([]string{}, roles...), "exp": now + 3600})
}

// reply is a response whose body has been read.
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

// send sends a request as admin. headers are names and values; they replace the defaults, and an
// empty value removes a header.
func (d *deployment) send(t testing.TB, method, path, body string, headers ...string) reply {
	t.Helper()
	return d.sendReader(t, method, path, strings.NewReader(body), "admin", headers)
}

// sendBody posts a body as api, with chunked encoding or with its length. headers are as for send.
func (d *deployment) sendBody(t testing.TB, path, body string, chunked bool, headers ...string) reply {
	t.Helper()
	var r io.Reader = strings.NewReader(body)
	if chunked {
		r = io.MultiReader(r) // net/http cannot see its length
	}
	return d.sendReader(t, "POST", path, r, "api", headers)
}

func (d *deployment) sendReader(t testing.TB, method, path string, body io.Reader, role string, headers []string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.token(role))
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

// write stores lines in cluster alpha, after atBase.
func (d *deployment) write(t testing.TB, lines ...string) {
	t.Helper()
	if got := d.send(t, "POST", "/api/write?cluster=alpha", atBase(strings.Join(lines, "\n"))); got.status != 200 || got.body != "" {
		t.Fatalf("write: %d %s", got.status, got.body)
	}
}

var offsets = regexp.MustCompile(`\{(-?[0-9]+)\}`)

// atBase replaces each {N} by base+N.
func atBase(text string) string {
	return offsets.ReplaceAllStringFunc(text, func(s string) string {
		n, _ := strconv.ParseInt(s[1:len(s)-1], 10, 64)
		return strconv.FormatInt(base+n, 10)
	})
}

// failure is the body of an error response.
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

func slogTo(b *syncBuffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
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

// syncBuffer is a buffer that is safe for concurrent use.
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
