package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hoursCompared is how long the samples are that answers are compared with. They end well before now,
// because the newest slots are meant to differ: RingStore has no stale marker there yet.
const hoursCompared = 3

func endOfSamples() int64 { return (time.Now().Unix()/60 - 20) * 60_000 }

// compare sends the same samples to both and compares the answers in every way.
func compare(ctx context.Context, o options, dir string, stdout io.Writer) error {
	to := endOfSamples()
	from := to - hoursCompared*3_600_000
	ours, err := startRingStore(ctx, o, filepath.Join(dir, "ringstore.d"))
	if err != nil {
		return err
	}
	defer ours.stop()
	theirs, err := startPrometheus(ctx, o, filepath.Join(dir, "prometheus.d"), "")
	if err != nil {
		return err
	}
	defer theirs.stop()
	reader, err := startPrometheus(ctx, o, filepath.Join(dir, "reader.d"), ours.url)
	if err != nil {
		return err
	}
	defer reader.stop()
	if err := feed(ctx, smallSite(from, to), from, to, ours, theirs); err != nil {
		return err
	}
	start, end := from/1000-600, to/1000-600
	total := 0
	for _, pair := range []struct {
		what   string
		server *server
	}{{"over HTTP", ours}, {"by remote read", reader}} {
		n, points, different, err := compareExpressions(ctx, pair.server, theirs, start, end, stdout)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s: %d queries, %d points, %d differences\n", pair.what, n, points, different)
		total += different
	}
	n, different, err := comparePromtool(ctx, o, dir, ours, theirs, start, end, stdout)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "promtool query: %d commands, %d differences\n", n, different)
	if total += different; total > 0 {
		return fmt.Errorf("%d differences", total)
	}
	return nil
}

// compareExpressions asks two servers for each expression: at one time, and over ranges.
func compareExpressions(ctx context.Context, got, want *server, start, end int64, stdout io.Writer) (n, points, different int, err error) {
	for _, expr := range expressions(end - 3000) {
		for _, form := range []url.Values{
			{"time": {strconv.FormatInt(end-1234, 10)}},
			rangeForm(start, end, 90),
			rangeForm(start, end, 780),
		} {
			form.Set("query", expr)
			w, err := ask(ctx, want, form)
			if err != nil {
				return n, points, different, err
			}
			g, err := ask(ctx, got, form)
			if err != nil {
				return n, points, different, err
			}
			n++
			points += w.points()
			if diff := g.difference(w); diff != "" {
				different++
				fmt.Fprintf(stdout, "%s (step %s): %s\n", expr, form.Get("step"), diff)
			}
		}
	}
	return n, points, different, nil
}

func rangeForm(start, end, step int64) url.Values {
	return url.Values{"start": {fmt.Sprint(start)}, "end": {fmt.Sprint(end)}, "step": {fmt.Sprint(step)}}
}

// answer is the answer to a query: values by series and time.
type answer struct {
	failure string // type of the error
	values  map[string]map[string]string
}

func (a answer) points() (n int) {
	for _, v := range a.values {
		n += len(v)
	}
	return n
}

// ask sends a query, over a range if the form has a step.
func ask(ctx context.Context, s *server, form url.Values) (a answer, err error) {
	path := "/api/v1/query"
	if form.Has("step") {
		path = "/api/v1/query_range"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, s.Explain(err)
	}
	defer resp.Body.Close()
	var body struct {
		ErrorType string
		Data      struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return a, s.Explain(fmt.Errorf("%s: %w", form.Get("query"), err))
	}
	a.failure = body.ErrorType
	a.values = make(map[string]map[string]string)
	var list []struct {
		Metric map[string]string
		Value  *point
		Values []point
	}
	switch body.Data.ResultType {
	case "": // an error
	case "scalar":
		var p point
		if err := json.Unmarshal(body.Data.Result, &p); err != nil {
			return a, err
		}
		a.values["scalar"] = map[string]string{p.at(): p.value()}
	default:
		if err := json.Unmarshal(body.Data.Result, &list); err != nil {
			return a, err
		}
	}
	for _, s := range list {
		name := fmt.Sprint(s.Metric) // with its keys in order
		if a.values[name] == nil {
			a.values[name] = make(map[string]string)
		}
		if s.Value != nil {
			s.Values = append(s.Values, *s.Value)
		}
		for _, p := range s.Values {
			a.values[name][p.at()] = p.value()
		}
	}
	return a, nil
}

