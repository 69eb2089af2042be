package prometheus

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestGrafana sends the requests of Grafana's Prometheus data source, in the forms of its
// documentation (https://grafana.com/docs/grafana/latest/datasources/prometheus/): each is answered
// with data.
func TestGrafana(t *testing.T) {
	w := newTwin(t, 3)
	start, end := fmt.Sprint(base), fmt.Sprint(now)
	for name, c := range map[string]struct {
		method, path string
		form         url.Values
		want         string // is in the answer
	}{
		"save and test":           {"POST", "/api/v1/query", url.Values{"query": {"1+1"}, "time": {"4"}}, `"2"`},
		"version":                 {"GET", "/api/v1/status/buildinfo", nil, `"version":"3.16.0"`},
		"metrics browser":         {"GET", "/api/v1/label/__name__/values", url.Values{"start": {start}, "end": {end}}, `"flops_any"`},
		"metrics browser, match":  {"GET", "/api/v1/label/__name__/values", url.Values{"start": {start}, "end": {end}, "match[]": {`{hostname="n2"}`}}, `"ipc"`},
		"labels of a metric":      {"POST", "/api/v1/labels", url.Values{"start": {start}, "end": {end}, "match[]": {`{__name__="ipc"}`}}, `"type_id"`},
		"series of a metric":      {"POST", "/api/v1/series", url.Values{"start": {start}, "end": {end}, "match[]": {`{__name__="ipc"}`}}, `"hostname":"n2"`},
		"label_values(l)":         {"GET", "/api/v1/label/cluster/values", url.Values{"start": {start}, "end": {end}}, `["c1","c2"]`},
		"label_values(m, l)":      {"GET", "/api/v1/label/hostname/values", url.Values{"match[]": {"ipc"}, "start": {start}, "end": {end}}, `"n2"`},
		"query_result(expr)":      {"POST", "/api/v1/query", url.Values{"query": {`count(ipc) by (hostname)`}, "time": {fmt.Sprint(now - 1800)}}, `"n2"`},
		"metadata":                {"GET", "/api/v1/metadata", url.Values{"limit": {"5000"}}, `"unit":"F/s"`},
		"exemplars of a panel":    {"POST", "/api/v1/query_exemplars", url.Values{"query": {"ipc"}, "start": {start}, "end": {end}}, `"data":[]`},
		"alerting":                {"GET", "/api/v1/rules", nil, `"groups":[]`},
		"a panel":                 {"POST", "/api/v1/query_range", url.Values{"query": {"avg by (hostname) (ipc)"}, "start": {start + ".417"}, "end": {end + ".417"}, "step": {"60"}}, `"values"`},
		"Explore, instant":        {"POST", "/api/v1/query", url.Values{"query": {"topk(3, ipc)"}, "time": {fmt.Sprint(now-1800) + ".417"}}, `"value"`},
		"Explore, query history":  {"GET", "/api/v1/format_query", url.Values{"query": {"avg(ipc)by(hostname)"}}, `avg by (hostname) (ipc)`},
		"a heat map of hwthreads": {"POST", "/api/v1/query_range", url.Values{"query": {`sum by (type_id) (ipc{type="hwthread"})`}, "start": {start}, "end": {end}, "step": {"120"}}, `"type_id":"3"`},
	} {
		status, body := w.ask(t, c.method, c.path, c.form)
		if status != http.StatusOK || !strings.Contains(body, c.want) {
			t.Errorf("%s: got %d %.300s, want %s", name, status, body, c.want)
		}
	}
}

// TestUsersDashboard: every panel and variable of the dashboard for users answers data.
func TestUsersDashboard(t *testing.T) {
	text, err := os.ReadFile("../../configs/grafana/users-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	w := newTwin(t, 3)
	replace := strings.NewReplacer("$cluster", "c1", "$host", "n1|n2|n3", "$metric", "flops_any", "$__range", "1h", "cpu_load", "load", `type="accelerator"`, `type="hwthread"`)
	asked := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			asked++
			form := url.Values{"query": {replace.Replace(target.Expr)}, "start": {fmt.Sprint(base)}, "end": {fmt.Sprint(now)}, "step": {"60"}}
			if _, body := w.ask(t, http.MethodPost, "/api/v1/query_range", form); !strings.Contains(body, `"values"`) {
				t.Errorf("%s: got %.300s", p.Title, body)
			}
		}
	}
	values := regexp.MustCompile(`^label_values\((?:(.*), )?(\w+)\)$`)
	for _, v := range board.Templating.List {
		if v.Type != "query" {
			continue
		}
		asked++
		m := values.FindStringSubmatch(replace.Replace(v.Definition))
		if m == nil {
			t.Errorf("%s: expected label_values, got %s", v.Name, v.Definition)
			continue
		}
		form := url.Values{}
		if m[1] != "" {
			form.Set("match[]", m[1])
		}
		if _, body := w.ask(t, http.MethodGet, "/api/v1/label/"+m[2]+"/values", form); !strings.Contains(body, `"data":["`) {
			t.Errorf("%s: got %.300s", v.Name, body)
		}
	}
	if asked < 8 {
		t.Errorf("only %d queries found", asked)
	}
}
