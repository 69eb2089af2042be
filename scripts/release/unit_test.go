package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// unit is a systemd.unit(5): the last value of each setting of its sections.
type unit map[string]string

func readUnit(text string) unit {
	u := unit{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			u[key] = value
		}
	}
	return u
}

// service is a process that was started as its unit says.
type service struct {
	cmd    *exec.Cmd
	states chan string // what it tells by sd_notify(3)
	output string      // file
	ended  chan struct{}
}

// start does what systemd does with the unit of the package: user, group,
// directories, umask, environment, limits, and a socket to be told at.
func (d debian) start(t *testing.T) *service {
	t.Helper()
	u := readUnit(d.read(t, "/usr/lib/systemd/system/ringstore.service"))
	if u["Type"] != "notify" {
		t.Fatalf("Type=%s", u["Type"])
	}
	uid, gid := d.id(t, "/etc/passwd", u["User"]), d.id(t, "/etc/group", u["Group"])
	d.directory(t, "/var/lib/"+u["StateDirectory"], u["StateDirectoryMode"], uid, gid)
	d.directory(t, "/var/log/"+u["LogsDirectory"], u["LogsDirectoryMode"], uid, gid)
	prepare := fmt.Sprintf(`umask %s && ulimit -n %d && cd %s && exec "$@"`, u["UMask"], files(t, u["LimitNOFILE"]), u["WorkingDirectory"])
	cmd := exec.Command("/bin/sh", append([]string{"-c", prepare, "sh"}, strings.Fields(u["ExecStart"])...)...)
	cmd.Env = append(d.environment(t, u["EnvironmentFile"]), "PATH=/usr/bin:/bin")
	cmd.Dir = "/"
	return d.launch(t, cmd, uid, gid)
}

// launch starts a service inside as a user and group, and hears what it tells.
func (d debian) launch(t *testing.T, cmd *exec.Cmd, uid, gid uint32) *service {
	t.Helper()
	s := &service{cmd: cmd, states: make(chan string, 1000), ended: make(chan struct{}), output: filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(s.output)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+s.listen(t, d))
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: string(d), Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(s.ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-s.ended
		if t.Failed() {
			t.Log(s.log(t))
		}
	})
	return s
}

// id looks up a name in a passwd(5) or group(5).
func (d debian) id(t *testing.T, file, name string) uint32 {
	t.Helper()
	for line := range strings.Lines(d.read(t, file)) {
		if fields := strings.Split(line, ":"); fields[0] == name {
			id, err := strconv.ParseUint(fields[2], 10, 32)
			if err != nil || id == 0 {
				t.Fatalf("%s: %v", line, err)
			}
			return uint32(id)
		}
	}
	t.Fatal(errors.Join(user.UnknownUserError(name), errors.New(file)))
	return 0
}

func (d debian) directory(t *testing.T, path, mode string, uid, gid uint32) {
	t.Helper()
	m, err := strconv.ParseUint(mode, 8, 12)
	if err == nil {
		err = errors.Join(os.MkdirAll(d.path(path), 0o755), os.Chmod(d.path(path), os.FileMode(m)), os.Chown(d.path(path), int(uid), int(gid)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// files is how many files a service may open: those of its unit, or fewer where
// a container has fewer to give.
func files(t *testing.T, unit string) uint64 {
	t.Helper()
	wanted, err := strconv.ParseUint(unit, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	var here syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &here); err != nil {
		t.Fatal(err)
	}
	return min(wanted, here.Max)
}

// environment reads an EnvironmentFile, which may be missing after a "-".
func (d debian) environment(t *testing.T, file string) (env []string) {
	t.Helper()
	for line := range strings.Lines(d.read(t, strings.TrimPrefix(file, "-"))) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			env = append(env, line)
		}
	}
	return env
}

// listen hears what the service tells, and returns where it has to tell it.
func (s *service) listen(t *testing.T, d debian) string {
	t.Helper()
	const socket = "/notify"
	_ = os.Remove(d.path(socket))
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: d.path(socket), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(d.path(socket), 0o777); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			for state := range strings.Lines(string(buf[:n])) {
				s.states <- strings.TrimSpace(state)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return socket
}

// tells waits until the service has told a state.
func (s *service) tells(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case state := <-s.states:
			if state == want {
				return
			}
		case <-s.ended:
			t.Fatalf("it ended before %s:\n%s", want, s.log(t))
		case <-deadline:
			t.Fatalf("in vain waited for %s:\n%s", want, s.log(t))
		}
	}
}

// wait returns the exit code.
func (s *service) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatalf("it does not end:\n%s", s.log(t))
	}
	return s.cmd.ProcessState.ExitCode()
}

// stop does what systemctl stop does.
func (s *service) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, s.log(t))
	}
	s.told(t, "STOPPING=1")
}

// told fails if a service that has ended had not told a state.
func (s *service) told(t *testing.T, want string) {
	t.Helper()
	for {
		select {
		case state := <-s.states:
			if state == want {
				return
			}
		case <-time.After(time.Second):
			t.Errorf("it did not tell %s", want)
			return
		}
	}
}

func (s *service) log(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.output)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestUnit: systemd reads the unit, and finds it no more exposed than its comment
// says.
func TestUnit(t *testing.T) {
	const file = "../../configs/ringstore.service"
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip(err)
	}
	out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=15", file).CombinedOutput()
	if strings.Contains(string(out), "unrecognized option") {
		t.Skip("this systemd-analyze reads no files")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
