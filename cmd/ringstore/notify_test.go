package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager is a service manager: it hears what is told to its socket.
type manager struct {
	socket string
	states chan string
}

func newManager(t *testing.T) manager {
	t.Helper()
	m := manager{filepath.Join(t.TempDir(), "notify"), make(chan string, 10_000)}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			m.states <- string(buf[:n])
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return m
}

// next returns what is told next.
func (m manager) next(t *testing.T) string {
	t.Helper()
	select {
	case state := <-m.states:
		return state
	case <-time.After(patience):
		t.Fatal("nothing is told")
		return ""
	}
}

// until reads up to a state and returns what was told before it.
func (m manager) until(t *testing.T, want string) (before []string) {
	t.Helper()
	for {
		state := m.next(t)
		if state == want {
			return before
		}
		before = append(before, state)
	}
}

// starts has a command be started by the manager, with a watchdog if it is not
// empty (microseconds).
func (m manager) starts(watchdog string) func(*exec.Cmd) {
	return func(c *exec.Cmd) {
		c.Env = append(c.Env, "NOTIFY_SOCKET="+m.socket)
		if watchdog != "" {
			c.Env = append(c.Env, "WATCHDOG_USEC="+watchdog)
		}
	}
}

const (
	extension = "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=Restoring"
	isReady   = "READY=1\nSTATUS=Ready"
	ping      = "WATCHDOG=1"
	stopping  = "STOPPING=1"
)

// TestNotify: a process asks for time to restore, tells that it is ready when it
// is, feeds the watchdog while it runs and not while it is stopped, and tells
// that it stops. TestStopWhileRestoring is about long restores.
func TestNotify(t *testing.T) {
	s := newSettings(t)
	m := newManager(t)
	p := launch(t, m.starts("900000"), "-config", s.file(t))
	extensions := m.until(t, isReady)
	if len(extensions) == 0 || slices.ContainsFunc(extensions, func(state string) bool { return state != extension }) {
		t.Errorf("while restoring: %q", extensions)
	}
	p.ready(t)
	for range 3 {
		if state := m.next(t); state != ping {
			t.Errorf("while running: %q", state)
		}
	}
	p.signal(t, syscall.SIGSTOP)
	eventually(t, "the process standing still", func() bool { return stat(t, p.cmd.Process.Pid) == "T" })
	for len(m.states) > 0 {
		<-m.states
	}
	select {
	case state := <-m.states:
		t.Errorf("while standing still: %q", state)
	case <-time.After(300 * time.Millisecond):
	}
	p.signal(t, syscall.SIGCONT)
	m.until(t, ping)
	p.signal(t, syscall.SIGTERM)
	if before := m.until(t, stopping); slices.ContainsFunc(before, func(state string) bool { return state != ping }) {
		t.Errorf("before the end: %q", before)
	}
	p.wait(t)
	if len(m.states) > 0 {
		t.Errorf("after the end: %q", <-m.states)
	}
	if _, end, _ := strings.Cut(p.stderr.String(), "msg=stopping"); end == "" || strings.Contains(end, "does not answer") {
		t.Errorf("the end: %s", end)
	}
}

// TestUnitStartsAnew: a wrong configuration is not started again, which the unit
// tells by the exit code. With what it has in the environment the program ends in
// another way when the watchdog aborts it, as by a panic.
func TestUnitStartsAnew(t *testing.T) {
	text, err := os.ReadFile("../../configs/ringstore.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := string(text)
	if prevents := fmt.Sprintf("\nRestartPreventExitStatus=%d\n", exitBadUsage); !strings.Contains(unit, prevents) {
		t.Errorf("the unit has no %q", prevents)
	}
	environment := func(c *exec.Cmd) {
		c.Dir = t.TempDir() // of a core, where there is one
		for _, variable := range regexp.MustCompile(`(?m)^Environment=(.*)$`).FindAllStringSubmatch(unit, -1) {
			c.Env = append(c.Env, variable[1])
		}
	}
	p := launch(t, environment, "-config", newSettings(t).file(t))
	p.ready(t)
	p.signal(t, syscall.SIGABRT)
	if code := p.wait(t); code != -1 {
		t.Errorf("aborted: exit code %d instead of the signal", code)
	}
}

// stat is the state of a process by proc_pid_stat(5).
func stat(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skip(err)
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return after[:1]
}

// TestNotifyWithoutWatchdog: nothing is told between ready and the end.
func TestNotifyWithoutWatchdog(t *testing.T) {
	m := newManager(t)
	p := launch(t, m.starts(""), "-config", newSettings(t).file(t))
	m.until(t, isReady)
	p.ready(t)
	p.stopWell(t)
	if before := m.until(t, stopping); slices.Contains(before, ping) {
		t.Errorf("told: %q", before)
	}
}

// TestNobodyIsTold where there is no service manager, and one that does not
// listen keeps nobody from starting.
func TestNobodyIsTold(t *testing.T) {
	p := launch(t, func(c *exec.Cmd) {
		c.Env = append(c.Env, "NOTIFY_SOCKET="+filepath.Join(t.TempDir(), "none"), "WATCHDOG_USEC=soon")
	}, "-config", newSettings(t).file(t))
	p.ready(t)
	p.says(t, regexp.MustCompile("the service manager cannot be told"))
	p.says(t, regexp.MustCompile("no watchdog"))
}

// TestWatchdogStarves: a service whose port is closed is alive and answers
// nobody. The watchdog is not fed from then on.
func TestWatchdogStarves(t *testing.T) {
	m := newManager(t)
	t.Setenv("NOTIFY_SOCKET", m.socket)
	t.Setenv("WATCHDOG_USEC", "30000")
	cfg, err := loadConfig(newSettings(t).file(t))
	if err != nil {
		t.Fatal(err)
	}
	var log output
	s, err := start(t.Context(), cfg, slog.New(slog.NewTextHandler(&log, nil)), &log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}()
	m.until(t, ping)
	s.listener.Close()
	failures := func() int { return strings.Count(log.String(), "does not answer") }
	eventually(t, "a failed check", func() bool { return failures() > 0 })
	for len(m.states) > 0 {
		<-m.states
	}
	eventually(t, "more failed checks", func() bool { return failures() > 5 })
	if len(m.states) > 0 {
		t.Errorf("told of a service that does not answer: %q", <-m.states)
	}
}

// TestReloadingIsTold: systemd wants to know when a reload began, by
// CLOCK_MONOTONIC, and when it is over, be it that nothing could be taken.
func TestReloadingIsTold(t *testing.T) {
	m := newManager(t)
	file := newSettings(t).file(t)
	p := launch(t, m.starts(""), "-config", file)
	m.until(t, isReady)
	p.ready(t)
	f := func(says string) {
		t.Helper()
		p.signal(t, syscall.SIGHUP)
		if state := m.next(t); !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=[1-9]\d+$`).MatchString(state) {
			t.Errorf("%q", state)
		}
		if state := m.next(t); state != isReady {
			t.Errorf("%q", state)
		}
		p.says(t, regexp.MustCompile(says))
	}
	f("msg=reloaded")
	writeFile(t, file, []byte("{"))
	f("not reloaded")
}

// TestHealthy: what counts is an answer, and that in time.
func TestHealthy(t *testing.T) {
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
		err := healthy(ctx, https, addr)
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
