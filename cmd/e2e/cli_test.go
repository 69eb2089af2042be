package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// TestExitCodes: exit codes and output as a service manager sees them.
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
	directory["metric-store"]["checkpoints"] = map[string]any{"directory": cmdtest.WriteFile(t, filepath.Join(t.TempDir(), "f"), nil)}
	user := newSettings(t)
	user["main"]["user"] = "no-such-user"
	audit := newSettings(t)
	audit["auth"] = map[string]any{"audit-log": t.TempDir()}
	noKey := newSettings(t)
	delete(noKey["main"], "jwt-public-key")
	silent := newSettings(t) // nothing in it is warned of
	silent["metric-store"]["nats-subscriptions"] = []any{map[string]any{"subscribe-to": subject, "authorization": "connection"}}
	good := silent.file(t)
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
	f(0, "", `^Usage: ringstore demo `, "demo", "-h")
	f(0, `^Usage: ringstore demo `, "", "help", "demo")
	f(0, "", `^Usage: ringstore `, "--help")
	f(0, "is good\n$", "", "check-config", "-config", good)
	f(0, "is good\n$", "", "check-config", "--config", good)
	f(0, "is good\n$", "", "check-config", "--config="+good)
	f(2, "", `^flag provided but not defined: -nope\n(?s:.*)see ringstore -h\n$`, "-nope")
	f(2, "", `^flag provided but not defined: -nope\n`, "--nope")
	f(2, "", `^flag provided but not defined: -nope\n`, "demo", "-nope")
	f(2, "", `^flag needs an argument: -config\n`, "-config")
	f(2, "", `^ringstore: unknown command "serve"; see ringstore help\n$`, "serve")
	f(2, "", `^ringstore: unknown command "demmo"; did you mean "demo"\?\n$`, "demmo")
	f(2, "", `^ringstore key: expected FILE; got \[\]; see ringstore key -h\n$`, "key")
	f(2, "", `^ringstore: -loglevel: expected debug, info, warn, err or crit; got "loud"\n$`, "-config", good, "-loglevel", "loud")
	f(2, "", `^ringstore: -logformat: expected text or json; got "xml"\n$`, "-config", good, "-logformat", "xml")
	f(2, "", `^ringstore: -loglevel: expected `, "demo", "-loglevel", "loud")
	f(2, "", "^"+missing+": no such file or directory\n$", "-config", missing)
	f(2, "", "^"+missing+": no such file or directory\n$", "check-config", "-config", missing)
	f(2, "", `config.json: main.jwt-public-key: missing: give the issuer's Ed25519 public key \("ringstore key FILE" prints it\), `+
		`or switch authentication off with "auth": {"disabled": true}\n$`, "-config", noKey.file(t))
	// After a failed start nothing is left running: the leak check would find it.
	failing := func(want int, stderr string, s settings) {
		t.Helper()
		f(want, "", stderr, "-config", s.file(t))
		if code := call(t, "-config", s.file(t)).wait(t); code != want {
			t.Errorf("in this process: exit code %d, want %d", code, want)
		}
	}
	failing(exitFailure, `ringstore: main.addr: listen tcp 127\S+: bind: address already in use\n$`, port)
	failing(exitFailure, `ringstore: nats: embedded server: .*address already in use`, natsPort)
	failing(exitFailure, `ringstore: checkpoint directory: mkdir .*: not a directory\n$`, directory)
	failing(exitBadUsage, `\nmain.user: user: unknown user no-such-user\n$`, user)
	failing(exitFailure, `ringstore: auth.audit-log: open .*: is a directory\n$`, audit)
}

// TestDefaultConfigFile: the default is config.json in the working directory.
func TestDefaultConfigFile(t *testing.T) {
	here := func(c *exec.Cmd) { c.Dir = t.TempDir() }
	p := launch(t, here)
	if code := p.wait(t); code != exitBadUsage || !strings.HasPrefix(p.stderr.String(), "./config.json: no such file or directory\nTo try ") {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
	s := newSettings(t)
	file := s.file(t)
	p = launch(t, func(c *exec.Cmd) { c.Dir = filepath.Dir(file) })
	p.ready(t)
}

// TestCheckConfig: check-config prints warnings, opens no port and creates no directory.
func TestCheckConfig(t *testing.T) {
	s := newSettings(t)
	s["main"]["jwt-public-key"] = publishedKey
	s["another-program"] = map[string]any{}
	file := s.file(t)
	got := runCommand(t, nil, "check-config", "-config", file)
	if got.code != exitOK || got.stdout != file+" is good\n" {
		t.Errorf("exit code %d: %s", got.code, got.stdout)
	}
	for _, w := range []string{
		"warning: " + file + ": main.jwt-public-key: is the demonstration key of ClusterCockpit: its private key is public, so anyone can create valid tokens\n",
		"warning: " + file + ": another-program: ",
	} {
		if !strings.Contains(got.stderr, w) {
			t.Errorf("missing: %s in\n%s", w, got.stderr)
		}
	}
	if _, err := os.Stat(filepath.Dir(s.checkpoints())); !os.IsNotExist(err) {
		t.Errorf("the checkpoint directory: %v", err)
	}
}

// TestLogging: levels; dates only with -logdate, as systemd adds its own.
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

// TestMemoryCapIsLogged: the log says which of the two caps applies.
func TestMemoryCapIsLogged(t *testing.T) {
	s := newSettings(t)
	s["metric-store"]["memory-cap"] = 1
	p := serve(t, s)
	if got := p.stderr.String(); !strings.Contains(got, `msg="memory cap" bytes=1000000000 of_these_for_samples=744000000 reason="memory is capped at 1.0 GB by metric-store.memory-cap`) {
		t.Errorf("%s", got)
	}
}

// TestGops: the agent of github.com/google/gops answers on loopback while the program runs.
func TestGops(t *testing.T) {
	files := t.TempDir()
	p := launch(t, func(c *exec.Cmd) { c.Env = append(c.Env, "GOPS_CONFIG_DIR="+files) }, "-config", newSettings(t).file(t), "-gops")
	p.ready(t)
	portFile := filepath.Join(files, fmt.Sprint(p.cmd.Process.Pid))
	conn, err := net.Dial("tcp", "127.0.0.1:"+cmdtest.ReadFile(t, portFile))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	p.stopWell(t)
	if _, err := os.Stat(portFile); !os.IsNotExist(err) {
		t.Errorf("its file still exists: %v", err)
	}
}
