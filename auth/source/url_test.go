package source_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/auth/source"
)

const (
	jwks   = "https://sso.example.org/jwks"
	issuer = "https://sso.example.org/realms/hpc"
	config = issuer + "/.well-known/openid-configuration"
)

// watching opens a watcher of one URL in a synctest bubble, and calls then.
func watching(t *testing.T, first page, then func(t *testing.T, w *web, s *source.Source, r *receiver, log *lines)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var w web
		var r receiver
		var log lines
		w.put(jwks, first)
		s := source.URL(jwks, r.apply)
		open(t, source.Options{Transport: &w, PollInterval: time.Minute, MinRefresh: 10 * time.Second, Log: log.logger()}, s)
		then(t, &w, s, &r, &log)
	})
}

// pass advances the clock.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// After an unusable response the previous data stays active, and the URL is read again soon.
func TestUnusableResponseKeepsPreviousData(t *testing.T) {
	f := func(name string, failing page, reported string) {
		t.Run(name, func(t *testing.T) {
			watching(t, page{body: "one"}, func(t *testing.T, w *web, _ *source.Source, r *receiver, log *lines) {
				w.put(jwks, failing)
				pass(5 * time.Minute)
				r.want(t, "one")
				if !log.has(reported) {
					t.Errorf("%q is not reported: %q", reported, log.all)
				}
				w.put(jwks, page{body: "two"})
				pass(time.Minute + 10*time.Second)
				r.want(t, "one,two")
			})
		})
	}
	f("down", page{err: errors.New("connection refused")}, "connection refused")
	f("not found", page{status: http.StatusNotFound}, "status 404")
	f("unasked 304", page{status: http.StatusNotModified}, "status 304")
	f("error", page{status: http.StatusBadGateway, body: "<html>"}, "status 502")
	f("refused by the receiver", page{body: "bad"}, "no key in it")
	f("empty", page{}, "is empty")
	f("too large", page{body: strings.Repeat("x", source.MaxBytes+1)}, "larger than 1048576 bytes")
	f("slow", page{body: "late", slow: time.Hour}, "deadline exceeded")
	f("redirected to http", page{status: http.StatusFound, header: map[string]string{"Location": "http://sso.example.org/jwks"}}, "from https to http")
	f("redirected to loopback", page{status: http.StatusFound, header: map[string]string{"Location": "http://127.0.0.1/jwks"}}, "from https to http")
	f("redirected to a file", page{status: http.StatusFound, header: map[string]string{"Location": "file:///etc/passwd"}}, "from https to file")
	f("redirected in a circle", page{status: http.StatusFound, header: map[string]string{"Location": jwks}}, "more than 3 redirects")
}

func TestRedirectToHTTPSIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w web
		var r receiver
		w.put(jwks, page{status: http.StatusFound, header: map[string]string{"Location": jwks + "/moved"}})
		w.put(jwks+"/moved", page{body: "one"})
		open(t, source.Options{Transport: &w}, source.URL(jwks, r.apply))
		r.want(t, "one")
	})
}

// Open succeeds if a URL is down. It is read again, with growing delays.
func TestOpensWithoutURL(t *testing.T) {
	watching(t, page{err: errors.New("connection refused")}, func(t *testing.T, w *web, _ *source.Source, r *receiver, _ *lines) {
		r.want(t, "")
		pass(10 * time.Minute)
		if n := w.requests(); n < 10 || n > 20 {
			t.Errorf("%d requests in 10 minutes of failing with an interval of one", n)
		}
		w.put(jwks, page{body: "one"})
		pass(time.Minute)
		r.want(t, "one")
	})
	watching(t, page{err: errors.New("connection refused")}, func(t *testing.T, w *web, _ *source.Source, r *receiver, _ *lines) {
		w.put(jwks, page{body: "one"})
		pass(time.Second)
		r.want(t, "one")
	})
}

// A change is noticed within one interval. Unchanged data is applied once.
func TestPolls(t *testing.T) {
	watching(t, page{body: "one"}, func(t *testing.T, w *web, _ *source.Source, r *receiver, _ *lines) {
		w.requests()
		pass(10 * time.Minute)
		if n := w.requests(); n < 10 || n > 11 {
			t.Errorf("%d requests in 10 intervals", n)
		}
		r.want(t, "one")
		w.put(jwks, page{body: "two"})
		pass(time.Minute)
		r.want(t, "one,two")
	})
}

