package rest_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest"
)

// A slow query is logged with its caller and its size, but without the token. The limits of this
// test make every query slow, or none.
func TestSlowQuery(t *testing.T) {
	const slow = "slow query"
	long := strings.Repeat("c", 100_000)
	f := func(limit time.Duration, path, body string, want ...string) {
		t.Helper()
		d := open(t, func(o *rest.Options) { o.SlowQuery = limit })
		d.write(t, "cpu_load,hostname=h1 value=1 {0}", "ipc,hostname=h1,type=hwthread,type-id=0 value=1 {0}")
		token := d.token("admin")
		got := d.send(t, "POST", atBase(path), atBase(body), "Authorization", "Bearer "+token, "X-Request-Id", "r1")
		d.Close() // waits for the handler, whose line comes after the answer
		var lines []string
		for line := range strings.Lines(d.log.String()) {
			if strings.Contains(line, slow) {
				lines = append(lines, line)
			}
		}
		if len(want) > 0 && len(lines) != 1 {
			t.Fatalf("%s: %d lines in the log, want 1", path, len(lines))
		}
		if len(want) == 0 && len(lines) > 0 || strings.Contains(d.log.String(), token) {
			t.Errorf("%s: %d\n%.500q", path, got.status, lines)
		}
		for _, w := range want {
			if !strings.Contains(lines[0], " "+w) || len(lines[0]) > 1000 {
				t.Errorf("%s: the line lacks %s or is too long:\n%.1000s", path, w, lines[0])
			}
		}
	}
	const body = `{"cluster":"alpha","from":{0},"to":{600},"queries":[{"metric":"cpu_load","host":"h1"},` +
		`{"metric":"ipc","host":"h1","type":"hwthread","type-ids":["0","1"]}]}`
	quoted, _ := json.Marshal(long)
	f(time.Nanosecond, "/api/query", body, "level=WARN", "id=r1", "peer=127.0.0.1", "cluster=alpha", "queries=2", "series=2", "values=20 ",
		"seconds=600", "status=200", "principal.issuer=", "principal.subject=tester", "principal.roles=admin", "took=")
	f(time.Nanosecond, "/api/query", `{"cluster":`+string(quoted)+`,"for-all-nodes":["ipc"],"from":{0},"to":{600}}`, "queries=0", "series=0")
	f(time.Nanosecond, "/api/query", `{"cluster":`)
	f(time.Nanosecond, "/api/healthcheck", `{"cluster":"alpha"}`)
	f(time.Nanosecond, "/api/v1/query?query="+url.QueryEscape(`sum(ipc{cluster="alpha"})`)+"&time={60}", "", "level=WARN", "id=r1", "peer=127.0.0.1",
		"path=/api/v1/query ", `query="sum(ipc{cluster=\"alpha\"})"`, "queries=1", "series=1", "seconds=0", "status=200", "principal.subject=tester", "took=")
	f(time.Nanosecond, "/api/v1/query_range?query=ipc&start={0}&end={600}&step=60", "", "path=/api/v1/query_range", "query=ipc", "series=1", "seconds=600")
	f(time.Nanosecond, "/api/v1/query?query="+long, "", "status=200", "query=ccc")
	f(time.Nanosecond, "/api/v1/labels?match[]=ipc&match[]=cpu_load", "", "path=/api/v1/labels", `query="ipc cpu_load"`)
	f(time.Hour, "/api/v1/query?query=ipc", "")
	f(time.Hour, "/api/query", body)
	f(0, "/api/query", body)
}
