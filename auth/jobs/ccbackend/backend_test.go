package ccbackend

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	now       = int64(1_795_200_000)
	retention = 48 * time.Hour
	token     = "eyJ.the-token-of.role-api"
)

// job is a running job on one host.
type job struct {
	cluster, host string
	start         int64
}

// fakeBackend responds as cc-backend does.
type fakeBackend struct {
	*httptest.Server
	mu       sync.Mutex
	jobs     []job
	broken   http.HandlerFunc // if not nil, handles all requests
	requests int
}

func newFakeBackend(t testing.TB, jobs ...job) *fakeBackend {
	s := &fakeBackend{jobs: jobs}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *fakeBackend) set(broken http.HandlerFunc, jobs ...job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken, s.jobs = broken, jobs
}

func (s *fakeBackend) requestCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *fakeBackend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	ts, err := strconv.ParseInt(r.URL.Query().Get("ts"), 10, 64)
	switch {
	case s.broken != nil:
		s.broken(w, r)
	case r.Header.Get("Authorization") != "Bearer "+token:
		http.Error(w, "no", http.StatusUnauthorized)
	case r.Method != http.MethodGet || r.URL.Path != "/monitoring/api/jobs/used_nodes" || len(r.URL.Query()) != 1 || err != nil:
		http.Error(w, "what?", http.StatusBadRequest)
	default:
		used := map[string][]string{}
		for _, j := range s.jobs {
			if j.start < ts {
				used[j.cluster] = append(used[j.cluster], j.host)
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"usedNodes": used})
	}
}

