package main

import (
	"bytes"
	"os"
	"regexp"
	"testing"
	"time"
)

// A small run goes through all of it: every sample is stored, found, and found
// again after a restart, and nothing is left behind.
func TestMeasuresTheServer(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-hosts", "5", "-steps", "12", "-batch", "2"}, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^ *samples stored +40680$`,
		`(?m)^ *query: values answered +9984$`,
		`(?m)^ *restart: values found again +9984$`,
		`(?m)^ *memory: resident after that +MB +[1-9][0-9.]+$`,
		`(?m)^ *disk: per sample +bytes +[1-9][0-9.]*$`,
	} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("no line %s in\n%s", want, out.String())
		}
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRefusesFlags(t *testing.T) {
	f := func(args ...string) {
		t.Helper()
		if _, err := parseOptions(args, t.Output()); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
	f("-hosts", "0")
	f("-steps", "-1")
	f("-writers", "0")
	f("-batch", "0")
	f("-nope")
	f("operand")
}

// Our own process is one that surely runs.
func TestReadsProc(t *testing.T) {
	if n, err := residentMemory(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("resident memory %d, %v", n, err)
	}
	for begin := time.Now(); ; {
		d, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if d > 0 {
			break
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatal("ten seconds of work take no CPU time")
		}
	}
}
