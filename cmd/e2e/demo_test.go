package e2e

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// TestDemo: the demo needs no files; every command that it prints works as printed; Ctrl-C stops it
// and leaves nothing behind.
func TestDemo(t *testing.T) {
	temporary := t.TempDir()
	p := launch(t, func(c *exec.Cmd) {
		c.Dir = t.TempDir()
		c.Env = append(c.Env, "TMPDIR="+temporary)
	}, "demo", "-addr", "127.0.0.1:0", "-nats", "127.0.0.1:0")
	tokens := p.demoTokens(t)
	banner := p.stdout.String()
	if n := entries(t, temporary); n != 1 {
		t.Errorf("%d temporary directories", n)
	}
	t.Run("tokens", func(t *testing.T) { checkDemoTokens(t, p, tokens) })
	t.Run("curl", func(t *testing.T) { checkDemoLines(t, banner) })
	t.Run("links", func(t *testing.T) { checkDemoLinks(t, p, banner, tokens) })
	t.Run("client", func(t *testing.T) { checkClient(t, p, tokens) })
	p.signal(t, syscall.SIGINT)
	if code := p.wait(t); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
	if n := entries(t, temporary); n != 0 {
		t.Errorf("%d temporary directories are left", n)
	}
	if got := p.stderr.String(); regexp.MustCompile(`level=(WARN|ERROR)`).MatchString(got) {
		t.Errorf("warnings or errors in the log:\n%s", got)
	}
	checkNoToken(t, "stderr", p.stderr.String(), slices.Collect(maps.Values(tokens))...)
}

// demoUsers have the roles admin, user and api.
var demoUsers = [...]string{"root", "ann", "collector"}

// demoTokens waits for a demo's banner and returns its users' tokens.
func (p *program) demoTokens(t testing.TB) map[string]string {
	t.Helper()
	cmdtest.Eventually(t, "the demo's banner", func() bool {
		if p.hasEnded() {
			t.Fatalf("exit code %d: %s", p.code, p.stderr.String())
		}
		return strings.Contains(p.stdout.String(), "Press Ctrl-C to stop the demo.")
	})
	banner := p.stdout.String()
	p.url = regexp.MustCompile(`http://[0-9.:]+`).FindString(banner)
	tokens := make(map[string]string)
	for _, m := range tokenFile.FindAllStringSubmatch(banner, -1) {
		info, err := os.Stat(m[1])
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v", m[1], info.Mode())
		}
		tokens[m[2]] = strings.TrimSpace(cmdtest.ReadFile(t, m[1]))
	}
	for _, name := range demoUsers {
		if tokens[name] == "" {
			t.Fatalf("no token of %s in\n%s", name, banner)
		}
	}
	return tokens
}

var tokenFile = regexp.MustCompile(`(?m)^  export TOKEN=\$\(cat (\S+/(\w+)\.token)\)$`)

