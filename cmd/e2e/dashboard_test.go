package e2e

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/ringstore/ringstore/auth/jobs/ccbackend/ccbackendtest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// expression is a PromQL expression and where it is used.
type expression struct{ where, expr string }

// alertsFile is Prometheus' rule file, as far as ours uses it.
type alertsFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

const (
	dashboardPath = "../../configs/grafana-dashboard.json"
	alertsPath    = "../../configs/alerts.yml"
)

// alerts returns the conditions of all alerts.
func alerts(t testing.TB) (all []expression) {
	t.Helper()
	f, err := os.Open(alertsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var file alertsFile
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("a rule lacks its name, severity or summary: %+v", r)
			}
			all = append(all, expression{r.Alert, r.Expr})
		}
	}
	return all
}

// dashboard returns the queries of all panels and variables, with Grafana's variables replaced: all
// instances, and an interval for rates.
func dashboard(t testing.TB, rates time.Duration) (all []expression) {
	t.Helper()
	data, err := os.ReadFile(dashboardPath)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	grafana := strings.NewReplacer("$instance", ".*", "$__rate_interval", model.Duration(rates).String())
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q has no query", p.Title)
		}
		for _, target := range p.Targets {
			all = append(all, expression{p.Title, grafana.Replace(target.Expr)})
		}
	}
	values := regexp.MustCompile(`^label_values\((.*), \w+\)$`)
	for _, v := range board.Templating.List {
		if m := values.FindStringSubmatch(v.Definition); m != nil {
			all = append(all, expression{"variable " + v.Name, m[1]})
		}
	}
	return all
}

// families returns the metrics at /metrics.
func (p *program) families(t testing.TB) map[string]*dto.MetricFamily {
	t.Helper()
	got := p.send(t, token("support"), "GET", "/metrics", "")
	text := expfmt.NewTextParser(model.LegacyValidation)
	all, err := text.TextToMetricFamilies(strings.NewReader(got.body))
	if err != nil {
		t.Fatalf("status %d: %v", got.status, err)
	}
	return all
}

// complete runs a server with everything that exports metrics: a NATS stream, publishers with
// tokens, and a job source.
func complete(t *testing.T) *program {
	s := jobSettings(t, ccbackendtest.New(t, now())).natsAt(map[string]any{"embedded": map[string]any{"listen": "127.0.0.1:0"}},
		map[string]any{"subscribe-to": subject, "cluster-tag": "alpha", "stream": "METRICS", "durable": "ringstore"})
	s["main"]["metrics-addr"] = "127.0.0.1:0"
	p := serve(t, s)
	publish(t, sink(t, p.nats, token("api")), message("", "fast,hostname=n1 value=1"))
	p.write(t, "cpu_load,hostname=n1 value=1")
	p.query(t, `{}`)
	cmdtest.Eventually(t, "the lag of the stream", func() bool { return p.families(t)["ringstore_nats_stream_pending"] != nil })
	return p
}

// TestDashboardAndAlertsNameMetricsThatExist: every metric and label in the dashboard and the
// alerts exists.
func TestDashboardAndAlertsNameMetricsThatExist(t *testing.T) {
	families := complete(t).families(t)
	all := append(dashboard(t, 5*time.Minute), alerts(t)...)
	if len(all) < 60 {
		t.Errorf("only %d expressions were found", len(all))
	}
	asked := make(map[string]bool)
	for _, e := range all {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(e.expr)
		if err != nil {
			t.Errorf("%s: %v\n%s", e.where, err, e.expr)
			continue
		}
		known := []string{"instance", "job"} // by Prometheus
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			v, ok := node.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			family := familyOf(families, v.Name)
			if family == nil {
				t.Errorf("%s: there is no metric %q", e.where, v.Name)
				return nil
			}
			asked[family.GetName()] = true
			names := append(labelsOf(family), "instance", "job")
			known = append(known, names...)
			for _, m := range v.LabelMatchers {
				if m.Name != model.MetricNameLabel && !slices.Contains(names, m.Name) {
					t.Errorf("%s: %s has no label %q", e.where, v.Name, m.Name)
				}
			}
			return nil
		})
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if a, ok := node.(*parser.AggregateExpr); ok {
				for _, name := range a.Grouping {
					if !slices.Contains(known, name) {
						t.Errorf("%s: no metric has a label %q", e.where, name)
					}
				}
			}
			return nil
		})
	}
	for _, prefix := range []string{"ingest", "auth", "http", "store", "journal", "checkpoint", "archive", "nats", "jobs"} {
		if !slices.ContainsFunc(all, func(e expression) bool { return strings.Contains(e.expr, "ringstore_"+prefix+"_") }) {
			t.Errorf("no expression uses a metric of %s", prefix)
		}
	}
	if len(asked) < 50 {
		t.Errorf("only %d metrics are used", len(asked))
	}
}

// familyOf returns the family of a series, whose name has a suffix if it is of a histogram.
func familyOf(families map[string]*dto.MetricFamily, name string) *dto.MetricFamily {
	if f := families[name]; f != nil && f.GetType() != dto.MetricType_HISTOGRAM {
		return f
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		base, ok := strings.CutSuffix(name, suffix)
		if f := families[base]; ok && f != nil && f.GetType() == dto.MetricType_HISTOGRAM {
			return f
		}
	}
	return nil
}

func labelsOf(f *dto.MetricFamily) (names []string) {
	if f.GetType() == dto.MetricType_HISTOGRAM {
		names = append(names, "le")
	}
	for _, m := range f.Metric {
		for _, l := range m.Label {
			names = append(names, l.GetName())
		}
	}
	return names
}
