package e2e

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// recordings holds directories written by cc-metric-store, with the lines that it had acknowledged.
const recordings = "../../archive/ccms/testdata"

// importing returns settings for a recording with this frequency. The retention reaches back to it.
func importing(t *testing.T, frequency int) settings {
	s := newSettings(t)
	s["metric-store"]["retention-in-memory"] = "876000h"
	s["metrics"] = map[string]any{
		"cpu_load": metric(frequency, nil), "flops_any": metric(frequency, "sum"),
		"acc_power": metric(frequency, "sum"),
	}
	return s
}

// checkImported queries each sample of the recording.
func checkImported(t *testing.T, p *program, recording string, precision float64) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(recordings, recording, "lines.txt"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		tags := map[string]string{}
		name, rest, _ := strings.Cut(fields[0], ",")
		for _, tag := range strings.Split(rest, ",") {
			k, v, _ := strings.Cut(tag, "=")
			tags[k] = v
		}
		want, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimPrefix(fields[1], "value="), "i"), 64)
		at, err2 := strconv.ParseInt(fields[2], 10, 64)
		if err != nil || err2 != nil {
			t.Fatalf("%q", line)
		}
		query := fmt.Sprintf(`{"metric":%q,"host":%q`, name, tags["hostname"])
		if tags["type"] != "node" {
			query += fmt.Sprintf(`,"aggreg":false,"type":%q,"type-ids":[%q]`, tags["type"], tags["type-id"])
		}
		a := p.query(t, fmt.Sprintf(`{"cluster":"alpha","from":%d,"to":%d,"queries":[%s}]}`, at, at+1, query))
		if len(a.Results[0]) != 1 || len(a.Results[0][0].Data) != 1 || a.Results[0][0].Data[0] == nil {
			t.Fatalf("%q: %+v", line, a.Results[0])
		}
		if got := *a.Results[0][0].Data[0]; math.Abs(got-want) > precision*max(1, math.Abs(want)) {
			t.Errorf("%q: %v", line, got)
		}
		n++
	}
	if n < 50 {
		t.Errorf("only %d samples were compared", n)
	}
}

// TestFirstStartImports: the first start imports what cc-metric-store left, later ones do not.
func TestFirstStartImports(t *testing.T) {
	f := func(recording string, frequency int, precision float64) {
		t.Helper()
		s := importing(t, frequency)
		dir := filepath.Dir(s.checkpoints())
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(recordings, recording))); err != nil {
			t.Fatal(err)
		}
		p := serve(t, s)
		checkImported(t, p, recording, precision)
		if !strings.Contains(p.stderr.String(), "imported") {
			t.Errorf("no log line: %s", p.stderr.String())
		}
		p.stopWell(t)
		again := serve(t, s)
		checkImported(t, again, recording, precision)
		if strings.Contains(again.stderr.String(), "imported") {
			t.Error("imported twice")
		}
	}
	f("json", 1, 0.051) // one decimal
	f("bin", 1, 1e-6)   // float32
	f("wal", 1, 1e-6)
	f("json-60s", 60, 0.051)
	f("bin-60s", 60, 1e-6)
}

// TestImportLosses: what the first start cannot import is logged, and can be imported later.
func TestImportLosses(t *testing.T) {
	s := importing(t, 1)
	flops := s["metrics"]["flops_any"]
	delete(s["metrics"], "flops_any")
	dir := filepath.Dir(s.checkpoints())
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(recordings, "json"))); err != nil {
		t.Fatal(err)
	}
	p := serve(t, s)
	p.stopWell(t)
	for _, want := range []string{"samples not imported", "the metric is not configured", "flops_any: ", "ringstore import"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("missing %q in the log:\n%s", want, p.stderr.String())
		}
	}
	s["metrics"]["flops_any"] = flops
	if got := runCommand(t, nil, "import", "-config", s.file(t), dir); got.code != exitOK {
		t.Fatalf("%+v", got)
	}
	checkImported(t, serve(t, s), "json", 0.051)
}

// TestImportCommand: import takes any directory, and needs a stopped server.
func TestImportCommand(t *testing.T) {
	s := importing(t, 60)
	p := serve(t, s)
	second := now() - 120
	p.write(t, fmt.Sprintf("cpu_load,hostname=other value=1 %d", second))
	if code := launch(t, nil, "import", "-config", s.file(t), filepath.Join(recordings, "bin-60s")).wait(t); code != exitFailure {
		t.Errorf("next to a running server: exit code %d", code)
	}
	p.stopWell(t)
	got := runCommand(t, nil, "import", "-config", s.file(t), filepath.Join(recordings, "bin-60s"))
	if got.code != exitOK || !strings.Contains(got.stdout, "samples of 2 hosts") {
		t.Fatalf("%+v", got)
	}
	again := serve(t, s)
	checkImported(t, again, "bin-60s", 1e-6)
	if values := again.samples(t, "other", "cpu_load", second-60, second+60); len(values) != 1 {
		t.Errorf("samples from before the import: %v", values)
	}
	if got := runCommand(t, nil, "import", "-config", s.file(t), "/no such directory"); got.code != exitFailure {
		t.Errorf("%+v", got)
	}
}

// TestVerify: verify counts blocks and values, reports damage with its position, and changes
// nothing.
func TestVerify(t *testing.T) {
	s := newSettings(t)
	p := serve(t, s)
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1 %d", now()-60))
	p.stopWell(t)
	got := runCommand(t, nil, "verify", "-config", s.file(t))
	if got.code != exitOK || !strings.Contains(got.stdout, "1 files with 1 blocks and 1 values") || !strings.Contains(got.stdout, "0 problems") {
		t.Errorf("%+v", got)
	}
	files, err := filepath.Glob(filepath.Join(s.checkpoints(), "windows-*.rsw"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(raw, []byte("RSB\x01"))
	raw[at+8] ^= 1
	cmdtest.WriteFile(t, files[0], raw)
	got = runCommand(t, nil, "verify", "-config", s.file(t))
	if got.code != exitFailure || !strings.Contains(got.stdout, fmt.Sprintf("%s: damaged at byte %d", files[0], at)) {
		t.Errorf("%+v", got)
	}
	if after, err := os.ReadFile(files[0]); err != nil || !bytes.Equal(after, raw) {
		t.Error("the file has changed")
	}
}
