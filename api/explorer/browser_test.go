package explorer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a page may take to show what a test waits for. Tests do not depend on how
// long it takes.
const patience = 90 * time.Second

// findBrowser returns the path of a browser. Without one the test is skipped, unless the environment
// demands it.
func findBrowser(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("RINGSTORE_BROWSER_TEST") != "" {
		t.Fatal("no chromium was found, and RINGSTORE_BROWSER_TEST demands one")
	}
	t.Skip("no chromium was found")
	return ""
}

// browser is a running browser with an empty profile.
type browser struct{ ctx context.Context }

func openBrowser(t testing.TB) browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(findBrowser(t)), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1280, 900))
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		stop()
		stopAllocator()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return browser{ctx}
}

// tab is a tab with a session of its own. It collects what no page may do: errors on the console,
// violations of the policy, and requests to elsewhere.
type tab struct {
	t    *testing.T
	ctx  context.Context
	site site

	mu       sync.Mutex
	problems []string
	requests []string // method and address
	failures bool     // failed requests are expected
}

// open opens a page of a site in a new tab, with a token unless that is empty.
func (b browser) open(t *testing.T, s site, token, query string) *tab {
	t.Helper()
	return b.openTab(&tab{t: t, site: s}, token, query)
}

// openFailing is open for a page whose requests may fail from the beginning.
func (b browser) openFailing(t *testing.T, s site, token, query string) *tab {
	t.Helper()
	return b.openTab(&tab{t: t, site: s, failures: true}, token, query)
}

func (b browser) openTab(tb *tab, token, query string) *tab {
	t, s := tb.t, tb.site
	t.Helper()
	ctx, stop := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(tb.observe))
	tb.ctx = ctx
	t.Cleanup(func() {
		stop()
		tb.check()
	})
	address := s.URL + "/" + query
	if token != "" {
		address += "#token=" + url.QueryEscape(token)
	}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	tb.run(chromedp.Navigate(address))
	return tb
}

func (tb *tab) observe(event any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		tb.problems = append(tb.problems, fmt.Sprintf("exception: %s %v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			text, _ := json.Marshal(e.Args)
			tb.problems = append(tb.problems, "console: "+string(text))
		}
	case *log.EventEntryAdded:
		isFailure := e.Entry.Source == "network" && strings.HasPrefix(e.Entry.Text, "Failed to load resource")
		if e.Entry.Level == "error" && !(isFailure && tb.failures) {
			tb.problems = append(tb.problems, fmt.Sprintf("log: %s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *network.EventRequestWillBeSent:
		tb.requests = append(tb.requests, e.Request.Method+" "+e.Request.URL)
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme != "blob" && u.Scheme+"://"+u.Host != tb.site.URL {
			tb.problems = append(tb.problems, "request to "+e.Request.URL)
		} else if e.Request.Method != "GET" && !(e.Request.Method == "POST" && strings.HasPrefix(u.Path, "/api/v1/query")) {
			tb.problems = append(tb.problems, "request "+e.Request.Method+" "+u.Path)
		}
		if strings.Contains(e.Request.URL, "eyJ") {
			tb.problems = append(tb.problems, "a token in the address "+e.Request.URL)
		}
	}
}

// expectFailures says that requests may fail; only that, not errors of the page.
func (tb *tab) expectFailures() {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.failures = true
}

func (tb *tab) check() {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, p := range tb.problems {
		tb.t.Error(p)
	}
}

func (tb *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		tb.t.Fatal(err)
	}
}

// typeInto types into an element. [chromedp.SendKeys] would read its attributes while the page changes
// them, which is a data race.
func (tb *tab) typeInto(selector, text string) {
	tb.t.Helper()
	tb.until(fmt.Sprintf("document.querySelector(%q)", selector))
	tb.eval(fmt.Sprintf("document.querySelector(%q).focus()", selector))
	tb.run(chromedp.KeyEvent(text))
}

// eval returns the value of an expression in the page.
func (tb *tab) eval(expr string) any {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[any](expr, chromedp.EvalAwaitPromise))
	if err != nil {
		tb.t.Fatalf("%s: %v", expr, err)
	}
	return v
}

// text returns what the page shows.
func (tb *tab) text() string {
	tb.t.Helper()
	text, _ := tb.eval(`document.body.innerText`).(string)
	return text
}

// shows waits until the page shows some texts.
func (tb *tab) shows(texts ...string) {
	tb.t.Helper()
	for _, want := range texts {
		quoted, _ := json.Marshal(want)
		tb.until(fmt.Sprintf(`document.body.innerText.includes(%s)`, quoted))
	}
}

// until waits until an expression is true.
func (tb *tab) until(expr string) {
	tb.t.Helper()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
		if tb.eval("!!("+expr+")") == true {
			return
		}
	}
	tb.t.Fatalf("still not true: %s\nthe page shows:\n%s", expr, tb.text())
}

// idle waits until nothing is loading.
func (tb *tab) idle() {
	tb.t.Helper()
	tb.until(`!document.querySelector("header.working, .panel.working")`)
}

// go goes to another place of the page, as a link does.
func (tb *tab) goTo(query string) {
	tb.t.Helper()
	quoted, _ := json.Marshal("/" + query)
	tb.eval(fmt.Sprintf(`history.pushState(null, "", %s), dispatchEvent(new PopStateEvent("popstate")), true`, quoted))
}
