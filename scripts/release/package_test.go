package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
)

// patience is how long a test waits for an event.
const patience = time.Minute

// packaging skips tests that compile for minutes, unless RINGSTORE_PACKAGE_TEST is set.
func packaging(t *testing.T) {
	t.Helper()
	if os.Getenv("RINGSTORE_PACKAGE_TEST") == "" {
		t.Skip("make package-test runs this")
	}
}

// needs skips a test without root or without one of the programs.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("this needs root")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(err)
		}
	}
}

// released builds a version for this machine's architecture and returns its directory.
func released(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	if err := run(t.Context(), []string{"-o", dir, "-version", version, "-arch", runtime.GOARCH}, io.Discard, t.Output()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// command runs a program, which must succeed, and returns its output.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin:"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// debian is the root directory of a minimal Debian system.
type debian string

// newDebian makes a root with debootstrap or, without it, from the packages of this machine.
func newDebian(t *testing.T) debian {
	t.Helper()
	fresh, copied := filepath.Join(t.TempDir(), "root"), filepath.Join(t.TempDir(), "root")
	out, err := exec.Command("debootstrap", "--variant=minbase", "stable", fresh).CombinedOutput()
	if err == nil {
		return open(t, fresh)
	}
	t.Logf("debootstrap failed, using a copy of this system: %v\n%s", err, out[max(0, len(out)-1000):])
	command(t, "testdata/debian", copied)
	return open(t, copied)
}

// open makes a root directory accessible to other users.
func open(t *testing.T, root string) debian {
	t.Helper()
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return debian(root)
}

func (d debian) path(path string) string { return filepath.Join(string(d), path) }

func (d debian) dpkg(t *testing.T, args ...string) {
	t.Helper()
	command(t, "dpkg", append([]string{"--root=" + string(d)}, args...)...)
}

// run runs a program inside.
func (d debian) run(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, "chroot", append([]string{string(d)}, args...)...)
}

func (d debian) exists(path string) bool {
	_, err := os.Lstat(d.path(path))
	return err == nil
}

func (d debian) write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(d.path(path), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (d debian) read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(d.path(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPackage installs the package on a fresh Debian, adds a key, starts it as its unit says, writes
// and queries. An upgrade loses nothing, a removal keeps the data, a purge deletes it.
func TestPackage(t *testing.T) {
	packaging(t)
	needs(t, "dpkg", "apt-cache", "chroot", "curl")
	one, two := debOf(t, released(t, "0.1.0")), debOf(t, released(t, "0.1.1"))
	d := newDebian(t)
	d.dpkg(t, "--install", one)
	if got := d.run(t, "ringstore", "-version"); !strings.HasPrefix(got, "ringstore 0.1.0 (go") {
		t.Errorf("-version: %s", got)
	}
	for _, document := range []string{"README.md", "docs/install.md", "configs/config.json", "configs/alerts.yml", "configs/grafana-dashboard.json"} {
		if !d.exists("/usr/share/doc/ringstore/" + document) {
			t.Errorf("the package lacks %s", document)
		}
	}
	if info, err := os.Stat(d.path("/etc/ringstore/environment")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("/etc/ringstore/environment may hold secrets, want mode 0600: %v, %v", info, err)
	}

	if s := d.start(t); s.wait(t) != 2 || !strings.Contains(s.log(t), "jwt-public-key: file:/etc/ringstore/jwt-public-key: no such file") {
		t.Errorf("without a key, %s:\n%s", s.cmd.ProcessState, s.log(t))
	}
	issuer := authtest.NewIssuer("package")
	d.write(t, "/etc/ringstore/jwt-public-key", issuer.PublicKeyBase64()+"\n")
	addr := freeAddr(t)
	d.write(t, "/etc/ringstore/config.json", strings.Replace(d.read(t, "/etc/ringstore/config.json"), "127.0.0.1:8082", "${ADDR}", 1))
	d.write(t, "/etc/ringstore/environment", "# where to listen\nADDR="+addr+"\n")
	token := issuer.Token(map[string]any{"sub": "collector", "roles": []string{"api"}, "exp": time.Now().Add(time.Hour).Unix()})
	c := client{"http://" + addr, token, time.Now().Add(-time.Minute).Truncate(time.Minute).Unix()}

	s := d.start(t)
	s.tells(t, "READY=1")
	c.push(t, "fritz")
	stored := c.query(t, "fritz")
	check := func(when string) {
		t.Helper()
		if got := c.query(t, "fritz"); got != stored {
			t.Errorf("%s: got %s, want %s", when, got, stored)
		}
	}

	// The upgrade does not touch the running process. Restarting it is systemd's job, here the test's.
	d.dpkg(t, "--install", two)
	check("during the upgrade")
	c.push(t, "alex")
	late := c.query(t, "alex")
	s.stop(t)
	if got := d.run(t, "ringstore", "-version"); !strings.HasPrefix(got, "ringstore 0.1.1 (go") {
		t.Errorf("-version: %s", got)
	}
	s = d.start(t)
	s.tells(t, "READY=1")
	check("after the upgrade")
	if got := c.query(t, "alex"); got != late {
		t.Errorf("samples written during the upgrade: got %s, want %s", got, late)
	}
	s.stop(t)

	d.dpkg(t, "--remove", "ringstore")
	const data = "/var/lib/ringstore/checkpoints/ringstore"
	if d.exists("/usr/bin/ringstore") || !d.exists("/etc/ringstore/config.json") || !d.exists(data) {
		t.Error("a removal must delete the program and keep configuration and data")
	}
	d.dpkg(t, "--install", two)
	s = d.start(t)
	s.tells(t, "READY=1")
	check("after removing and installing it again")
	s.stop(t)
	d.dpkg(t, "--purge", "ringstore")
	for _, gone := range []string{"/usr/bin/ringstore", "/etc/ringstore/config.json", "/etc/logrotate.d/ringstore", data, "/var/log/ringstore", "/usr/lib/systemd/system/ringstore.service"} {
		if d.exists(gone) {
			t.Errorf("after a purge: %s", gone)
		}
	}
}

func debOf(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	return found[0]
}

// client pushes and queries the last minutes of some hosts, with curl.
type client struct {
	url, token string
	last       int64 // newest minute, Unix seconds
}

const hosts, minutes = 20, 30

func (c client) curl(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, "curl", append([]string{"--silent", "--show-error", "--fail-with-body", "-H", "Authorization: Bearer " + c.token}, args...)...)
}

func (c client) push(t *testing.T, cluster string) {
	t.Helper()
	var lines strings.Builder
	for m := range minutes {
		for h := range hosts {
			fmt.Fprintf(&lines, "cpu_load,cluster=%s,hostname=h%d value=%d.5 %d\n", cluster, h, 100*h+m, c.last-60*int64(m))
		}
	}
	file := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c.curl(t, c.url+"/api/write/", "--data-binary", "@"+file)
}

// query returns the response, which must have every sample of push.
func (c client) query(t *testing.T, cluster string) string {
	t.Helper()
	answer := c.curl(t, c.url+"/api/query/", "-d", fmt.Sprintf(`{"cluster":%q,"from":%d,"to":%d,"for-all-nodes":["cpu_load"],"with-data":true}`,
		cluster, c.last-60*(minutes-1), c.last+60))
	for m := range minutes {
		for h := range hosts {
			if value := fmt.Sprintf("%d.5", 100*h+m); !regexp.MustCompile(`[\[,]` + value + `[],]`).MatchString(answer) {
				t.Fatalf("%s is not in %s", value, answer)
			}
		}
	}
	return answer
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestRPM checks the rpm with the rpm program, and that it has the files of the deb.
func TestRPM(t *testing.T) {
	packaging(t)
	needs(t, "rpm", "dpkg-deb")
	dir := released(t, "0.1.0")
	found, err := filepath.Glob(filepath.Join(dir, "*.rpm"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	command(t, "rpm", "--checksig", "--nosignature", found[0])
	files := command(t, "rpm", "--query", "--package", "--list", found[0])
	for line := range strings.Lines(command(t, "dpkg-deb", "--contents", debOf(t, dir))) {
		fields := strings.Fields(line)
		path := strings.Replace(strings.TrimPrefix(fields[5], "."), "zsh/vendor-completions", "zsh/site-functions", 1)
		if !strings.HasSuffix(path, "/") && !strings.Contains(files, path+"\n") {
			t.Errorf("the rpm lacks %s", path)
		}
	}
	if got := command(t, "rpm", "--query", "--package", "--configfiles", found[0]); !strings.Contains(got, "/etc/ringstore/config.json\n") || !strings.Contains(got, "/etc/logrotate.d/ringstore\n") {
		t.Errorf("configuration: %s", got)
	}
}

// TestReproducible builds the same tree in two places, with different times and modes of its files,
// and compares the bytes.
func TestReproducible(t *testing.T) {
	packaging(t)
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	copied := func(from, umask, keep string) (tree string) {
		tree = filepath.Join(t.TempDir(), "tree")
		command(t, "sh", "-c", `umask "$1" && mkdir "$2" && cd "$3" &&
			tar -c --exclude=.git --exclude=./dist --exclude=node_modules . | tar -x $4 -C "$2"`, "sh", umask, tree, from, keep)
		return tree
	}
	sums := func(tree string) string {
		out := t.TempDir()
		cmd := exec.Command("go", "run", "./scripts/release", "-o", out, "-version", "v0.1.0", "-arch", runtime.GOARCH)
		cmd.Dir, cmd.Stderr = tree, t.Output()
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	one := copied("../..", "022", "-p") // a copy, because the original may change meanwhile
	other := copied(one, "077", "-m --no-same-permissions")
	if a, b := sums(one), sums(other); a != b || strings.Count(a, "\n") != 4 {
		t.Errorf("first place:\n%ssecond place:\n%s", a, b)
	}
}
