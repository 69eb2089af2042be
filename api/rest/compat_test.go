package rest_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/api/rest/resttest"
)

// recorded is the content of testdata/cases.json: lines written to cc-metric-store 1.5.4, and
// requests with its responses.
type recorded struct {
	Lines []string
	Cases []struct {
		Name     string
		Request  json.RawMessage
		Status   int
		Response json.RawMessage
		Ours     json.RawMessage // replaces Response where that is wrong
	}
}

// placeTimes replaces {"$t": N} by base+N.
func placeTimes(t testing.TB, data json.RawMessage) string {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var place func(any) any
	place = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			if n, ok := v["$t"].(json.Number); ok && len(v) == 1 {
				offset, _ := n.Int64()
				return base + offset
			}
			for k, e := range v {
				v[k] = place(e)
			}
		case []any:
			for i, e := range v {
				v[i] = place(e)
			}
		}
		return v
	}
	out, err := json.Marshal(place(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestRecordedCases(t *testing.T) {
	data, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var rec recorded
	if err := json.Unmarshal(data, &rec); err != nil {
		t.Fatal(err)
	}
	d := open(t)
	d.write(t, rec.Lines...)
	for _, c := range rec.Cases {
		if c.Ours != nil {
			c.Response = c.Ours
		}
		want := reply{status: c.Status, body: placeTimes(t, c.Response)}.answer(t)
		if c.Name == "before-the-start-padded" {
			want.Results[0][0].From = base - 1200 // see the note of this case
		}
		for _, method := range []string{"GET", "POST"} {
			for _, path := range []string{"/api/query?version=v2", "/api/query/?version=v2"} {
				t.Run(c.Name+" "+method+" "+path, func(t *testing.T) {
					got := d.send(t, method, path, placeTimes(t, c.Request))
					answer := got.answer(t)
					resttest.Compare(t, answer, want)
					for i, entries := range want.Results {
						for j, e := range entries {
							if n := len(answer.Results[i][j].Data); n != len(e.Data) {
								t.Errorf("result %d, entry %d: %d values, want %d", i, j, n, len(e.Data))
							}
						}
					}
				})
			}
		}
	}
}

// The following tests compare with responses of cc-metric-store 1.5.4 to other paths.

func TestHealthcheckAnswersAsRecorded(t *testing.T) {
	d := open(t)
	d.write(t,
		"cpu_load,cluster=hc,hostname=h1 value=1 {100990}",
		"mem_used,cluster=hc,hostname=h1 value=1 {100000}",
		"cpu_load,cluster=hc,hostname=h2 value=1 {100000}",
		"cpu_load,cluster=hc,hostname=h4,type=hwthread,type-id=1 value=1 {100990}",
	)
	for _, method := range []string{"GET", "POST"} {
		for _, path := range []string{"/api/healthcheck", "/api/healthcheck/"} {
			got := d.send(t, method, path, `{"cluster":"hc","nodes":["h3","h1","h2","h1"],"metric-names":["cpu_load","mem_used","ipc"]}`)
			want := `{"h1":{"State":"partial","HealthMetrics":"{\"degraded\":[\"mem_used\"],\"missing\":[\"ipc\"]}"},` +
				`"h2":{"State":"failed","HealthMetrics":"{\"degraded\":[\"cpu_load\"],\"missing\":[\"mem_used\",\"ipc\"]}"},` +
				`"h3":{"State":"failed","HealthMetrics":""}}` + "\n"
			if got.status != 200 || got.body != want {
				t.Errorf("%s %s: %d\n%s\nwant\n%s", method, path, got.status, got.body, want)
			}
		}
	}
	got := d.send(t, "GET", "/api/healthcheck", `{"cluster":"hc","nodes":["h4"],"metric-names":["cpu_load"]}`)
	if want := `{"h4":{"State":"full","HealthMetrics":"{\"degraded\":[],\"missing\":[]}"}}` + "\n"; got.body != want {
		t.Errorf("%s\nwant\n%s", got.body, want)
	}
}

func TestDebugAnswersAsRecorded(t *testing.T) {
	d := open(t)
	d.write(t,
		"cpu_load,hostname=n1 value=1 {0}", "cpu_load,hostname=n1 value=1 {60}",
		"flops_any,hostname=n1,type=hwthread,type-id=0 value=1 {0}",
		"acc_power,hostname=n1,type=accelerator,type-id=00000000:49:00.0 value=1 {0}",
		"cpu_load,hostname=n2 value=1 {0}",
		"cpu_load,cluster=beta,hostname=m1 value=1 {0}",
	)
	one := atBase(`[{"start":{0},"len":1,"end":{60}}]`)
	two := atBase(`[{"start":{0},"len":2,"end":{120}}]`)
	thread := `{"flops_any":` + one + `}`
	acc := `{"acc_power":` + one + `}`
	n1 := `{"cpu_load":` + two + `,"accelerator00000000:49:00.0":` + acc + `,"hwthread0":` + thread + `}`
	alpha := `{"n1":` + n1 + `,"n2":{"cpu_load":` + one + `}}`
	f := func(selector string, status int, data string) {
		t.Helper()
		for _, method := range []string{"GET", "POST"} {
			for _, path := range []string{"/api/debug", "/api/debug/"} {
				got := d.send(t, method, path+"?selector="+strings.ReplaceAll(selector, `"`, "%22"), "")
				if status != 200 {
					got.failure(t)
					data = strings.TrimSuffix(got.body, "\n")
				} else if !strings.HasPrefix(data, `{"data":`) {
					data = `{"data":` + data + `}`
				}
				if got.status != status || got.body != data+"\n" {
					t.Errorf("%s %s: %d\n%s\nwant %d\n%s", method, selector, got.status, got.body, status, data)
				}
			}
		}
	}
	f("alpha:n1", 200, n1)
	f("alpha:n1:hwthread0", 200, thread)
	f("alpha", 200, alpha)
	f("", 200, `{"alpha":`+alpha+`,"beta":{"m1":{"cpu_load":`+one+`}}}`)
	f(`["alpha","n1","accelerator00000000:49:00.0"]`, 200, acc)
	f("nope", 404, "")
	f("alpha:nope", 404, "")
	f("alpha:n1:nope", 404, "")
	f("alpha:", 404, "")
	f(`["alpha",1]`, 400, "")
	f(`["alpha"`, 400, "")
}

func TestFreeAnswersAsRecorded(t *testing.T) {
	d := open(t)
	lines := []string{
		"cpu_load,cluster=hc,hostname=h2 value=1 {0}",
		"flops_any,hostname=n1,type=hwthread,type-id=0 value=1 {0}",
		"flops_any,hostname=n1,type=hwthread,type-id=1 value=1 {0}",
		"flops_any,hostname=n1,type=hwthread,type-id=1 value=1 {600}",
	}
	f := func(query, body string, status int, text string) {
		t.Helper()
		for _, path := range []string{"/api/free", "/api/free/"} {
			d.send(t, "POST", "/api/free?to="+atBase("{9999}"), `[["*"]]`)
			d.write(t, lines...)
			got := d.send(t, "POST", path+atBase(query), body)
			if status == 200 {
				if got.status != 200 || got.body != text || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
					t.Errorf("%s %s: %d %s", query, body, got.status, got.body)
				}
				continue
			}
			if fail := got.failure(t); got.status != status || !strings.Contains(fail.Error, text) {
				t.Errorf("%s %s: %d %s, want %d %s", query, body, got.status, got.body, status, text)
			}
		}
	}
	f("", `[["*"]]`, 400, "'to' is a required query parameter")
	f("?to=", `[["*"]]`, 400, "'to' is a required query parameter")
	f("?to=soon", `[["*"]]`, 400, "'to'")
	f("?to={0}", `[[]]`, 400, `["*"]`)
	f("?to={0}", `[null]`, 400, `["*"]`)
	f("?to={0}", `[["hc", null]]`, 400, `["*"]`)
	f("?to={0}", `[["hc", []]]`, 400, `["*"]`)
	f("?to={0}", `[["hc", 1]]`, 400, "selector")
	f("?to={0}", `{"hc":1}`, 400, "list")
	f("?to={0}", `[["hc"]`, 400, "JSON")
	f("?to={0}", `["*"]`, 400, "selector")
	f("?to={0}", "["+strings.Repeat(`["x"],`, 10_001)+`["x"]]`, 400, "10000")
	f("?to={0}", ``, 200, "buffers freed: 0\n")
	f("?to={0}", `[]`, 200, "buffers freed: 0\n")
	f("?to={-60}", `[["*"]]`, 200, "buffers freed: 0\n")
	f("?to={0}", `[["hc","h2"],["alpha","n1","hwthread0"]]`, 200, "buffers freed: 2\n")
	f("?to={0}", `[["hc"]]`, 200, "buffers freed: 1\n")
	f("?to={0}", `[["nope","h2"]]`, 200, "buffers freed: 0\n")
	f("?to={0}", `[[["hc","alpha"],"*"]]`, 200, "buffers freed: 2\n")
	f("?to={0}", `[["alpha","n1",["hwthread0","hwthread1"]]]`, 200, "buffers freed: 1\n")
	f("?to={600}", `[["*"]]`, 200, "buffers freed: 3\n")
	f("?to=9223372036854775807", `[["*"]]`, 200, "buffers freed: 3\n")
	f("?to=-9223372036854775808", `[["*"]]`, 200, "buffers freed: 0\n")
	f("?to=9223372036854775", `[["*"]]`, 200, "buffers freed: 3\n")
	for _, unit := range []string{"000", "000000", "000000000"} { // as writes tell them apart
		f("?to={0}"+unit, `[["*"]]`, 200, "buffers freed: 2\n")
	}
	f("?to=9223372036854775808", `[["*"]]`, 400, "'to'")
}
