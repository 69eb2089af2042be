package resttest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// recorder is a testing.TB that records its errors.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// newClient returns a client of a handler, and the recorder of differences from the contract.
func newClient(t *testing.T, h http.HandlerFunc) (client *http.Client, url string, recorded *recorder) {
	t.Helper()
	c, err := ReadContract("../openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	recorded = &recorder{TB: t}
	client = server.Client()
	client.Transport = c.Transport(recorded, client.Transport)
	return client, server.URL, recorded
}

func TestUndescribedResponsesFail(t *testing.T) {
	long := strings.Repeat(" ", maxBody)
	f := func(request string, status int, contentType, body, want string, headers ...string) {
		t.Helper()
		client, url, recorded := newClient(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("X-Request-Id", "1")
			w.Header().Set("Content-Type", contentType)
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
		method, rest, _ := strings.Cut(request, " ")
		path, sentBody, _ := strings.Cut(rest, " ")
		var sent io.Reader = strings.NewReader(sentBody)
		if strings.HasPrefix(sentBody, "stream ") {
			sent = io.MultiReader(sent)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, url+path, sent)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		received, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || method != http.MethodHead && string(received) != body {
			t.Errorf("%s: %v, %d bytes arrived of %d", request, err, len(received), len(body))
		}
		if got := strings.Join(recorded.errors, "\n"); (got == "") != (want == "") || len(recorded.errors) > 1 || !strings.Contains(got, want) {
			t.Errorf("%s %d: recorded %q, want %q", request, status, got, want)
		}
	}
	const json, plain = "application/json", "text/plain"
	query := func(body string) string { return "POST /api/query " + body }
	f(query(`{}`), 418, json, `{}`, "status is not supported")
	f(query(`{}`), 200, json, `{}`, `"results" is missing`)
	f(query(`{}`), 200, json, `{"results":[]`, "failed to decode response body")
	f(query(`{}`), 200, plain, `{"results":[]}`, `Content-Type "text/plain" is not described`)
	f(query(`{}`), 200, json, `{"results":[]}`, "no X-Request-Id", "X-Request-Id", "")
	f(query(`{}`), 503, json, `{"status":"","error":""}`, "Retry-After")
	f(query(`{"from":"x"}`), 200, json, `{"results":[]}`, "/from: value must be an integer")
	f(query(`stream {"from":"x"}`), 200, json, `{"results":[]}`, "")
	f(query(`{"from":"x"}`), 400, json, `{"status":"","error":""}`, "")
	f(query(`{}`), 200, json, long+`{}`, "")
	f(query(`{}`), 200, plain, long+`{}`, "is not described")
	f(query(`{}`), 200, json, `{"results":[]}`, "")
	f("POST /api/write x", 200, plain, "x", `Content-Type "text/plain" is not described`)
	f("POST /api/write x", 200, "", "", "") // x-may-be-empty
	f("GET /api/nope", 200, json, `{}`, "the path or the method is not described")
	f("GET /api/nope", 404, json, `{}`, `"status" is missing`)
	f("GET /api/nope", 404, json, `{"status":"","error":""}`, "")
	f("GET /api/write", 405, json, `{"status":"","error":""}`, "no header Allow")
	f("HEAD /metrics", 404, plain, "", "status is not supported")
	f("HEAD /metrics", 200, plain, "", "")
}

func TestUndescribedBodiesFail(t *testing.T) {
	c, err := ReadContract("../openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	recorded := &recorder{TB: t}
	c.Serve(recorded, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "1")
		w.WriteHeader(http.StatusNoContent)
		_, _ = io.WriteString(w, "x") // the recorder keeps what net/http would discard
	}), httptest.NewRequest("POST", "/write", strings.NewReader("x")))
	if got := strings.Join(recorded.errors, "\n"); !strings.Contains(got, "a body where none is described") {
		t.Errorf("recorded %q", got)
	}
}

// The client can read the start of a response before its end has arrived, and close it unread.
func TestResponsesAreNotDelayed(t *testing.T) {
	finish := make(chan struct{})
	client, url, recorded := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "1")
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "ok\n")
		_ = http.NewResponseController(w).Flush()
		<-finish
	})
	resp, err := client.Get(url + "/-/healthy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 3)); err != nil {
		t.Error(err)
	}
	close(finish)
	resp.Body.Close()
	c := client.Transport.(transport).contract
	if c.whole.Load() != 0 || c.heads.Load() != 1 || len(recorded.errors) > 0 {
		t.Errorf("%d checked in full, %d by status and header, %q", c.whole.Load(), c.heads.Load(), recorded.errors)
	}
}
