package nats

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// A client's mistake is a warning, whatever the server calls it. Its own errors stay errors.
func TestClientsMistakesAreNoErrors(t *testing.T) {
	f := func(line, level string, violations int) {
		t.Helper()
		var b bytes.Buffer
		n := 0
		l := newServerLog(slog.New(slog.NewTextHandler(&b, nil)), func(string, uint64) { n++ })
		l.Errorf(line)
		if !strings.Contains(b.String(), "level="+level) || n != violations {
			t.Errorf("%q: %d violations, logged %s", line, n, b.String())
		}
	}
	f("127.0.0.1:1234 - cid:5 - authentication error - User \"x\"", "WARN", 0)
	f("[::1]:1234 - cid:5 - TLS handshake error: EOF", "WARN", 0)
	f("127.0.0.1:1234 - cid:5 - \"v1\" - Publish Violation - Subject \"x\"", "WARN", 1)
	f("Error listening on port: 127.0.0.1:4222 - cid: in use", "ERROR", 0)
	f("JetStream failed to store a msg", "ERROR", 0)
}
