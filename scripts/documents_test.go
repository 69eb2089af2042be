// Package scripts_test checks the documents: their commands run and print what the text shows,
// their links lead somewhere, the configuration reference matches the types, and every metric they
// name exists.
package scripts_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	command = "sh tested"   // blocks that run, in order and in one shell per document
	answer  = "text answer" // blocks that show what the last command prints; "..." matches anything
)

// follows marks a document that continues another one: that one's commands run first.
var follows = regexp.MustCompile(`(?m)^<!-- continues (\S+) -->$`)

// step is a command block and the lines that the document says it prints.
type step struct {
	file    string
	line    int // in the file, of the first command
	script  string
	answers []string // lines, in order
}

// readSteps finds the blocks of a Markdown file between fences of three backticks.
func readSteps(file, text string) []step {
	var steps []step
	block := "" // the info string of the current fence
	inside := false
	for i, line := range strings.Split(text, "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && inside:
			inside = false
		case fence:
			inside, block = true, info
			if block == command {
				steps = append(steps, step{file: file, line: i + 2})
			}
		case !inside:
		case block == command:
			steps[len(steps)-1].script += line + "\n"
		case block == answer:
			last := &steps[len(steps)-1]
			last.answers = append(last.answers, line)
		}
	}
	return steps
}

// check returns an error for the first answer that is missing from a step's output.
func (s step) check(output string) error {
	for _, want := range s.answers {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(want), `\.\.\.`, `.+`)
		at := regexp.MustCompile("(?m)^" + pattern + "$").FindStringIndex(output)
		if at == nil {
			return fmt.Errorf("%s line %d: expected the line\n%s\nin the output:\n%s", s.file, s.line, want, output)
		}
		output = output[at[1]:]
	}
	return nil
}

// root is the directory of the module.
const root = ".."

// documents returns the paths of README.md and docs/*.md, relative to the root.
func documents(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"README.md"}
	for _, p := range pages {
		all = append(all, filepath.ToSlash(filepath.Join("docs", filepath.Base(p))))
	}
	return all
}

func readDocument(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stepsOf returns the steps of a document, after those of the document that it continues.
func stepsOf(t *testing.T, path string) []step {
	t.Helper()
	text := readDocument(t, path)
	var steps []step
	if m := follows.FindStringSubmatch(text); m != nil {
		steps = stepsOf(t, filepath.ToSlash(filepath.Join(filepath.Dir(path), m[1])))
	}
	return append(steps, readSteps(path, text)...)
}

// TestDocuments runs the commands of each document as printed, except for the ports.
func TestDocuments(t *testing.T) {
	for _, path := range documents(t) {
		steps := stepsOf(t, path)
		if len(steps) == 0 {
			continue
		}
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			runSteps(t, steps)
		})
	}
}

// minTested is how many documents must have tested commands.
const minTested = 9

func TestDocumentsHaveTestedCommands(t *testing.T) {
	tested := 0
	for _, path := range documents(t) {
		if len(readSteps(path, readDocument(t, path))) > 0 {
			tested++
		}
	}
	if tested < minTested {
		t.Errorf("%d documents have tested commands, expected at least %d", tested, minTested)
	}
}

func runSteps(t *testing.T, steps []step) {
	const mark = "== end of block"
	script := "set -euo pipefail\n"
	for _, s := range steps {
		script += s.script + "echo '" + mark + "'\n"
	}
	for _, tool := range []string{"bash", "openssl", "curl", "python3"} {
		if _, err := exec.LookPath(tool); err != nil && (tool == "bash" || strings.Contains(script, tool)) {
			t.Skipf("the commands need %s: %v", tool, err)
		}
	}
	for _, port := range []string{":8082", ":4222"} {
		script = strings.ReplaceAll(script, port, freePort(t))
	}
	output := bash(t, script)
	printed := strings.Split(output, mark+"\n")
	for i, s := range steps {
		if i >= len(printed)-1 {
			t.Fatalf("%s line %d fails:\n%s", s.file, s.line, printed[len(printed)-1])
		}
		if err := s.check(printed[i]); err != nil {
			t.Error(err)
		}
	}
}

// programDir is a directory for the program, which TestMain makes and removes.
var programDir string

// program builds ringstore once for all tests and returns the directory it is in.
var program = sync.OnceValues(func() (dir string, err error) {
	build := exec.Command("go", "build", "-o", filepath.Join(programDir, "ringstore"), "../cmd/ringstore")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return programDir, nil
})

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ringstore-documents-")
	if err != nil {
		panic(err)
	}
	programDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// bash runs a script in an empty directory, with ringstore in its PATH, and returns its output. It
// kills the processes that the script leaves running.
func bash(t *testing.T, script string) string {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Error(err)
		}
		t.Errorf("%v", err)
	}
	return string(out)
}

// freePort returns a colon and a free port on loopback.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprintf(":%d", l.Addr().(*net.TCPAddr).Port)
}

func TestReadSteps(t *testing.T) {
	const text = "a\n```sh\nno\n```\n```sh tested\none\n```\nb\n```text answer\nx ... y\nz\n```\n```sh tested\ntwo\n```\n"
	steps := readSteps("x.md", text)
	if len(steps) != 2 || steps[0].script != "one\n" || steps[1].script != "two\n" || steps[0].line != 6 {
		t.Fatalf("got %+v", steps)
	}
	f := func(output string, good bool) {
		t.Helper()
		if err := steps[0].check(output); (err == nil) != good {
			t.Errorf("%q: %v", output, err)
		}
	}
	f("x 1 y\nz\n", true)
	f("before\nx 1 y\nbetween\nz\nafter\n", true)
	f("z\nx 1 y\n", false)
	f("x  y\n", false)
	f("xx 1 y\nz\n", false)
	f("", false)
}