func (s *fakeBackend) client(t testing.TB) *Client {
	t.Helper()
	c, err := NewClient(s.URL+"/monitoring/", token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (s *fakeBackend) nodes(t testing.TB, log *slog.Logger) *Nodes {
	return NewNodes(NodesOptions{
		Client: s.client(t), Retention: retention, Interval: time.Millisecond,
		Now: func() time.Time { return time.Unix(now, 0) }, Log: log,
	})
}

const day = 24 * 3600

var schedule = []job{{"emmy", "w1127", now - 3*day}, {"emmy", "w1128", now - 60}, {"fritz", "f0101", now - day}}

func TestNeeded(t *testing.T) {
	n := newFakeBackend(t, schedule...).nodes(t, nil)
	f := func(cluster, host string, want int64) {
		t.Helper()
		if got := n.Needed(cluster, host); got != want {
			t.Errorf("%s %s: needed from %d on, want %d", cluster, host, got, want)
		}
	}
	f("emmy", "w1127", 0)
	f("emmy", "unused", 0) // before the first poll
	if !n.LastPoll().IsZero() {
		t.Errorf("polled at %v", n.LastPoll())
	}
	if err := n.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	f("emmy", "w1127", 0)
	f("emmy", "w1128", (now-2*day)*1000)
	f("fritz", "f0101", (now-2*day)*1000)
	f("fritz", "w1127", math.MaxInt64)
	f("emmy", "unused", math.MaxInt64)
	if n.LastPoll().Unix() != now {
		t.Errorf("polled at %v", n.LastPoll())
	}
}

// A failed poll changes nothing, neither before the first successful poll nor after it.
func TestABackendThatFailsKeepsData(t *testing.T) {
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token was sent to another server")
		}
		_, _ = w.Write([]byte(`{"usedNodes":{}}`))
	}))
	defer elsewhere.Close()
	f := func(name string, broken http.HandlerFunc, want string) {
		t.Run(name, func(t *testing.T) {
			s := newFakeBackend(t, schedule...)
			n := s.nodes(t, nil)
			check := func() {
				t.Helper()
				s.set(broken)
				err := n.Refresh(t.Context())
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %s", err, want)
				}
				if err != nil && (strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "hunter2")) {
					t.Errorf("the error shows the token or the response: %v", err)
				}
			}
			check()
			if n.Needed("emmy", "unused") != 0 {
				t.Error("before the first successful poll a host is not needed")
			}
			s.set(nil, schedule...)
			if err := n.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			check()
			if n.Needed("emmy", "w1127") != 0 || n.Needed("emmy", "unused") != math.MaxInt64 {
				t.Error("the last successful poll does not count")
			}
		})
	}
	f("unauthorized", text(401, "hunter2"), "401 Unauthorized")
	f("forbidden", text(403, "hunter2"), "403 Forbidden")
	f("an internal error", text(500, "hunter2"), "500")
	f("no content", text(204, ""), "204")
	f("HTML", text(200, "<html>hunter2"), "invalid character")
	f("an empty body", text(200, ""), "unexpected end")
	f("another object", text(200, `{"jobs":[]}`), "no usedNodes")
	f("a list", text(200, `["hunter2"]`), "cannot unmarshal array")
	f("a list of nodes", text(200, `{"usedNodes":["hunter2"]}`), "cannot unmarshal array")
	f("numbers", text(200, `{"usedNodes":{"emmy":[1]}}`), "cannot unmarshal number")
	f("a truncated body", text(200, `{"usedNodes":{"emmy":["w11`), "unexpected end")
	f("two values", text(200, `{"usedNodes":{}}{"usedNodes":{}}`), "after top-level value")
	f("an endless body", func(w http.ResponseWriter, _ *http.Request) {
		for chunk := bytes.Repeat([]byte(" "), 1<<20); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}, "larger than")
	f("a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "302 Found")
	f("a broken connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF")
	f("the second request only", func(w http.ResponseWriter, r *http.Request) {
		if ts := r.URL.Query().Get("ts"); ts != fmt.Sprint(now) {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write([]byte(`{"usedNodes":{}}`))
	}, "502")

	t.Run("no server", func(t *testing.T) {
		s := newFakeBackend(t)
		n := s.nodes(t, nil)
		s.Close()
		if err := n.Refresh(t.Context()); err == nil || strings.Contains(err.Error(), token) {
			t.Error(err)
		}
	})
	t.Run("a timeout", func(t *testing.T) {
		s := newFakeBackend(t)
		end := make(chan struct{})
		defer close(end)
		s.set(func(http.ResponseWriter, *http.Request) { <-end })
		c := s.client(t)
		c.http.Timeout = 20 * time.Millisecond
		if _, err := c.UsedNodes(t.Context(), time.Unix(now, 0)); err == nil || !strings.Contains(err.Error(), "Timeout") {
			t.Error(err)
		}
	})
}

func TestNoJobsIsAnAnswer(t *testing.T) {
	for _, body := range []string{`{"usedNodes":{}}`, `{"usedNodes":null}`, `{"usedNodes":{"emmy":null},"more":1}`} {
		s := newFakeBackend(t)
		s.set(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
		n := s.nodes(t, nil)
		if err := n.Refresh(t.Context()); err != nil || n.Needed("emmy", "w1127") != math.MaxInt64 {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestNewClientRefuses(t *testing.T) {
	f := func(url, token string) {
		t.Helper()
		if c, err := NewClient(url, token); err == nil || c != nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	}
	f("", token)
	f("monitoring:8080", token)
	f("/api", token)
	f("ftp://u:hunter2@h", token)
	f("http://", token)
	f("://u:hunter2@h", token)
	f("https://h", "")
}

// Run polls at each interval, logs a failure once, and ends with its context.
func TestRun(t *testing.T) {
	s := newFakeBackend(t, schedule...)
	s.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	var log buffer
	n := s.nodes(t, slog.New(slog.NewTextHandler(&log, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { n.Run(ctx) })
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("never: %s", what)
			}
		}
	}
	until("five requests", func() bool { return s.requestCount() >= 5 })
	s.set(nil, schedule...)
	until("a successful poll", func() bool { return n.Needed("emmy", "unused") == math.MaxInt64 })
	s.set(nil)
	until("the end of a job", func() bool { return n.Needed("emmy", "w1127") == math.MaxInt64 })
	cancel()
	running.Wait()
	if text := log.String(); strings.Count(text, "502 Bad Gateway") != 1 || strings.Count(text, "reports again") != 1 || strings.Contains(text, token) {
		t.Errorf("the log:\n%s", text)
	}
}

// The store keeps samples that running jobs need longer than the retention.
func TestStoreKeepsWhatJobsNeed(t *testing.T) {
	s := newFakeBackend(t, schedule...)
	n := s.nodes(t, nil)
	clock := now - 3*day
	store, err := memstore.New(memstore.Options{
		Metrics:   []memstore.Metric{{Name: "load", Frequency: time.Minute}},
		Retention: retention,
		Needed:    n.Needed,
		Now:       func() time.Time { return time.Unix(clock, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"w1127", "w1128", "w1129"} {
		sr, err := store.Series(memstore.Key{Cluster: "emmy", Host: host, Metric: "load"})
		if err != nil {
			t.Fatal(err)
		}
		if refused, err := store.Write([]memstore.Sample{{Series: sr, Time: clock * 1000, Value: 1}}); err != nil || len(refused) > 0 {
			t.Fatal(refused, err)
		}
	}
	clock = now
	held := func(want ...string) {
		t.Helper()
		if err := store.Maintain(); err != nil {
			t.Error(err)
		}
		if got := store.Hosts("emmy"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("samples of %v, want %v", got, want)
		}
	}
	held("w1127", "w1128", "w1129") // before the first poll
	if err := n.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	held("w1127")
	d, err := store.Read(t.Context(), memstore.Selection{Cluster: "emmy", Host: "w1127", Metric: "load"}, memstore.Range{From: now - 3*day, To: now})
	if err != nil || len(d.Values) != 1 {
		t.Errorf("%v, %v", d.Values, err)
	}
	s.set(nil)
	if err := n.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	held()
}

// buffer is a [bytes.Buffer] for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
