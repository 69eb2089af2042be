package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// command is a call of the program that ends by itself.
type command struct {
	code           int
	stdout, stderr string
}

func runCommand(t testing.TB, stdin []byte, args ...string) command {
	t.Helper()
	var stdout, stderr output
	code := run(t.Context(), args, bytes.NewReader(stdin), &stdout, &stderr)
	return command{code, stdout.String(), stderr.String()}
}

// TestBadConfiguration: all that is wrong is told at once, a line each with the
// file and the key's path, and the exit code is 2; nothing has been touched.
func TestBadConfiguration(t *testing.T) {
	const text = `{
  "main": {"addr": 8082, "jwt-public-key": "c2hvcnQ=", "adr": "127.0.0.1:8082"},
  "metrics": {"cpu_load": {"frequency": 0, "aggregation": null}, "ipc": {"frequency": 60, "aggregation": "mean"}},
  "metric-store": {"retention-in-memory": "2 days", "checkpoints": {"directory": "%s", "file-formt": "avro"},
    "nats-subscriptions": [{"subscribe-to": "a..b", "authorization": "none"}]},
  "auth": {"users-read": "some"},
  "limits": {"hosts": 0}
}`
	directory := filepath.Join(t.TempDir(), "checkpoints")
	file := writeFile(t, filepath.Join(t.TempDir(), "config.json"), fmt.Appendf(nil, text, directory))
	want := []string{
		`main.addr: must be a string, found a number`,
		`main.adr: `,
		`main.jwt-public-key: must be standard base64 of the 32 bytes of an Ed25519 public key, found 5 bytes ("ringstore key FILE" prints the right form)`,
		`metrics.cpu_load.frequency: must be at least 1 and at most 31536000 seconds`,
		`metrics.ipc.aggregation: must be "sum", "avg" or null, found "mean"`,
		`metric-store.retention-in-memory: "2 days" is no duration: `,
		`metric-store.checkpoints.file-formt: `,
		`metric-store.nats-subscriptions[0].subscribe-to: "a..b" is no NATS subject: `,
		`metric-store.nats-subscriptions[0].authorization: must be "header", "connection" or "trusted"`,
		`auth.users-read: must be "all" or left out`,
		`limits.hosts: must be at least 1`,
	}
	for _, args := range [][]string{{"-config", file}, {"check-config", "-config", file}, {"-config", file, "-cleanup-checkpoints"}} {
		got := runCommand(t, nil, args...)
		lines := strings.Split(strings.TrimSuffix(got.stderr, "\n"), "\n")
		if got.code != exitBadUsage || got.stdout != "" || len(lines) != len(want) {
			t.Errorf("%q: exit code %d, stdout %q, %d lines, want %d:\n%s", args, got.code, got.stdout, len(lines), len(want), got.stderr)
		}
		for _, w := range want {
			if !strings.Contains("\n"+got.stderr, "\n"+file+": "+w) {
				t.Errorf("%q: not told: %s: %s", args, file, w)
			}
		}
	}
	if _, err := os.Stat(directory); !os.IsNotExist(err) {
		t.Errorf("the checkpoint directory: %v", err)
	}
}

// TestExitCodes is what a supervisor sees of a real process.
func TestExitCodes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := newSettings(t)
	port["main"]["addr"] = taken.Addr().String()
	natsPort := newSettings(t)
	natsPort["nats"]["embedded"] = map[string]any{"listen": taken.Addr().String()}
	directory := newSettings(t)
	directory["metric-store"]["checkpoints"] = map[string]any{"directory": writeFile(t, filepath.Join(t.TempDir(), "f"), nil)}
	user := newSettings(t)
	user["main"]["user"] = "no-such-user"
	audit := newSettings(t)
	audit["auth"] = map[string]any{"audit-log": t.TempDir()}
	noKey := newSettings(t)
	delete(noKey["main"], "jwt-public-key")
	good := newSettings(t).file(t)
	missing := filepath.Join(t.TempDir(), "none.json")

	f := func(code int, stdout, stderr string, args ...string) {
		t.Helper()
		p := launch(t, nil, args...)
		if got := p.wait(t); got != code {
			t.Errorf("%q: exit code %d, want %d", args, got, code)
		}
		for _, o := range []struct{ name, got, want string }{{"stdout", p.stdout.String(), stdout}, {"stderr", p.stderr.String(), stderr}} {
			if (o.want == "" && o.got != "") || !regexp.MustCompile(o.want).MatchString(o.got) {
				t.Errorf("%q: %s:\n%s\nwant %s", args, o.name, o.got, o.want)
			}
		}
	}
	f(0, `^ringstore \S+ \(go1\.\S+\)\n$`, "", "-version")
	f(0, `^ringstore \S+ \(go1\.\S+\)\n$`, "", "--version")
	f(0, "", `^Usage: ringstore (?s:.*)-cleanup-checkpoints`, "-h")
	f(0, "", `^Usage: ringstore `, "--help")
	f(0, "is good\n$", "", "check-config", "-config", good)
	f(0, "is good\n$", "", "check-config", "--config", good)
	f(0, "is good\n$", "", "check-config", "--config="+good)
	f(2, "", `^flag provided but not defined: -nope\n(?s:.*)see ringstore -h\n$`, "-nope")
	f(2, "", `^flag provided but not defined: -nope\n`, "--nope")
	f(2, "", `^flag provided but not defined: -nope\n`, "demo", "-nope")
	f(2, "", `^flag needs an argument: -config\n`, "-config")
	f(2, "", `^ringstore: ringstore takes 0 operands, not \["serve"\]; see ringstore -h\n$`, "serve")
	f(2, "", `^ringstore: key takes 1 operands, not \[\]; see ringstore -h\n$`, "key")
	f(2, "", `^ringstore: -loglevel "loud" is none of debug, info, warn, err, crit\n$`, "-config", good, "-loglevel", "loud")
	f(2, "", `^ringstore: -logformat "xml" is neither text nor json\n$`, "-config", good, "-logformat", "xml")
	f(2, "", `^ringstore: -loglevel "loud" is none of`, "demo", "-loglevel", "loud")
	f(2, "", "^"+missing+": no such file or directory\n$", "-config", missing)
	f(2, "", "^"+missing+": no such file or directory\n$", "check-config", "-config", missing)
	f(2, "", `config.json: main.jwt-public-key: missing: give the issuer's Ed25519 public key \("ringstore key FILE" prints it\), `+
		`or switch authentication off with "auth": {"disabled": true}\n$`, "-config", noKey.file(t))
	// A start that fails ends what it had begun, as the leak check sees.
	failing := func(stderr string, s settings) {
		t.Helper()
		f(1, "", stderr, "-config", s.file(t))
		if code := call(t, "-config", s.file(t)).wait(t); code != exitFailure {
			t.Errorf("in this process: exit code %d", code)
		}
	}
	failing(`ringstore: main.addr: listen tcp 127\S+: bind: address already in use\n$`, port)
	failing(`ringstore: nats: embedded server: .*address already in use`, natsPort)
	failing(`ringstore: checkpoint directory: mkdir .*: not a directory\n$`, directory)
	failing(`ringstore: main.user: user: unknown user no-such-user\n$`, user)
	failing(`ringstore: auth.audit-log: open .*: is a directory\n$`, audit)
}

