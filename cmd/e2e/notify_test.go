package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// manager is the service manager of a process.
type manager struct{ cmdtest.Manager }

func newManager(t testing.TB) manager { return manager{cmdtest.NewManager(t)} }

// starts has a command be started by the manager, with a watchdog if it is not
// empty (microseconds).
func (m manager) starts(watchdog string) func(*exec.Cmd) {
	return func(c *exec.Cmd) {
		c.Env = append(c.Env, "NOTIFY_SOCKET="+m.Socket)
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
	extensions := m.Until(t, isReady)
	if len(extensions) == 0 || slices.ContainsFunc(extensions, func(state string) bool { return state != extension }) {
		t.Errorf("while restoring: %q", extensions)
	}
	p.ready(t)
	for range 3 {
		if state := m.Next(t); state != ping {
			t.Errorf("while running: %q", state)
		}
	}
	p.signal(t, syscall.SIGSTOP)
	cmdtest.Eventually(t, "the process standing still", func() bool { return stat(t, p.cmd.Process.Pid) == "T" })
	m.Drop()
	select {
	case state := <-m.States:
		t.Errorf("while standing still: %q", state)
	case <-time.After(300 * time.Millisecond):
	}
	p.signal(t, syscall.SIGCONT)
	m.Until(t, ping)
	p.signal(t, syscall.SIGTERM)
	if before := m.Until(t, stopping); slices.ContainsFunc(before, func(state string) bool { return state != ping }) {
		t.Errorf("before the end: %q", before)
	}
	p.wait(t)
	if len(m.States) > 0 {
		t.Errorf("after the end: %q", <-m.States)
	}
	if _, end, _ := strings.Cut(p.stderr.String(), "msg=stopping"); end == "" || strings.Contains(end, "does not respond") {
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
	m.Until(t, isReady)
	p.ready(t)
	p.stopWell(t)
	if before := m.Until(t, stopping); slices.Contains(before, ping) {
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
	p.says(t, regexp.MustCompile("cannot notify the service manager"))
	p.says(t, regexp.MustCompile("the watchdog cannot be used"))
}

// TestReloadingIsTold: systemd wants to know when a reload began, by
// CLOCK_MONOTONIC, and when it is over, be it that nothing could be taken.
func TestReloadingIsTold(t *testing.T) {
	m := newManager(t)
	file := newSettings(t).file(t)
	p := launch(t, m.starts(""), "-config", file)
	m.Until(t, isReady)
	p.ready(t)
	f := func(says string) {
		t.Helper()
		p.signal(t, syscall.SIGHUP)
		if state := m.Next(t); !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=[1-9]\d+$`).MatchString(state) {
			t.Errorf("%q", state)
		}
		if state := m.Next(t); state != isReady {
			t.Errorf("%q", state)
		}
		p.says(t, regexp.MustCompile(says))
	}
	f("msg=reloaded")
	cmdtest.WriteFile(t, file, []byte("{"))
	f("reload failed")
}
