package explorer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/prometheus"
	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/auth/jwk"
	"github.com/ringstore/ringstore/memstore"
)

// hostile is the name of a host that is code wherever a text is taken for HTML.
const hostile = `<img src=x onerror=document.title='hacked'>`

// site is a server with the page, a store, jobs and authentication.
type site struct {
	*httptest.Server
	issuer *authtest.Issuer
	faults *faults
}

// faults is what goes wrong at a server, and what it answered.
type faults struct {
	mu      sync.Mutex
	status  int           // of every answer of the API; 0: the server's own
	hold    chan struct{} // range queries wait until it is closed; nil: they do not
	answers bytes.Buffer  // bodies of the API
	sent    int           // bytes of bodies of the API, as they are sent
	packed  bool          // answers to the page are compressed, as usual; else they can be read in answers
}

func (f *faults) set(status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = status
}

func (f *faults) setHold(c chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = c
}

// take returns what was answered since the last call, and how many bytes were sent.
func (f *faults) take() (string, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, n := f.answers.String(), f.sent
	f.answers.Reset()
	f.sent = 0
	return text, n
}

// through answers requests with the faults, else by next.
func (f *faults) through(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api/") {
			next.ServeHTTP(w, r)
			return
		}
		f.mu.Lock()
		status, hold, packed := f.status, f.hold, f.packed
		f.mu.Unlock()
		if hold != nil && strings.HasSuffix(r.URL.Path, "/query_range") {
			select {
			case <-hold:
			case <-r.Context().Done():
				return
			}
		}
		if status != 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"status": "x", "error": "fault %d of the test"}`, status)
			return
		}
		if !packed {
			r.Header.Del("Sec-Fetch-Site")
		}
		next.ServeHTTP(&recorder{ResponseWriter: w, faults: f}, r)
	})
}

type recorder struct {
	http.ResponseWriter
	faults *faults
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) Write(p []byte) (int, error) {
	r.faults.mu.Lock()
	r.faults.sent += len(p)
	if r.Header().Get("Content-Encoding") == "" {
		r.faults.answers.Write(p)
	}
	r.faults.mu.Unlock()
	return r.ResponseWriter.Write(p)
}

type storage struct{ *memstore.Store }

func (s storage) WriteFrom(_ context.Context, _ memstore.Origin, batch []memstore.Sample) ([]memstore.Refusal, error) {
	return s.Store.Write(batch)
}

func (s storage) Free(_ context.Context, path [][]string, to int64) (int, error) {
	return s.Store.Free(path, to), nil
}

type operator struct{ store *memstore.Store }

func (o operator) Status(context.Context, int) (rest.Status, error) {
	size := o.store.Size()
	hosts, perMetric := o.store.Usage()
	sizes := func(all []memstore.Usage) (some []rest.Size) {
		for _, u := range all[:min(10, len(all))] {
			some = append(some, rest.Size(u))
		}
		return some
	}
	return rest.Status{
		Version: "test", Ready: true, Reasons: []string{}, Notes: []string{"a note of the test"}, Hosts: size.Hosts, Series: size.Series,
		Clusters: []rest.ClusterSize{{Cluster: "fritz", Hosts: size.Hosts}}, TopHosts: rest.Largest{ByBytes: sizes(hosts)}, TopMetrics: rest.Largest{ByBytes: sizes(perMetric)},
		Memory: rest.Memory{Bytes: size.Bytes}, Subscriptions: []rest.Subscription{},
	}, nil
}

func (operator) Snapshot(context.Context) (rest.Snapshot, error) { return rest.Snapshot{}, nil }
func (operator) ConfirmClock() rest.ClockConfirmed               { return rest.ClockConfirmed{} }

func metrics() []memstore.Metric {
	minute := func(name string, a memstore.Aggregation) memstore.Metric {
		return memstore.Metric{Name: name, Frequency: time.Minute, Aggregation: a}
	}
	return []memstore.Metric{
		minute("cpu_load", memstore.AggregateNone), minute("mem_used", memstore.AggregateNone),
		minute("flops_any", memstore.AggregateSum), minute("ipc", memstore.AggregateAvg), minute("acc_power", memstore.AggregateSum),
	}
}

// openSite starts a server whose cluster fritz has hosts with devices.
func openSite(t *testing.T, change ...func(*rest.Options)) site {
	t.Helper()
	store, err := memstore.New(memstore.Options{Metrics: metrics(), Retention: 48 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s := site{issuer: authtest.NewIssuer("explorer"), faults: new(faults)}
	chain, err := auth.NewChain(auth.ChainConfig{Issuers: []auth.Issuer{{Name: "site", Keys: []jwk.Key{{Public: s.issuer.PublicKey()}}}}})
	if err != nil {
		t.Fatal(err)
	}
	units := map[string]string{"mem_used": "GB", "flops_any": "F/s", "acc_power": "W"}
	var described []prometheus.Metric
	for _, m := range metrics() {
		described = append(described, prometheus.Metric{Metric: m, Unit: units[m.Name]})
	}
	promql, err := prometheus.New(prometheus.Options{Metrics: described})
	if err != nil {
		t.Fatal(err)
	}
	ingester := ingest.New(ingest.Options{Store: store, Writer: storage{store}})
	o := rest.Options{
		Prometheus: promql, Store: store, Freer: storage{store}, Ingester: ingester, Authenticator: auth.NewCache(chain, nil),
		Operator: operator{store}, Explorer: newPage(t), Jobs: knownJobs(t), Policy: auth.Policy{JobSource: true},
	}
	for _, f := range change {
		f(&o)
	}
	handler, err := rest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(s.faults.through(handler))
	t.Cleanup(s.Close)
	s.write(t, lines(time.Now(), 70))
	return s
}

// knownJobs has a running job of ann on f01 and f02, and one of bob on f03.
func knownJobs(t *testing.T) *jobs.Index {
	t.Helper()
	ix := jobs.New(jobs.Options{Keep: 48 * time.Hour})
	start := time.Now().Add(-time.Hour).Unix()
	for _, j := range []jobs.Job{
		{ID: 4711, Cluster: "fritz", User: "ann", Project: "p1", Start: start, Nodes: []jobs.Node{{Host: "f01"}, {Host: "f02"}}},
		{ID: 4712, Cluster: "fritz", User: "bob", Project: "p2", Start: start, Nodes: []jobs.Node{{Host: "f03"}}},
	} {
		if err := ix.Apply(jobs.Report{Job: j, Running: true, At: time.Now().Unix()}); err != nil {
			t.Fatal(err)
		}
	}
	return ix
}

func (s site) write(t *testing.T, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/api/write?cluster=fritz", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token("writer", "admin"))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		t.Fatalf("write: %d %s", answer.StatusCode, body)
	}
	s.faults.take()
}

// lines returns the samples of some minutes before now, of f01 to f03 and a host with a hostile name.
func lines(now time.Time, minutes int) string {
	var b strings.Builder
	escape := strings.NewReplacer(" ", `\ `, "=", `\=`, ",", `\,`)
	for h, host := range []string{"f01", "f02", "f03", hostile} {
		for m := range minutes {
			at := now.Add(-time.Duration(minutes-m) * time.Minute).Unix()
			wave := math.Sin(float64(m)/9 + float64(h))
			fmt.Fprintf(&b, "cpu_load,hostname=%s,type=node value=%.3f %d\n", escape.Replace(host), 36+30*wave, at)
			fmt.Fprintf(&b, "mem_used,hostname=%s,type=node value=%.1f %d\n", escape.Replace(host), 120+40*wave, at)
			for d := range 4 {
				fmt.Fprintf(&b, "flops_any,hostname=%s,type=hwthread,type-id=%d value=%.0f %d\n", escape.Replace(host), d, 2e9*(1.5+wave)+float64(d)*1e8, at)
				fmt.Fprintf(&b, "acc_power,hostname=%s,type=accelerator,type-id=00000000:4%d:00.0 value=%.1f %d\n", escape.Replace(host), d, 200+90*wave, at)
			}
		}
	}
	return b.String()
}

// token returns a token of a subject with roles.
func (s site) token(subject string, roles ...string) string {
	return s.issuer.Token(map[string]any{"sub": subject, "roles": append([]string{}, roles...), "exp": time.Now().Add(time.Hour).Unix()})
}
