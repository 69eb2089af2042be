package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest/resttest"
)

// recorded is what cc-metric-store 1.5.4 received and answered.
type recorded struct {
	Metrics map[string]any
	Lines   []string
	Cases   []struct {
		Name     string
		Request  json.RawMessage
		Status   int
		Response json.RawMessage
		Ours     json.RawMessage // instead of Response, where that is wrong
	}
}

func readRecord(t testing.TB) (rec recorded) {
	t.Helper()
	data, err := os.ReadFile("../../api/rest/testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &rec); err != nil {
		t.Fatal(err)
	}
	if len(rec.Lines) == 0 || len(rec.Cases) == 0 {
		t.Fatal("the record is empty")
	}
	return rec
}

var (
	offsetInLine = regexp.MustCompile(`\{(-?[0-9]+)\}`)
	offsetInJSON = regexp.MustCompile(`\{\s*"\$t"\s*:\s*(-?[0-9]+)\s*\}`)
)

// at replaces offsets by base+offset.
func at(base int64, offset *regexp.Regexp, text string) string {
	return offset.ReplaceAllStringFunc(text, func(s string) string {
		n, _ := strconv.ParseInt(offset.FindStringSubmatch(s)[1], 10, 64)
		return strconv.FormatInt(base+n, 10)
	})
}

// TestRecordedCases: answers are those of cc-metric-store, before and after a restart.
func TestRecordedCases(t *testing.T) {
	rec := readRecord(t)
	base := time.Now().Add(-101_000*time.Second).Unix() / 600 * 600
	s := newSettings(t)
	s["metrics"] = rec.Metrics

	before := process(t, s)
	before.write(t, at(base, offsetInLine, strings.Join(rec.Lines, "\n")))
	answers := make(map[string]string)
	for _, c := range rec.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if c.Ours != nil {
				c.Response = c.Ours
			}
			got := before.send(t, token("api"), "GET", "/api/query?version=v2", at(base, offsetInJSON, string(c.Request)))
			if got.status != c.Status {
				t.Fatalf("status %d, want %d", got.status, c.Status)
			}
			answers[c.Name] = got.body
			want := reply{c.Status, nil, at(base, offsetInJSON, string(c.Response))}.answer(t)
			if c.Name == "before-the-start-padded" {
				want.Results[0][0].From = base - 1200 // as its note says
			}
			answer := got.answer(t)
			resttest.Compare(t, answer, want)
			// Compare allows trailing nulls, which clients sum as zeros.
			for i, entries := range want.Results {
				for j, e := range entries {
					if n := len(answer.Results[i][j].Data); n != len(e.Data) {
						t.Errorf("result %d, entry %d: %d values, want %d", i, j, n, len(e.Data))
					}
				}
			}
		})
	}
	before.stopWell(t)

	after := process(t, s)
	for _, c := range rec.Cases {
		t.Run(c.Name+" after a restart", func(t *testing.T) {
			got := after.send(t, token("api"), "GET", "/api/query?version=v2", at(base, offsetInJSON, string(c.Request)))
			if got.body != answers[c.Name] {
				t.Errorf("status %d\n%.2000s\nbefore:\n%.2000s", got.status, got.body, answers[c.Name])
			}
		})
	}
}

// TestHealthcheckAsRecorded is the example in the recording's README: h1 has a recent cpu_load and
// an old mem_used, h2 an old cpu_load, h3 nothing.
func TestHealthcheckAsRecorded(t *testing.T) {
	s := newSettings(t)
	s["metrics"] = map[string]any{"cpu_load": minute(nil), "mem_used": minute(nil), "ipc": minute("avg")}
	p := serve(t, s)
	fresh, old := now(), now()-20*60
	p.write(t, fmt.Sprintf("cpu_load,cluster=hc,hostname=h1 value=1 %d\nmem_used,cluster=hc,hostname=h1 value=1 %d\n"+
		"cpu_load,cluster=hc,hostname=h2 value=1 %d\ncpu_load,cluster=hc,hostname=h4,type=hwthread,type-id=1 value=1 %d",
		fresh, old, old, fresh))
	f := func(body, want string) {
		t.Helper()
		for _, method := range []string{"GET", "POST"} {
			for _, path := range []string{"/api/healthcheck", "/api/healthcheck/"} {
				got := p.send(t, token("support"), method, path, body)
				if got.status != 200 || strings.TrimSpace(got.body) != want {
					t.Errorf("%s %s: %d\n%s\nwant\n%s", method, path, got.status, got.body, want)
				}
			}
		}
	}
	f(`{"cluster":"hc","nodes":["h1","h2","h3"],"metric-names":["cpu_load","mem_used","ipc"]}`,
		`{"h1":{"State":"partial","HealthMetrics":"{\"degraded\":[\"mem_used\"],\"missing\":[\"ipc\"]}"},`+
			`"h2":{"State":"failed","HealthMetrics":"{\"degraded\":[\"cpu_load\"],\"missing\":[\"mem_used\",\"ipc\"]}"},`+
			`"h3":{"State":"failed","HealthMetrics":""}}`)
	f(`{"cluster":"hc","nodes":["h4"],"metric-names":["cpu_load"]}`,
		`{"h4":{"State":"full","HealthMetrics":"{\"degraded\":[],\"missing\":[]}"}}`)
}

