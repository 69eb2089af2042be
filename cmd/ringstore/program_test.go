package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// settings are a configuration file, section by section.
type settings map[string]map[string]any

// minute and metric are entries of the section metrics.
func minute(aggregation any) map[string]any { return metric(60, aggregation) }

func metric(frequency int, aggregation any) map[string]any {
	return map[string]any{"frequency": frequency, "aggregation": aggregation}
}

// newSettings keep three days in a directory of the test, trust the test's
// issuer, and take NATS messages on subject "metrics" in a server of their own.
func newSettings(t testing.TB) settings {
	return settings{
		"main":    {"addr": "127.0.0.1:0", "jwt-public-key": issuer.PublicKeyBase64()},
		"metrics": {"cpu_load": minute(nil), "flops_any": minute("sum"), "fast": metric(1, nil)},
		"metric-store": {
			"retention-in-memory": "72h",
			"checkpoints":         map[string]any{"directory": filepath.Join(t.TempDir(), "checkpoints")},
			"nats-subscriptions":  []any{map[string]any{"subscribe-to": subject, "cluster-tag": "alpha", "authorization": "header"}},
		},
		"nats": {"embedded": map[string]any{"listen": "127.0.0.1:0"}},
	}
}

// subject is where the programs of newSettings take messages.
const subject = "metrics"

// file writes the settings to a new file.
func (s settings) file(t testing.TB) string {
	t.Helper()
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, filepath.Join(t.TempDir(), "config.json"), data)
}

func writeFile(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkpoints is where the archive of a program with these settings lies.
func (s settings) checkpoints() string {
	return filepath.Join(s["metric-store"]["checkpoints"].(map[string]any)["directory"].(string), "ringstore")
}

// program is a running ringstore: a process, or a call of run in this one.
type program struct {
	stdout, stderr output
	url, nats      string // where it listens
	client         httpClient

	cmd    *exec.Cmd          // nil for a call
	cancel context.CancelFunc // of a call
	ended  chan struct{}
	code   int // how it ended, -1 by a signal
}

// serve runs the program with these settings in this process and waits until
// it is ready. It is stopped when the test ends, and has to end well.
func serve(t testing.TB, s settings, args ...string) *program {
	t.Helper()
	p := call(t, append([]string{"-config", s.file(t)}, args...)...)
	p.ready(t)
	return p
}

// process is serve with a process of its own.
func process(t testing.TB, s settings, args ...string) *program {
	t.Helper()
	p := launch(t, nil, append([]string{"-config", s.file(t)}, args...)...)
	p.ready(t)
	return p
}

// call runs the program in this process.
func call(t testing.TB, args ...string) *program {
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{cancel: cancel, ended: make(chan struct{}), client: newClient(t, nil)}
	go func() {
		defer close(p.ended)
		p.code = run(ctx, asText(args), strings.NewReader(""), &p.stdout, &p.stderr)
	}()
	t.Cleanup(func() { p.cleanup(t) })
	return p
}

// launch starts the program as a process; change may alter how, before.
func launch(t testing.TB, change func(*exec.Cmd), args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(os.Args[0], asText(args)...), ended: make(chan struct{}), client: newClient(t, nil)}
	p.cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0")
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if change != nil {
		change(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		var exit *exec.ExitError
		if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
			p.code = -2
			return
		}
		p.code = p.cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() { p.cleanup(t) })
	return p
}

// asText makes a server log as the tests read it, unless they say otherwise.
func asText(args []string) []string {
	if len(args) > 0 && args[0][0] != '-' { // a command
		return args
	}
	return append([]string{"-logformat", logText}, args...)
}

func (p *program) cleanup(t testing.TB) {
	p.client.CloseIdleConnections()
	if !p.hasEnded() {
		if code := p.stop(t); code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}
	p.checkLog(t)
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", tail(p.stdout.String()), tail(p.stderr.String()))
	}
}

func tail(s string) string { return s[max(0, len(s)-8000):] }

var (
	listening     = regexp.MustCompile(`msg=listening addr=(\S+)`)
	listeningNATS = regexp.MustCompile(`msg="embedded NATS server listens" addr=(\S+)`)
	ready         = regexp.MustCompile(`msg=ready `)
)

// listens waits until the program answers, be it 503.
func (p *program) listens(t testing.TB) {
	t.Helper()
	p.url = p.client.scheme + "://" + p.says(t, listening)[1]
}

func (p *program) ready(t testing.TB) {
	t.Helper()
	p.listens(t)
	p.says(t, ready)
	if m := listeningNATS.FindStringSubmatch(p.stderr.String()); m != nil {
		p.nats = "nats://" + m[1]
	}
}

// says waits until the program has written what matches to stderr.
func (p *program) says(t testing.TB, what *regexp.Regexp) (match []string) {
	t.Helper()
	eventually(t, what.String(), func() bool {
		over := p.hasEnded()
		if match = what.FindStringSubmatch(p.stderr.String()); match == nil && over {
			t.Fatalf("exit code %d before %s; stderr:\n%s", p.code, what, tail(p.stderr.String()))
		}
		return match != nil
	})
	return match
}

func (p *program) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// patience is how long a test waits for what has to come, and no test waits
// for as long if all is well.
const patience = 60 * time.Second

// eventually polls until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited for: %s", what)
		}
	}
}

// wait returns the exit code.
func (p *program) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		if p.cmd != nil {
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
		t.Error("the program does not end")
		return -3
	}
	return p.code
}

// stop tells the program to end and returns its exit code.
func (p *program) stop(t testing.TB) int {
	t.Helper()
	if p.cmd == nil {
		p.cancel()
	} else {
		p.signal(t, syscall.SIGTERM)
	}
	return p.wait(t)
}

func (p *program) signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// stopWell stops the program, which has to exit with 0.
func (p *program) stopWell(t testing.TB) {
	t.Helper()
	if code := p.stop(t); code != exitOK {
		t.Fatalf("exit code %d; stderr:\n%s", code, tail(p.stderr.String()))
	}
}

// output is what a program has written so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
