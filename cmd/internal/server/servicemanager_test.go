package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// TestWatchdogStarves: a server whose port is closed is alive but does not respond. It no longer
// reports to the watchdog.
func TestWatchdogStarves(t *testing.T) {
	m := cmdtest.NewManager(t)
	t.Setenv("NOTIFY_SOCKET", m.Socket)
	t.Setenv("WATCHDOG_USEC", "30000")
	var log cmdtest.Output
	s, err := Start(t.Context(), Options{
		Config: askingBackend(t, "", ""), Log: slog.New(slog.NewTextHandler(&log, nil)), Audit: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	m.Until(t, "WATCHDOG=1")
	s.main.listener.Close()
	failures := func() int { return strings.Count(log.String(), "does not respond") }
	cmdtest.Eventually(t, "a failed check", func() bool { return failures() > 0 })
	m.Drop()
	cmdtest.Eventually(t, "more failed checks", func() bool { return failures() > 5 })
	if len(m.States) > 0 {
		t.Errorf("reported although the server does not respond: %q", <-m.States)
	}
}

// TestRequestHealth: a timely answer means healthy, and so does a rejected client certificate.
func TestRequestHealth(t *testing.T) {
	answering := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	address := func(s *httptest.Server) string {
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()

	f := func(addr string, https bool, want error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := requestHealth(ctx, https, addr)
		if want == nil && err != nil || want != nil && (err == nil || !errors.Is(err, want) && !strings.Contains(err.Error(), want.Error())) {
			t.Errorf("%s: %v, want %v", addr, err, want)
		}
	}
	f(address(httptest.NewServer(answering(500))), false, errors.New("/-/healthy: 500"))
	f(closed.Addr().String(), false, syscall.ECONNREFUSED)
	f(silent.Addr().String(), false, context.DeadlineExceeded)
	f(address(httptest.NewServer(answering(200))), false, nil)
	f(address(httptest.NewTLSServer(answering(200))), true, nil)
	wary := httptest.NewUnstartedServer(answering(500))
	wary.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	wary.Config.ErrorLog = log.New(io.Discard, "", 0)
	wary.StartTLS()
	f(address(wary), true, nil)
}