// TestDebugAsRecorded: the subtree has a list of windows per level and metric, and is valid JSON.
func TestDebugAsRecorded(t *testing.T) {
	p := serve(t, newSettings(t))
	base := now() - 3600
	p.write(t, at(base, offsetInLine, strings.Join([]string{
		"cpu_load,cluster=hc,hostname=h1 value=1 {0}",
		"cpu_load,cluster=hc,hostname=h1 value=1 {60}",
		"flops_any,cluster=hc,hostname=h1,type=accelerator,type-id=00000000:49:00.0 value=1 {60}",
	}, "\n")))
	accelerator := `{"flops_any":[{"start":{60},"len":1,"end":{120}}]}`
	h1 := `{"cpu_load":[{"start":{0},"len":2,"end":{120}}],"accelerator00000000:49:00.0":` + accelerator + `}`
	f := func(selector string, status int, want string) {
		t.Helper()
		got := p.send(t, token("admin"), "GET", "/api/debug/?selector="+url.QueryEscape(selector), "")
		if want != "" {
			want = `{"data":` + at(base, offsetInLine, want) + `}` + "\n"
		}
		if got.status != status || want != "" && got.body != want {
			t.Errorf("%s: %d\n%s\nwant %d\n%s", selector, got.status, got.body, status, want)
		}
	}
	f("hc:h1", 200, h1)
	f("hc", 200, `{"h1":`+h1+`}`)
	f("", 200, `{"hc":{"h1":`+h1+`}}`)
	f(`["hc","h1","accelerator00000000:49:00.0"]`, 200, accelerator)
	f("hc:h2", 404, "")
}

// TestFreeAsRecorded: selectors are names and lists of names, the answer is the number of buffers
// as text. Freed samples are also gone after a restart.
func TestFreeAsRecorded(t *testing.T) {
	s := newSettings(t)
	p := process(t, s)
	to := now() - 60
	for _, line := range []string{
		"cpu_load,cluster=hc,hostname=h2 value=1",
		"flops_any,hostname=n1,type=hwthread,type-id=0 value=1",
		"flops_any,hostname=n1,type=hwthread,type-id=1 value=2",
	} {
		p.write(t, fmt.Sprintf("%s %d", line, to))
	}
	got := p.send(t, token("admin"), "POST", "/api/free/", `[["hc"]]`)
	if f := got.failure(t); got.status != 400 || f.Status != "Bad Request" || f.Error != "'to' is a required query parameter" {
		t.Errorf("without to: %d %s", got.status, got.body)
	}
	got = p.send(t, token("admin"), "POST", fmt.Sprintf("/api/free/?to=%d", to), `[["hc","h2"],["alpha","n1","hwthread0"]]`)
	if got.status != 200 || got.body != "buffers freed: 2\n" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Errorf("%d %q %s", got.status, got.header.Get("Content-Type"), got.body)
	}
	left := func(p *program) string {
		return p.send(t, token("admin"), "GET", "/api/debug", "").body
	}
	want := fmt.Sprintf(`{"data":{"alpha":{"n1":{"hwthread1":{"flops_any":[{"start":%d,"len":1,"end":%d}]}}}}}`+"\n", to, to+60)
	if got := left(p); got != want {
		t.Errorf("left:\n%s\nwant\n%s", got, want)
	}
	p.stopWell(t)
	if got := left(process(t, s)); got != want {
		t.Errorf("left after a restart:\n%s\nwant\n%s", got, want)
	}
}

// TestAnswersAreJSON: every endpoint that answers JSON answers valid JSON. cc-metric-store's debug
// output is not.
func TestAnswersAreJSON(t *testing.T) {
	p := serve(t, newSettings(t))
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=0.0004 %d\ncpu_load,hostname=n2 value=1e300 %d", now()-60, now()-60))
	for path, body := range map[string]string{
		"/api/query":       fmt.Sprintf(`{"cluster":"alpha","from":%d,"to":%d,"for-all-nodes":["cpu_load"]}`, now()-120, now()),
		"/api/healthcheck": `{"cluster":"alpha","nodes":["n1"],"metric-names":["cpu_load","fast"]}`,
		"/api/debug":       "",
	} {
		got := p.send(t, token("admin"), "POST", path, body)
		if got.status != 200 || got.header.Get("Content-Type") != "application/json" || !json.Valid([]byte(got.body)) {
			t.Errorf("%s: %d %s %s", path, got.status, got.header.Get("Content-Type"), got.body)
		}
		if path == "/api/query" && !strings.Contains(got.body, "0.0004") {
			t.Errorf("0.0004 is not in %s", got.body)
		}
	}
}