// point is a time and a value, which is a string.
type point [2]any

func (p point) at() string    { return fmt.Sprint(p[0]) }
func (p point) value() string { return fmt.Sprint(p[1]) }

// difference describes the first difference from the answer that is expected; empty: there is none.
func (a answer) difference(want answer) string {
	if a.failure != want.failure {
		return fmt.Sprintf("error %q, want %q", a.failure, want.failure)
	}
	for series, values := range want.values {
		if len(a.values[series]) != len(values) {
			return fmt.Sprintf("%s: %d points, want %d", series, len(a.values[series]), len(values))
		}
		for at, v := range values {
			if got := a.values[series][at]; !sameValue(got, v) {
				return fmt.Sprintf("%s at %s: %s, want %s", series, at, got, v)
			}
		}
	}
	if len(a.values) != len(want.values) {
		return fmt.Sprintf("%d series, want %d", len(a.values), len(want.values))
	}
	return ""
}

// sameValue compares two values. The order in which series are added may differ, and so may the last
// digits.
func sameValue(a, b string) bool {
	if a == b {
		return true
	}
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err == nil && err2 == nil && math.Abs(x-y) <= 1e-11*max(math.Abs(x), math.Abs(y), 1)
}

// comparePromtool compares the output of promtool for both servers.
func comparePromtool(ctx context.Context, o options, dir string, ours, theirs *server, start, end int64, stdout io.Writer) (n, different int, err error) {
	config := filepath.Join(dir, "promtool.yml")
	if err := os.WriteFile(config, []byte("authorization: {credentials: none}\n"), 0o600); err != nil {
		return 0, 0, err
	}
	span := []string{"--start=" + fmt.Sprint(start), "--end=" + fmt.Sprint(end)}
	for _, c := range []struct {
		command string
		flags   []string
		args    []string
	}{
		{"instant", []string{"--time=" + fmt.Sprint(end)}, []string{`sum by (hostname) (flops_any)`}},
		{"instant", []string{"--time=" + fmt.Sprint(end)}, []string{`load > 0`}},
		{"range", append(span[:2:2], "--step=5m"), []string{`max_over_time(ipc{cluster="c1"}[10m])`}},
		{"series", append(span[:2:2], `--match=flops_any{hostname="n1"}`, `--match=load`), nil},
		{"labels", append(span[:2:2], `--match={__name__=~"load|ipc|flops_any|ib_recv_total"}`), []string{"hostname"}},
		{"labels", append(span[:2:2], `--match={__name__=~"load|ipc|flops_any|ib_recv_total"}`), []string{"__name__"}},
	} {
		var outputs [2]string
		for i, server := range []*server{ours, theirs} {
			args := append([]string{"query", c.command, "--http.config.file=" + config}, c.flags...)
			out, err := exec.CommandContext(ctx, o.promtool, append(append(args, server.url), c.args...)...).CombinedOutput()
			if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
				return n, different, err
			}
			if err != nil || len(out) == 0 {
				out = fmt.Appendf(out, "promtool: %v", err)
				different++
				fmt.Fprintf(stdout, "promtool query %s at %s: %s\n", c.command, server.url, out)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			slices.Sort(lines)
			outputs[i] = strings.Join(lines, "\n")
		}
		n++
		if outputs[0] != outputs[1] {
			different++
			fmt.Fprintf(stdout, "promtool query %s %v:\n%s\nwant\n%s\n", c.command, c.args, outputs[0], outputs[1])
		}
	}
	return n, different, nil
}
