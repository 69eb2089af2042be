package prometheus

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/teststorage"
	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/api/access"
	"github.com/ringstore/ringstore/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// base is the time of the first sample, in Unix seconds; hours of samples follow.
const (
	base  = int64(1_795_200_000)
	hours = 3
	now   = base + hours*3600
)

func clock() time.Time { return time.Unix(now, 0) }

func testMetrics() []Metric {
	metric := func(name string, every time.Duration, a memstore.Aggregation, unit, help string) Metric {
		return Metric{Metric: memstore.Metric{Name: name, Frequency: every, Aggregation: a}, Unit: unit, Help: help}
	}
	return []Metric{
		metric("load", time.Minute, memstore.AggregateNone, "", "Processes that run or wait."),
		metric("flops_any", time.Minute, memstore.AggregateSum, "F/s", "Floating point operations."),
		metric("ipc", 30*time.Second, memstore.AggregateAvg, "", ""),
		metric("ib_recv_total", time.Minute, memstore.AggregateSum, "B", "A counter that restarts."),
	}
}

// sample is one sample of a series of the tests.
type sample struct {
	at int64 // Unix milliseconds
	v  float64
}

// randomSeries returns the samples of one series: gaps, a phase of its own, counters that restart.
func randomSeries(r *rand.Rand, metric string, every int64) []sample {
	phase := r.Int64N(every)
	if r.IntN(2) == 0 {
		phase = 0
	}
	var all []sample
	v := 100 * r.Float64()
	for at := base*1000 + phase; at < now*1000-2*every; at += every {
		switch {
		case metric == "ib_recv_total" && r.IntN(50) == 0:
			v = 0
		case metric == "ib_recv_total":
			v += float64(r.IntN(1000))
		default:
			v = math.Round(1000*r.NormFloat64()) / 10
		}
		if r.IntN(12) == 0 {
			at += every * r.Int64N(8) // a gap
			continue
		}
		all = append(all, sample{at, v})
	}
	return all
}

// twin is the same data in our store and in the storage of Prometheus.
type twin struct {
	api    *API
	store  *memstore.Store
	reader *access.Reader
	tsdb   *teststorage.TestStorage
	engine *promql.Engine
}

func newStore(t testing.TB) *memstore.Store {
	t.Helper()
	var metrics []memstore.Metric
	for _, m := range testMetrics() {
		metrics = append(metrics, m.Metric)
	}
	store, err := memstore.New(memstore.Options{Metrics: metrics, Retention: 24 * time.Hour, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func newAPI(t testing.TB) *API {
	t.Helper()
	a, err := New(Options{Metrics: testMetrics(), Now: clock, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// everything returns a reader that sees all of a store.
func everything(t testing.TB, store *memstore.Store) *access.Reader {
	t.Helper()
	gate, err := access.New(access.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	return gate.All()
}

func newTwin(t testing.TB, seed uint64) *twin {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	w := &twin{api: newAPI(t), store: newStore(t), tsdb: teststorage.New(t)}
	w.reader = everything(t, w.store)
	w.engine = promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
	for _, host := range []string{"c1/n1", "c1/n2", "c1/n3", "c2/n1"} {
		for _, m := range testMetrics() {
			for _, d := range devicesOf(m.Name) {
				if r.IntN(10) == 0 {
					continue // a series that does not exist
				}
				w.add(t, host[:2], host[3:], d, m, randomSeries(r, m.Name, m.Frequency.Milliseconds()))
			}
		}
	}
	return w
}

func devicesOf(metric string) []memstore.Device {
	switch metric {
	case "load":
		return []memstore.Device{{}, {Type: "socket", TypeID: "0", Subtype: "network", SubtypeID: "eth0"}}
	case "ib_recv_total":
		return []memstore.Device{{Subtype: "network", SubtypeID: "mlx5_0"}, {Subtype: "network", SubtypeID: "mlx5_1"}}
	}
	var devices []memstore.Device
	for id := range 4 {
		devices = append(devices, memstore.Device{Type: "hwthread", TypeID: fmt.Sprint(id)})
	}
	return devices
}

func (w *twin) add(t testing.TB, cluster, host string, d memstore.Device, m Metric, samples []sample) {
	t.Helper()
	sr, err := w.store.Series(memstore.Key{Cluster: cluster, Host: host, Metric: m.Name, Device: d})
	if err != nil {
		t.Fatal(err)
	}
	app := w.tsdb.Appender(context.Background())
	i := id{cluster, host, &name{text: m.Name}, d}
	var b labels.ScratchBuilder
	series := i.labels(&b)
	put := func(at int64, v float64) {
		if _, err := app.Append(0, series, at, v); err != nil {
			t.Fatal(err)
		}
	}
	every := m.Frequency.Milliseconds()
	for k, s := range samples {
		refused, err := w.store.Write([]memstore.Sample{{Series: sr, Time: s.at, Value: s.v}})
		if err != nil || len(refused) > 0 {
			t.Fatal(err, refused)
		}
		put(s.at, s.v)
		if k+1 == len(samples) || samples[k+1].at > s.at+every {
			put(s.at+every, math.Float64frombits(value.StaleNaN))
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

// ask sends a request to the API and returns the status and the body.
func (w *twin) ask(t testing.TB, method, path string, form url.Values) (int, string) {
	t.Helper()
	return ask(t, w.api, Caller{Reader: w.reader}, method, path, form)
}

func ask(t testing.TB, a *API, c Caller, method, path string, form url.Values) (int, string) {
	t.Helper()
	router := mux.NewRouter()
	for _, e := range a.Endpoints() {
		router.HandleFunc(e.Path, func(w http.ResponseWriter, r *http.Request) {
			err := e.Serve(w, r, c)
			if failure, ok := err.(*Error); ok {
				w.WriteHeader(failure.Status)
				fmt.Fprintf(w, "%s: %s", failure.Type, failure.Public)
			} else if err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}).Methods(e.Methods...)
	}
	r := httptest.NewRequest(method, path+"?"+form.Encode(), nil)
	if method == http.MethodPost {
		r = httptest.NewRequest(method, path, nil)
		r.PostForm, r.Form = form, form
	}
	rec := httptest.NewRecorder()
	router.ServeHTTP(rec, r)
	return rec.Code, rec.Body.String()
}

// data returns the member data of a successful answer.
func data(t testing.TB, status int, body string, into any) {
	t.Helper()
	var answer struct {
		Status string
		Data   json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || answer.Status != "success" {
		t.Fatalf("got %d %s (%v)", status, body, err)
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		t.Fatal(err)
	}
}
