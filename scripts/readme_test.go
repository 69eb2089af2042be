// Package scripts_test holds the README to its word.
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
	"syscall"
	"testing"
	"time"
)

const (
	command = "sh tested"   // blocks that are run, in their order and in one shell
	answer  = "text answer" // blocks that show what the last one prints, "..." being anything
)

// step is a command block and what the README says that it prints.
type step struct {
	line    int // of the file
	script  string
	answers []string // lines, in their order
}

// readSteps finds the blocks of a Markdown file between fences of three backticks.
func readSteps(text string) []step {
	var steps []step
	block := "" // what stands behind the fence that we are inside of
	inside := false
	for i, line := range strings.Split(text, "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && inside:
			inside = false
		case fence:
			inside, block = true, info
			if block == command {
				steps = append(steps, step{line: i + 2})
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

// check returns the answer that is missing from what a step printed.
func (s step) check(output string) error {
	for _, want := range s.answers {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(want), `\.\.\.`, `.+`)
		at := regexp.MustCompile("(?m)^" + pattern + "$").FindStringIndex(output)
		if at == nil {
			return fmt.Errorf("README.md line %d: no line\n%s\nin what it prints:\n%s", s.line, want, output)
		}
		output = output[at[1]:]
	}
	return nil
}

// The walk-through of the README works as it is printed, but for the port.
func TestWalkThrough(t *testing.T) {
	for _, tool := range []string{"bash", "openssl", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the walk-through needs %s: %v", tool, err)
		}
	}
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := readSteps(string(text))
	if len(steps) < 5 {
		t.Fatalf("only %d blocks are marked as tested", len(steps))
	}
	const mark = "== end of block"
	script := "set -euo pipefail\n"
	for _, s := range steps {
		script += s.script + "echo '" + mark + "'\n"
	}
	output := bash(t, strings.ReplaceAll(script, ":8082", freePort(t)))
	printed := strings.Split(output, mark+"\n")
	for i, s := range steps {
		if i >= len(printed)-1 {
			t.Fatalf("README.md line %d fails:\n%s", s.line, printed[len(printed)-1])
		}
		if err := s.check(printed[i]); err != nil {
			t.Error(err)
		}
	}
}

// bash runs a script in an empty directory, with the program in its path, and
// returns what is printed. What the script leaves running is ended.
func bash(t *testing.T, script string) string {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "ringstore"), "../cmd/ringstore")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
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

// freePort returns ":" and a port that is free.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprintf(":%d", l.Addr().(*net.TCPAddr).Port)
}

// What is not a command of ours is read for links: files that the README and
// the changelog point to are there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, name := range []string{"README.md", "CHANGELOG.md"} {
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestReadSteps(t *testing.T) {
	const text = "a\n```sh\nno\n```\n```sh tested\none\n```\nb\n```text answer\nx ... y\nz\n```\n```sh tested\ntwo\n```\n"
	steps := readSteps(text)
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
