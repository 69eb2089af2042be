package prometheus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/access"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/memstore"
)

// ownJobs are the jobs of ann, beside one of bob: whole nodes, and hwthreads 0 and 1 of a shared one.
func ownJobs(t testing.TB) *jobs.Index {
	t.Helper()
	ix := jobs.New(jobs.Options{Keep: 24 * time.Hour, Now: clock})
	job := func(id int64, user, cluster string, from, to int64, nodes ...jobs.Node) jobs.Report {
		return jobs.Report{Job: jobs.Job{ID: id, Cluster: cluster, User: user, Start: from, End: to, Nodes: nodes}}
	}
	err := ix.Apply(
		job(1, "ann", "c1", base+1200, base+5000, jobs.Node{Host: "n1"}),
		job(2, "ann", "c1", base+7000, base+7300, jobs.Node{Host: "n1"}),
		job(3, "ann", "c1", base+3010, base+8000, jobs.Node{Host: "n2", Devices: &jobs.Devices{HWThreads: []int{0, 1}}}),
		job(4, "bob", "c1", base, now, jobs.Node{Host: "n3"}),
		job(5, "bob", "c2", base, now, jobs.Node{Host: "n1"}),
		job(6, "bob", "c1", base, now, jobs.Node{Host: "n2", Devices: &jobs.Devices{HWThreads: []int{2, 3}}}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

// isVisible reports whether ann may see a sample.
func isVisible(cluster, host string, d memstore.Device, at int64) bool {
	within := func(from, to int64) bool { return at >= (base+from)*1000 && at < (base+to)*1000 }
	switch {
	case cluster == "c1" && host == "n1":
		return within(1200, 5000) || within(7000, 7300)
	case cluster == "c1" && host == "n2":
		return within(3010, 8000) && d.Type == "hwthread" && (d.TypeID == "0" || d.TypeID == "1")
	}
	return false
}

// maskedAndPart returns a reader of ann over a store with all samples, and one of everything over a
// store that has only what ann may see.
func maskedAndPart(t testing.TB, seed uint64) (masked, part *access.Reader) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	full, visible := newStore(t), newStore(t)
	for _, at := range []place{{"c1", "n1"}, {"c1", "n2"}, {"c1", "n3"}, {"c2", "n1"}} {
		for _, m := range testMetrics() {
			every := m.Frequency.Milliseconds()
			phase := r.Int64N(every)
			for _, d := range devicesOf(m.Name) {
				key := memstore.Key{Cluster: at.cluster, Host: at.host, Metric: m.Name, Device: d}
				for _, s := range randomSeries(r, m.Name, every) {
					s.at = s.at - s.at%every + phase // one phase for a metric of a host
					write(t, full, key, s)
					if isVisible(at.cluster, at.host, d, s.at) {
						write(t, visible, key, s)
					}
				}
			}
		}
	}
	gate, err := access.New(access.Options{Store: full, Policy: auth.Policy{JobSource: true}, Jobs: ownJobs(t)})
	if err != nil {
		t.Fatal(err)
	}
	return gate.For(&auth.Principal{JobUser: "ann", Roles: auth.User}), everything(t, visible)
}

func write(t testing.TB, store *memstore.Store, key memstore.Key, s sample) {
	t.Helper()
	sr, err := store.Series(key)
	if err != nil {
		t.Fatal(err)
	}
	if refused, err := store.Write([]memstore.Sample{{Series: sr, Time: s.at, Value: s.v}}); err != nil || len(refused) > 0 {
		t.Fatal(err, refused)
	}
}

// TestAUserSeesAsIfNothingElseWereStored: for every endpoint and shape of query, the answer to a
// user over the full store is that over a store with only the visible samples.
func TestAUserSeesAsIfNothingElseWereStored(t *testing.T) {
	a := newAPI(t)
	answers := 0
	for seed := range uint64(2) {
		masked, part := maskedAndPart(t, seed)
		same := func(path string, form url.Values) {
			t.Helper()
			status, got := ask(t, a, Caller{Reader: masked}, http.MethodGet, path, form)
			wantStatus, want := ask(t, a, Caller{Reader: part}, http.MethodGet, path, form)
			if status != wantStatus || sortedResult(got) != sortedResult(want) {
				t.Errorf("seed %d, %s?%s:\n got %d %.1500s\nwant %d %.1500s", seed, path, form.Encode(), status, got, wantStatus, want)
			}
			if len(want) > 100 {
				answers++
			}
		}
		for _, expr := range shapes() {
			for _, at := range []int64{1000, 1201, 4990, 5030, 5400, 7150, 7900, 8100, 10800} {
				same("/api/v1/query", url.Values{"query": {expr}, "time": {fmt.Sprint(base + at)}})
			}
			same("/api/v1/query_range", url.Values{"query": {expr}, "start": {fmt.Sprint(base)}, "end": {fmt.Sprint(now)}, "step": {"47"}})
		}
		for _, span := range [][2]int64{{0, 10800}, {0, 1199}, {4900, 5000}, {5100, 6900}, {7000, 7300}, {9000, 10800}} {
			for _, match := range []string{"", `{hostname=~".+"}`, `{hostname="n3"}`, `ipc`, `{__name__=~"node:.*"}`, `{cluster="c2"}`, `load{type="node"}`} {
				form := url.Values{"start": {fmt.Sprint(base + span[0])}, "end": {fmt.Sprint(base + span[1])}}
				if match != "" {
					form.Set("match[]", match)
					same("/api/v1/series", form)
				}
				same("/api/v1/labels", form)
				for _, label := range allLabels {
					same("/api/v1/label/"+label+"/values", form)
				}
			}
		}
		same("/api/v1/labels", nil)
		same("/api/v1/label/hostname/values", nil)
	}
	if answers < 300 {
		t.Errorf("only %d answers had data", answers)
	}
}

// sortedResult returns an answer with its series sorted: the engine answers those of a subquery in no
// particular order.
func sortedResult(body string) string {
	var answer struct {
		Data struct{ Result []json.RawMessage }
	}
	if json.Unmarshal([]byte(body), &answer) != nil || len(answer.Data.Result) < 2 {
		return body
	}
	slices.SortFunc(answer.Data.Result, func(a, b json.RawMessage) int { return bytes.Compare(a, b) })
	return string(bytes.Join(toBytes(answer.Data.Result), []byte("\n")))
}

func toBytes(all []json.RawMessage) (lines [][]byte) {
	for _, line := range all {
		lines = append(lines, line)
	}
	return lines
}

// shapes are queries that could tell of hidden series: their presence, number, values or ends.
func shapes() []string {
	return []string{
		`{hostname=~".+"}`, `{hostname="n3"}`, `{cluster="c2"}`, `load`, `ipc`, `absent(load)`, `absent(load{hostname="n3"})`,
		`count({hostname=~".+"})`, `count by (hostname) ({cluster=~".*",hostname!=""})`, `sum(flops_any)`, `topk(3, ipc)`,
		`rate(ib_recv_total[5m])`, `increase(ib_recv_total[1h])`, `max_over_time(flops_any[30m])`, `avg_over_time(ipc[10m] offset 20m)`,
		`count_over_time({hostname=~".+"}[3h])`, `min_over_time((flops_any > 0)[40m:1m])`, `sum_over_time(sum(flops_any)[1h:2m])`,
		`flops_any offset 15m`, `flops_any offset -15m`, fmt.Sprintf(`flops_any @ %d`, base+4000), `flops_any @ end()`, `flops_any @ start()`,
		`node:flops_any:sum`, `node:ipc:avg`, `count(node:ib_recv_total:sum)`, `present_over_time(node:flops_any:sum[3h])`,
		`sum by (cluster, hostname) (flops_any) / on (cluster, hostname) node:flops_any:sum`, `flops_any or load`, `load unless flops_any`,
		`label_replace(load, "x", "$1", "hostname", "(.*)")`, `timestamp(flops_any)`, `quantile(0.5, ipc)`, `stddev(ipc)`, `count_values("v", round(ipc))`,
		`absent_over_time(load{hostname="n2"}[1h])`, `changes(ipc[1h])`, `last_over_time({__name__=~".+",hostname="n2"}[2h])`,
	}
}

// TestWithoutJobsNothingIsSeen: neither an answer nor an error tells a user without jobs, or a
// caller without a principal, that there is data.
func TestWithoutJobsNothingIsSeen(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	full := newStore(t)
	for _, s := range randomSeries(r, "load", 60_000) {
		write(t, full, memstore.Key{Cluster: "c1", Host: "n1", Metric: "load"}, s)
	}
	gate, err := access.New(access.Options{Store: full, Policy: auth.Policy{JobSource: true}, Jobs: ownJobs(t)})
	if err != nil {
		t.Fatal(err)
	}
	a, none := newAPI(t), everything(t, newStore(t))
	for _, p := range []*auth.Principal{nil, {JobUser: "cleo", Roles: auth.User}, {JobUser: "", Roles: auth.User}, {JobUser: "ann"}} {
		for path, form := range map[string]url.Values{
			"/api/v1/query":                 {"query": {`load or vector(0)`}, "time": {fmt.Sprint(now - 1000)}},
			"/api/v1/query_range":           {"query": {`count({hostname!=""})`}, "start": {fmt.Sprint(base)}, "end": {fmt.Sprint(now)}, "step": {"60"}},
			"/api/v1/series":                {"match[]": {`{hostname!=""}`}},
			"/api/v1/labels":                nil,
			"/api/v1/label/cluster/values":  nil,
			"/api/v1/label/__name__/values": nil,
			"/api/v1/query_exemplars":       nil,
		} {
			_, got := ask(t, a, Caller{Reader: gate.For(p)}, http.MethodGet, path, form)
			if _, want := ask(t, a, Caller{Reader: none}, http.MethodGet, path, form); got != want {
				t.Errorf("%+v: %s: got %s, want %s", p, path, got, want)
			}
		}
	}
}
