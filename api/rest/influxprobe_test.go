package rest_test

import (
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/ringstore/ringstore/api/rest"
)

// Clients that ping before they write get InfluxDB's answer, before the store is ready and with any
// token or none.
func TestPing(t *testing.T) {
	for _, d := range []*deployment{open(t), open(t, func(o *rest.Options) { o.Ready = func() error { return errors.New("restoring") } })} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, path := range []string{"/ping", "/ping/", "/ping?verbose=true&u=x&p=y"} {
				got := d.send(t, method, path, "", "Authorization", "Token garbage")
				if got.status != 204 || got.body != "" || got.header.Get("X-Influxdb-Version") != "1.8.10" || got.header.Get("X-Influxdb-Build") != "OSS" {
					t.Errorf("%s %s: %d %q %v", method, path, got.status, got.body, got.header)
				}
			}
		}
	}
	if got := open(t).send(t, "POST", "/ping", ""); got.status != 405 {
		t.Errorf("POST: %d", got.status)
	}
}

func TestInfluxHealth(t *testing.T) {
	const pass = `{"name":"influxdb","message":"ready for queries and writes","status":"pass","checks":[]}` + "\n"
	var ready, writable error
	d := open(t, func(o *rest.Options) {
		o.Ready, o.Writable = func() error { return ready }, func() error { return writable }
	})
	f := func(status int, body string) {
		t.Helper()
		for _, path := range []string{"/health", "/health/"} {
			got := d.send(t, "GET", path, "", "Authorization", "")
			if got.status != status || got.body != body || got.header.Get("Content-Type") != "application/json" || (got.header.Get("Retry-After") == "") != (status == 200) {
				t.Errorf("%d %s %v", got.status, got.body, got.header)
			}
			if head := d.send(t, "HEAD", path, "", "Authorization", ""); head.status != status || head.body != "" {
				t.Errorf("HEAD: %d %s", head.status, head.body)
			}
		}
	}
	f(200, pass)
	ready = errors.New("restoring")
	f(503, `{"name":"influxdb","message":"not ready: restoring","status":"fail","checks":[]}`+"\n")
	ready, writable = nil, syscall.ENOSPC
	f(503, `{"name":"influxdb","message":"the disk is full","status":"fail","checks":[]}`+"\n")
	writable = nil
	f(200, pass)
}

// CREATE DATABASE is acknowledged as Telegraf and InfluxDB's libraries send it. It creates nothing,
// and says the same of every database.
func TestCreateDatabase(t *testing.T) {
	d := open(t)
	d.write(t, goodLine)
	const form = "application/x-www-form-urlencoded"
	f := func(name, method, path, body, contentType string, status int, want string, headers ...string) {
		t.Helper()
		got := d.send(t, method, path, body, append([]string{"Content-Type", contentType}, headers...)...)
		if got.status != status || !strings.Contains(got.body, want) {
			t.Errorf("%s: %d %s, want %d %s", name, got.status, got.body, status, want)
		}
		if clusters := d.store.Clusters(); len(clusters) != 1 {
			t.Errorf("%s: clusters %q", name, clusters)
		}
	}
	const one = `{"results":[{"statement_id":0}]}`
	const unsupported = `{"error":"InfluxQL is not supported, except CREATE DATABASE with POST; to read samples use /api/query"}`
	f("Telegraf", "POST", "/query", "q=CREATE+DATABASE+%22telegraf%22", form, 200, one)
	f("Telegraf, known", "POST", "/query", "q=CREATE+DATABASE+%22alpha%22", form+"; charset=utf-8", 200, one)
	f("influxdb-python", "POST", "/query?q=CREATE+DATABASE+%22telegraf%22", "", "", 200, one)
	f("as a password", "POST", "/query/?q=create%20database%20x", "", "", 200, one, "Authorization", "Token "+d.token("api"))
	f("retention", "POST", "/query?q=CREATE+DATABASE+%22a%5C%22+b%22+WITH+DURATION+3d+REPLICATION+1+SHARD+DURATION+1h+NAME+%22x+y%22%3B", "", "", 200, one)
	f("two", "POST", "/query?q=CREATE+DATABASE+a%3B+CREATE+DATABASE+b%3B", "", "", 200, `{"results":[{"statement_id":0},{"statement_id":1}]}`)

	f("others", "POST", "/query", "q=SHOW+DATABASES", form, 400, unsupported)
	f("by GET", "GET", "/query?q=SHOW+DATABASES", "", "", 400, unsupported)
	f("created by GET", "GET", "/query?q=CREATE+DATABASE+a", "", "", 400, unsupported)
	f("hidden", "POST", "/query?q=CREATE+DATABASE+a%3B+DROP+DATABASE+a", "", "", 400, unsupported)
	f("selected", "POST", "/query?q=CREATE+DATABASE+a+SELECT", "", "", 400, unsupported)
	f("no name", "POST", "/query?q=CREATE+DATABASE", "", "", 400, unsupported)
	f("nothing", "POST", "/query", "", form, 400, `missing required parameter \"q\"`)
	f("blank", "POST", "/query?q=+", "", form, 400, `missing required parameter \"q\"`)
	f("no form", "POST", "/query", "q=%zz", form, 400, "the body is not a form")
	f("large", "POST", "/query", "q="+strings.Repeat("x", 1<<20), form, http.StatusRequestEntityTooLarge, "larger than")
	f("no token", "POST", "/query", "q=CREATE+DATABASE+a", form, 401, `{"error":"a valid bearer token is required"}`, "Authorization", "")
	f("a reader", "POST", "/query", "q=CREATE+DATABASE+a", form, 403, `{"error":"the token's roles do not permit this"}`, "Authorization", "Bearer "+d.token("support"))
}
