package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
	"github.com/ringstore/ringstore/cmd/internal/logging"
	"github.com/ringstore/ringstore/cmd/internal/server"
	"github.com/ringstore/ringstore/cmd/internal/setup"
)

// settings are a configuration file, section by section.
type settings map[string]map[string]any

// minute and metric are entries of the section metrics.
func minute(aggregation any) map[string]any { return metric(60, aggregation) }

func metric(frequency int, aggregation any) map[string]any {
	return map[string]any{"frequency": frequency, "aggregation": aggregation}
}

// newSettings returns settings with a retention of three days, a directory of the test's own, the
// test's issuer, and an embedded NATS server with the subject "metrics".
func newSettings(t testing.TB) settings {
	return settings{
		"main":    {"addr": "127.0.0.1:0", "jwt-public-key": issuer.PublicKeyBase64()},
		"metrics": {"cpu_load": minute(nil), "flops_any": minute("sum"), "fast": metric(1, nil)},
		"metric-store": {
			"retention-in-memory": "72h",
			"checkpoints":         map[string]any{"directory": filepath.Join(t.TempDir(), "checkpoints")},
			"nats-subscriptions":  []any{map[string]any{"subscribe-to": subject, "cluster-tag": "alpha", "authorization": "header", "guests": true}},
		},
		"nats": {"embedded": map[string]any{"listen": "127.0.0.1:0"}},
	}
}

// subject is the NATS subject in newSettings.
const subject = "metrics"

// file writes the settings to a new file.
func (s settings) file(t testing.TB) string {
	t.Helper()
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return cmdtest.WriteFile(t, filepath.Join(t.TempDir(), "config.json"), data)
}

// checkpoints returns the archive's directory.
func (s settings) checkpoints() string {
	return filepath.Join(s["metric-store"]["checkpoints"].(map[string]any)["directory"].(string), "ringstore")
}

// Exit codes of the program.
const (
	exitOK       = 0
	exitFailure  = 1
	exitBadUsage = 2
)

// program is a running ringstore: a process, or a server in this one.
type program struct {
	stdout, stderr cmdtest.Output
	url, nats      string // where it listens
	client         httpClient

	cmd    *exec.Cmd          // nil for a server in this process
	cancel context.CancelFunc // stops a server in this process
	ended  chan struct{}
	code   int // the exit code, -1 after a signal
}

// serve runs a server with these settings in this process and waits until it is ready. It is
// stopped when the test ends, and must stop without an error. Flags are those of [call].
func serve(t testing.TB, s settings, flags ...string) *program {
	t.Helper()
	p := call(t, append([]string{"-config", s.file(t)}, flags...)...)
	p.ready(t)
	return p
}

// process is like serve, with a process for the program.
func process(t testing.TB, s settings, args ...string) *program {
	t.Helper()
	p := launch(t, nil, append([]string{"-config", s.file(t)}, args...)...)
	p.ready(t)
	return p
}

// call runs a server in this process, with some of the program's flags. It ends with the exit code
// that the program would have.
func call(t testing.TB, args ...string) *program {
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{cancel: cancel, ended: make(chan struct{}), client: newClient(t, nil)}
	go func() {
		defer close(p.ended)
		p.code = exitOK
		err := runServer(ctx, args, &p.stderr)
		if _, isConfig := errors.AsType[setup.ConfigError](err); isConfig {
			p.code = exitBadUsage
		} else if err != nil {
			fmt.Fprintln(&p.stderr, "ringstore:", err)
			p.code = exitFailure
		}
	}()
	t.Cleanup(func() { p.cleanup(t) })
	return p
}

// testVersion is the version of servers in this process.
const testVersion = "e2e"

func runServer(ctx context.Context, args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	file, level, dev := flags.String("config", "", ""), flags.String("loglevel", "info", ""), flags.Bool("dev", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	log, err := logging.New(stderr, *level, logging.Text, false)
	if err != nil {
		return err
	}
	cfg, err := setup.Load(*file)
	if err != nil {
		return err
	}
	return server.Run(ctx, server.Options{Config: cfg, Log: log, Audit: stderr, Version: testVersion, SwaggerUI: *dev}, nil, *file)
}

// launch starts the program as a process. change may alter the command before, and may be nil.
func launch(t testing.TB, change func(*exec.Cmd), args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(binary(t), asText(args)...), ended: make(chan struct{}), client: newClient(t, nil)}
	p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
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

// command is a call of the program that ends by itself.
type command struct {
	code           int
	stdout, stderr string
}

func runCommand(t testing.TB, stdin []byte, args ...string) command {
	t.Helper()
	p := launch(t, func(c *exec.Cmd) {
		c.Args = append(c.Args[:1], args...) // not [asText]
		c.Stdin = bytes.NewReader(stdin)
	}, args...)
	code := p.wait(t)
	return command{code, p.stdout.String(), p.stderr.String()}
}

// asText makes a server log text, as the tests read it, unless the arguments say otherwise.
func asText(args []string) []string {
	if len(args) > 0 && args[0][0] != '-' { // a command
		return args
	}
	return append([]string{"-logformat", logging.Text}, args...)
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

// listens waits until the HTTP server listens, perhaps with 503 for an answer.
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

// says waits until the program's stderr matches.
func (p *program) says(t testing.TB, what *regexp.Regexp) (match []string) {
	t.Helper()
	cmdtest.Eventually(t, what.String(), func() bool {
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

// wait returns the exit code.
func (p *program) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(cmdtest.Patience):
		if p.cmd != nil {
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
		t.Error("the program does not stop")
		return -3
	}
	return p.code
}

// stop stops the program and returns its exit code.
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

// stopWell stops the program, which must exit with 0.
func (p *program) stopWell(t testing.TB) {
	t.Helper()
	if code := p.stop(t); code != exitOK {
		t.Fatalf("exit code %d; stderr:\n%s", code, tail(p.stderr.String()))
	}
}
