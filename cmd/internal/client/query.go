package client

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/ringstore/ringstore/cmd/internal/terminal"
)

// Query is a query in PromQL over a time range that ends now.
type Query struct {
	Connection
	Since, Step time.Duration
	Format      string // plot, table, csv or json; empty: plot on a terminal, else csv
}

// Help returns what the help of the program and of the command say.
func (q *Query) Help() (short, long string) {
	return "ask a server in PromQL, and draw the answer", `
Asks a server in PromQL, such as 'node:flops_any:sum' or 'avg(cpu_load)', and
draws the answer on a terminal. Elsewhere it prints CSV.`
}

// Flags adds the flags of a query.
func (q *Query) Flags(f *flag.FlagSet) {
	q.flags(f)
	f.DurationVar(&q.Since, "since", time.Hour, "the `time` before now to show; 0 shows the newest values")
	f.DurationVar(&q.Step, "step", time.Minute, "the `time` between two values")
	f.StringVar(&q.Format, "o", "", "output `format`: plot, table, csv or json (default plot on a terminal, else csv)")
}

// Check returns an error that names a wrong flag.
func (q *Query) Check() error {
	switch {
	case q.Since < 0:
		return fmt.Errorf("-since: expected a time such as 1h; got %s", q.Since)
	case q.Step < time.Millisecond:
		return fmt.Errorf("-step: expected at least 1ms; got %s", q.Step)
	}
	return checkFormat(q.Format, "plot", "table", "csv", "json")
}

func checkFormat(format string, known ...string) error {
	if format == "" || slices.Contains(known, format) {
		return nil
	}
	return fmt.Errorf("-o: expected one of %q; got %q", known, format)
}

// Run asks for the expression that is the only operand.
func (q *Query) Run(ctx context.Context, operands []string, out, warnings io.Writer) error {
	s, err := q.open(warnings)
	if err != nil {
		return err
	}
	defer s.close()
	end := time.Now().Truncate(time.Second)
	var answer struct {
		Data     json.RawMessage
		Warnings []string
	}
	err = s.get(ctx, "/api/v1/query_range", url.Values{
		"query": operands, "start": {seconds(end.Add(-q.Since))}, "end": {seconds(end)}, "step": {strconv.FormatFloat(q.Step.Seconds(), 'f', -1, 64)},
	}, &answer)
	if err != nil {
		return err
	}
	for _, w := range answer.Warnings {
		fmt.Fprintln(warnings, "warning:", printable(w))
	}
	if q.Format == "json" {
		_, err := fmt.Fprintf(out, "%s\n", answer.Data)
		return err
	}
	var data struct{ Result []series }
	if err := json.Unmarshal(answer.Data, &data); err != nil {
		return fmt.Errorf("%s: expected the result of a range query: %w", q.Server, err)
	}
	format := q.Format
	if format == "" && terminal.Is(out) {
		format = "plot"
	}
	if format != "plot" && format != "table" {
		return writeCSV(out, data.Result)
	}
	if len(data.Result) == 0 {
		_, err := fmt.Fprintf(out, "No data in the last %s. Check the metric's name, or ask for a longer time with -since.\n", q.Since)
		return err
	}
	if format == "table" || q.Since < 2*q.Step {
		return writeTable(out, data.Result)
	}
	return plot(out, data.Result, end.Add(-q.Since), end, q.Step)
}

func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64)
}

// series is a series of an answer.
type series struct {
	Metric map[string]string
	Values []point
}

type point struct {
	millis int64
	value  float64
}

// UnmarshalJSON reads [seconds, "value"].
func (p *point) UnmarshalJSON(text []byte) error {
	var at float64
	var value string
	if err := json.Unmarshal(text, &[2]any{&at, &value}); err != nil {
		return err
	}
	v, err := strconv.ParseFloat(value, 64)
	*p = point{int64(math.Round(at * 1e3)), v}
	return err
}

// columns are the labels of a CSV in their order; the metric's name follows.
var columns = [...]string{"cluster", "hostname", "type", "type_id", "stype", "stype_id"}

// writeCSV writes one line per value, with the columns of the server's own CSV.
func writeCSV(out io.Writer, all []series) error {
	w := csv.NewWriter(out)
	if err := w.Write(append(append([]string(nil), columns[:]...), "metric", "timestamp", "value")); err != nil {
		return err
	}
	for _, s := range all {
		var row [len(columns) + 3]string
		for i, name := range columns {
			row[i] = s.Metric[name]
		}
		row[len(columns)] = s.Metric["__name__"]
		for _, p := range s.Values {
			row[len(columns)+1] = time.UnixMilli(p.millis).UTC().Format("2006-01-02T15:04:05.999Z")
			row[len(columns)+2] = strconv.FormatFloat(p.value, 'g', -1, 64)
			if err := w.Write(row[:]); err != nil {
				return err
			}
		}
	}
	w.Flush()
	return w.Error()
}

// writeTable writes one line per series with its statistics.
func writeTable(out io.Writer, all []series) error {
	names := namesOf(all)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "last\tmin\tavg\tmax\t  series\n")
	for i, s := range all {
		v := summaryOf(s.Values)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t  %s\n", short(v.last), short(v.min), short(v.avg), short(v.max), names[i])
	}
	return w.Flush()
}

type summary struct{ last, min, avg, max float64 }

func summaryOf(values []point) summary {
	v := summary{math.NaN(), math.NaN(), math.NaN(), math.NaN()}
	sum, n := 0.0, 0.0
	for _, p := range values {
		v.last = p.value
		if math.IsNaN(p.value) {
			continue
		}
		sum, n = sum+p.value, n+1
		if n == 1 {
			v.min, v.max = p.value, p.value
		}
		v.min, v.max = min(v.min, p.value), max(v.max, p.value)
	}
	if n > 0 {
		v.avg = sum / n
	}
	return v
}

// short returns a number with three or four digits and a prefix: 3.81 G.
func short(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	if v == 0 || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	const prefixes, one = "npµm kMGTPE", 4
	runes := []rune(prefixes)
	size := math.Abs(v)
	at := one
	for size >= 999.5 && at < len(runes)-1 {
		size, v, at = size/1000, v/1000, at+1
	}
	for size < 0.1 && at > 0 {
		size, v, at = size*1000, v*1000, at-1
	}
	text := strconv.FormatFloat(v, 'g', 3, 64)
	if size >= 100 && size < 1000 {
		text = strconv.FormatFloat(v, 'f', 0, 64)
	}
	if at == one {
		return text
	}
	return text + " " + string(runes[at])
}