// A failure is logged at once, and again after pauses that grow to an hour.
func TestFailuresAreLoggedRarely(t *testing.T) {
	watching(t, page{body: "one"}, func(t *testing.T, w *web, s *source.Source, r *receiver, log *lines) {
		const refused, down = "no key in it", "connection refused"
		w.put(jwks, page{body: "bad"})
		pass(time.Minute)
		if n := log.count(refused); n != 1 {
			t.Errorf("logged %d times in the first minute", n)
		}
		pass(time.Hour)
		if n := log.count(refused); n < 4 || n > 6 {
			t.Errorf("logged %d times in the first hour", n)
		}
		pass(10 * time.Hour)
		if n := log.count(refused); n < 13 || n > 17 {
			t.Errorf("logged %d times in eleven hours", n)
		}
		// Another failure is logged at once, and both pauses go on.
		before := log.count(refused)
		for range 5 {
			w.put(jwks, page{err: errors.New(down)})
			pass(time.Minute)
			w.put(jwks, page{body: "bad"})
			pass(time.Minute)
		}
		if again, n := log.count(refused)-before, log.count(down); again > 1 || n < 2 || n > 4 {
			t.Errorf("alternating: logged %d and %d times in ten minutes", again, n)
		}
		// Recovery is logged, and ends the pauses once they are over.
		w.put(jwks, page{body: "one"})
		pass(2 * time.Hour)
		if n := log.count("source read again"); n != 1 {
			t.Errorf("recovery logged %d times", n)
		}
		before = log.count(refused)
		w.put(jwks, page{body: "bad"})
		pass(2 * time.Minute)
		if n := log.count(refused) - before; n < 1 || n > 2 {
			t.Errorf("after a recovery: logged %d times", n)
		}
		r.want(t, "one")
		// Failures whose text changes every time do not fill the log.
		before = log.count("random")
		for i := range 100 {
			w.put(jwks, page{err: fmt.Errorf("random %d", i)})
			s.Refresh()
			pass(10 * time.Second)
		}
		if n := log.count("random") - before; n > 20 {
			t.Errorf("changing texts: logged %d times", n)
		}
	})
}

func TestETag(t *testing.T) {
	etag := func(v string) map[string]string { return map[string]string{"ETag": v} }
	watching(t, page{body: "one", header: etag(`"1"`)}, func(t *testing.T, w *web, _ *source.Source, r *receiver, log *lines) {
		pass(3 * time.Minute)
		r.want(t, "one")
		w.put(jwks, page{body: "two", header: etag(`"2"`)})
		pass(time.Minute)
		w.put(jwks, page{body: "three"})
		pass(2 * time.Minute)
		r.want(t, "one,two,three")
		if got := strings.Join(w.offered, " "); !strings.Contains(got, ` "1" "1" `) || !strings.Contains(got, `"2"`) || !strings.HasSuffix(got, " ") {
			t.Errorf("asked with If-None-Match %q", w.offered)
		}
		if log.has("not read") {
			t.Errorf("reported: %q", log.all)
		}
	})
}

// Cache-Control can make reads more frequent, up to the limit, but never less frequent.
func TestCacheControl(t *testing.T) {
	f := func(header map[string]string, least, most int) {
		t.Helper()
		watching(t, page{body: "one", header: header}, func(t *testing.T, w *web, _ *source.Source, _ *receiver, _ *lines) {
			pass(time.Minute) // the first interval does not know the header yet
			w.requests()
			pass(10 * time.Minute)
			if n := w.requests(); n < least || n > most {
				t.Errorf("%v: %d requests in 10 minutes, want %d to %d", header, n, least, most)
			}
		})
	}
	control := func(v string) map[string]string { return map[string]string{"Cache-Control": v} }
	f(nil, 10, 12)
	f(control("public, max-age=30, must-revalidate"), 20, 23)
	f(control(`MAX-AGE="30"`), 20, 23)
	f(map[string]string{"Cache-Control": "max-age=60", "Age": "30"}, 20, 23)
	f(control("max-age=1"), 60, 67)
	f(control("max-age=86400"), 10, 12)
	f(control("max-age=0"), 10, 12)
	f(control("no-store"), 10, 12)
	f(control("max-age=-5"), 10, 12)
	f(control("max-age=99999999999999999999"), 10, 12)
	f(control("s-maxage=1, max-age"), 10, 12)
}

