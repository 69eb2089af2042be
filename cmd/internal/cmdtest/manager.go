package cmdtest

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Manager stands in for systemd: it receives what is sent to its socket by sd_notify(3).
type Manager struct {
	Socket string      // for the environment variable NOTIFY_SOCKET
	States chan string // what was received, in order
}

// NewManager returns a manager that listens until the test ends.
func NewManager(t testing.TB) Manager {
	t.Helper()
	m := Manager{filepath.Join(t.TempDir(), "notify"), make(chan string, 10_000)}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.Socket, Net: "unixgram"})
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
			m.States <- string(buf[:n])
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return m
}

// Next waits for a state and returns it.
func (m Manager) Next(t testing.TB) string {
	t.Helper()
	select {
	case state := <-m.States:
		return state
	case <-time.After(Patience):
		t.Fatal("the service manager received nothing")
		return ""
	}
}

// Until waits for this state and returns what came before it.
func (m Manager) Until(t testing.TB, want string) (before []string) {
	t.Helper()
	for {
		state := m.Next(t)
		if state == want {
			return before
		}
		before = append(before, state)
	}
}

// Drop forgets what was received so far.
func (m Manager) Drop() {
	for len(m.States) > 0 {
		<-m.States
	}
}
