package explorer_test

import (
	"fmt"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/memory"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/memstore"
)

// views are the views with an address each, and what they show when there are values.
var views = []struct {
	name, query string
	shows       []string
	ready       string // an expression that is true once the plots are drawn
	empty       string // shown for a time without values; empty: the view has no time range
}{
	{"overview", "?view=overview&cluster=fritz&metric=flops_any", []string{"4 hosts", "Highest on average", "Every host sent values"}, `document.querySelector(".wide canvas")`, "No values in this time range"},
	{"host", "?view=host&cluster=fritz&host=f01", []string{"cpu_load", "mem_used", "flops_any"}, `document.querySelectorAll(".small .uplot").length === 4`, "No metrics of this host in this time range"},
	{"metric", "?view=host&cluster=fritz&host=f01&metric=flops_any", []string{"4 devices", "hwthread 0", "hwthread 3"}, `document.querySelector(".detail .uplot") && document.querySelector(".strip canvas")`, "No metrics of this host"},
	{"jobs", "?view=jobs&user=ann", []string{"4711", "running", "p1"}, `document.querySelector("table.list a")`, ""},
	{"job", "?view=job&cluster=fritz&job=4711&user=ann", []string{"Job 4711", "imbalance", "Running for"}, `document.querySelectorAll(".small .uplot").length === 4`, ""},
	{"job's metric", "?view=job&cluster=fritz&job=4711&user=ann&metric=cpu_load", []string{"f01", "f02", "avg"}, `document.querySelector(".detail .uplot")`, ""},
	{"query", "?view=query&expr=" + url.QueryEscape(`avg by (hostname) (cpu_load)`), []string{"4 series", `{hostname="f02"}`}, `document.querySelector(".uplot")`, "No series in this time range"},
	{"status", "?view=status", []string{"Samples in memory", "a note of the test"}, `document.querySelector(".card")`, ""},
}

