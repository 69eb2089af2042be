package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// checkLog is called at the end of every program: its log must not contain a token, key or password
// that a test has used.
func (p *program) checkLog(t testing.TB) {
	for _, s := range authtest.SecretsIn(p.stderr.String(), brokerPassword, "the-token", "hunter2") {
		t.Errorf("a secret is in the log: %.20s...", s)
	}
}

// TestJSON: without a terminal, each log line is a JSON object with a time, and durations are in
// seconds.
func TestJSON(t *testing.T) {
	for _, args := range [][]string{nil, {"-logformat", "json", "-logdate"}} {
		asItIs := func(c *exec.Cmd) { c.Args = slices.Delete(c.Args, 1, 3) } // what asText has added
		p := launch(t, asItIs, append(args, "-loglevel", "debug", "-config", newSettings(t).file(t))...)
		p.says(t, regexp.MustCompile(`"msg":"ready"`))
		p.stopWell(t)
		var last map[string]any
		for line := range strings.Lines(p.stderr.String()) {
			entry := map[string]any{}
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatalf("%q: %v: %s", args, err, line)
			}
			if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(entry["time"])); err != nil || entry["level"] == nil || entry["msg"] == nil {
				t.Errorf("%q: %v: %s", args, err, line)
			}
			last = entry
		}
		if took, ok := last["took"].(float64); last["msg"] != "checkpoint written" || !ok || took <= 0 || took > cmdtest.Patience.Seconds() {
			t.Errorf("%q: the last line: %v", args, last)
		}
	}
}

// TestSlowQueries: main.slow-query logs slow queries with the principal, but without the token.
func TestSlowQueries(t *testing.T) {
	s := newSettings(t)
	s["main"]["slow-query"] = "1ns"
	p := serve(t, s)
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1 %d", now()-60))
	p.query(t, fmt.Sprintf(`{"cluster":"alpha","from":%d,"to":%d,"queries":[{"metric":"cpu_load","host":"n1"}]}`, now()-120, now()))
	p.says(t, regexp.MustCompile(`level=WARN msg="slow query" id=\S+ .*cluster=alpha .*series=1 .*principal.subject=tester principal.roles=api`))
}
