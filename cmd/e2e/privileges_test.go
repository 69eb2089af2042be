package e2e

import (
	"debug/buildinfo"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// asRoot skips the test unless it runs as root. It returns the user and group of "nobody", and a
// directory that belongs to them.
func asRoot(t *testing.T) (uid, gid int, directory string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can change to another user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	var errs [2]error
	uid, errs[0] = strconv.Atoi(nobody.Uid)
	gid, errs[1] = strconv.Atoi(nobody.Gid)
	if errs[0] != nil || errs[1] != nil {
		t.Fatal(errs)
	}
	// Not t.TempDir: only root may enter its parent directory.
	directory, err = os.MkdirTemp("", "ringstore-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	if err := os.Chown(directory, uid, gid); err != nil {
		t.Fatal(err)
	}
	return uid, gid, directory
}

// TestPrivilegesAreDropped: permanently, in every thread, groups included, and before the first
// file is created. Files that only root can read were read before.
func TestPrivilegesAreDropped(t *testing.T) {
	uid, gid, directory := asRoot(t)
	f := func(username, group string, wantGID int) {
		t.Helper()
		s := newSettings(t)
		s["main"]["user"], s["main"]["group"] = username, group
		data := filepath.Join(directory, group+"data")
		s["metric-store"]["checkpoints"] = map[string]any{"directory": data}
		s["auth"] = map[string]any{"audit-log": filepath.Join(directory, group+"audit.log")}
		c := newCertificate(t, t.TempDir())
		if err := os.Chmod(c.keyFile, 0o600); err != nil {
			t.Fatal(err)
		}
		s.https(c)
		p := launch(t, nil, "-config", s.file(t))
		p.client = newClient(t, c.trust)
		p.ready(t)
		p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1 %d", now()-60))
		p.send(t, "", "GET", "/metrics", "")
		checkProcess(t, p.cmd.Process.Pid, uid, wantGID)
		p.stopWell(t)
		checkFiles(t, directory, group, uid, wantGID)
	}
	f("nobody", "", gid)
	daemon, err := user.LookupGroup("daemon")
	if err != nil {
		t.Skip(err)
	}
	other, err := strconv.Atoi(daemon.Gid)
	if err != nil {
		t.Fatal(err)
	}
	f("nobody", "daemon", other)
}

// checkProcess checks proc_pid_status(5) of every thread: real, effective, saved and file system
// ids, and only this group.
func checkProcess(t *testing.T, pid, uid, gid int) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		t.Skip("no /proc")
	}
	for _, file := range files {
		status, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for name, want := range map[string]string{
			"Uid":    strings.Repeat(fmt.Sprintf("\t%d", uid), 4),
			"Gid":    strings.Repeat(fmt.Sprintf("\t%d", gid), 4),
			"Groups": fmt.Sprintf("\t%d", gid),
			"CapEff": "\t0000000000000000",
			"CapPrm": "\t0000000000000000",
		} {
			got := regexp.MustCompile(`(?m)^` + name + `:(.*)$`).FindSubmatch(status)
			if got == nil || strings.TrimRight(string(got[1]), " ") != want {
				t.Errorf("%s: %s: %q, want %q", file, name, got, want)
			}
		}
	}
}

// checkFiles checks owner and mode of the data and the audit log.
func checkFiles(t *testing.T, directory, prefix string, uid, gid int) {
	t.Helper()
	var seen []string
	err := filepath.WalkDir(directory, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == directory || !strings.HasPrefix(path[len(directory)+1:], prefix) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		seen = append(seen, filepath.Base(path))
		owner := info.Sys().(*syscall.Stat_t)
		if int(owner.Uid) != uid || prefix != "" && int(owner.Gid) != gid || info.Mode().Perm()&0o007 != 0 && !d.IsDir() {
			t.Errorf("%s: user %d, group %d, %v; want user %d, group %d", path, owner.Uid, owner.Gid, info.Mode(), uid, gid)
		}
		return nil
	})
	if err != nil || !strings.Contains(strings.Join(seen, " "), "windows-") || !strings.Contains(strings.Join(seen, " "), "audit.log") {
		t.Errorf("files: %v, %v", seen, err)
	}
}

// TestPrivilegesCannotBeDropped: a process without root's privileges does not start as another
// user, but starts if it already runs as that user.
func TestPrivilegesCannotBeDropped(t *testing.T) {
	uid, gid, directory := asRoot(t)
	if _, err := user.Lookup("daemon"); err != nil {
		t.Skip(err)
	}
	asNobody := func(username, group string) *program {
		s := newSettings(t)
		s["main"]["user"], s["main"]["group"] = username, group
		s["metric-store"]["checkpoints"] = map[string]any{"directory": filepath.Join(directory, "data")}
		config := cmdtest.WriteFile(t, filepath.Join(directory, "config.json"), mustJSON(s))
		path := filepath.Join(directory, "ringstore")
		if err := os.Link(binary(t), path); err != nil && !os.IsExist(err) {
			cmdtest.WriteFile(t, path, []byte(cmdtest.ReadFile(t, binary(t))))
		}
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return launch(t, func(c *exec.Cmd) {
			c.Path, c.Dir = path, directory
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		}, "-config", config)
	}
	f := func(username, group, want string) {
		t.Helper()
		p := asNobody(username, group)
		if code := p.wait(t); code != exitFailure || !strings.Contains(p.stderr.String(), want) {
			t.Errorf("%q, %q: exit code %d: %s", username, group, code, p.stderr.String())
		}
		if _, err := os.Stat(filepath.Join(directory, "data")); !os.IsNotExist(err) {
			t.Errorf("it created files: %v", err)
		}
	}
	f("daemon", "", "ringstore: cannot drop supplementary groups: operation not permitted")
	f("", "daemon", "ringstore: cannot drop supplementary groups: operation not permitted")
	f("root", "", "ringstore: cannot drop supplementary groups: operation not permitted")
	own, err := user.LookupGroupId(fmt.Sprint(gid))
	if err != nil {
		t.Skip(err)
	}
	for _, g := range []string{"", own.Name} {
		p := asNobody("nobody", g)
		p.ready(t)
		p.stopWell(t)
	}
	p := asNobody("", own.Name)
	p.ready(t)
}

// TestHardened: no thread of the program can gain privileges, and its memory is not dumped. A server
// that stays root says so.
func TestHardened(t *testing.T) {
	p := process(t, newSettings(t))
	pid := p.cmd.Process.Pid
	limits := cmdtest.ReadFile(t, fmt.Sprintf("/proc/%d/limits", pid))
	if !regexp.MustCompile(`(?m)^Max core file size +0 +0 `).MatchString(limits) {
		t.Errorf("core dumps are possible:\n%s", limits)
	}
	info, err := buildinfo.ReadFile(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		t.Fatal(threads, err)
	}
	cgo := slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "CGO_ENABLED" && s.Value == "1" })
	for _, thread := range threads {
		// With cgo, which no release is built with, Go cannot reach all threads.
		if status := cmdtest.ReadFile(t, thread); !cgo && !strings.Contains(status, "NoNewPrivs:\t1\n") {
			t.Errorf("a thread could gain privileges:\n%s", status)
		}
	}
	if root := os.Getuid() == 0; root != strings.Contains(p.stderr.String(), "runs as root") {
		t.Errorf("root %v:\n%s", root, p.stderr.String())
	}
}