func entries(t testing.TB, directory string) int {
	t.Helper()
	list, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// checkDemoTokens tries the tokens. The demo itself writes over HTTP and NATS, and a user sees the
// nodes and devices of three jobs.
func checkDemoTokens(t *testing.T, p *program, tokens map[string]string) {
	f := func(user, method, path, body string, status int) {
		t.Helper()
		if got := p.send(t, tokens[user], method, path, body); got.status != status {
			t.Errorf("%s: %s %s: %d, want %d: %s", user, method, path, got.status, status, got.body)
		}
	}
	f("root", "GET", "/api/debug/?selector=demo:node01", "", http.StatusOK)
	f("collector", "GET", "/api/debug/?selector=demo:node01", "", http.StatusForbidden)
	f("collector", "POST", "/api/query", `{}`, http.StatusOK)
	f("ann", "POST", "/api/query", `{}`, http.StatusOK)
	f("ann", "POST", "/api/write", ``, http.StatusForbidden)
	f("", "POST", "/api/query", `{}`, http.StatusUnauthorized)
	for _, transport := range []string{"http", "nats"} {
		series := regexp.MustCompile(`ringstore_ingest_samples_total\{transport="` + transport + `"\} [1-9]`)
		cmdtest.Eventually(t, "samples over "+transport, func() bool {
			return series.MatchString(p.send(t, tokens["root"], "GET", "/metrics", "").body)
		})
	}
	var list struct {
		Jobs []struct {
			Hosts   []string
			Running bool
		}
	}
	if err := json.Unmarshal([]byte(p.send(t, tokens["ann"], "GET", "/api/jobs", "").body), &list); err != nil {
		t.Fatal(err)
	}
	running, hosts := 0, []string{}
	for _, j := range list.Jobs {
		if hosts = append(hosts, j.Hosts...); j.Running {
			running++
		}
	}
	if len(list.Jobs) != 3 || running != 2 {
		t.Errorf("ann's jobs: %+v", list.Jobs)
	}
	names := func(user, metric string) string {
		return p.send(t, tokens[user], "GET", "/api/v1/label/hostname/values?match[]="+metric, "").body
	}
	slices.Sort(hosts)
	if got, want := names("ann", "flops_any"), `"data":["`+strings.Join(hosts, `","`)+`"]`; !strings.Contains(got, want) {
		t.Errorf("ann sees %s, want %s", got, want)
	}
	if got := names("root", "flops_any"); strings.Count(got, "node") != 24 {
		t.Errorf("root sees %s", got)
	}
}

// checkDemoLines runs the printed commands and checks their answers.
func checkDemoLines(t *testing.T, banner string) {
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the printed commands cannot be run: %v", err)
		}
	}
	if n := strings.Count(banner, "\n"); n > 24 || strings.Contains(banner, "\x1b") {
		t.Errorf("%d lines, want one screen without colours:\n%s", n, banner)
	}
	exports := tokenFile.FindAllString(banner, -1)
	wants := []struct {
		command string
		answers [len(demoUsers)]string // by user
	}{
		{" query ", [...]string{"node24", "node08", "node24"}},
		{" top ", [...]string{"node24", "node08", "node24"}},
		{" jobs ", [...]string{"No jobs", "node21", "No jobs"}},
		{"/api/whoami", [...]string{`"roles":["admin"]`, `"sees":{"*":"own-jobs"}`, `"subject":"collector"`}},
	}
	lines := regexp.MustCompile(`(?m)^  (?:curl|\S*ringstore) .*$`).FindAllString(banner, -1)
	if len(lines) != len(wants) || len(exports) != len(demoUsers) {
		t.Fatalf("%d commands and %d users are printed:\n%s", len(lines), len(exports), banner)
	}
	for i, line := range lines {
		for u, export := range exports {
			out, err := exec.Command("bash", "-c", export+"\n"+line).Output()
			if want := wants[i].answers[u]; err != nil || !strings.Contains(line, wants[i].command) || !strings.Contains(string(out), want) {
				t.Errorf("%s: %v, want %s in the answer to\n%s\n%.1000s", demoUsers[u], err, want, line, out)
			}
		}
	}
}

// checkDemoLinks opens the printed links. The token is in the fragment, which no browser sends.
func checkDemoLinks(t *testing.T, p *program, banner string, tokens map[string]string) {
	links := regexp.MustCompile(`(?m)^  (http\S+)/#token=(\S+)$`).FindAllStringSubmatch(banner, -1)
	if len(links) != 2 || links[0][2] != tokens["root"] || links[1][2] != tokens["ann"] {
		t.Fatalf("links: %q", links)
	}
	response, err := new(http.Client).Get(links[0][1] + "/") // a page, which the description of the API leaves out
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil || links[0][1] != p.url || response.StatusCode != http.StatusOK || !strings.Contains(string(page), "<html") {
		t.Errorf("%s: %d, %v\n%.300s", links[0][1], response.StatusCode, err, page)
	}
}

