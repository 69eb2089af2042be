package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// auditIDs returns the ids of the refused requests in an audit log.
func auditIDs(t *testing.T, file string) (ids string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var event struct{ ID, Action string }
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Errorf("%s: %q: %v", file, line, err)
		}
		if event.Action != "reload" {
			ids += " " + event.ID
		}
	}
	return ids
}

// auditing runs a program with an audit log.
func auditing(t *testing.T) (p *program, config, log string, refuse func(id string)) {
	s := newSettings(t)
	log = filepath.Join(t.TempDir(), "audit.log")
	s["auth"] = map[string]any{"audit-log": log}
	config = s.file(t)
	p = launch(t, nil, "-config", config)
	p.ready(t)
	return p, config, log, func(id string) {
		t.Helper()
		if got := p.send(t, "not-a-token", "GET", "/api/whoami", "", "X-Request-Id", id); got.status != 401 {
			t.Fatalf("status %d", got.status)
		}
	}
}

// TestLogrotate: the real logrotate rotates the audit log with the configuration of the packages.
// No line is lost, and none is written twice.
func TestLogrotate(t *testing.T) {
	logrotate, err := exec.LookPath("logrotate")
	if err != nil {
		logrotate = "/usr/sbin/logrotate"
	}
	if _, err := os.Stat(logrotate); err != nil {
		t.Skip("logrotate is not installed")
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	p, _, log, refuse := auditing(t)
	text, err := os.ReadFile("../../scripts/release/packaging/logrotate")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	rules := strings.NewReplacer("/var/log/ringstore", filepath.Dir(log), "su ringstore ringstore", "su "+me.Username+" "+group.Name).Replace(string(text))
	file := cmdtest.WriteFile(t, filepath.Join(dir, "ringstore"), []byte(rules))
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	systemctl := cmdtest.WriteFile(t, filepath.Join(dir, "systemctl"), fmt.Appendf(nil, `#!/bin/sh
[ "$*" = "kill --signal=HUP ringstore.service" ] && kill -HUP %d
`, p.cmd.Process.Pid))
	if err := os.Chmod(systemctl, 0o755); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		refuse(fmt.Sprint("before-", n))
		cmd := exec.Command(logrotate, "--verbose", "--force", "--state", filepath.Join(dir, "state"), file)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		p.saysTimes(t, n+1, `msg=reloaded what="issuers, keys and revocations"`)
		refuse(fmt.Sprint("after-", n))
		if got, want := auditIDs(t, log), fmt.Sprint(" after-", n); got != want {
			t.Errorf("rotation %d: the new file has%s, want%s", n, got, want)
		}
		want := fmt.Sprint(" before-", n)
		if n > 0 {
			want = fmt.Sprint(" after-", n-1) + want
		}
		if got := auditIDs(t, log+".1"); got != want {
			t.Errorf("rotation %d: the old file has%s, want%s", n, got, want)
		}
		if info, err := os.Stat(log); err != nil || info.Mode().Perm()&0o027 != 0 {
			t.Errorf("the new file: %v, %v", info, err)
		}
	}
	if packed, err := filepath.Glob(log + ".*.gz"); err != nil || len(packed) != 2 {
		t.Errorf("compressed: %q, %v", packed, err)
	}
}

// TestAuditLogIsReopened: also if the configuration is broken. A log that cannot be opened again
// stays in use.
func TestAuditLogIsReopened(t *testing.T) {
	p, config, log, refuse := auditing(t)
	refuse("one")
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	refuse("two")
	cmdtest.WriteFile(t, config, []byte("{"))
	p.signal(t, syscall.SIGHUP)
	p.saysTimes(t, 1, "reload failed")
	refuse("three")
	if first, second := auditIDs(t, log+".1"), auditIDs(t, log); first != " one two" || second != " three" {
		t.Errorf("the first file has%s, the second%s", first, second)
	}
	if err := os.Rename(log, log+".2"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(log, 0o700); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGHUP)
	p.saysTimes(t, 1, "the audit log was not reopened")
	refuse("four")
	if got := auditIDs(t, log+".2"); got != " three four" {
		t.Errorf("the file that stays in use has%s", got)
	}
}
