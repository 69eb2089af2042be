package rest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/archive"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jwk"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/synthetic"
)

// BenchmarkHTTPWrite writes samples of a synthetic cluster over loopback: 20 hosts, 4 writers, and
// requests of 678 shuffled lines, one interval of one host each. Token, archive and store are real.
// An operation is a request.
//
// Client and server are one process, so cpu-ns/sample, the CPU time of the process per sample,
// includes the client. The benchmark first sends the same number of requests to a handler that
// reads and discards them. That gives client-cpu-ns/sample, which includes net/http on both sides.
// server-cpu-ns/sample is the difference: everything that this project adds.
func BenchmarkHTTPWrite(b *testing.B) {
	clock := new(latest)
	lines := newPush(b, clock)
	token, handler := newBenchHandler(b, clock)

	discarded := lines.measure(b, token, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusOK)
	}))
	b.ResetTimer()
	stored := lines.measure(b, token, handler)
	b.StopTimer()

	samples := float64(b.N * lines.perBody)
	b.ReportMetric(float64(stored.Nanoseconds())/samples, "cpu-ns/sample")
	b.ReportMetric(float64(discarded.Nanoseconds())/samples, "client-cpu-ns/sample")
	b.ReportMetric(float64((stored-discarded).Nanoseconds())/samples, "server-cpu-ns/sample")
}

// newBenchHandler returns a handler assembled as cmd does it, and a token for it.
func newBenchHandler(b *testing.B, clock *latest) (token string, h http.Handler) {
	b.Helper()
	aggregations := map[string]memstore.Aggregation{"sum": memstore.AggregateSum, "avg": memstore.AggregateAvg}
	o := memstore.Options{Retention: 24 * time.Hour, Now: clock.now}
	for _, m := range synthetic.New(0, 0).Metrics() {
		o.Metrics = append(o.Metrics, memstore.Metric{Name: m.Name, Frequency: m.Frequency, Aggregation: aggregations[m.Aggregation]})
	}
	store, err := memstore.New(o)
	if err != nil {
		b.Fatal(err)
	}
	disk, err := archive.Open(archive.Options{Dir: b.TempDir(), Store: store, Observer: newJournalTimes()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := disk.Close(); err != nil {
			b.Error(err)
		}
	})
	if _, err := disk.Restore(b.Context()); err != nil {
		b.Fatal(err)
	}
	issuer := authtest.NewIssuer("bench")
	verifier, err := auth.NewChain(auth.ChainConfig{Issuers: []auth.Issuer{{Name: "jwt-public-key", Keys: []jwk.Key{{Public: issuer.PublicKey()}}}}})
	if err != nil {
		b.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	handler, err := rest.New(rest.Options{
		Store:         store,
		Freer:         disk,
		Ingester:      ingest.New(ingest.Options{Store: store, Writer: disk, Now: clock.now, Registerer: registry}),
		Authenticator: auth.NewCache(verifier, nil),
		Audit:         auth.NewAudit(io.Discard, nil),
		Registry:      registry,
	})
	if err != nil {
		b.Fatal(err)
	}
	return issuer.Token(map[string]any{
		"sub": "bench", "roles": []string{"api"}, "exp": time.Now().Add(time.Hour).Unix(),
	}), handler
}

// journalTimes observes the journal with histograms like those of cmd.
type journalTimes struct{ appends, fsyncs prometheus.Histogram }

func newJournalTimes() journalTimes {
	o := prometheus.HistogramOpts{Name: "seconds", Buckets: prometheus.ExponentialBuckets(1e-4, 2, 16)}
	return journalTimes{prometheus.NewHistogram(o), prometheus.NewHistogram(o)}
}

func (t journalTimes) Appended(took time.Duration) { t.appends.Observe(took.Seconds()) }
func (t journalTimes) Synced(took time.Duration)   { t.fsyncs.Observe(took.Seconds()) }

// latest is a clock that shows the time of the latest sample.
type latest struct{ unix atomic.Int64 }

func (l *latest) now() time.Time { return time.Unix(l.unix.Load(), 0) }

func (l *latest) reach(unix int64) {
	for was := l.unix.Load(); was < unix && !l.unix.CompareAndSwap(was, unix); was = l.unix.Load() {
	}
}

const (
	benchWriters  = 4
	benchHosts    = 20
	benchVariants = 8             // number of different bodies per host
	stamp         = 1_700_000_040 // of the first interval; all later ones have as many digits
)

// push holds the bodies that the writers send: some per host, which are sent again and again with
// new timestamps.
type push struct {
	clock   *latest
	bodies  [benchHosts][benchVariants][]byte
	perBody int          // samples
	step    atomic.Int64 // the last interval sent, over all runs
}

func newPush(b *testing.B, clock *latest) *push {
	b.Helper()
	c := synthetic.New(benchHosts, 1)
	p := &push{clock: clock, perBody: len(c.Series())}
	values := make([]float64, p.perBody)
	for host := range benchHosts {
		for v := range benchVariants {
			c.Step(host, v, values)
			p.bodies[host][v] = c.AppendLines(nil, host, values, c.Order(host, v), stamp)
		}
	}
	return p
}

// measure sends b.N requests and returns the CPU time that the process used.
func (p *push) measure(b *testing.B, token string, handler http.Handler) time.Duration {
	b.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: benchWriters, DisableCompression: true}
	defer transport.CloseIdleConnections()
	w := writer{push: p, client: &http.Client{Transport: transport}, url: server.URL + "/api/write/", token: token}

	first := p.step.Load() + 1
	p.step.Add(int64((b.N + benchHosts - 1) / benchHosts))
	begin := processTime(b)
	g, ctx := errgroup.WithContext(b.Context())
	for n := range benchWriters {
		g.Go(func() error { return w.run(ctx, n, first, b.N) })
	}
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	return processTime(b) - begin
}

// writer sends the requests of its own hosts.
type writer struct {
	*push
	client *http.Client
	url    string
	token  string
}

// run sends the requests of one writer: every benchWriters-th host of each of the intervals that n
// requests cover.
func (w writer) run(ctx context.Context, number int, first int64, n int) error {
	for i := range n {
		host, step := i%benchHosts, first+int64(i/benchHosts)
		if host%benchWriters != number {
			continue
		}
		body := w.bodies[host][step%benchVariants]
		at := stamp + 60*step
		synthetic.Restamp(body, at)
		w.clock.reach(at)
		if err := w.post(ctx, body); err != nil {
			return err
		}
	}
	return nil
}

func (w writer) post(ctx context.Context, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+w.token)
	resp, err := w.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 2000))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return err
}

// processTime is the CPU time of this process, getrusage(2).
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
