package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints the figures, a column for each program.
func report(w io.Writer, o options, all []figures) error {
	fmt.Fprintf(w, "%d hosts x %d steps, %d writers, %d hosts per request, lines shuffled: %v, seed %d\n\n",
		o.hosts, o.steps, o.writers, o.batch, o.shuffle, o.seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name, unit string, cell func(f figures) string) {
		cells := []string{fmt.Sprintf("%-32s", name), fmt.Sprintf("%-6s", unit)}
		for _, f := range all {
			cells = append(cells, cell(f))
		}
		fmt.Fprintln(t, strings.Join(cells, "\t")+"\t")
	}
	row("", "", func(f figures) string { return f.name })
	loadRows(row)
	if o.query {
		queryRows(row)
	}
	restartRows(row)
	if o.query {
		row("restart: values found again", "", func(f figures) string { return share(f.askedAgain, f.expected) })
	}
	return t.Flush()
}

type addRow func(name, unit string, cell func(f figures) string)

func loadRows(row addRow) {
	row("samples stored", "", func(f figures) string { return fmt.Sprint(f.samples) })
	row("write: time on the wall", "s", func(f figures) string { return seconds(f.loadTime) })
	row("write: CPU per sample", "us", func(f figures) string { return per(float64(f.loadCPU.Microseconds()), f.samples) })
	row("memory: resident when empty", "MB", func(f figures) string { return megabytes(f.memoryEmpty) })
	row("memory: resident after that", "MB", func(f figures) string { return megabytes(f.memoryLoaded) })
	row("memory: grown per sample", "bytes", func(f figures) string { return per(float64(f.memoryLoaded-f.memoryEmpty), f.samples) })
}

func queryRows(row addRow) {
	row("query: values answered", "", func(f figures) string { return share(f.asked.values, f.expected) })
	row("query: CPU per value", "ns", func(f figures) string { return per(float64(f.askCPU.Nanoseconds()), f.expected) })
	row("query: time on the wall", "ms", func(f figures) string { return fmt.Sprintf("%.1f", float64(f.askTime.Microseconds())/1000) })
	row("query: size of the answer", "MB", func(f figures) string { return megabytes(f.asked.bytes) })
}

func restartRows(row addRow) {
	row("stop: time on the wall", "s", func(f figures) string { return seconds(f.stopTime) })
	row("disk: checkpoints", "MB", func(f figures) string { return megabytes(f.disk) })
	row("disk: per sample", "bytes", func(f figures) string { return per(float64(f.disk), f.samples) })
	row("restart: time until ready", "s", func(f figures) string { return seconds(f.readyTime) })
	row("restart: CPU until ready", "s", func(f figures) string { return seconds(f.readyCPU) })
	row("restart: resident when ready", "MB", func(f figures) string { return megabytes(f.memoryRestored) })
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

func megabytes(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }

func per(total float64, n int) string { return fmt.Sprintf("%.3g", total/float64(max(1, n))) }

// share shows a count, and of how many if that is more.
func share(n, of int) string {
	if n == of {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d of %d", n, of)
}
