package rest_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/api/rest/resttest"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/auth/jobs/ccbackend/ccbackendtest"
	"github.com/ringstore/ringstore/auth/jwk"
	"github.com/ringstore/ringstore/memstore"
)

var visibleQueries = flag.Int("visible-queries", 20_000, "number of random queries to compare")

// caller is a principal, with a simple model of what it may see.
type caller struct {
	name      string
	claims    map[string]any               // of the token
	all       func(cluster string) bool    // whether it sees all of a cluster
	owns      func(ccbackendtest.Job) bool // whether it sees the data of a job
	claim     *auth.Resource               // granted by the token; may be nil
	reference http.Handler                 // its store holds only what the caller may see
}

func nothing(string) bool           { return false }
func none(ccbackendtest.Job) bool   { return false }
func everything(string) bool        { return true }
func in(c string) func(string) bool { return func(cluster string) bool { return cluster == c } }

func of(user string) func(ccbackendtest.Job) bool {
	return func(j ccbackendtest.Job) bool { return j.User == user }
}

const keycloak = "https://keycloak.example.org/realms/hpc"

// callers returns a caller of each kind.
func callers() []*caller {
	own := func(sub string, roles []string, more map[string]any) map[string]any {
		c := map[string]any{"sub": sub, "roles": roles, "exp": now + 3600}
		for k, v := range more {
			c[k] = v
		}
		return c
	}
	kc := func(sub, user string, roles []string, more map[string]any) map[string]any {
		c := own(sub, roles, more)
		c["iss"] = keycloak
		if user != "" {
			c["uid"] = user
		}
		return c
	}
	claim := &auth.Resource{Cluster: "alpha", Hosts: []string{"h3", "s0", "idle", "nowhere"}, From: now - 60_000, To: now - 20_000}
	claimed := []any{map[string]any{"cluster": claim.Cluster, "hosts": claim.Hosts, "from": claim.From, "to": claim.To}}
	return []*caller{
		{name: "a user", claims: own("u0", []string{"user"}, nil), all: nothing, owns: of("u0")},
		{name: "a user with projects", claims: own("u1", []string{"user"}, map[string]any{"projects": []string{"p0"}}), all: nothing, owns: of("u1")},
		{name: "a user and api", claims: own("u2", []string{"user", "api"}, nil), all: nothing, owns: of("u2")},
		{
			name: "a manager", claims: own("u3", []string{"manager"}, map[string]any{"projects": []string{"p0", "none"}}), all: nothing,
			owns: func(j ccbackendtest.Job) bool { return j.User == "u3" || j.Project == "p0" },
		},
		{name: "a user without jobs", claims: own("stranger", []string{"user"}, nil), all: nothing, owns: none},
		{name: "a user whose claim names no cluster user", claims: kc("u0", "", []string{"user"}, nil), all: nothing, owns: none},
		{name: "a user whose cluster user is another claim", claims: kc("u0", "u4", []string{"user"}, nil), all: nothing, owns: of("u4")},
		{name: "resources of an issuer that may not grant them", claims: own("u4", []string{"user"}, map[string]any{"resources": claimed}), all: nothing, owns: of("u4")},
		{name: "resources of an issuer that may grant them", claims: kc("x", "", []string{"user"}, map[string]any{"resources": claimed}), all: nothing, owns: none, claim: claim},
		{name: "own jobs and resources", claims: kc("x", "u1", []string{"user"}, map[string]any{"resources": claimed}), all: nothing, owns: of("u1"), claim: claim},
		{name: "support of one cluster", claims: kc("x", "", []string{"support-beta"}, nil), all: in("beta"), owns: none},
		{name: "support of one cluster, user of all", claims: kc("x", "u2", []string{"support-beta", "user"}, nil), all: in("beta"), owns: of("u2")},
		{
			name: "a manager of one cluster, user of all", claims: kc("x", "u0", []string{"manager-beta", "user"}, map[string]any{"projects": []string{"p1"}}), all: nothing,
			owns: func(j ccbackendtest.Job) bool { return j.User == "u0" || j.Cluster == "beta" && j.Project == "p1" },
		},
		{name: "an admin of an issuer of one cluster", claims: map[string]any{"iss": keycloak + "/beta", "sub": "u0", "roles": []string{"admin"}, "exp": now + 3600}, all: in("beta"), owns: none},
		{
			name: "a user of an issuer of one cluster", claims: map[string]any{"iss": keycloak + "/beta", "sub": "u0", "roles": []string{"user"}, "exp": now + 3600}, all: nothing,
			owns: func(j ccbackendtest.Job) bool { return j.User == "u0" && j.Cluster == "beta" },
		},
		{name: "support", claims: own("u0", []string{"support"}, nil), all: everything, owns: none},
		{name: "api", claims: own("u0", []string{"api"}, nil), all: everything, owns: none},
	}
}