// Any number of requests causes one read per MinRefresh, and each request is followed by a read.
func TestRefreshIsLimited(t *testing.T) {
	watching(t, page{body: "one"}, func(t *testing.T, w *web, s *source.Source, r *receiver, _ *lines) {
		pass(time.Second)
		w.requests()
		w.put(jwks, page{body: "two"})
		looked := s.Refresh()
		for range 1000 {
			if s.Refresh() != looked {
				t.Fatal("those who ask do not share one look")
			}
		}
		pass(8 * time.Second)
		if n := w.requests(); n != 0 {
			t.Errorf("%d requests in the 9 seconds after the first", n)
		}
		<-looked
		r.want(t, "one,two")
		for range 100 {
			s.Refresh()
			pass(time.Second)
		}
		if n := w.requests(); n < 10 || n > 12 {
			t.Errorf("%d requests in 100 seconds of asking with 10 between", n)
		}
	})
}

// Waiting callers continue after a successful or failed read, and after Close.
func TestRefreshNeverHangs(t *testing.T) {
	watching(t, page{body: "one"}, func(t *testing.T, w *web, s *source.Source, _ *receiver, _ *lines) {
		w.put(jwks, page{slow: time.Hour})
		<-s.Refresh()
		w.put(jwks, page{err: errors.New("connection refused")})
		<-s.Refresh()
	})
	synctest.Test(t, func(t *testing.T) {
		var w web
		s := source.URL(jwks, new(receiver).apply)
		watcher, err := source.Open(t.Context(), source.Options{Transport: &w}, s)
		if err != nil {
			t.Fatal(err)
		}
		pending := s.Refresh()
		closeTwice(t, watcher)
		<-pending
		<-s.Refresh()
	})
}

// Close cancels a read and waits for it. Nothing is applied afterwards.
func TestCloseCancelsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w web
		var r receiver
		w.put(jwks, page{body: "one"})
		watcher, err := source.Open(t.Context(), source.Options{Transport: &w, PollInterval: time.Minute}, source.URL(jwks, r.apply))
		if err != nil {
			t.Fatal(err)
		}
		w.put(jwks, page{body: "two", slow: 9 * time.Second})
		pass(time.Minute)
		closeTwice(t, watcher)
		r.want(t, "one")
	})
}

func TestInsecureURLsAreNotRequested(t *testing.T) {
	f := func(url string) {
		t.Helper()
		var w web
		var log lines
		w.put(url, page{body: "one"})
		open(t, source.Options{Transport: &w, Log: log.logger()}, source.URL(url, new(receiver).apply))
		if w.requests() != 0 || !log.has("the URL must be https") {
			t.Errorf("%s: %q", url, log.all)
		}
	}
	f("http://sso.example.org/jwks")
	f("http://127.0.0.1.example.org/jwks")
	f("ftp://127.0.0.1/jwks")
	f("/jwks")
}

func TestDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w web
		var r receiver
		w.put(config, page{body: `{"issuer": "` + issuer + `", "jwks_uri": "` + jwks + `", "jwks_uri2": 5}`, header: map[string]string{"ETag": "1"}})
		w.put(jwks, page{body: "one"})
		open(t, source.Options{Transport: &w, PollInterval: time.Minute}, source.Discovery(issuer, r.apply))
		r.want(t, "one")
		w.put(jwks, page{body: "two"})
		pass(time.Minute)
		r.want(t, "one,two")
		w.put(config, page{body: `{"issuer": "` + issuer + `", "jwks_uri": "` + jwks + `/moved"}`, header: map[string]string{"ETag": "2"}})
		w.put(jwks+"/moved", page{body: "three"})
		pass(time.Minute)
		r.want(t, "one,two,three")
	})
}