// TestBrowser drives the page in a real browser. Errors on the console, violations of the policy and
// requests to other hosts fail each of these tests.
func TestBrowser(t *testing.T) {
	b := openBrowser(t)
	s := openSite(t)
	admin := s.token("root", "admin")

	t.Run("data", func(t *testing.T) {
		tb := b.open(t, s, admin, "?view=overview")
		if hash := tb.eval(`location.hash + sessionStorage.length + localStorage.length`); hash != "10" {
			t.Errorf("fragment and storage: %v, want no fragment, and the token in the session only", hash)
		}
		for _, v := range views {
			tb.goTo(v.query)
			tb.shows(v.shows...)
			tb.until(v.ready)
			tb.idle()
		}
		if got := tb.eval(`document.title + document.querySelectorAll("main img").length`); !strings.HasSuffix(got.(string), "RingStore0") {
			t.Errorf("a name became HTML: %v", got)
		}
	})

	t.Run("empty", func(t *testing.T) {
		tb := b.open(t, s, admin, "?view=overview")
		for _, v := range views {
			if v.empty != "" {
				tb.goTo(v.query + "&from=1000000000&to=1000003600")
				tb.shows(v.empty)
				tb.idle()
			}
		}
		tb.goTo("?view=job&cluster=fritz&job=1&user=ann")
		tb.shows("No job with this number")
		tb.goTo("?view=jobs&user=nobody")
		tb.shows("No jobs of nobody are known")
		for _, name := range []string{"nosuch", "constructor"} { // what every object of JavaScript has is no view
			tb.goTo("?view=query")
			tb.goTo("?view=" + name + "&cluster=<b>&metric=<b>")
			tb.shows("No values in this time range")
		}
	})

	t.Run("a hostile name", func(t *testing.T) {
		tb := b.open(t, s, admin, "?view=overview&cluster=fritz&metric=cpu_load")
		tb.shows(hostile)
		tb.goTo("?view=host&cluster=fritz&metric=cpu_load&host=" + url.QueryEscape(hostile))
		tb.shows("fritz / "+hostile, "mem_used")
		tb.goTo("?view=query&expr=" + url.QueryEscape(`cpu_load{hostname=~"<.*"}`))
		tb.shows(`onerror=document.title`)
		tb.idle()
		if got := tb.eval(`document.title + document.querySelectorAll("main img").length`); !strings.HasSuffix(got.(string), "RingStore0") {
			t.Errorf("a name became HTML: %v", got)
		}
	})

	t.Run("failing", func(t *testing.T) {
		tb := b.open(t, s, admin, "?view=overview")
		tb.shows("4 hosts")
		tb.expectFailures()
		for status, title := range map[int]string{500: "The server answered 500", 503: "The server is busy or starting", 422: "Too much", 400: "The query is not understood", 403: "Not permitted"} {
			for i, v := range views {
				if i > 0 && status != 500 && status != 503 {
					break // the words are the same in all views
				}
				s.faults.set(status)
				tb.goTo("?view=query")
				tb.goTo(v.query)
				tb.shows(title, fmt.Sprintf("Fault %d of the test", status))
				tb.idle()
				s.faults.set(0)
				if status == 503 {
					tb.run(chromedp.Click(`.state button`))
					tb.shows(v.shows...)
				}
			}
		}
	})

	t.Run("401 in the middle", func(t *testing.T) {
		tb := b.open(t, s, admin, "?view=overview")
		tb.shows("4 hosts")
		tb.expectFailures()
		for _, v := range views {
			s.faults.set(401)
			tb.goTo(v.query)
			tb.shows("Sign in again", "The token was not accepted")
			s.faults.set(0)
			tb.typeInto(`#token`, "Bearer "+admin)
			tb.run(chromedp.Click(`.signin button`))
			tb.shows(v.shows...)
			if got := tb.eval(`location.search`).(string); got != v.query && !strings.Contains(v.query, "%") {
				t.Errorf("after signing in: %s, want %s", got, v.query)
			}
			tb.idle()
		}
	})

	t.Run("signing in", func(t *testing.T) {
		tb := b.openFailing(t, s, "", "")
		tb.shows("Sign in", "It stays in this tab")
		tb.typeInto(`#token`, "garbage"+kb.Enter)
		tb.shows("Sign in again")
		tb.typeInto(`#token`, admin+kb.Enter)
		tb.shows("4 hosts")
		tb.run(chromedp.Click(`summary`), chromedp.Click(`.menu button`))
		tb.shows("It stays in this tab")
		if got := tb.eval(`sessionStorage.length`); got != 0.0 {
			t.Errorf("%v tokens after signing out", got)
		}
	})

	t.Run("slow", func(t *testing.T) {
		hold := make(chan struct{})
		s.faults.setHold(hold)
		defer s.faults.setHold(nil)
		tb := b.open(t, s, admin, views[0].query)
		tb.shows("Still working")
		close(hold)
		tb.shows("4 hosts")
		tb.until(`!document.body.innerText.includes("Still working")`)
	})

	t.Run("no roles", func(t *testing.T) {
		tb := b.openFailing(t, s, s.token("nobody"), "?view=overview")
		for _, v := range views {
			if !strings.Contains(v.query, "jobs") {
				tb.goTo(strings.ReplaceAll(v.query, "&user=ann", ""))
				tb.until(`/Not permitted|No job with this number/.test(document.body.innerText)`)
			}
		}
		if got := tb.eval(`document.querySelector("nav").innerText`).(string); strings.Contains(got, "Status") {
			t.Errorf("the views are %q", got)
		}
	})

	t.Run("user without a job source", func(t *testing.T) {
		s := openSite(t, func(o *rest.Options) { o.Jobs, o.Policy.JobSource = nil, false })
		tb := b.openFailing(t, s, s.token("ann", "user"), "?view=overview")
		tb.shows("No job source is configured", "auth.jobs")
	})

	t.Run("zoom, click and keys", func(t *testing.T) { useOverview(t, b.open(t, s, admin, views[0].query)) })
	t.Run("completion and copying", func(t *testing.T) { useQuery(t, b.open(t, s, admin, "?view=query")) })
	t.Run("user", func(t *testing.T) { seeOwnJobs(t, b, s) })
	t.Run("narrow", func(t *testing.T) {
		tb := b.open(t, s, admin, "?view=overview")
		tb.run(chromedp.EmulateViewport(360, 740))
		for _, v := range views {
			tb.goTo(v.query)
			tb.until(v.ready)
			tb.idle()
			if got := tb.eval(`document.documentElement.scrollWidth`).(float64); got > 360 {
				t.Errorf("%s is %v pixels wide on a screen of 360", v.name, got)
			}
		}
	})
	t.Run("refreshing does not leak", func(t *testing.T) { refresh(t, b.open(t, s, admin, "?view=overview")) })
}

