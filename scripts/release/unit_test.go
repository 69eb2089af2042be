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

// unit is a systemd.unit(5): the last value of each setting, of all sections.
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
	states chan string // from sd_notify(3)
	output string      // name of the log file
	ended  chan struct{}
}

// start does what systemd does with the package's unit: user, group, directories, umask, environment,
// limits, and the notification socket.
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

// launch starts a service in the root directory, as a user and group, and listens to its notifications.
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

// files returns how many files a service may open: as many as its unit says, or fewer in a container
// with a lower limit.
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

// environment reads an EnvironmentFile. A leading "-" allows it to be missing.
func (d debian) environment(t *testing.T, file string) (env []string) {
	t.Helper()
	for line := range strings.Lines(d.read(t, strings.TrimPrefix(file, "-"))) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			env = append(env, line)
		}
	}
	return env
}

// listen receives the notifications of the service, and returns the path of the socket.
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

// tells waits until the service has sent a state.
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
			t.Fatalf("the service ended before it sent %s:\n%s", want, s.log(t))
		case <-deadline:
			t.Fatalf("timed out waiting for %s:\n%s", want, s.log(t))
		}
	}
}

// wait returns the exit code.
func (s *service) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatalf("the service does not end:\n%s", s.log(t))
	}
	return s.cmd.ProcessState.ExitCode()
}

// stop does the same as systemctl stop.
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

// told fails the test if a service that has ended had not sent a state.
func (s *service) told(t *testing.T, want string) {
	t.Helper()
	for {
		select {
		case state := <-s.states:
			if state == want {
				return
			}
		case <-time.After(time.Second):
			t.Errorf("the service did not send %s", want)
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

// TestUnit checks that systemd parses the unit and rates it no more exposed than its comment says.
func TestUnit(t *testing.T) {
	const file = "../../configs/ringstore.service"
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip(err)
	}
	out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=15", file).CombinedOutput()
	if strings.Contains(string(out), "unrecognized option") {
		t.Skip("this systemd-analyze cannot read files")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