func TestDiscoveryRefuses(t *testing.T) {
	f := func(document, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var w web
			var r receiver
			var log lines
			w.put(config, page{body: document})
			for _, url := range []string{jwks, "http://sso.example.org/jwks", "http://127.0.0.1/jwks"} {
				w.put(url, page{body: "evil"})
			}
			open(t, source.Options{Transport: &w, Log: log.logger()}, source.Discovery(issuer, r.apply))
			r.want(t, "")
			if !log.has(want) || log.has("evil") {
				t.Errorf("%s: %q", document, log.all)
			}
		})
	}
	metadata := func(iss, uri string) string { return `{"issuer": ` + iss + `, "jwks_uri": ` + uri + `}` }
	own, keys := `"`+issuer+`"`, `"`+jwks+`"`
	f("", "not a JSON object")
	f("[]", "not a JSON object")
	f("null", "another issuer's")
	f(`{"jwks_uri": `+keys+`}`, "another issuer's")
	f(metadata(`"https://evil.example.org"`, keys), "another issuer's")
	f(metadata(`"`+issuer+`/"`, keys), "another issuer's")
	f(metadata(`"HTTPS://sso.example.org/realms/hpc"`, keys), "another issuer's")
	f(metadata(`[`+own+`]`, keys), "another issuer's")
	f(`{"Issuer": `+own+`, "jwks_uri": `+keys+`}`, "another issuer's")
	f(`{"issuer": `+own+`, "JWKS_URI": `+keys+`}`, "no \\\"jwks_uri\\\"")
	f(metadata(own, `""`), "no \\\"jwks_uri\\\"")
	f(metadata(own, `5`), "no \\\"jwks_uri\\\"")
	f(metadata(own, `"http://sso.example.org/jwks"`), "not https")
	f(metadata(own, `"http://127.0.0.1/jwks"`), "not https")
	f(metadata(own, `"file:///etc/passwd"`), "not https")
	f(metadata(own, `"https:opaque"`), "must be https")
	f(metadata(own, `"%zz"`), "is no URL")
	f(metadata(own, `"https://gone.example.org/jwks"`), "key set of the discovery document: status 404")
}

// If a reference cannot be read, Open fails and names it. Later, the previous value stays active.
func TestReference(t *testing.T) {
	type answer struct {
		value string
		err   error
	}
	var vault atomic.Value
	vault.Store(answer{value: "one"})
	read := func(context.Context) ([]byte, error) { a := vault.Load().(answer); return []byte(a.value), a.err }
	synctest.Test(t, func(t *testing.T) {
		var r receiver
		w := open(t, source.Options{PollInterval: time.Minute}, source.Reference("azure-kv://v/key", "", read, r.apply))
		vault.Store(answer{"hunter2", errors.New("status 503")})
		pass(time.Hour)
		r.want(t, "one")
		vault.Store(answer{value: "two"})
		pass(time.Minute)
		r.want(t, "one,two")
		closeTwice(t, w)
	})
	vault.Store(answer{err: errors.New("status 503")})
	for _, beside := range []*source.Source{nil, source.Reference("x", "", func(context.Context) ([]byte, error) { return []byte("bad"), nil }, new(receiver).apply)} {
		sources := []*source.Source{source.Reference("azure-kv://v/key", "", read, new(receiver).apply)}
		want := "azure-kv://v/key: status 503"
		if beside != nil {
			sources, want = append(sources, beside), want+"\nx: refused: no key in it"
		}
		if w, err := source.Open(t.Context(), source.Options{}, sources...); w != nil || err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// The sources of one watcher call Apply one at a time.
func TestAppliesOneAtATime(t *testing.T) {
	var w web
	inside := 0 // not atomic, so that the race detector checks it too
	var sources []*source.Source
	for i := range 20 {
		url := jwks + strings.Repeat("/x", i)
		w.put(url, page{body: url})
		sources = append(sources, source.URL(url, func([]byte) error {
			inside++
			runtime.Gosched()
			if inside != 1 {
				t.Errorf("%d at a time", inside)
			}
			inside--
			return nil
		}))
	}
	open(t, source.Options{Transport: &w}, sources...)
	for _, s := range sources {
		s.Refresh()
	}
}

func TestOpenIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w web
		w.put(jwks, page{slow: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if w, err := source.Open(ctx, source.Options{Transport: &w}, source.URL(jwks, new(receiver).apply)); w != nil || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