// useOverview zooms by a drag, goes back, moves with keys and opens a host.
func useOverview(t *testing.T, tb *tab) {
	tb.shows("4 hosts")
	tb.idle()
	const canvas = `document.querySelector(".wide canvas")`
	drag := func(kind string, x float64) string {
		return fmt.Sprintf(`{ const r = %s.getBoundingClientRect(); %s.dispatchEvent(new PointerEvent(%q, {bubbles: true, button: 0, clientX: r.left + r.width * %v, clientY: r.top + 5})) }`, canvas, canvas, kind, x)
	}
	tb.eval(drag("pointerdown", 0.4) + drag("pointermove", 0.5) + drag("pointermove", 0.7) + drag("pointerup", 0.7) + "true")
	tb.until(`/from=\d+&to=\d+/.test(location.search)`)
	tb.idle()
	tb.eval(`history.back(), true`)
	tb.until(`!location.search.includes("from=")`)
	tb.idle()
	tb.run(chromedp.Focus(".wide canvas"), chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.ArrowDown))
	tb.until(`document.querySelector(".reading").textContent.startsWith("f0")`)
	tb.run(chromedp.KeyEvent(kb.Enter))
	tb.until(`location.search.includes("view=host")`)
	tb.shows("mem_used")
	tb.idle()
}

// useQuery completes a query, runs it, and takes the result.
func useQuery(t *testing.T, tb *tab) {
	const input = "form.query textarea"
	tb.until(`document.querySelector("form.query textarea")`)
	tb.typeInto(input, "cpu_")
	tb.until(`document.querySelector(".completions li")?.innerText === "cpu_load"`)
	tb.run(chromedp.KeyEvent(kb.Tab))
	tb.typeInto(input, `{host`)
	tb.until(`document.querySelector(".completions li")?.innerText === "hostname"`)
	tb.run(chromedp.KeyEvent(kb.Tab))
	tb.typeInto(input, `="f02`)
	tb.typeInto(input, kb.Backspace)
	tb.until(`[...document.querySelectorAll(".completions li")].some((e) => e.innerText === "f02")`)
	tb.typeInto(input, `2"}`+kb.Enter)
	tb.shows("1 series")
	tb.idle()
	tb.eval(`globalThis.copied = [], navigator.clipboard.writeText = async (t) => void copied.push(t), true`)
	for _, name := range []string{"curl", "PromQL"} {
		tb.eval(fmt.Sprintf(`[...document.querySelectorAll(".actions button")].find((b) => b.innerText === %q).click(), true`, name))
		tb.until(fmt.Sprintf(`copied.length === %d`, map[string]int{"curl": 1, "PromQL": 2}[name]))
	}
	copied := tb.eval(`copied`).([]any)
	if curl := copied[0].(string); !strings.HasPrefix(curl, `curl -s -G -H "Authorization: Bearer $TOKEN" 'http://`) || !strings.Contains(curl, `'query=cpu_load{hostname="f02"}'`) || strings.Contains(curl, "eyJ") {
		t.Errorf("curl: %s", curl)
	}
	if copied[1] != `cpu_load{hostname="f02"}` {
		t.Errorf("PromQL: %s", copied[1])
	}
	csv := tb.eval(`(async () => { const m = await import("/explorer/export.js"); return m.csvOf([["a", "b"], ["=1+1", 'x"y,'], [-1, null]]) })()`)
	if csv != "a,b\r\n'=1+1,\"x\"\"y,\"\r\n-1,\r\n" {
		t.Errorf("CSV: %q", csv)
	}
}

// seeOwnJobs opens every view as a user: nothing that is requested tells of other hosts.
func seeOwnJobs(t *testing.T, b browser, s site) {
	s.faults.take()
	tb := b.open(t, s, s.token("ann", "user"), "")
	tb.shows("Your jobs", "4711")
	for _, v := range views {
		if v.name == "status" || v.name == "jobs" {
			continue
		}
		tb.goTo(strings.ReplaceAll(v.query, "&user=ann", ""))
		tb.until(v.ready)
		tb.idle()
	}
	tb.expectFailures()
	tb.goTo("?view=host&cluster=fritz&host=f03")
	tb.shows("No metrics of this host")
	tb.goTo("?view=job&cluster=fritz&job=4712")
	tb.shows("No job with this number")
	tb.goTo("?view=jobs&user=bob")
	tb.shows("Not permitted")
	tb.goTo("?view=status")
	tb.shows("Not permitted")
	tb.goTo("?view=query")
	tb.typeInto("form.query textarea", `cpu_load{hostname="`)
	tb.until(`document.querySelectorAll(".completions li").length === 2`)
	answers, _ := s.faults.take()
	if !strings.Contains(answers, "f01") {
		t.Error("no answer was recorded")
	}
	for _, other := range []string{"f03", "onerror", "bob", "4712", "p2"} {
		if strings.Contains(answers, other) {
			t.Errorf("an answer tells of %s", other)
		}
	}
}

