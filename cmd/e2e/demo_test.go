package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// TestDemo: the demo needs no files; every command that it prints works as printed; Ctrl-C stops it
// and leaves nothing behind.
func TestDemo(t *testing.T) {
	temporary := t.TempDir()
	p := launch(t, func(c *exec.Cmd) {
		c.Dir = t.TempDir()
		c.Env = append(c.Env, "TMPDIR="+temporary)
	}, "demo", "-addr", "127.0.0.1:0", "-nats", "127.0.0.1:0")
	tokens := p.demoTokens(t)
	banner := p.stdout.String()
	if n := entries(t, temporary); n != 1 {
		t.Errorf("%d temporary directories", n)
	}
	t.Run("tokens", func(t *testing.T) { checkDemoTokens(t, p, tokens) })
	t.Run("curl", func(t *testing.T) { checkDemoLines(t, banner) })
	p.signal(t, syscall.SIGINT)
	if code := p.wait(t); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
	if n := entries(t, temporary); n != 0 {
		t.Errorf("%d temporary directories are left", n)
	}
	if got := p.stderr.String(); regexp.MustCompile(`level=(WARN|ERROR)`).MatchString(got) {
		t.Errorf("warnings or errors in the log:\n%s", got)
	}
	checkNoToken(t, "stderr", p.stderr.String(), slices.Collect(maps.Values(tokens))...)
}

// demoTokens waits for a demo's banner and returns the tokens in it, by role.
func (p *program) demoTokens(t testing.TB) map[string]string {
	t.Helper()
	cmdtest.Eventually(t, "the demo's banner", func() bool {
		if p.hasEnded() {
			t.Fatalf("exit code %d: %s", p.code, p.stderr.String())
		}
		return strings.Contains(p.stdout.String(), "Press Ctrl-C to stop the demo.")
	})
	banner := p.stdout.String()
	p.url = regexp.MustCompile(`HTTP  (\S+)`).FindStringSubmatch(banner)[1]
	tokens := make(map[string]string)
	for _, m := range tokenLine.FindAllStringSubmatch(banner, -1) {
		tokens[m[1]] = m[2]
	}
	return tokens
}

func entries(t testing.TB, directory string) int {
	t.Helper()
	list, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

var tokenLine = regexp.MustCompile(`(?m)^  (admin|api|user) +(\S+)$`)

// checkDemoTokens tries the three tokens. The demo itself writes over HTTP and NATS.
func checkDemoTokens(t *testing.T, p *program, tokens map[string]string) {
	f := func(role, method, path, body string, status int) {
		t.Helper()
		if got := p.send(t, tokens[role], method, path, body); got.status != status {
			t.Errorf("%s: %s %s: %d, want %d: %s", role, method, path, got.status, status, got.body)
		}
	}
	f("admin", "GET", "/api/debug/?selector=demo:node01", "", http.StatusOK)
	f("api", "GET", "/api/debug/?selector=demo:node01", "", http.StatusForbidden)
	f("api", "POST", "/api/query", `{}`, http.StatusOK)
	f("user", "POST", "/api/query", `{}`, http.StatusOK) // the demo lets users read
	f("user", "POST", "/api/write", ``, http.StatusForbidden)
	f("", "POST", "/api/query", `{}`, http.StatusUnauthorized)
	for _, transport := range []string{"http", "nats"} {
		series := regexp.MustCompile(`ringstore_ingest_samples_total\{transport="` + transport + `"\} [1-9]`)
		cmdtest.Eventually(t, "samples over "+transport, func() bool {
			return series.MatchString(p.send(t, tokens["admin"], "GET", "/metrics", "").body)
		})
	}
}

// checkDemoLines runs the printed commands and checks their answers.
func checkDemoLines(t *testing.T, banner string) {
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the printed commands cannot be run: %v", err)
		}
	}
	values := func(results, minValues int) func(string) error {
		return func(out string) error {
			var a answer
			if err := json.Unmarshal([]byte(out), &a); err != nil {
				return err
			}
			if len(a.Results) != results {
				return fmt.Errorf("%d results, want %d", len(a.Results), results)
			}
			for _, r := range a.Results {
				if len(r) != 1 || r[0].Error != nil || len(r[0].ByTime()) < minValues {
					return fmt.Errorf("fewer than %d values in %+v", minValues, r)
				}
			}
			return nil
		}
	}
	contains := func(parts ...string) func(string) error {
		return func(out string) error {
			for _, part := range parts {
				if !strings.Contains(out, part) {
					return fmt.Errorf("no %q", part)
				}
			}
			return nil
		}
	}
	wants := []func(string) error{
		values(1, 60),
		values(2, 60),
		contains("200\n"),
		values(1, 1),
		contains(`"status":"Forbidden"`, "403\n"),
		contains(`"status":"Unauthorized"`, "401\n"),
		contains(`"node01":{"State":"full"`, `"node02":{"State":"full"`),
		contains("ringstore_store_hosts 5\n", `ringstore_ingest_samples_total{transport="nats"}`),
	}
	lines := regexp.MustCompile(`(?m)^curl .*$`).FindAllString(banner, -1)
	if len(lines) != len(wants) {
		t.Fatalf("%d commands are printed, want %d", len(lines), len(wants))
	}
	for i, line := range lines {
		out, err := exec.Command("bash", "-c", line).Output()
		if err == nil {
			err = wants[i](string(out))
		}
		if err != nil {
			t.Errorf("%v\n%s\n%.1000s", err, line, out)
		}
	}
}

// TestDemoKeepsItsDirectory: a directory given with -dir stays.
func TestDemoKeepsItsDirectory(t *testing.T) {
	directory := t.TempDir()
	for range 2 {
		p := launch(t, nil, "demo", "-dir", directory, "-loglevel", "info", "-addr", "127.0.0.1:0", "-nats", "127.0.0.1:0")
		p.ready(t)
		p.stopWell(t)
	}
	if entries(t, directory) == 0 {
		t.Error("the directory is empty")
	}
}

// TestDemoNeedsItsPorts: a port in use is an error that names the flag, for both ports at once, and
// no other port is taken.
func TestDemoNeedsItsPorts(t *testing.T) {
	first := serve(t, newSettings(t))
	http, nats := strings.TrimPrefix(first.url, "http://"), strings.TrimPrefix(first.nats, "nats://")
	inUse := func(flag, addr string) string {
		return "demo: " + flag + " " + addr + ": the port is in use; choose another one with " + flag + ", or port 0 for any free one\n"
	}
	f := func(addr, natsAddr, stderr string) {
		t.Helper()
		directory := t.TempDir()
		got := runCommand(t, nil, "demo", "-dir", directory, "-addr", addr, "-nats", natsAddr)
		if got.code != exitFailure || got.stdout != "" || got.stderr != "ringstore: "+stderr || entries(t, directory) != 0 {
			t.Errorf("%s %s: exit code %d, %s%s", addr, natsAddr, got.code, got.stdout, got.stderr)
		}
	}
	f(http, "127.0.0.1:0", inUse("-addr", http))
	f("127.0.0.1:0", nats, inUse("-nats", nats))
	f(http, nats, inUse("-addr", http)+inUse("-nats", nats))
	f("nowhere", "127.0.0.1:0", "demo: -addr: listen tcp: address nowhere: missing port in address\n")
}
