package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// keptConnection sends a request over a new connection, which closes with the test. The status is 0
// if the server closes the connection first, or does not answer for some seconds.
func keptConnection(t *testing.T, p *program, token, path string) (c net.Conn, status int, body string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	if token != "" {
		token = "Authorization: Bearer " + token + "\r\n"
	}
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, token)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return c, 0, ""
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return c, r.StatusCode, string(text)
}

// TestOutOfDescriptors: connections without a token give way to others. When those with a token have
// taken all file descriptors, /-/ready says so, queries go on, and a snapshot fails and leaves
// nothing behind. Afterwards all is well.
func TestOutOfDescriptors(t *testing.T) {
	s := newSettings(t)
	p := process(t, s)
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1 %d", now()-60))
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Skip(err)
	}
	const spare = 30
	limit := unix.Rlimit{Cur: uint64(len(open) + spare), Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Skip(err)
	}
	for range 4 * spare {
		c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	var kept []net.Conn
	for range 4 * spare {
		c, status, _ := keptConnection(t, p, token("api"), "/api/whoami")
		if status == 0 {
			break
		}
		kept = append(kept, c)
	}
	if len(kept) < spare/2 || len(kept) == 4*spare {
		t.Fatalf("%d connections with a token", len(kept))
	}
	for range 3 {
		if _, status, body := keptConnection(t, p, "", "/-/ready"); status != 503 || !strings.Contains(body, "no file descriptor is left") {
			t.Errorf("/-/ready: %d %s", status, body)
		}
	}
	snapshot := func() (got reply) {
		t.Helper()
		return p.send(t, token("admin"), "POST", "/api/snapshot", "")
	}
	if got := snapshot(); got.status != 503 || !strings.Contains(got.body, "no file descriptor is left") {
		t.Errorf("a snapshot: %d %s", got.status, got.body)
	}
	if got := p.samples(t, "n1", "cpu_load", now()-120, now()); len(got) != 1 {
		t.Errorf("a query: %v", got)
	}
	if n := strings.Count(p.stderr.String(), "no file descriptor is left"); n == 0 || n > 5 {
		t.Errorf("%d lines of log", n)
	}
	for _, c := range kept {
		c.Close()
	}
	cmdtest.Eventually(t, "readiness", func() bool { return p.send(t, "", "GET", "/-/ready", "").status == 200 })
	if got := snapshot(); got.status != 200 {
		t.Errorf("a later snapshot: %d %s", got.status, got.body)
	}
	found, err := filepath.Glob(filepath.Join(s.checkpoints(), "snapshots", "*"))
	if err != nil || len(found) != 1 {
		t.Errorf("snapshots: %v, %v", found, err)
	}
}