// refresh loads views again and again: elements and listeners do not add up.
func refresh(t *testing.T, tb *tab) {
	counters := func() (nodes, listeners int64) {
		if _, err := chromedp.Call(tb.ctx, heapprofiler.CollectGarbage, cdp.Empty{}); err != nil {
			t.Fatal(err)
		}
		c, err := chromedp.Call(tb.ctx, memory.GetDOMCounters, cdp.Empty{})
		if err != nil {
			t.Fatal(err)
		}
		return c.Nodes, c.JsEventListeners
	}
	round := func(n int) {
		for i := range n {
			tb.goTo(views[i%len(views)].query + fmt.Sprintf("&round=%d", i%3))
			tb.until(views[i%len(views)].ready)
			tb.idle()
		}
		tb.goTo(views[0].query)
		tb.shows("4 hosts")
		for range 5 * n {
			tb.run(chromedp.Click(".reload"))
			tb.idle()
		}
	}
	round(len(views)) // every view has been loaded, and what it keeps is there
	nodes, listeners := counters()
	n := 4 * len(views)
	round(n)
	nodesAfter, listenersAfter := counters()
	t.Logf("%d elements and %d listeners before, %d and %d after", nodes, listeners, nodesAfter, listenersAfter)
	if nodesAfter > nodes+nodes/4 || listenersAfter > listeners+listeners/4 {
		t.Errorf("%d elements and %d listeners, after %d loads and refreshes %d and %d", nodes, listeners, 6*n, nodesAfter, listenersAfter)
	}
}

// TestFast prints how long large plots take, and checks how many bytes are sent for them.
func TestFast(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a day of 1,000 hosts")
	}
	b := openBrowser(t)
	var store *memstore.Store
	s := openSite(t, func(o *rest.Options) { store = o.Store.(*memstore.Store) })
	writeDay(t, store, 1000)
	s.faults.mu.Lock()
	s.faults.packed = true
	s.faults.mu.Unlock()
	tb := b.open(t, s, s.token("root", "admin"), "?view=query")
	tb.until(`document.querySelector("form.query")`)
	s.faults.take()
	began := time.Now()
	tb.goTo("?view=overview&cluster=large&metric=cpu_load&from=now-24h")
	tb.shows("1000 hosts")
	tb.idle()
	took := time.Since(began)
	_, sent := s.faults.take()
	t.Logf("1,000 hosts for a day: %v, %d bytes", took.Round(time.Millisecond), sent)
	if sent > 2_000_000 {
		t.Errorf("%d bytes were sent, want at most 2,000,000", sent)
	}
	drawn := tb.eval(`(async () => {
		const { LinePlot } = await import("/explorer/lineplot.js");
		const place = document.createElement("div");
		document.querySelector("main").append(place);
		const times = Array.from({ length: 1440 }, (_, i) => 1.7e9 + 60 * i);
		const series = Array.from({ length: 256 }, (_, s) => ({ labels: {}, values: times.map((_, i) => Math.sin(i / 40 + s) + Math.random()) }));
		const plot = new LinePlot(place, { height: 300 });
		const began = performance.now();
		plot.show({ query: {}, times, series, warnings: [] }, series.map((_, i) => String(i)), "");
		await new Promise((done) => requestAnimationFrame(() => done()));
		const took = performance.now() - began;
		plot.close();
		place.remove();
		return took;
	})()`)
	t.Logf("256 lines of 1,440 points: %.0f ms", drawn)
}

// writeDay stores a day of cpu_load in cluster large.
func writeDay(t *testing.T, store *memstore.Store, hosts int) {
	t.Helper()
	now := time.Now().Unix()
	for h := range hosts {
		var batch []memstore.Sample
		series, err := store.Series(memstore.Key{Cluster: "large", Host: fmt.Sprintf("l%04d", h), Metric: "cpu_load"})
		if err != nil {
			t.Fatal(err)
		}
		for m := range int64(1440) {
			v := 36 + 30*math.Sin(float64(m)/60+float64(h)/50) + float64((m*7919+int64(h)*104729)%1000)/200
			batch = append(batch, memstore.Sample{Series: series, Time: (now - (1440-m)*60) * 1000, Value: v})
		}
		if _, err := store.Write(batch); err != nil {
			t.Fatal(err)
		}
	}
}
