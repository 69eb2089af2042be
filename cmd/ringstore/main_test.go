package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// asProgram makes the test binary behave as ringstore: shells complete its arguments.
const asProgram = "RINGSTORE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// command is the result of a command.
type command struct {
	code           int
	stdout, stderr string
}

func runCommand(t testing.TB, args ...string) command {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
	return command{code, stdout.String(), stderr.String()}
}

// TestBadConfiguration: all errors are printed at once, each on a line with the file and the key's
// path. The exit code is 2, and no file is created.
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
	file := cmdtest.WriteFile(t, filepath.Join(t.TempDir(), "config.json"), fmt.Appendf(nil, text, directory))
	want := []string{
		`main.addr: expected a string; got a number`,
		`main.adr: `,
		`main.jwt-public-key: expected the 32 bytes of an Ed25519 public key in standard base64; got 5 bytes; "ringstore key FILE" prints the key in this form`,
		`metrics.cpu_load.frequency: expected 1 to 31536000 seconds; got 0`,
		`metrics.ipc.aggregation: expected "sum", "avg" or null; got "mean"`,
		`metric-store.retention-in-memory: expected a duration in hours, minutes and seconds, `,
		`metric-store.checkpoints.file-formt: `,
		`metric-store.nats-subscriptions[0].subscribe-to: expected a NATS subject: `,
		`metric-store.nats-subscriptions[0].authorization: expected "header", "connection" or "trusted"`,
		`auth.users-read: expected "all"; otherwise leave the key out`,
		`limits.hosts: expected at least 1; got 0`,
	}
	for _, args := range [][]string{{"-config", file}, {"check-config", "-config", file}, {"-config", file, "-cleanup-checkpoints"}} {
		got := runCommand(t, args...)
		lines := strings.Split(strings.TrimSuffix(got.stderr, "\n"), "\n")
		if got.code != exitBadUsage || got.stdout != "" || len(lines) != len(want) {
			t.Errorf("%q: exit code %d, stdout %q, %d lines, want %d:\n%s", args, got.code, got.stdout, len(lines), len(want), got.stderr)
		}
		for _, w := range want {
			if !strings.Contains("\n"+got.stderr, "\n"+file+": "+w) {
				t.Errorf("%q: missing: %s: %s", args, file, w)
			}
		}
	}
	if _, err := os.Stat(directory); !os.IsNotExist(err) {
		t.Errorf("the checkpoint directory: %v", err)
	}
}

// TestDemoWithoutOutput: the demo ends with an error if it cannot print its banner.
func TestDemoWithoutOutput(t *testing.T) {
	var stderr cmdtest.Output
	code := run(t.Context(), []string{"demo", "-addr", "127.0.0.1:0", "-nats", "127.0.0.1:0"}, nil, fullDisk{}, &stderr)
	if code != exitFailure || !strings.Contains(stderr.String(), "ringstore: no space left on device\n") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

// fullDisk is a standard output on a full disk.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }
