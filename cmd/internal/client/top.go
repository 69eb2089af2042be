package client

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ringstore/ringstore/auth/ticker"
	"github.com/ringstore/ringstore/cmd/internal/terminal"
)

// Top shows the hosts of a job or a cluster, those with the highest value first.
type Top struct {
	Connection
	Job      int64  // 0: no job
	Cluster  string // empty: all
	Metrics  string // separated by commas; the first one sorts; empty: the best known that there are
	Interval time.Duration
}

// Help returns what the help of the program and of the command say.
func (t *Top) Help() (short, long string) {
	return "follow the hosts of a job or cluster", `
Shows the newest values of hosts, the busiest first, until Ctrl-C. Prints them
once where the output is no terminal.`
}

// Flags adds the flags of top.
func (t *Top) Flags(f *flag.FlagSet) {
	t.flags(f)
	f.Int64Var(&t.Job, "job", 0, "only the hosts of the job with this `id`")
	f.StringVar(&t.Cluster, "cluster", "", "only the hosts of this `cluster`")
	f.StringVar(&t.Metrics, "metrics", "", "`names` of metrics, separated by commas; the first sorts the hosts (default common ones)")
	f.DurationVar(&t.Interval, "interval", 5*time.Second, "the `time` between two refreshes")
}

// Check returns an error that names a wrong flag.
func (t *Top) Check() error {
	switch {
	case t.Job < 0:
		return fmt.Errorf("-job: expected the id of a job; got %d", t.Job)
	case t.Interval < time.Second:
		return fmt.Errorf("-interval: expected at least 1s; got %s", t.Interval)
	}
	return nil
}

// commonMetrics are shown if there are no others to show, as many as there is room for.
var commonMetrics = [...]string{"cpu_load", "cpu_user", "flops_any", "ipc", "mem_bw", "mem_used", "cpu_power", "acc_utilization", "net_bw", "ib_recv", "fs_write"}

const maxTopMetrics = 8

// Run shows the hosts again and again on a terminal until ctx ends, and once elsewhere.
func (t *Top) Run(ctx context.Context, _ []string, out, warnings io.Writer) error {
	s, err := t.open(warnings)
	if err != nil {
		return err
	}
	defer s.close()
	hosts, err := t.hosts(ctx, s)
	if err != nil {
		return err
	}
	metrics, err := t.metrics(ctx, s)
	if err != nil {
		return err
	}
	if !terminal.Is(out) {
		return t.show(ctx, s, metrics, hosts, out, terminal.Style{}, math.MaxInt)
	}
	style := terminal.StyleFor(out, os.Getenv)
	for range ticker.FromNow(ctx, t.Interval) {
		_, height := terminal.Size(out)
		var screen strings.Builder
		screen.WriteString("\x1b[H\x1b[2J") // clears the screen
		err := t.show(ctx, s, metrics, hosts, &screen, style, height-3)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		if _, err := io.WriteString(out, screen.String()); err != nil {
			return err
		}
	}
	return nil
}

// hosts returns the hosts of the job, nil for all.
func (t *Top) hosts(ctx context.Context, s *server) ([]string, error) {
	if t.Job == 0 {
		return nil, nil
	}
	var jobs []job
	if err := s.jobs(ctx, t.Cluster, "", &jobs); err != nil {
		return nil, err
	}
	for _, j := range jobs { // the newest first
		if j.JobID == t.Job {
			t.Cluster = j.Cluster
			return j.Hosts, nil
		}
	}
	return nil, fmt.Errorf("-job: you have no job %d; ringstore jobs lists your jobs", t.Job)
}

// column is a metric of a node, and the name of its series: the sum or average over the node for a
// metric of devices.
type column struct{ metric, series string }

func (t *Top) metrics(ctx context.Context, s *server) ([]column, error) {
	var answer struct{ Data []string }
	if err := s.get(ctx, "/api/v1/label/__name__/values", nil, &answer); err != nil {
		return nil, err
	}
	names := commonMetrics[:]
	if t.Metrics != "" {
		names = strings.Split(t.Metrics, ",")
	}
	var columns []column
	for _, name := range names {
		for _, series := range []string{"node:" + name + ":sum", "node:" + name + ":avg", name} {
			if slices.Contains(answer.Data, series) {
				columns = append(columns, column{name, series})
				break
			}
		}
	}
	switch {
	case len(columns) > 0:
		return columns[:min(len(columns), maxTopMetrics)], nil
	case t.Metrics != "":
		return nil, fmt.Errorf("-metrics: %s has none of %q that you may see", s.base.Redacted(), names)
	}
	return nil, fmt.Errorf("%s has no common metric; name those to show with -metrics", s.base.Redacted())
}

// show writes a table of at most limit hosts.
func (t *Top) show(ctx context.Context, s *server, columns []column, hosts []string, out io.Writer, style terminal.Style, limit int) error {
	values, err := t.values(ctx, s, columns, hosts)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		if values[h] == nil {
			values[h] = map[string]float64{} // it is silent
		}
	}
	value := func(host, series string) float64 {
		if v, ok := values[host][series]; ok {
			return v
		}
		return math.NaN()
	}
	order := slices.SortedFunc(maps.Keys(values), func(a, b string) int {
		first := columns[0].series
		return cmp.Or(cmp.Compare(value(b, first), value(a, first)), cmp.Compare(a, b)) // NaN is the least
	})
	title := time.Now().Format("15:04:05") + fmt.Sprintf("  hosts: %d", len(order))
	if t.Job != 0 {
		title += fmt.Sprintf(", of job %d", t.Job)
	}
	fmt.Fprintln(out, style.Strong(title))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "host")
	for _, c := range columns {
		fmt.Fprint(w, "\t", printable(c.metric))
	}
	fmt.Fprintln(w, "\t")
	for _, host := range order[:min(len(order), max(limit, 1))] {
		fmt.Fprint(w, printable(host))
		for _, c := range columns {
			fmt.Fprint(w, "\t", short(value(host, c.series)))
		}
		fmt.Fprintln(w, "\t")
	}
	return w.Flush()
}

// values returns the newest values by host and series.
func (t *Top) values(ctx context.Context, s *server, columns []column, hosts []string) (map[string]map[string]float64, error) {
	var names []string
	for _, c := range columns {
		names = append(names, regexp.QuoteMeta(c.series))
	}
	selector := "{__name__=~" + strconv.Quote(strings.Join(names, "|"))
	if t.Cluster != "" {
		selector += ",cluster=" + strconv.Quote(t.Cluster)
	}
	if hosts != nil {
		quoted := make([]string, len(hosts))
		for i, h := range hosts {
			quoted[i] = regexp.QuoteMeta(h)
		}
		selector += ",hostname=~" + strconv.Quote(strings.Join(quoted, "|"))
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  point
			}
		}
	}
	if err := s.get(ctx, "/api/v1/query", url.Values{"query": {selector + "}"}}, &answer); err != nil {
		return nil, err
	}
	values := map[string]map[string]float64{}
	for _, r := range answer.Data.Result {
		if kind := r.Metric["type"]; kind != "" && kind != "node" || r.Metric["stype"] != "" {
			continue // a device
		}
		host := r.Metric["hostname"]
		if values[host] == nil {
			values[host] = map[string]float64{}
		}
		values[host][r.Metric["__name__"]] = r.Value.value
	}
	return values, nil
}
