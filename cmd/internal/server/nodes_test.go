package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/cmd/internal/setup"
	"github.com/ringstore/ringstore/configs"
)

// askingBackend returns a configuration with a cc-backend and its token.
func askingBackend(t *testing.T, url, token string) *configs.Config {
	t.Helper()
	cfg, err := configs.Parse("config.json", fmt.Appendf(nil, `{
		"main": {"addr": "127.0.0.1:0", "backend-url": %q},
		"auth": {"disabled": true, "jobs": {"backend": {"token": %q}}},
		"metrics": {"load": {"frequency": 60}},
		"metric-store": {"retention-in-memory": "48h", "checkpoints": {"directory": %q}}
	}`, url, token, filepath.Join(t.TempDir(), "checkpoints")))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestTheBackendsTokenMustBeThere: an unreadable token is a configuration error, found before
// anything is opened.
func TestTheBackendsTokenMustBeThere(t *testing.T) {
	f := func(token, want string) {
		t.Helper()
		_, err := Start(t.Context(), Options{Config: askingBackend(t, "http://localhost:1", token), Log: slog.New(slog.DiscardHandler), Audit: io.Discard})
		if usage, ok := errors.AsType[setup.ConfigError](err); !ok || !strings.Contains(usage.Error(), "auth.jobs.backend.token: "+want) {
			t.Errorf("%s: %v", token, err)
		}
	}
	f("env:RINGSTORE_NOT_SET", "env:RINGSTORE_NOT_SET: the environment variable is not set")
	f("file:/none/such", "file:/none/such: no such file")
}

// TestTheServiceAsksTheBackend: the server polls cc-backend with the token while it runs.
func TestTheServiceAsksTheBackend(t *testing.T) {
	t.Setenv("RINGSTORE_TEST_TOKEN", "the-token")
	asked := make(chan string, 100)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path + " " + r.Header.Get("Authorization")
		fmt.Fprint(w, `{"usedNodes":{"emmy":["w1127"]}}`)
	}))
	defer backend.Close()
	var log bytes.Buffer
	s, err := Start(t.Context(), Options{Config: askingBackend(t, backend.URL, "env:RINGSTORE_TEST_TOKEN"), Log: slog.New(slog.NewTextHandler(&log, nil)), Audit: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := <-asked; got != "/api/jobs/used_nodes Bearer the-token" {
			t.Errorf("asked for %s", got)
		}
	}
	for end := time.Now().Add(20 * time.Second); s.nodes.LastPoll().IsZero() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if s.nodes.Needed("emmy", "w1127") != 0 || s.nodes.Needed("emmy", "w1128") == 0 {
		t.Error("the answer is not known")
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "the-token") {
		t.Errorf("the log shows the token:\n%s", &log)
	}
}
