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

// manager is a process's service manager.
type manager struct{ cmdtest.Manager }

func newManager(t testing.TB) manager { return manager{cmdtest.NewManager(t)} }

// starts returns a change for [launch] that starts a command under the manager, with a watchdog
// interval in microseconds if that is not empty.
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

// TestNotify: a process asks for time to restore, reports that it is ready, reports to the watchdog
// except while it is suspended, and reports that it stops. TestStopWhileRestoring is about long
// restores.
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
	cmdtest.Eventually(t, "the suspended process", func() bool { return stat(t, p.cmd.Process.Pid) == "T" })
	m.Drop()
	select {
	case state := <-m.States:
		t.Errorf("while suspended: %q", state)
	case <-time.After(300 * time.Millisecond):
	}
	p.signal(t, syscall.SIGCONT)
	m.Until(t, ping)
	p.signal(t, syscall.SIGTERM)
	if before := m.Until(t, stopping); slices.ContainsFunc(before, func(state string) bool { return state != ping }) {
		t.Errorf("before the stop: %q", before)
	}
	p.wait(t)
	if len(m.States) > 0 {
		t.Errorf("after the stop: %q", <-m.States)
	}
	if _, end, _ := strings.Cut(p.stderr.String(), "msg=stopping"); end == "" || strings.Contains(end, "does not respond") {
		t.Errorf("log of the stop: %s", end)
	}
}

// TestUnitRestarts: the unit does not restart the program after the exit code for a wrong
// configuration. With the unit's environment, an abort by the watchdog ends the program by a
// signal, so that it is restarted.
func TestUnitRestarts(t *testing.T) {
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

// stat returns the state of a process by proc_pid_stat(5).
func stat(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skip(err)
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return after[:1]
}

// TestNotifyWithoutWatchdog: there are no reports between the start and the stop.
func TestNotifyWithoutWatchdog(t *testing.T) {
	m := newManager(t)
	p := launch(t, m.starts(""), "-config", newSettings(t).file(t))
	m.Until(t, isReady)
	p.ready(t)
	p.stopWell(t)
	if before := m.Until(t, stopping); slices.Contains(before, ping) {
		t.Errorf("reported: %q", before)
	}
}

// TestUnreachableServiceManager: the server starts although the service manager's socket is
// missing.
func TestUnreachableServiceManager(t *testing.T) {
	p := launch(t, func(c *exec.Cmd) {
		c.Env = append(c.Env, "NOTIFY_SOCKET="+filepath.Join(t.TempDir(), "none"), "WATCHDOG_USEC=soon")
	}, "-config", newSettings(t).file(t))
	p.ready(t)
	p.says(t, regexp.MustCompile("cannot notify the service manager"))
	p.says(t, regexp.MustCompile("the watchdog cannot be used"))
}

// TestReloadIsReported: a reload reports its beginning, with the time of CLOCK_MONOTONIC as systemd
// requires, and its end, even if it failed.
func TestReloadIsReported(t *testing.T) {
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
