package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/auth/jwk"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/synthetic"
)

// BenchmarkQuery measures a query for a day of all series of four hosts, from the handler to a
// ResponseWriter that discards the response. The callers are an admin, a user whose job had the
// hosts all day, and a user whose job had them for half of it. The index holds a million intervals
// of jobs. The result is CPU time per requested value.
func BenchmarkQuery(b *testing.B) {
	const from = 1_795_200_000
	c := synthetic.New(4, 1)
	now := int64(from)
	o := memstore.Options{Retention: 24 * time.Hour, Now: func() time.Time { return time.Unix(now, 0) }}
	for _, m := range c.Metrics() {
		o.Metrics = append(o.Metrics, memstore.Metric{Name: m.Name, Frequency: time.Minute})
	}
	s, err := memstore.New(o)
	if err != nil {
		b.Fatal(err)
	}
	type query struct {
		Metric  string   `json:"metric"`
		Host    string   `json:"host"`
		Type    string   `json:"type"`
		TypeIDs []string `json:"type-ids"`
	}
	var queries []query
	values := make([]float64, len(c.Series()))
	series := make([]*memstore.Series, len(values))
	for h := range c.Hosts() {
		for i, d := range c.Series() {
			k := memstore.Key{Cluster: "c", Host: c.Host(h), Metric: d.Metric}
			if d.Type != "node" {
				k.Device = memstore.Device{Type: d.Type, TypeID: d.TypeID}
			}
			if series[i], err = s.Series(k); err != nil {
				b.Fatal(err)
			}
			queries = append(queries, query{d.Metric, c.Host(h), d.Type, []string{d.TypeID}})
		}
		for step := range 1440 {
			now = from + int64(step)*60
			c.Step(h, step, values)
			batch := make([]memstore.Sample, len(values))
			for i, v := range values {
				batch[i] = memstore.Sample{Series: series[i], Time: now * 1000, Value: v}
			}
			if refused, err := s.Write(batch); err != nil || len(refused) > 0 {
				b.Fatal(refused, err)
			}
		}
	}
	if err := s.Maintain(); err != nil {
		b.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"cluster": "c", "from": from, "to": from + 86400, "queries": queries})
	if err != nil {
		b.Fatal(err)
	}
	issuer := authtest.NewIssuer("query")
	chain, err := auth.NewChain(auth.ChainConfig{Issuers: []auth.Issuer{{Name: "i", Keys: []jwk.Key{{Public: issuer.PublicKey()}}}}})
	if err != nil {
		b.Fatal(err)
	}
	h, err := rest.New(rest.Options{
		Store: s, Freer: nopStorage{}, Ingester: nopStorage{}, Authenticator: auth.NewCache(chain, nil),
		Policy: auth.Policy{JobSource: true}, Jobs: manyJobs(b, from, c.Host),
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, who := range []string{"admin", "user", "half"} {
		role := "user"
		if who == "admin" {
			role = who
		}
		token := issuer.Token(map[string]any{"sub": who, "roles": []string{role}})
		b.Run(who, func(b *testing.B) { benchQuery(b, h, token, string(body), 1440*len(queries)) })
	}
}

// manyJobs returns an index with a million intervals of other users' jobs, and two jobs on four
// hosts: one of the user "user" that runs all day, and one of the user "half" that runs for half of
// it.
func manyJobs(b *testing.B, from int64, host func(int) string) *jobs.Index {
	ix := jobs.New(jobs.Options{Keep: 1000 * time.Hour})
	var batch []jobs.Report
	for id := range int64(250_000) {
		j := jobs.Job{ID: id, Cluster: "c", User: fmt.Sprintf("u%d", id%500), Start: from - id%80_000, End: from + 3600}
		for n := range 4 {
			name := fmt.Sprintf("e%04d", (id*7+int64(n))%1000)
			if id%100 == 0 {
				name = host(n)
			}
			j.Nodes = append(j.Nodes, jobs.Node{Host: name})
		}
		batch = append(batch, jobs.Report{Job: j})
	}
	for i, who := range []string{"user", "half"} {
		j := jobs.Job{ID: int64(-i - 1), Cluster: "c", User: who, Start: from - 60, End: from + 86400/int64(i+1)}
		for n := range 4 {
			j.Nodes = append(j.Nodes, jobs.Node{Host: host(n)})
		}
		batch = append(batch, jobs.Report{Job: j})
	}
	if err := ix.Apply(batch...); err != nil {
		b.Fatal(err)
	}
	if n := ix.Size(); n.Intervals < 1_000_000 {
		b.Fatal(n)
	}
	return ix
}

func benchQuery(b *testing.B, h http.Handler, token, body string, values int) {
	cpu := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	begin := cpu()
	n := 0
	for b.Loop() {
		r := httptest.NewRequest("POST", "/api/query", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		w := discard{header: http.Header{}}
		if h.ServeHTTP(&w, r); w.status != 0 && w.status != 200 {
			b.Fatal(w.status)
		}
		n += values
	}
	b.ReportMetric(float64(cpu()-begin)/float64(n), "cpu-ns/value")
}

// discard is a ResponseWriter that keeps only the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkJob measures a query for the node's values of 10 thread metrics of 512 hosts with 64
// threads each, for 12 hours. The result is the time until the answer begins and ends, beside the
// CPU time. Only one in eight of the hosts is different, which saves memory.
func BenchmarkJob(b *testing.B) {
	const from, steps, different = 1_795_200_000, 720, 64
	c := synthetic.New(different, 1)
	now := int64(from)
	o := memstore.Options{Retention: 24 * time.Hour, Now: func() time.Time { return time.Unix(now, 0) }}
	for _, m := range c.Metrics() {
		o.Metrics = append(o.Metrics, memstore.Metric{Name: m.Name, Frequency: time.Minute, Aggregation: memstore.AggregateSum})
	}
	s, err := memstore.New(o)
	if err != nil {
		b.Fatal(err)
	}
	values := make([]float64, len(c.Series()))
	series := make([][]*memstore.Series, different)
	for step := range steps {
		now = from + int64(step)*60
		for h := range different {
			c.Step(h, step, values)
			var batch []memstore.Sample
			for i, d := range c.Series()[:640] {
				if step == 0 {
					sr, err := s.Series(memstore.Key{Cluster: "c", Host: c.Host(h), Metric: d.Metric, Device: memstore.Device{Type: d.Type, TypeID: d.TypeID}})
					if err != nil {
						b.Fatal(err)
					}
					series[h] = append(series[h], sr)
				}
				batch = append(batch, memstore.Sample{Series: series[h][i], Time: now * 1000, Value: values[i]})
			}
			if refused, err := s.Write(batch); err != nil || len(refused) > 0 {
				b.Fatal(refused, err)
			}
		}
	}
	if err := s.Maintain(); err != nil {
		b.Fatal(err)
	}
	var queries []map[string]any
	for h := range 512 {
		for _, d := range c.Series()[:10] {
			queries = append(queries, map[string]any{"metric": d.Metric, "host": c.Host(h % different)})
		}
	}
	body, err := json.Marshal(map[string]any{"cluster": "c", "from": from, "to": from + steps*60, "queries": queries})
	if err != nil {
		b.Fatal(err)
	}
	h, err := rest.New(rest.Options{Store: s, Freer: nopStorage{}, Ingester: nopStorage{}, AuthDisabled: true})
	if err != nil {
		b.Fatal(err)
	}
	for name, alone := range map[string]time.Duration{"alone": time.Hour, "helped": 2 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			h.SetAlone(alone)
			var began time.Duration
			cpu := processTime(b)
			for b.Loop() {
				r := httptest.NewRequest("POST", "/api/query", strings.NewReader(string(body)))
				w := firstWrite{discard: discard{header: http.Header{}}, begin: time.Now()}
				if h.ServeHTTP(&w, r); w.status != 0 && w.status != 200 {
					b.Fatal(w.status)
				}
				began += w.took
			}
			b.ReportMetric(float64((processTime(b)-cpu).Milliseconds())/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(began.Milliseconds())/float64(b.N), "ms-to-begin")
		})
	}
}

// firstWrite measures the time until the first byte.
type firstWrite struct {
	discard
	begin time.Time
	took  time.Duration
}

func (w *firstWrite) Write(b []byte) (int, error) {
	if w.took == 0 {
		w.took = time.Since(w.begin)
	}
	return len(b), nil
}
