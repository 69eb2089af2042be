package prometheus

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// TestMalformedRequests: each is answered with the status and the type of error that clients of
// Prometheus expect, and a text that names the parameter.
func TestMalformedRequests(t *testing.T) {
	w := newTwin(t, 2)
	const query, ranged = "/api/v1/query", "/api/v1/query_range"
	for _, c := range []struct {
		path, form string
		status     int
		want       string
	}{
		{query, "", 400, `bad_data: invalid parameter "query"`},
		{query, "query=load(", 400, `bad_data: invalid parameter "query"`},
		{query, "query=load&time=yesterday", 400, `bad_data: invalid parameter "time": expected Unix seconds or RFC 3339, got "yesterday"`},
		{query, "query=load&time=NaN", 400, `bad_data: invalid parameter "time": "NaN" is not a time`},
		{query, "query=load&time=1e300", 400, `bad_data: invalid parameter "time"`},
		{query, "query=load&timeout=soon", 400, `bad_data: invalid parameter "timeout": expected seconds or a duration such as 5m, got "soon"`},
		{query, "query=load&lookback_delta=x", 400, `bad_data: invalid parameter "lookback_delta"`},
		{query, "query=load&limit=-1", 400, `bad_data: invalid parameter "limit": expected a whole number, got "-1"`},
		{query, "query=" + strings.Repeat("(", 100_000), 400, `bad_data: invalid parameter "query"`},
		{query, `query=label_replace(load,"a","$1","hostname","(")`, 422, `execution: `},
		{query, fmt.Sprintf(`query=flops_any%%2Bon(hostname)load&time=%d`, now-1800), 422, `execution: `},
		{ranged, "query=load&end=2&step=1", 400, `bad_data: the parameter "start" is missing`},
		{ranged, "query=load&start=1&end=2", 400, `bad_data: the parameter "step" is missing`},
		{ranged, "query=load&start=2&end=1&step=1", 400, `bad_data: invalid parameter "end": it is before start`},
		{ranged, "query=load&start=1&end=2&step=0", 400, `bad_data: invalid parameter "step": expected at least one millisecond`},
		{ranged, "query=load&start=1&end=2&step=-5", 400, `bad_data: invalid parameter "step"`},
		{ranged, "query=load&start=1&end=12000&step=1", 400, `bad_data: a series would have more than 11000 points`},
		{ranged, "query=load[5m]&start=1&end=2&step=1", 400, `bad_data: invalid parameter "query"`},
		{"/api/v1/series", "", 400, `bad_data: the parameter "match[]" is missing`},
		{"/api/v1/series", "match[]={}", 400, `bad_data: invalid parameter "match[]"`},
		{"/api/v1/series", `match[]={x=~".*"}`, 400, `bad_data: invalid parameter "match[]": a selector must have`},
		{"/api/v1/labels", "match[]=load{", 400, `bad_data: invalid parameter "match[]"`},
		{"/api/v1/labels", "start=2&end=1", 400, `bad_data: invalid parameter "end": it is before start`},
		{"/api/v1/format_query", "query=load(", 400, `bad_data: invalid parameter "query"`},
		{"/api/v1/parse_query", "", 400, `bad_data: invalid parameter "query"`},
	} {
		form, err := url.ParseQuery(c.form)
		if err != nil {
			t.Fatal(err)
		}
		status, body := w.ask(t, http.MethodGet, c.path, form)
		if status != c.status || !strings.HasPrefix(body, c.want) {
			t.Errorf("%s?%.60s: got %d %.200s, want %d %s", c.path, c.form, status, body, c.status, c.want)
		}
	}
}

// TestForms: results have the forms of Prometheus, by GET and by POST.
func TestForms(t *testing.T) {
	w := newTwin(t, 2)
	at := fmt.Sprint(now - 1800)
	for _, c := range []struct {
		path string
		form url.Values
		want string
	}{
		// What Grafana asks to see whether a data source works.
		{"/api/v1/query", url.Values{"query": {"1+1"}, "time": {"1795200000"}}, `{"resultType":"scalar","result":[1795200000,"2"]}`},
		{"/api/v1/query", url.Values{"query": {"1+1"}, "time": {"2026-11-20T00:00:00Z"}}, `{"resultType":"scalar","result":[1795132800,"2"]}`},
		{"/api/v1/query", url.Values{"query": {"vector(1)/0"}, "time": {"1795200000.05"}}, `{"resultType":"vector","result":[{"metric":{},"value":[1795200000.05,"+Inf"]}]}`},
		{"/api/v1/query", url.Values{"query": {"vector(-1)/0"}, "time": {"-1.5"}}, `{"resultType":"vector","result":[{"metric":{},"value":[-1.5,"-Inf"]}]}`},
		{"/api/v1/query", url.Values{"query": {`"a<b"`}, "time": {"1"}}, `{"resultType":"string","result":[1,"a<b"]}`},
		{"/api/v1/query", url.Values{"query": {"nothing"}}, `{"resultType":"vector","result":[]}`},
		{"/api/v1/query_range", url.Values{"query": {"time()"}, "start": {"10"}, "end": {"20.5"}, "step": {"5s"}}, `{"resultType":"matrix","result":[{"metric":{},"values":[[10,"10"],[15,"15"],[20,"20"]]}]}`},
		{"/api/v1/query", url.Values{"query": {`count by (type) (load{hostname="n2",cluster="c1",stype=""})`}, "time": {at}}, `{"resultType":"vector","result":[{"metric":{"type":"node"},"value":[` + at + `,"1"]}]}`},
		{"/api/v1/labels", url.Values{}, `["__name__","cluster","hostname","stype","stype_id","type","type_id"]`},
		{"/api/v1/labels", url.Values{"match[]": {`load{stype=""}`}}, `["__name__","cluster","hostname","type"]`},
		{"/api/v1/labels", url.Values{"match[]": {`node:flops_any:sum`}}, `["__name__","cluster","hostname"]`},
		{"/api/v1/labels", url.Values{"end": {"1000"}}, `[]`},
		{"/api/v1/series", url.Values{"match[]": {`load{hostname="n2",stype=""}`, `load{hostname="n2",type="node"}`}}, `[{"__name__":"load","cluster":"c1","hostname":"n2","type":"node"}]`},
		{"/api/v1/series", url.Values{"match[]": {`nothing`}}, `[]`},
		{"/api/v1/query_exemplars", url.Values{"query": {"load"}}, `[]`},
		{"/api/v1/format_query", url.Values{"query": {"sum(load)by(hostname)"}}, `"sum by (hostname) (load)"`},
		{
			"/api/v1/parse_query",
			url.Values{"query": {"(-x)[5m:1m] @ end()"}},
			`{"type":"subquery","expr":{"type":"parenExpr","expr":{"type":"unaryExpr","op":"-","expr":{"type":"vectorSelector","name":"x",` +
				`"matchers":[{"name":"__name__","type":"=","value":"x"}],"offset":0,"timestamp":null,"startOrEnd":null,"anchored":false,"smoothed":false}}},` +
				`"range":300000,"step":60000,"offset":0,"timestamp":null,"startOrEnd":"end"}`,
		},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			status, body := w.ask(t, method, c.path, c.form)
			var got, want any
			data(t, status, body, &got)
			if err := json.Unmarshal([]byte(c.want), &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s %s?%s: got %s, want %s", method, c.path, c.form.Encode(), body, c.want)
			}
		}
	}
}

