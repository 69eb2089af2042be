package prometheus

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// expressions returns PromQL over the series of the tests: each function, operator and modifier,
// over several selectors.
func expressions() []string {
	var all []string
	vectors := []string{
		`load`, `flops_any`, `ipc{cluster="c1"}`, `flops_any{hostname=~"n1|n2"}`, `{__name__=~"lo.*",type="node"}`,
		`ib_recv_total{stype_id!="mlx5_0"}`, `flops_any{type_id=~"[0-2]"}`, `load{stype=""}`, `ipc{hostname!~"n[23]"}`,
	}
	for _, v := range vectors {
		all = append(all, v, v+` offset 7m`, v+` offset -3m`, v+fmt.Sprintf(` @ %d`, base+5000), v+` @ end()`, v+` @ start() offset 90s`, `-`+v)
		for _, f := range []string{
			"abs", "ceil", "floor", "exp", "ln", "log2", "log10", "sqrt", "sgn", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "asinh", "deg", "rad",
			"round", "timestamp", "sort", "sort_desc", "absent", "count", "sum", "avg", "min", "max", "stddev", "stdvar", "group",
			"hour", "minute", "day_of_week", "day_of_month", "days_in_month", "month", "year",
		} {
			all = append(all, f+"("+v+")")
		}
		for _, f := range []string{
			"rate", "irate", "increase", "delta", "idelta", "deriv", "changes", "resets", "avg_over_time", "min_over_time", "max_over_time",
			"sum_over_time", "count_over_time", "last_over_time", "present_over_time", "stddev_over_time", "stdvar_over_time", "absent_over_time",
		} {
			all = append(all, f+"("+v+"[5m])", f+"("+v+"[1h] offset 10m)")
		}
		all = append(all,
			`quantile_over_time(0.9, `+v+`[20m])`, `predict_linear(`+v+`[30m], 600)`,
			`clamp(`+v+`, -10, 10)`, `clamp_min(`+v+`, 0)`, `clamp_max(`+v+`, 0)`,
			`sum by (hostname) (`+v+`)`, `avg without (type_id) (`+v+`)`, `topk(2, `+v+`)`, `bottomk(2, `+v+`)`, `quantile(0.3, `+v+`)`,
			`count_values("v", round(`+v+`))`, `limitk(2, `+v+`)`, `sum by (cluster, hostname) (rate(`+v+`[5m]))`,
			v+` > 0`, v+` >bool 0`, v+` == `+v, v+` + 1`, `2 * `+v, v+` % 7`, v+` ^ 2`, v+` / on (cluster, hostname, type, type_id, stype, stype_id) `+v,
			v+` and `+v+` > 10`, v+` or load`, v+` unless `+v+` < 0`, v+` atan2 `+v,
			`max_over_time(rate(`+v+`[5m])[30m:2m])`, `avg_over_time((`+v+` > 0)[20m:])`, `min_over_time(`+v+`[30m:1m] offset 5m)`,
			`label_replace(`+v+`, "node", "$1", "hostname", "n(.*)")`, `label_join(`+v+`, "where", "/", "cluster", "hostname")`,
			`count(`+v+`) by (cluster)`, `scalar(sum(`+v+`))`, `vector(scalar(count(`+v+`)))`,
		)
	}
	return append(all,
		`sum by (cluster, hostname) (flops_any) / on (cluster, hostname) group_left (type) load{stype=""}`,
		`load{stype=""} * on (cluster, hostname) group_right () ipc`,
		`1+1`, `time()`, `vector(1)`, `pi()`, `"text"`, `absent(nothing)`, `count({__name__=~".+",__name__!~"node:.*"})`,
		`histogram_quantile(0.9, load)`, `flops_any + ignoring (type_id) group_left sum without (type_id) (flops_any)`,
	)
}

// TestExpressionsAnswerAsInPrometheus compares the results of the same expressions over the same
// data in Prometheus' own storage, as range and as instant queries.
func TestExpressionsAnswerAsInPrometheus(t *testing.T) {
	w := newTwin(t, 1)
	ours := queryable{w.api, Caller{Reader: w.reader}.reading()}
	start, end := time.Unix(base-600, 0), time.Unix(now-1800, 0)
	all := expressions()
	points := 0
	for _, expr := range all {
		for _, step := range []time.Duration{0, 90 * time.Second, 13 * time.Minute} {
			want, wantErr := run(t, w.engine, w.tsdb, expr, start, end, step)
			got, gotErr := run(t, w.api.engine, ours, expr, start, end, step)
			if (wantErr == nil) != (gotErr == nil) {
				t.Errorf("%s, step %v: got error %v, want %v", expr, step, gotErr, wantErr)
			} else if diff := difference(got, want); diff != "" {
				t.Errorf("%s, step %v: %s", expr, step, diff)
			}
			for _, l := range lines(want) {
				points += len(l.points)
			}
		}
	}
	t.Logf("%d expressions, %d points", len(all), points)
	if len(all) < 500 || points < 100*len(all) {
		t.Errorf("got %d expressions with %d points in all, want at least 500 with 100 each", len(all), points)
	}
}

// run evaluates an expression, at the end if step is 0.
func run(t *testing.T, engine *promql.Engine, q storage.Queryable, expr string, start, end time.Time, step time.Duration) (parser.Value, error) {
	t.Helper()
	ctx := context.Background()
	var query promql.Query
	var err error
	if step == 0 {
		query, err = engine.NewInstantQuery(ctx, q, nil, expr, end)
	} else {
		query, err = engine.NewRangeQuery(ctx, q, nil, expr, start, end, step)
	}
	if err != nil {
		return nil, err
	}
	result := query.Exec(ctx)
	return result.Value, result.Err
}

// difference returns the first difference of two results; empty if there is none. The order of
// series counts for nothing, and sums of the same numbers in another order are equal.
func difference(got, want parser.Value) string {
	g, w := lines(got), lines(want)
	if len(g) != len(w) {
		return fmt.Sprintf("got %d series, want %d:\n got %s\nwant %s", len(g), len(w), strings.Join(names(g), "\n     "), strings.Join(names(w), "\n     "))
	}
	for i := range g {
		if g[i].name != w[i].name || len(g[i].points) != len(w[i].points) {
			return fmt.Sprintf("got %s with %d points, want %s with %d", g[i].name, len(g[i].points), w[i].name, len(w[i].points))
		}
		for k, p := range g[i].points {
			if q := w[i].points[k]; p.T != q.T || !equal(p.F, q.F) {
				return fmt.Sprintf("%s: got %v, want %v", g[i].name, p, q)
			}
		}
	}
	return ""
}

type line struct {
	name   string
	points []promql.FPoint
}

func names(lines []line) (all []string) {
	for _, l := range lines {
		all = append(all, l.name)
	}
	return all
}

func lines(v parser.Value) (all []line) {
	switch v := v.(type) {
	case promql.Matrix:
		for _, s := range v {
			all = append(all, line{s.Metric.String(), s.Floats})
		}
	case promql.Vector:
		for _, s := range v {
			all = append(all, line{s.Metric.String(), []promql.FPoint{{T: s.T, F: s.F}}})
		}
	case promql.Scalar:
		all = []line{{"", []promql.FPoint{{T: v.T, F: v.V}}}}
	case promql.String:
		all = []line{{v.V, nil}}
	}
	slices.SortFunc(all, func(a, b line) int { return strings.Compare(a.name, b.name) })
	return all
}

func equal(a, b float64) bool {
	return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9*math.Max(math.Abs(a), math.Abs(b))
}