// TestDefaultConfigFile is config.json in the working directory.
func TestDefaultConfigFile(t *testing.T) {
	here := func(c *exec.Cmd) { c.Dir = t.TempDir() }
	p := launch(t, here)
	if code := p.wait(t); code != exitBadUsage || p.stderr.String() != "./config.json: no such file or directory\n" {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
	s := newSettings(t)
	file := s.file(t)
	p = launch(t, func(c *exec.Cmd) { c.Dir = filepath.Dir(file) })
	p.ready(t)
}

// TestCheckConfig prints warnings, and takes nothing: no port, no directory.
func TestCheckConfig(t *testing.T) {
	s := newSettings(t)
	s["main"]["jwt-public-key"] = publishedKey
	s["somebody-else"] = map[string]any{}
	file := s.file(t)
	got := runCommand(t, nil, "check-config", "-config", file)
	if got.code != exitOK || got.stdout != file+" is good\n" {
		t.Errorf("exit code %d: %s", got.code, got.stdout)
	}
	for _, w := range []string{
		"warning: " + file + ": main.jwt-public-key: is the demonstration key of ClusterCockpit: its private half is public, so anyone can write tokens for it\n",
		"warning: " + file + ": somebody-else: ",
	} {
		if !strings.Contains(got.stderr, w) {
			t.Errorf("not told: %s in\n%s", w, got.stderr)
		}
	}
	if _, err := os.Stat(filepath.Dir(s.checkpoints())); !os.IsNotExist(err) {
		t.Errorf("the checkpoint directory: %v", err)
	}
}

// TestLogging: levels, and dates only if asked for, as systemd adds its own.
func TestLogging(t *testing.T) {
	f := func(yes, no string, args ...string) {
		t.Helper()
		p := process(t, newSettings(t), append([]string{"-loglevel", "info"}, args...)...)
		p.stopWell(t)
		if got := p.stderr.String(); !regexp.MustCompile(yes).MatchString(got) || no != "" && regexp.MustCompile(no).MatchString(got) {
			t.Errorf("%q:\n%s\nwant %s and not %s", args, got, yes, no)
		}
	}
	f(`(?m)^level=INFO msg=ready `, "time=|level=DEBUG")
	f(`(?m)^time=20\S+ level=INFO msg=ready `, "", "-logdate")
	f(`(?m)^level=DEBUG `, "", "-dev")

	silent := call(t, "-config", newSettings(t).file(t), "-loglevel", "crit")
	silent.stopWell(t)
	if got := silent.stderr.String(); got != "" {
		t.Errorf("-loglevel crit:\n%s", got)
	}
}

// TestMemoryCapIsLogged: which of the two caps is in force.
func TestMemoryCapIsLogged(t *testing.T) {
	s := newSettings(t)
	s["metric-store"]["memory-cap"] = 1
	p := serve(t, s)
	if got := p.stderr.String(); !strings.Contains(got, `msg="memory cap" bytes=1000000000 of_these_for_samples=744000000 reason="memory is capped at 1.0 GB by metric-store.memory-cap`) {
		t.Errorf("%s", got)
	}
}

// TestGops: the agent of github.com/google/gops answers on loopback while the
// program runs.
func TestGops(t *testing.T) {
	files := t.TempDir()
	p := launch(t, func(c *exec.Cmd) { c.Env = append(c.Env, "GOPS_CONFIG_DIR="+files) }, "-config", newSettings(t).file(t), "-gops")
	p.ready(t)
	portFile := filepath.Join(files, fmt.Sprint(p.cmd.Process.Pid))
	conn, err := net.Dial("tcp", "127.0.0.1:"+readFile(t, portFile))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	p.stopWell(t)
	if _, err := os.Stat(portFile); !os.IsNotExist(err) {
		t.Errorf("its file is left: %v", err)
	}
}
