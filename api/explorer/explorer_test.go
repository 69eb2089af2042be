package explorer_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/api/explorer"
)

func newPage(t testing.TB) *explorer.Page {
	t.Helper()
	p, err := explorer.New()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func get(t testing.TB, p *explorer.Page, method, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// files returns the text of every file of the page, by its path.
func files(t testing.TB) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := fs.WalkDir(os.DirFS("web"), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile("web/" + name)
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestHeaders(t *testing.T) {
	p := newPage(t)
	for target, contentType := range map[string]string{
		"/": "text/html; charset=utf-8", "/explorer/app.js": "text/javascript; charset=utf-8", "/explorer/views/host.js": "text/javascript; charset=utf-8",
		"/explorer/style.css": "text/css; charset=utf-8", "/explorer/icon.svg": "image/svg+xml",
		"/explorer/uplot.js": "text/javascript; charset=utf-8", "/explorer/uplot.css": "text/css; charset=utf-8",
	} {
		got := get(t, p, "GET", target)
		if got.Code != 200 || got.Body.Len() == 0 || got.Header().Get("Content-Type") != contentType {
			t.Errorf("%s: %d, %d bytes, %v", target, got.Code, got.Body.Len(), got.Header())
		}
		policy := got.Header().Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'self'", "object-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy %q lacks %s", target, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") || strings.Contains(policy, "http") {
			t.Errorf("%s: the policy %q allows too much", target, policy)
		}
		if got := get(t, p, "HEAD", target); got.Code != 200 || got.Body.Len() != 0 || got.Header().Get("Content-Length") == "" {
			t.Errorf("HEAD %s: %d, %d bytes", target, got.Code, got.Body.Len())
		}
	}
}

func TestOtherPathsAreNotFound(t *testing.T) {
	p := newPage(t)
	for _, target := range []string{
		"/explorer", "/explorer/", "/explorer/index.html", "/explorer/nope.js", "/explorer/views", "/explorer/../app.js", "/explorer/app.js/",
		"/explorer//app.js", "/explorer/plot.html.tpl", "/explorer/web/app.js", "/app.js",
	} {
		if got := get(t, p, "GET", target); got.Code != 404 {
			t.Errorf("%s: %d, want 404", target, got.Code)
		}
	}
}

func TestCompressionAndCache(t *testing.T) {
	p := newPage(t)
	plain := get(t, p, "GET", "/explorer/app.js")
	packed := get(t, p, "GET", "/explorer/app.js", "Accept-Encoding", "br, gzip")
	r, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(text, plain.Body.Bytes()) || packed.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("%v, %d bytes, %v", err, len(text), packed.Header())
	}
	if plain.Header().Get("Etag") == packed.Header().Get("Etag") || packed.Header().Get("Vary") != "Accept-Encoding" || plain.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("%v and %v", plain.Header(), packed.Header())
	}
	f := func(status int, headers ...string) {
		t.Helper()
		got := get(t, p, "GET", "/explorer/app.js", headers...)
		if got.Code != status || status == 304 && (got.Body.Len() > 0 || got.Header().Get("Content-Encoding") != "") {
			t.Errorf("%q: %d with %d bytes, want %d", headers, got.Code, got.Body.Len(), status)
		}
	}
	f(304, "If-None-Match", plain.Header().Get("Etag"))
	f(304, "If-None-Match", `"other", W/`+plain.Header().Get("Etag"))
	f(304, "If-None-Match", "*")
	f(304, "If-None-Match", packed.Header().Get("Etag"), "Accept-Encoding", "gzip")
	f(200, "If-None-Match", packed.Header().Get("Etag"))
	f(200, "If-None-Match", `"other"`)
	for accept, coding := range map[string]string{
		"": "", "identity": "", "gzip": "gzip", "GZIP;q=0.5": "gzip", "gzip; q=1": "gzip", "gzip;q=0": "", "gzip;q=0.000": "", "xgzip": "", "gzip;q=x": "",
	} {
		if got := get(t, p, "GET", "/", "Accept-Encoding", accept).Header().Get("Content-Encoding"); got != coding {
			t.Errorf("Accept-Encoding %q: got %q, want %q", accept, got, coding)
		}
	}
}

var (
	imports  = regexp.MustCompile(`(?m)(?:^import|^export|\bfrom|\bimport\()[^;"]*"(\.[^"]+)"`)
	pageURLs = regexp.MustCompile(`(?:src|href)="([^"]*)"`)
	anyURL   = regexp.MustCompile(`(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}`)
	asHTML   = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|\beval\(|new Function|srcdoc`)
)

// Every module that is imported and every file that the page names is served.
func TestFilesAreComplete(t *testing.T) {
	p := newPage(t)
	used := map[string]bool{"index.html": true}
	for name, text := range files(t) {
		for _, m := range imports.FindAllStringSubmatch(text, -1) {
			target := path.Join(path.Dir(name), m[1])
			used[target] = true
			if got := get(t, p, "GET", "/explorer/"+target); got.Code != 200 {
				t.Errorf("%s imports %s: %d", name, target, got.Code)
			}
		}
	}
	for _, m := range pageURLs.FindAllStringSubmatch(files(t)["index.html"], -1) {
		used[strings.TrimPrefix(m[1], "/explorer/")] = true
		if !strings.HasPrefix(m[1], "#") && get(t, p, "GET", m[1]).Code != 200 {
			t.Errorf("the page names %s, which is not served", m[1])
		}
	}
	for name := range files(t) {
		if !used[name] {
			t.Errorf("%s is served but not used", name)
		}
	}
}

// No file names another host, parses a text as HTML, or has inline script or style.
func TestFilesAreSelfContained(t *testing.T) {
	for name, text := range files(t) {
		code := regexp.MustCompile(`(?m)^\s*(?://|/?\*).*$|/\*\*.*?\*/`).ReplaceAllString(text, "") // comments may name sources
		code = strings.ReplaceAll(code, `xmlns="http://www.w3.org/2000/svg"`, "")
		if m := anyURL.FindString(code); m != "" {
			t.Errorf("%s names %s", name, m)
		}
		if m := asHTML.FindString(code); m != "" {
			t.Errorf("%s uses %s", name, m)
		}
		if path.Ext(name) == ".html" && regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script(?:\s[^>]*)?>[^<]`).MatchString(text) {
			t.Errorf("%s has inline script or style", name)
		}
	}
}

// What the page loads is at most 250 kB, uncompressed.
func TestSize(t *testing.T) {
	const limit = 250_000
	p := newPage(t)
	plain, packed := 0, 0
	for name := range files(t) {
		target := "/explorer/" + name
		if name == "index.html" {
			target = "/"
		}
		plain += get(t, p, "GET", target).Body.Len()
		packed += get(t, p, "GET", target, "Accept-Encoding", "gzip").Body.Len()
	}
	for _, name := range []string{"uplot.js", "uplot.css"} {
		plain += get(t, p, "GET", "/explorer/"+name).Body.Len()
		packed += get(t, p, "GET", "/explorer/"+name, "Accept-Encoding", "gzip").Body.Len()
	}
	t.Logf("%d bytes, %d compressed", plain, packed)
	if plain > limit {
		t.Errorf("%d bytes, want at most %d", plain, limit)
	}
}

// Modules are small: each has one job.
func TestModulesAreSmall(t *testing.T) {
	for name, text := range files(t) {
		if lines := strings.Count(text, "\n"); path.Ext(name) == ".js" && lines > 300 {
			t.Errorf("%s has %d lines, want at most 300", name, lines)
		}
	}
}

var _ http.Handler = (*explorer.Page)(nil)
