package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// TestHelp: each command explains itself and nothing else, with -h on stderr as package flag does,
// and with the command help on stdout.
func TestHelp(t *testing.T) {
	root := runCommand(t, "-h")
	if root.code != exitOK || root.stdout != "" || !strings.HasPrefix(root.stderr, "Usage: ringstore [flags] ") ||
		!strings.Contains(root.stderr, "\n       ringstore demo [flags] ") || !strings.Contains(root.stderr, "-cleanup-checkpoints") {
		t.Errorf("%+v", root)
	}
	demo := runCommand(t, "demo", "-h")
	if demo.code != exitOK || demo.stdout != "" || !strings.HasPrefix(demo.stderr, "Usage: ringstore demo [flags]\n\n") ||
		!strings.Contains(demo.stderr, "\n  -nats address\n") {
		t.Errorf("%+v", demo)
	}
	for _, other := range []string{"estimate", "-cleanup-checkpoints", "-config"} {
		if strings.Contains(demo.stderr, other) {
			t.Errorf("the demo's help mentions %s", other)
		}
	}
	if key := runCommand(t, "key", "--help"); !strings.HasPrefix(key.stderr, "Usage: ringstore key FILE\n") || strings.Contains(key.stderr, "Flags:") {
		t.Errorf("%+v", key)
	}
	f := func(same command, args ...string) {
		t.Helper()
		if got := runCommand(t, args...); got.code != exitOK || got.stdout != same.stderr || got.stderr != "" {
			t.Errorf("%q: %+v\nwant %s", args, got, same.stderr)
		}
	}
	f(root, "help")
	f(demo, "help", "demo")
	f(runCommand(t, "token", "-h"), "help", "token")
}

// TestWrongCalls exit with 2 and name what was expected.
func TestWrongCalls(t *testing.T) {
	f := func(stderr string, args ...string) {
		t.Helper()
		got := runCommand(t, args...)
		if got.code != exitBadUsage || got.stdout != "" || !strings.HasSuffix(got.stderr, stderr+"\n") {
			t.Errorf("%q: %+v, want %s", args, got, stderr)
		}
	}
	f(`ringstore: unknown command "demmo"; did you mean "demo"?`, "demmo")
	f(`ringstore: unknown command "demmo"; did you mean "demo"?`, "help", "demmo")
	f(`ringstore: unknown command "chekc-config"; did you mean "check-config"?`, "chekc-config")
	f(`ringstore: unknown command "Tokens"; did you mean "token"?`, "Tokens", "x")
	f(`ringstore: unknown command "serve"; see ringstore help`, "serve")
	f(`ringstore: unknown command "demmo"; did you mean "demo"?`, "-dev", "demmo")
	f(`ringstore: flags of a command follow its name; see ringstore demo -h`, "-dev", "demo")
	f(`ringstore key: expected FILE; got []; see ringstore key -h`, "key")
	f(`ringstore demo: expected no arguments; got ["x"]; see ringstore demo -h`, "demo", "x")
	f("see ringstore jobs -h", "jobs", "-nope")
	f("see ringstore query -h", "query", "x", "-nope")
	f(`ringstore query: expected PROMQL; got ["x" "y"]; see ringstore query -h`, "query", "x", "-o", "csv", "y")
	f(`ringstore query: -o: expected one of ["plot" "table" "csv" "json"]; got "xml"`, "query", "x", "-o", "xml") // flags may follow
	f(`ringstore query: -step: expected at least 1ms; got 0s`, "query", "-step", "0", "x")
	f(`ringstore top: -interval: expected at least 1s; got 1ms`, "top", "-interval", "1ms")
	f("see ringstore -h", "-nope")
	f("see ringstore key -h", "key", "-nope")
}

// TestMissingConfig: without a configuration the error says what to do. A wrong path is only named.
func TestMissingConfig(t *testing.T) {
	t.Chdir(t.TempDir())
	missing := filepath.Join(t.TempDir(), "none.json")
	for _, args := range [][]string{{}, {"check-config"}, {"estimate", "-hosts", "1"}, {"verify"}} {
		got := runCommand(t, append(args, "-config", missing)...)
		if want := missing + ": no such file or directory\n"; got.code != exitBadUsage || got.stderr != want || got.stdout != "" {
			t.Errorf("%q -config: %+v", args, got)
		}
		got = runCommand(t, args...)
		want := "./config.json: no such file or directory\n" +
			"To try RingStore without a configuration, run: ringstore demo\n" +
			"To write a configuration, see docs/install.md\n"
		if got.code != exitBadUsage || got.stderr != want || got.stdout != "" {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

// TestEstimateFlags: wrong flags are named, and exit with 2.
func TestEstimateFlags(t *testing.T) {
	config := cmdtest.WriteFile(t, filepath.Join(t.TempDir(), "config.json"), []byte(`{"main": {"addr": ":1"}, "auth": {"disabled": true},
		"metrics": {"acc_power": {"frequency": 60}}, "metric-store": {"retention-in-memory": "1h"}}`))
	f := func(code int, want string, args ...string) {
		t.Helper()
		got := runCommand(t, append([]string{"estimate"}, args...)...)
		if got.code != code || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("%q: %+v, want %s", args, got, want)
		}
	}
	with := func(args ...string) []string { return append([]string{"-config", config, "-hosts", "1"}, args...) }
	f(exitBadUsage, "-hosts", "-config", config)
	f(exitBadUsage, "-hosts", "-config", config, "-hosts", "0")
	f(exitBadUsage, "-hosts", "-config", config, "-hosts", "1000001")
	f(exitBadUsage, "-threads", with("-threads", "-1")...)
	f(exitBadUsage, "-threads", with("-threads", "1000000000")...)
	f(exitBadUsage, "-threads and -sample", with("-threads", "1", "-sample", "-")...)
	f(exitBadUsage, "see ringstore estimate -h", with("-cores", "1")...)
	f(exitBadUsage, "expected no arguments", with("x")...)
	f(exitBadUsage, "no such file", "-config", config+"x", "-hosts", "1")
	f(exitFailure, "no such file", with("-sample", config+"x")...)
	f(exitFailure, "got none", with("-sample", "-")...)
	f(exitFailure, "no series", with("-threads", "0", "-accelerators", "0")...)
	if got := runCommand(t, append([]string{"estimate"}, with("-accelerators", "4")...)...); got.code != exitOK || !strings.Contains(got.stdout, "4 x accelerator: acc_power") {
		t.Errorf("%+v", got)
	}
}
