package rest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/api/rest"
)

// The page needs no token and has no data; without the option there is none. HEAD works, other
// methods do not.
func TestExplorer(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.Explorer = page(t) })
	d.skipContract()
	f := func(d *deployment, method, path string, status int) reply {
		t.Helper()
		got := d.send(t, method, path, "", "Authorization", "")
		if got.status != status {
			t.Errorf("%s %s: %d, want %d: %.200s", method, path, got.status, status, got.body)
		}
		return got
	}
	if got := f(d, "GET", "/", 200); !strings.Contains(got.body, "<title>RingStore</title>") || !strings.Contains(got.header.Get("Content-Security-Policy"), "default-src 'self'") {
		t.Errorf("%v: %.200s", got.header, got.body)
	}
	f(d, "GET", "/?view=host&host=n1", 200)
	f(d, "HEAD", "/", 200)
	f(d, "GET", "/explorer/app.js", 200)
	f(d, "POST", "/", http.StatusMethodNotAllowed)
	f(d, "POST", "/explorer/app.js", http.StatusMethodNotAllowed)
	f(d, "GET", "//", 404)
	f(d, "GET", "/x", 404)
	f(d, "GET", "/explorer", 404)
	f(d, "GET", "/explorer/nope.js", 404)
	f(d, "GET", "/explorer/%61pp.js", 404)

	without := open(t)
	without.skipContract()
	f(without, "GET", "/", 404).failure(t)
	f(without, "GET", "/explorer/app.js", 404).failure(t)
}

// Answers to the page are compressed; those to other clients only if main.gzip says so.
func TestAnswersToThePageAreCompressed(t *testing.T) {
	coding := func(d *deployment, headers ...string) string {
		t.Helper()
		got := d.send(t, "GET", "/api/openapi.json", "", append(headers, "Accept-Encoding", "gzip")...)
		return got.header.Get("Content-Encoding")
	}
	d, without := open(t, func(o *rest.Options) { o.Explorer = page(t) }), open(t)
	d.skipContract()
	without.skipContract()
	for _, c := range []struct{ got, want string }{
		{coding(d, "Sec-Fetch-Site", "same-origin"), "gzip"},
		{coding(d, "Sec-Fetch-Site", "cross-site"), ""},
		{coding(d), ""},
		{coding(without, "Sec-Fetch-Site", "same-origin"), ""},
	} {
		if c.got != c.want {
			t.Errorf("Content-Encoding %q, want %q", c.got, c.want)
		}
	}
}
