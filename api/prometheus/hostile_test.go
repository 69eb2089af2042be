package prometheus

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore"
)

// hostileAPI answers from a store with 20 hosts of 64 hardware threads, as on a machine with little
// memory.
func hostileAPI(t testing.TB) (*API, Caller) {
	t.Helper()
	a, err := New(Options{Metrics: testMetrics(), Now: clock, MaxSamples: 1_000_000, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	store := newStore(t)
	var batch []memstore.Sample
	for host := range 20 {
		for thread := range 64 {
			s, err := store.Series(memstore.Key{
				Cluster: "c1", Host: fmt.Sprint("n", host), Metric: "flops_any", Device: memstore.Device{Type: "hwthread", TypeID: fmt.Sprint(thread)},
			})
			if err != nil {
				t.Fatal(err)
			}
			for at := now - 3600; at < now; at += 60 {
				batch = append(batch, memstore.Sample{Series: s, Time: at * 1000, Value: float64(host*thread) + float64(at%7)})
			}
		}
	}
	if refused, err := store.Write(batch); err != nil || len(refused) > 0 {
		t.Fatal(err, refused)
	}
	return a, Caller{Reader: everything(t, store), MaxSamples: 5_000_000}
}

// peakMemory returns the growth of the memory in use while f runs, in bytes, with little garbage.
func peakMemory(f func()) int64 {
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	used := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse + m.StackInuse)
	}
	runtime.GC()
	before, ended, peak := used(), make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		for {
			most = max(most, used())
			select {
			case <-ended:
				peak <- most
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	f()
	close(ended)
	return <-peak - before
}

// hostileExpressions are much work or memory for their size. Each is answered, or refused with an
// error that has the text.
func hostileExpressions() map[string]string {
	nested := func(before, core, after string, n int) string {
		return strings.Repeat(before, n) + core + strings.Repeat(after, n)
	}
	const tooMany, tooLarge, tooManySamples = "names, operators and brackets", "too large", "too many samples"
	return map[string]string{
		// Ranges and steps.
		"max_over_time(flops_any[290y])":                             "",
		"count_over_time(flops_any[3h:1ms])":                         "steps",
		"sum(count_over_time(flops_any[290y:1ms]))":                  "steps",
		"flops_any offset 290y":                                      "",
		"flops_any offset -290y":                                     "",
		"flops_any @ 1e15":                                           "",
		"flops_any @ 1e300":                                          "timestamp out of bounds",
		nested("max_over_time(", "flops_any", "[1h:1s])", 5):         tooManySamples,
		nested("rate(", "flops_any", "[1h:1s])", 50):                 "steps",
		"predict_linear(flops_any[1h], 1e300)":                       "",
		"topk(1e18, flops_any)":                                      "",
		"limitk(9e18, flops_any)":                                    "experimental",
		"quantile_over_time(1e300, flops_any[1h])":                   "",
		strings.Repeat("flops_any or ", 2000) + "flops_any":          "",
		"absent(" + strings.Repeat(`{a="b"} or `, 1000) + `{a="b"})`: "",

		// Nesting and length.
		nested("(", "1", ")", 400_000):                                  tooMany,
		nested("-", "1", "", 900_000):                                   tooMany,
		nested("abs(", "flops_any", ")", 150_000):                       tooMany,
		nested("(", "1", ")", 4_000):                                    "",
		nested("-", "1", "", 9_000):                                     "",
		nested("abs(", "flops_any", ")", 2_000):                         "",
		nested("sum(", "flops_any", ")", 2_000):                         "",
		strings.Repeat("1+", 450_000) + "1":                             tooMany,
		strings.Repeat("1+", 4_000) + "1":                               "",
		strings.Repeat("1+(", 2_400) + "1" + strings.Repeat(")", 2_400): "",
		strings.Repeat("{", 1_000_000):                                  "unexpected",
		strings.Repeat(" ", 1_000_000) + "1":                            "",
		"# " + strings.Repeat("x", 1_000_000) + "\n1":                   "",
		`"` + strings.Repeat("x", 1_000_000) + `"`:                      tooLarge,
		strings.Repeat("x", 1_000_000):                                  "",
		strings.Repeat("9", 1_000_000):                                  "error parsing number",
		"sum by (" + strings.Repeat("a,", 300_000) + "a) (flops_any)":   tooMany,

		// Regular expressions.
		`{__name__=~"(a+)+$"}`: "",
		`{__name__=~"flops_any",hostname=~"(.*)*(.*)*(.*)*(.*)*x"}`:                                    "",
		`flops_any{hostname=~"((a{100}){100}){100}"}`:                                                  "invalid repeat count",
		`flops_any{hostname=~"(abcdefghij){1000}"}`:                                                    "",
		`flops_any{hostname=~"` + strings.Repeat("(abcdefghij){1000}", 1000) + `"}`:                    tooLarge,
		`{` + strings.Repeat(`hostname=~"(abcdefghij){1000}",`, 2_000) + `__name__="x"}`:               tooLarge,
		`flops_any{hostname=~"` + strings.Repeat("n1|", 300_000) + `"}`:                                tooLarge,
		`flops_any{hostname=~"` + strings.Repeat("n12345|", 10_000) + `n1"}`:                           "",
		`label_replace(flops_any, "a", "$1", "hostname", "` + strings.Repeat("(x{1000})", 1000) + `")`: tooLarge,
		`label_replace(flops_any, "a", "` + strings.Repeat("$1", 1_000) + `", "hostname", "(.*)")`:     "",

		// Joins.
		"flops_any * on() group_left() flops_any":                                                 "many",
		"flops_any * on(cluster) flops_any":                                                       "many",
		"flops_any * on(hostname) group_left(x) sum by (hostname) (flops_any)":                    "",
		`label_join(flops_any, "a", ",", "` + strings.Repeat(`hostname", "`, 2000) + `hostname")`: "",
		`count_values("hostname", flops_any)`:                                                     "",
	}
}

// TestHostileExpressions: each expression is answered or refused with a clear error, and none takes
// more than a bounded amount of memory, also where it is only parsed and printed.
func TestHostileExpressions(t *testing.T) {
	const bound = 192 << 20 // what an eighth of the smallest cap and the parser need, with garbage
	a, c := hostileAPI(t)
	f := func(path, expr string, form url.Values, want string) {
		t.Helper()
		var status int
		var body string
		if peak := peakMemory(func() { status, body = ask(t, a, c, http.MethodPost, path, form) }); peak > bound {
			t.Errorf("%s %.60q of %d bytes took %d MB", path, expr, len(expr), peak>>20)
		}
		switch {
		case status == http.StatusServiceUnavailable && strings.Contains(body, "took too long"): // on a slow machine, any
		case status == http.StatusOK && want == "":
		case want != "" && (status == http.StatusBadRequest || status == http.StatusUnprocessableEntity) && strings.Contains(body, want):
		default:
			t.Errorf("%s %.60q of %d bytes: %d %.300s; want %q", path, expr, len(expr), status, body, want)
		}
		if status != http.StatusOK && len(body) > 2000 {
			t.Errorf("%s %.60q: an error of %d bytes", path, expr, len(body))
		}
	}
	at := fmt.Sprint(now)
	for expr, want := range hostileExpressions() {
		f("/api/v1/query", expr, url.Values{"query": {expr}, "time": {at}}, want)
		for _, path := range []string{"/api/v1/format_query", "/api/v1/parse_query"} {
			var status int
			peak := peakMemory(func() { status, _ = ask(t, a, c, http.MethodPost, path, url.Values{"query": {expr}}) })
			if peak > bound || status != http.StatusOK && status != http.StatusBadRequest {
				t.Errorf("%s %.60q of %d bytes: %d, %d MB", path, expr, len(expr), status, peak>>20)
			}
		}
	}
	in := func(start, end any, step string) url.Values {
		return url.Values{"query": {"flops_any"}, "start": {fmt.Sprint(start)}, "end": {fmt.Sprint(end)}, "step": {step}}
	}
	f("/api/v1/query_range", "", in(0, 1e15, "1"), "more than 11000 points")
	f("/api/v1/query_range", "", in(now-10, now, "0.0001"), "step")
	f("/api/v1/query_range", "", in(now-10, now, "1ms"), "too many samples")
	f("/api/v1/query_range", "", in(-1e15, 1e15, "290y"), "more than 11000 points")

	many := make([]string, 40_000)
	for i := range many {
		many[i] = `{__name__=~".+"}`
	}
	for _, path := range []string{"/api/v1/series", "/api/v1/labels"} {
		f(path, "", url.Values{"match[]": many}, "at most 100 parameters")
		f(path, "", url.Values{"match[]": many[:100]}, "")
		f(path, "", url.Values{"match[]": {`{hostname=~"` + strings.Repeat("(x{1000})", 1000) + `"}`}}, "too large")
	}
}

// TestTimeIsOverBeforeTheQueryRuns: a query that has no time left is no mistake of its expression.
func TestTimeIsOverBeforeTheQueryRuns(t *testing.T) {
	a, c := hostileAPI(t)
	form := url.Values{"query": {"1+(1+1)"}, "timeout": {"-1"}}
	if status, body := ask(t, a, c, http.MethodPost, "/api/v1/query", form); status != http.StatusServiceUnavailable || !strings.Contains(body, "took too long") {
		t.Errorf("%d %.200s", status, body)
	}
}

// TestValuesThatAreReallyRead: the limit of a caller counts what is read, also for an aggregate of many
// series, and for streams of remote read.
func TestValuesThatAreReallyRead(t *testing.T) {
	a, c := hostileAPI(t)
	cost := new(Cost)
	c.Cost = cost
	form := url.Values{"query": {"sum(max_over_time(flops_any[30m]))"}, "time": {fmt.Sprint(now)}}
	if status, body := ask(t, a, c, http.MethodPost, "/api/v1/query", form); status != http.StatusOK || cost.Series != 1280 || cost.Values < 1280*30 {
		t.Errorf("%d %.200s: %+v", status, body, cost)
	}
	c.Cost, c.MaxSamples = nil, 1280*10
	status, body := ask(t, a, c, http.MethodPost, "/api/v1/query", form)
	if status != http.StatusUnprocessableEntity || !strings.Contains(body, "too many samples") {
		t.Errorf("above the limit: %d %.200s", status, body)
	}
}
