package source_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/auth/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver records the data that was applied. It refuses data that begins with "bad".
type receiver struct {
	mu  sync.Mutex
	got []string
}

func (r *receiver) apply(data []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if bytes.HasPrefix(data, []byte("bad")) {
		clear(data) // Apply owns the data
		return errors.New("no key in it")
	}
	r.got = append(r.got, string(data))
	clear(data)
	return nil
}

// all returns the data that was applied, in order, joined by commas.
func (r *receiver) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.got, ",")
}

func (r *receiver) want(t *testing.T, want string) {
	t.Helper()
	if got := r.all(); got != want {
		t.Errorf("applied %q, want %q", got, want)
	}
}

// eventually waits for data to be applied.
func (r *receiver) eventually(t *testing.T, want string) {
	t.Helper()
	for range 1000 {
		if r.all() == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("applied %q, want %q", r.all(), want)
}

// web answers requests by URL without a network, so that tests can use an artificial clock.
type web struct {
	mu      sync.Mutex
	pages   map[string]page
	asked   []string // URLs
	offered []string // their If-None-Match
}

type page struct {
	status int // 0: 200
	body   string
	header map[string]string
	err    error
	slow   time.Duration
}

func (w *web) put(url string, p page) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pages == nil {
		w.pages = map[string]page{}
	}
	w.pages[url] = p
}

// requests returns the number of requests since the last call.
func (w *web) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.asked)
	w.asked = nil
	return n
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	p, found := w.pages[r.URL.String()]
	w.asked = append(w.asked, r.URL.String())
	w.offered = append(w.offered, r.Header.Get("If-None-Match"))
	w.mu.Unlock()
	select {
	case <-time.After(p.slow):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if p.err != nil {
		return nil, p.err
	}
	answer := &http.Response{
		StatusCode: max(p.status, http.StatusOK), Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(p.body)),
	}
	if !found {
		answer.StatusCode = http.StatusNotFound
	}
	for name, value := range p.header {
		answer.Header.Set(name, value)
	}
	if etag := answer.Header.Get("ETag"); etag != "" && r.Header.Get("If-None-Match") == etag {
		answer.StatusCode, answer.Body = http.StatusNotModified, http.NoBody
	}
	return answer, nil
}

// lines collects log lines.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(line))
	return len(line), nil
}

func (l *lines) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.all, func(line string) bool { return strings.Contains(line, part) })
}

// count returns how many lines contain part.
func (l *lines) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// eventually waits for a line.
func (l *lines) eventually(t *testing.T, part string) {
	t.Helper()
	for range 1000 {
		if l.has(part) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no line has %q: %q", part, l.all)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// open opens a watcher and closes it with the test.
func open(t *testing.T, o source.Options, sources ...*source.Source) *source.Watcher {
	t.Helper()
	w, err := source.Open(t.Context(), o, sources...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeTwice(t, w) })
	return w
}

func closeTwice(t *testing.T, w *source.Watcher) {
	t.Helper()
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Error(err)
	}
}