func issuers(key authtest.Issuer) []auth.Issuer {
	keys := []jwk.Key{{Public: key.PublicKey()}}
	roles := map[string]auth.MappedRole{
		"user": {Role: auth.User}, "manager-beta": {Role: auth.Manager, Clusters: []string{"beta"}}, "support-beta": {Role: auth.Support, Clusters: []string{"beta"}},
	}
	return []auth.Issuer{
		{Name: "jwt-public-key", Keys: keys},
		{
			Name: "keycloak", Issuer: keycloak, Keys: keys, JobUserClaim: "uid", ProjectsClaims: []string{"projects"},
			RolesClaims: []string{"roles"}, RoleMap: roles, ResourcesClaim: "resources",
		},
		{Name: "beta", Issuer: keycloak + "/beta", Keys: keys, JobUserClaim: "sub", RolesClaims: []string{"roles"}, Clusters: []string{"beta"}},
	}
}

// scenario has a store of two clusters with jobs on their hosts, and callers with their reference
// stores.
type scenario struct {
	callers []*caller
	handler http.Handler                   // of the store with all samples
	jobs    map[string][]ccbackendtest.Job // by cluster/host
	issuer  *authtest.Issuer
	until   int64 // when running jobs were last seen
	limit   int   // values per query
	shared  bool  // see [rest.Options.SharedNodeMetrics]
}