// TestLabelValues: Grafana's variables and completion ask for these.
func TestLabelValues(t *testing.T) {
	w := newTwin(t, 2)
	for _, c := range []struct {
		label, match string
		want         []string
	}{
		{"cluster", "", []string{"c1", "c2"}},
		{"hostname", "", []string{"n1", "n2", "n3"}},
		{"hostname", `{cluster="c2"}`, []string{"n1"}},
		{"__name__", "", []string{"flops_any", "ib_recv_total", "ipc", "load", "node:flops_any:sum", "node:ib_recv_total:sum", "node:ipc:avg"}},
		{"U__hostname", `{cluster="c2"}`, []string{"n1"}}, // escaped, as Grafana sends names that are not plain
		{"U__host_2e_name", "", nil},
		{"type", "", []string{"hwthread", "node", "socket"}},
		{"type_id", `ipc{cluster="c1"}`, []string{"0", "1", "2", "3"}},
		{"stype_id", "", []string{"eth0", "mlx5_0", "mlx5_1"}},
		{"type", `node:ipc:avg`, nil},
		{"job", "", nil},
	} {
		form := url.Values{}
		if c.match != "" {
			form.Set("match[]", c.match)
		}
		var got []string
		status, body := w.ask(t, http.MethodGet, "/api/v1/label/"+c.label+"/values", form)
		data(t, status, body, &got)
		if len(got)+len(c.want) > 0 && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s of %q: got %q, want %q", c.label, c.match, got, c.want)
		}
	}
}

// TestLimits: a limit cuts the result off and says so; a caller's limit of samples ends a query.
func TestLimits(t *testing.T) {
	w := newTwin(t, 2)
	at := fmt.Sprint(now - 1800)
	for path, form := range map[string]url.Values{
		"/api/v1/query":                {"query": {"ipc"}, "time": {at}, "limit": {"2"}},
		"/api/v1/labels":               {"limit": {"2"}},
		"/api/v1/series":               {"match[]": {"ipc"}, "limit": {"2"}},
		"/api/v1/label/type_id/values": {"limit": {"2"}},
	} {
		_, body := w.ask(t, http.MethodGet, path, form)
		if !strings.Contains(body, `"warnings":["the result was cut off at the limit"]`) {
			t.Errorf("%s: got %s, want a warning", path, body)
		}
	}
	form := url.Values{"query": {"sum(flops_any)"}, "start": {fmt.Sprint(base)}, "end": {fmt.Sprint(now)}, "step": {"60"}}
	status, body := ask(t, w.api, Caller{Reader: w.reader, MaxSamples: 100}, http.MethodGet, "/api/v1/query_range", form)
	if status != http.StatusUnprocessableEntity || !strings.Contains(body, "too many samples") {
		t.Errorf("above the limit: got %d %s, want 422", status, body)
	}
	if status, body := ask(t, w.api, Caller{Reader: w.reader, MaxSamples: 100_000}, http.MethodGet, "/api/v1/query_range", form); status != http.StatusOK {
		t.Errorf("below the limit: got %d %s, want 200", status, body)
	}
}

// TestMetadata: units and descriptions come from the configuration.
func TestMetadata(t *testing.T) {
	w := newTwin(t, 2)
	var got map[string][]map[string]any
	status, body := w.ask(t, http.MethodGet, "/api/v1/metadata", url.Values{"metric": {"flops_any"}})
	data(t, status, body, &got)
	want := map[string][]map[string]any{"flops_any": {{"type": "gauge", "unit": "F/s", "help": "Floating point operations.", "frequency": 60.0}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var build map[string]string
	status, body = w.ask(t, http.MethodGet, "/api/v1/status/buildinfo", nil)
	data(t, status, body, &build)
	if build["version"] != "3.16.0" || build["revision"] != "ringstore test" {
		t.Errorf("got %v", build)
	}
}
