package setup

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/configs"
)

// checked returns what Check finds wrong with a configuration with more sections.
func checked(t *testing.T, main, store, sections string) error {
	t.Helper()
	text := fmt.Sprintf(`{"main": {"addr": "127.0.0.1:0", "jwt-public-key": %q%s},
		"metrics": {"load": {"frequency": 60}}, "metric-store": {"retention-in-memory": "48h"%s}%s}`,
		authtest.NewIssuer("check").PublicKeyBase64(), main, store, sections)
	cfg, err := configs.Parse("config.json", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Check(t.Context(), cfg, slog.New(slog.DiscardHandler))
}

// TestCheck: what the server would fail on at its start is found, all at once, and nothing is
// created.
func TestCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(main, store, sections string, want ...string) {
		t.Helper()
		err := checked(t, main, store, sections)
		if len(want) == 0 && err != nil {
			t.Errorf("%s%s%s: %v", main, store, sections, err)
		}
		if len(want) == 0 {
			return
		}
		if _, ok := errors.AsType[ConfigError](err); !ok {
			t.Fatalf("%s%s%s: %v", main, store, sections, err)
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(want) {
			t.Errorf("%s%s%s: %d problems, want %d:\n%v", main, store, sections, len(lines), len(want), err)
		}
		for i, w := range want {
			if i < len(lines) && !strings.Contains(lines[i], w) {
				t.Errorf("missing: %s in %s", w, lines[i])
			}
		}
	}
	f("", "", "")
	f(`, "https-cert-file": "none.pem", "https-key-file": "none.key"`, "", "", "main.https-cert-file: HTTPS certificate")
	f(`, "https-cert-file": "file", "https-key-file": "file"`, "", "", "main.https-cert-file: HTTPS certificate")
	f(`, "user": "no-such-user"`, "", "", "main.user: user: unknown user no-such-user")
	f(`, "group": "no-such-group"`, "", "", "main.group: group: unknown group no-such-group")
	f("", "", `, "auth": {"issuers": [{"name": "a", "issuer": "a", "public-key-file": "none.pem"}]}`, "auth: none.pem: no such file")
	f("", "", `, "auth": {"revocation-file": "none.json"}`, "auth: none.json: no such file")
	f("", "", `, "auth": {"revocation-file": "file"}`, "auth: file: refused")
	f("", "", `, "auth": {"audit-log": "none/audit.log"}`, "auth.audit-log: stat "+dir+"/none: no such file")
	f("", `, "checkpoints": {"directory": "file/below"}`, "", "metric-store.checkpoints.directory: ")
	f("", `, "checkpoints": {"directory": "file"}`, "", "metric-store.checkpoints.directory: file is not a directory")
	f("", `, "checkpoints": {"directory": "a/b/c"}`, "")
	f("", `, "cleanup": {"mode": "archive", "directory": "file"}`, "", "metric-store.cleanup.directory: file is not a directory")
	f("", `, "cleanup": {"directory": "file"}`, "")
	const jobs = `"jobs": {"nats": {"subject": "jobs", "authorization": "connection"}`
	f("", "", `, "nats": {"embedded": {"listen": "127.0.0.1:0"}}, "auth": {`+jobs+`, "projects-file": "file"}}`, "auth.jobs.projects-file: file: expected an object")
	f("", "", `, "nats": {"embedded": {"listen": "127.0.0.1:0", "tls-cert-file": "file", "tls-key-file": "file"}}, "auth": {`+jobs+`}}`, "nats: embedded server: TLS certificate")
	f("", "", `, "nats": {"address": "nats://127.0.0.1:1", "creds-file-path": "none", "auth-callout": {"account-seed": "SAAX"}}, "auth": {`+jobs+`}}`,
		"nats: creds file: open none: no such file", "auth callout: account seed")
	f(`, "user": "no-such-user", "https-cert-file": "none", "https-key-file": "none"`, `, "checkpoints": {"directory": "file"}`,
		`, "auth": {"revocation-file": "none.json", "audit-log": "none/a"}`,
		"main.user: ", "auth: none.json", "main.https-cert-file: ", "metric-store.checkpoints.directory: ", "auth.audit-log: ")
	if left, err := os.ReadDir("."); err != nil || len(left) != 1 {
		t.Errorf("Check created files: %v, %v", left, err)
	}
}

// TestCheckNeedsNoPort: a port that is in use, and a name that no name server knows, are no
// problems of the configuration, and cc-backend is not asked.
func TestCheckNeedsNoPort(t *testing.T) {
	t.Chdir(t.TempDir())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var asked atomic.Int64
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer backend.Close()
	t.Setenv("RINGSTORE_TEST_TOKEN", "token")
	err = checked(t, fmt.Sprintf(`, "metrics-addr": %q, "backend-url": %q`, l.Addr(), backend.URL), `, "nats-subscriptions": [{"subscribe-to": "a", "authorization": "header"}]`,
		`, "nats": {"address": "nats://no-such-host.invalid:4222"}, "auth": {"jobs": {"backend": {"token": "env:RINGSTORE_TEST_TOKEN"}}}`)
	if err != nil || asked.Load() != 0 {
		t.Errorf("%v; cc-backend was asked %d times", err, asked.Load())
	}
}

// TestDirectoriesOfAnotherUser: root checks the configuration of a server that runs as another user.
func TestDirectoriesOfAnotherUser(t *testing.T) {
	nobody, err := user.Lookup("nobody")
	if os.Getuid() != 0 || err != nil {
		t.Skip("needs root and the user nobody: ", err)
	}
	t.Chdir(t.TempDir())
	for mode, want := range map[os.FileMode]string{0o700: "no permission to create files in", 0o755: "no permission to create files in", 0o777: ""} {
		if err := errors.Join(os.RemoveAll("d"), os.Mkdir("d", mode), os.Chmod("d", mode)); err != nil {
			t.Fatal(err)
		}
		err := checked(t, fmt.Sprintf(`, "user": %q`, nobody.Username), `, "checkpoints": {"directory": "d/checkpoints"}`, "")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%o: %v", mode, err)
		}
	}
}