// checkClient asks the demo with the commands query, jobs and top.
func checkClient(t *testing.T, p *program, tokens map[string]string) {
	f := func(user, stdout, stderr string, args ...string) {
		t.Helper()
		file := cmdtest.WriteFile(t, filepath.Join(t.TempDir(), "token"), []byte(tokens[user]))
		got := runCommand(t, nil, append(args, "-server", p.url, "-token", file)...)
		failed := got.code != exitOK
		if failed != (stderr != "") || !regexp.MustCompile(stdout).MatchString(got.stdout) || !regexp.MustCompile(stderr).MatchString(got.stderr) {
			t.Errorf("%s: %q: exit code %d\n%.2000s%s", user, args, got.code, got.stdout, got.stderr)
		}
	}
	f("ann", `^cluster,hostname,type,type_id,stype,stype_id,metric,timestamp,value\ndemo,node05,hwthread,3,,,ipc,20\d\d-.*Z,[0-9.]+\n`,
		"", "query", `ipc{hostname="node05",type_id="3"}`, "-since", "5m")
	f("ann", `┤.*\n(?s:.*)hostname=node05\n`, "", "query", "node:cpu_power:sum", "-o", "plot")
	f("root", `16 more series are not drawn`, "", "query", "node:cpu_power:sum", "-o", "plot")
	f("ann", `^ +last +min +avg +max +series\n`, "", "query", "sum(node:cpu_power:sum)", "-o", "table", "-since", "0")
	f("ann", `^No data in the last`, "", "query", `cpu_load{hostname="node01"}`, "-o", "plot")
	f("ann", ``, `ringstore: http://[^:]*:\d+: 400: .*parse error`, "query", "rate(")
	f("ann", `(?m)^1005 +demo +ann +vision .* running +node21$`, "", "jobs")
	f("root", `^No jobs\.`, "", "jobs")
	f("root", `(?m)^1001 `, "", "jobs", "-user", "bob")
	f("ann", ``, `403: `, "jobs", "-user", "bob")
	f("ann", `(?s)hosts: 4, of job 1008\n.*node05.*$`, "", "top", "-job", "1008")
	f("root", `(?s)hosts: 2[45]\n.*node24.*$`, "", "top", "-cluster", "demo")
	f("nobody", ``, `-token: .* is empty`, "jobs")
	tokens["stranger"] = "x"
	f("stranger", ``, `401: a valid bearer token is required; give a valid token with -token`, "jobs")
	delete(tokens, "stranger")
}

// TestDemoKeepsItsDirectory: a directory given with -dir stays.
func TestDemoKeepsItsDirectory(t *testing.T) {
	directory := t.TempDir()
	for range 2 {
		p := launch(t, nil, "demo", "-dir", directory, "-loglevel", "info", "-addr", "127.0.0.1:0", "-nats", "127.0.0.1:0")
		p.ready(t)
		p.stopWell(t)
	}
	if entries(t, directory) == 0 {
		t.Error("the directory is empty")
	}
}

// TestDemoNeedsItsPorts: a port in use is an error that names the flag, for both ports at once, and
// no other port is taken.
func TestDemoNeedsItsPorts(t *testing.T) {
	first := serve(t, newSettings(t))
	http, nats := strings.TrimPrefix(first.url, "http://"), strings.TrimPrefix(first.nats, "nats://")
	inUse := func(flag, addr string) string {
		return "demo: " + flag + " " + addr + ": the port is in use; choose another one with " + flag + ", or port 0 for any free one\n"
	}
	f := func(addr, natsAddr, stderr string) {
		t.Helper()
		directory := t.TempDir()
		got := runCommand(t, nil, "demo", "-dir", directory, "-addr", addr, "-nats", natsAddr)
		if got.code != exitFailure || got.stdout != "" || got.stderr != "ringstore: "+stderr || entries(t, directory) != 0 {
			t.Errorf("%s %s: exit code %d, %s%s", addr, natsAddr, got.code, got.stdout, got.stderr)
		}
	}
	f(http, "127.0.0.1:0", inUse("-addr", http))
	f("127.0.0.1:0", nats, inUse("-nats", nats))
	f(http, nats, inUse("-addr", http)+inUse("-nats", nats))
	f("nowhere", "127.0.0.1:0", "demo: -addr: listen tcp: address nowhere: missing port in address\n")
}