func (v *scenario) newStore(t testing.TB) *memstore.Store {
	t.Helper()
	s, err := memstore.New(memstore.Options{Metrics: metrics(), Retention: 72 * time.Hour, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (v *scenario) newHandler(t testing.TB, s *memstore.Store, change func(o *rest.Options)) http.Handler {
	t.Helper()
	o := rest.Options{Store: s, Freer: nopStorage{}, Ingester: nopStorage{}, Limits: rest.Limits{ValuesPerQuery: v.limit}}
	change(&o)
	h, err := rest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// may returns a function that reports whether a caller may see a device's sample of a time in Unix
// milliseconds.
func (v *scenario) may(p *caller, cluster, host string, d memstore.Device) func(at int64) bool {
	if p.all(cluster) {
		return func(int64) bool { return true }
	}
	var times [][2]int64
	if c := p.claim; c != nil && c.Cluster == cluster && slices.Contains(c.Hosts, host) {
		times = append(times, [2]int64{c.From, c.To})
	}
	for _, j := range v.jobs[cluster+"/"+host] {
		if p.owns(j) && slices.ContainsFunc(j.Nodes, func(n jobs.Node) bool { return n.Host == host && v.has(j, n, d) }) {
			times = append(times, [2]int64{j.Start, min(j.End, v.until)})
		}
	}
	return func(at int64) bool {
		return slices.ContainsFunc(times, func(t [2]int64) bool { return t[0]*1000 <= at && at < t[1]*1000 })
	}
}

// has reports whether a job's user may see a device of a node of the job.
func (v *scenario) has(j ccbackendtest.Job, n jobs.Node, d memstore.Device) bool {
	switch {
	case j.Shared != "multi_user", d.Type == "" && v.shared:
		return true
	case d.Type == "hwthread":
		id, err := strconv.Atoi(d.TypeID)
		return err == nil && slices.Contains(n.Devices.HWThreads, id)
	default:
		return d.Type == "accelerator" && slices.Contains(n.Devices.Accelerators, d.TypeID)
	}
}

var scenarioHosts = strings.Fields("h0 h1 h3 x0 s0 s1 idle")

func newScenario(t testing.TB, r *rand.Rand, shared bool) *scenario {
	const minutes = 1500
	v := &scenario{issuer: authtest.NewIssuer("scenario"), until: now - 30, limit: 40_000, shared: shared}
	v.callers = callers()
	if shared {
		v.callers = v.callers[:4]
	}
	v.jobs = make(map[string][]ccbackendtest.Job)
	ix := jobs.New(jobs.Options{Keep: 72 * time.Hour, Now: clock})
	for _, j := range ccbackendtest.Random(r, now-60*minutes, now+10_000) {
		j.Cluster = []string{"alpha", "alpha", "beta"}[j.ID%3]
		for _, n := range j.Nodes {
			at := j.Cluster + "/" + n.Host
			v.jobs[at] = append(v.jobs[at], j)
		}
		rep := jobs.Report{Job: j.Job, Running: j.End > now, At: v.until}
		if j.Start > now {
			continue
		}
		if err := ix.Apply(rep); err != nil {
			t.Fatal(err)
		}
	}
	stores := []*memstore.Store{v.newStore(t)}
	for range v.callers {
		stores = append(stores, v.newStore(t))
	}
	type line struct {
		metric string
		device memstore.Device
		every  int64
	}
	thread := func(id int) memstore.Device { return memstore.Device{Type: "hwthread", TypeID: strconv.Itoa(id)} }
	gpu := func(id int) memstore.Device {
		return memstore.Device{Type: "accelerator", TypeID: fmt.Sprintf("00000000:%d9:00.0", id)}
	}
	lines := []line{
		{"cpu_load", memstore.Device{}, 1},
		{"mem_used", memstore.Device{}, 3},
		{"flops_any", memstore.Device{}, 500},
		{"nfs4_read", memstore.Device{Subtype: "filesystem", SubtypeID: "home"}, 1},
		{"cpu_power", memstore.Device{Type: "socket", TypeID: "0"}, 1},
		{"acc_power", gpu(0), 1},
		{"acc_power", gpu(1), 2},
	}
	for id := range 8 {
		lines = append(lines, line{"flops_any", thread(id), int64(1 + id/4*20)}, line{"ipc", thread(id), int64(10*id + 1)})
	}
	all := make([][]memstore.Sample, len(stores)) // the samples of each store
	for _, cluster := range []string{"alpha", "beta"} {
		for h, host := range scenarioHosts {
			for _, l := range lines {
				batches := make([][]memstore.Sample, len(stores))
				may := []func(int64) bool{func(int64) bool { return true }}
				for _, p := range v.callers {
					may = append(may, v.may(p, cluster, host, l.device))
				}
				for minute := range int64(minutes) {
					if r.Int64N(l.every) > 0 {
						continue
					}
					at := (now-60*minutes+60*minute)*1000 + int64(7*h)*100
					// A collector is not punctual. The first sample sets the times of a series' slots, by
					// which it is visible; the others are less than a quarter of the frequency early or late.
					jitter := int64(0)
					if len(batches[0]) > 0 {
						jitter = r.Int64N(28_000) - 14_000
					}
					value := float64(r.IntN(1 << 16))
					for i := range stores {
						if !may[i](at) {
							continue
						}
						x := memstore.Sample{Time: at, Value: value}
						if i == 0 {
							x.Time += jitter
						}
						batches[i] = append(batches[i], x)
					}
				}
				for i, s := range stores {
					if len(batches[i]) == 0 {
						continue
					}
					sr, err := s.Series(memstore.Key{Cluster: cluster, Host: host, Metric: l.metric, Device: l.device})
					if err != nil {
						t.Fatal(err)
					}
					for _, x := range batches[i] {
						x.Series = sr
						all[i] = append(all[i], x)
					}
				}
			}
		}
	}
	for i, s := range stores {
		slices.SortStableFunc(all[i], func(a, b memstore.Sample) int { return cmp.Compare(a.Time, b.Time) })
		if refused, err := s.Write(all[i]); err != nil || len(refused) > 0 {
			t.Fatal(refused, err)
		}
		if err := s.Maintain(); err != nil {
			t.Fatal(err)
		}
	}
	chain, err := auth.NewChain(auth.ChainConfig{Issuers: issuers(*v.issuer), Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	v.handler = v.newHandler(t, stores[0], func(o *rest.Options) {
		o.Authenticator, o.Policy.JobSource, o.Jobs, o.SharedNodeMetrics = auth.NewCache(chain, clock), true, ix, shared
	})
	for i, p := range v.callers {
		p.reference = v.newHandler(t, stores[i+1], func(o *rest.Options) { o.AuthDisabled = true })
	}
	return v
}

// ask sends one request to a handler.
func ask(t testing.TB, h http.Handler, method, path, token, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return contract().Serve(t, h, r)
}

func randomQuery(r *rand.Rand) map[string]any {
	hosts := append(slices.Clone(scenarioHosts), "nowhere", "")
	metrics := strings.Fields("cpu_load mem_used flops_any nfs4_read cpu_power acc_power ipc none")
	from := now - 95_000 + r.Int64N(95_000)
	to := from + r.Int64N(90_000)
	switch r.IntN(10) {
	case 0:
		from, to = 0, math.MaxInt64
	case 1:
		from, to = to, from
	case 2, 3:
		to = from + r.Int64N(500)
	}
	q := map[string]any{"cluster": []string{"gamma", ""}[r.IntN(2)], "from": from, "to": to}
	if r.IntN(8) > 0 {
		q["cluster"] = []string{"alpha", "beta"}[r.IntN(2)]
	}
	var queries []map[string]any
	for range r.IntN(4) {
		one := map[string]any{"metric": metrics[r.IntN(len(metrics))], "host": hosts[r.IntN(len(hosts))]}
		switch r.IntN(7) {
		case 0:
			one["type"], one["type-ids"] = "hwthread", []string{strconv.Itoa(r.IntN(9))}
		case 1:
			one["type"], one["type-ids"] = "hwthread", strings.Fields("0 1 2 3 4 5 6 7")
		case 2:
			one["type"], one["type-ids"] = "accelerator", []string{"00000000:09:00.0", "00000000:19:00.0"}
		case 3:
			one["type"], one["type-ids"] = "socket", []string{"0"}
		case 4:
			one["type"], one["subtype"], one["subtype-ids"] = "node", "filesystem", []string{"home"}
		case 5:
			one["type"] = "node"
		}
		one["aggreg"] = r.IntN(2) == 0
		one["resolution"] = []int{0, 0, 60, 120, 600, 61}[r.IntN(6)]
		one["resample"] = []string{"", "lttb", "average", "max", "min"}[r.IntN(5)]
		one["scale-by"] = []float64{0, 1, 2.5}[r.IntN(3)]
		queries = append(queries, one)
	}
	q["queries"] = queries
	if r.IntN(4) == 0 {
		q["for-all-nodes"] = []string{metrics[r.IntN(len(metrics))]}
	}
	for _, flag := range []string{"with-stats", "with-data", "with-padding"} {
		q[flag] = r.IntN(4) > 0
	}
	if r.IntN(2) == 0 {
		delete(q, "with-padding")
	}
	return q
}

// A response is the same as that of a store that holds only what the caller may see, in its values,
// statistics, errors and counts.
func TestResponsesShowOnlyVisibleData(t *testing.T) {
	for round, shared := range []bool{false, true} {
		r := rand.New(rand.NewPCG(uint64(round), 5))
		v := newScenario(t, r, shared)
		tokens := make([]string, len(v.callers))
		for i, p := range v.callers {
			tokens[i] = v.issuer.Token(p.claims)
		}
		values := make([]int, len(v.callers))
		queries := *visibleQueries / 2
		if raceDetector { // it has nothing to find in most of them, and makes them ten times as slow
			queries /= 10
		}
		for range queries {
			i := r.IntN(len(v.callers))
			p := v.callers[i]
			body, err := json.Marshal(randomQuery(r))
			if err != nil {
				t.Fatal(err)
			}
			got := ask(t, v.handler, "POST", "/api/query", tokens[i], string(body))
			want := ask(t, p.reference, "POST", "/api/query", "", string(body))
			if got.Code != want.Code || !sameAnswer(t, got.Body.String(), want.Body.String(), &values[i]) {
				t.Fatalf("%s asks %s:\n%d %.2000s\nwant\n%d %.2000s", p.name, body, got.Code, got.Body, want.Code, want.Body)
			}
		}
		for i, p := range v.callers {
			if jobless := p.name == "a user without jobs" || p.name == "a user whose claim names no cluster user"; jobless != (values[i] == 0) {
				t.Errorf("%s saw %d values", p.name, values[i])
			}
		}
	}
}

// sameAnswer compares responses. Statistics may differ by the rounding of sums in another order. It
// adds the number of values to *values.
func sameAnswer(t *testing.T, got, want string, values *int) bool {
	if got == want && !strings.Contains(got, `"data"`) {
		return true
	}
	var a, b answer
	if json.Unmarshal([]byte(got), &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
		return got == want
	}
	near := func(x, y *float64) bool {
		return x == nil && y == nil || x != nil && y != nil && math.Abs(*x-*y) <= 1e-9*max(1, math.Abs(*x))
	}
	equal := func(x, y *float64) bool { return x == nil && y == nil || x != nil && y != nil && *x == *y }
	return slices.EqualFunc(a.Queries, b.Queries, func(x, y resttest.Query) bool { return x.Metric == y.Metric && x.Host == y.Host }) &&
		slices.EqualFunc(a.Results, b.Results, func(x, y []resttest.Entry) bool {
			return slices.EqualFunc(x, y, func(x, y resttest.Entry) bool {
				*values += len(x.Data)
				sameError := x.Error == nil && y.Error == nil || x.Error != nil && y.Error != nil && *x.Error == *y.Error
				return sameError && x.From == y.From && x.To == y.To && x.Resolution == y.Resolution &&
					slices.EqualFunc(x.Data, y.Data, equal) && near(x.Avg, y.Avg) && near(x.Min, y.Min) && near(x.Max, y.Max)
			})
		})
}
