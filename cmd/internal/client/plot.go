package client

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/guptarohit/asciigraph"

	"github.com/ringstore/ringstore/cmd/internal/terminal"
)

// maxLines is how many series a plot shows: more cannot be told apart.
const maxLines = 8

// plot draws the series with the highest averages.
func plot(out io.Writer, all []series, from, to time.Time, step time.Duration) error {
	names := namesOf(all)
	order := make([]int, len(all))
	averages := make([]float64, len(all))
	for i := range all {
		order[i] = i
		if averages[i] = summaryOf(all[i].Values).avg; math.IsNaN(averages[i]) {
			averages[i] = math.Inf(-1)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(averages[b], averages[a]) })
	shown := order[:min(len(order), maxLines)]
	width, height := terminal.Size(out)
	width, height = max(width-14, 20), min(max(height-10-len(shown), 5), 20)
	var lines [][]float64
	var legends []string
	empty := true
	for _, i := range shown {
		line := onGrid(all[i].Values, from, to, step, width)
		empty = empty && !slices.ContainsFunc(line, isFinite)
		lines = append(lines, line)
		legends = append(legends, names[i])
	}
	if empty {
		return writeTable(out, all) // there is nothing to draw
	}
	options := []asciigraph.Option{
		asciigraph.Height(height), asciigraph.Width(width),
		asciigraph.YAxisValueFormatter(short),
		asciigraph.XAxisRange(float64(from.Unix()), float64(to.Unix())),
		asciigraph.XAxisTickCount(5),
		asciigraph.XAxisValueFormatter(func(at float64) string { return clock(time.Unix(int64(at), 0), to.Sub(from)) }),
	}
	style := terminal.StyleFor(out, os.Getenv)
	if style.Colored() {
		colors := []asciigraph.AnsiColor{asciigraph.Blue, asciigraph.Red, asciigraph.Green, asciigraph.Orange, asciigraph.Purple, asciigraph.Teal, asciigraph.Olive, asciigraph.Gray}
		options = append(options, asciigraph.SeriesColors(colors[:len(lines)]...), asciigraph.SeriesLegends(legends...))
	}
	text := asciigraph.PlotMany(lines, options...)
	if !style.Colored() {
		text += "\n" + strings.Join(legends, "\n") // lines without colours cannot be told apart
	}
	if hidden := len(all) - len(shown); hidden > 0 {
		text += fmt.Sprintf("\n%d more series are not drawn; -o table shows all", hidden)
	}
	_, err := fmt.Fprintln(out, text)
	return err
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// onGrid returns one value for each step, and NaN where there is none; with more steps than width,
// the averages of several.
func onGrid(values []point, from, to time.Time, step time.Duration, width int) []float64 {
	steps := int(to.Sub(from)/step) + 1
	n := min(steps, width)
	sums, counts := make([]float64, n), make([]float64, n)
	for _, p := range values {
		at := int(time.UnixMilli(p.millis).Sub(from) / step)
		if at < 0 || at >= steps || !isFinite(p.value) {
			continue
		}
		sums[at*n/steps] += p.value
		counts[at*n/steps]++
	}
	for i := range sums {
		sums[i] /= counts[i] // NaN without values
	}
	return sums
}

// clock returns a time as short as its range allows.
func clock(t time.Time, within time.Duration) string {
	switch {
	case within <= 10*time.Minute:
		return t.Format("15:04:05")
	case within <= 24*time.Hour:
		return t.Format("15:04")
	}
	return t.Format("Jan 2 15:04")
}

// namesOf returns a name for each series: its labels without those that are the same in all.
func namesOf(all []series) []string {
	same := maps.Clone(all[0].Metric)
	for _, s := range all[1:] {
		maps.DeleteFunc(same, func(label, value string) bool {
			got, ok := s.Metric[label]
			return !ok || got != value
		})
	}
	names := make([]string, len(all))
	for i, s := range all {
		var parts []string
		for _, label := range slices.Sorted(maps.Keys(s.Metric)) {
			if _, ok := same[label]; len(all) > 1 && ok || label == "__name__" {
				continue
			}
			parts = append(parts, printable(label)+"="+printable(s.Metric[label]))
		}
		if _, ok := same["__name__"]; len(all) == 1 || !ok {
			parts = append([]string{printable(s.Metric["__name__"])}, parts...)
		}
		names[i] = strings.TrimSpace(strings.Join(parts, " "))
	}
	return names
}
