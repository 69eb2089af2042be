package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints the measurements, one column per program.
func report(w io.Writer, o options, all []measurements) error {
	fmt.Fprintf(w, "%d hosts x %d steps, %d writers, %d hosts per request, lines shuffled: %v, seed %d\n\n",
		o.hosts, o.steps, o.writers, o.batch, o.shuffle, o.seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name, unit string, cell func(f measurements) string) {
		cells := []string{fmt.Sprintf("%-32s", name), fmt.Sprintf("%-6s", unit)}
		for _, f := range all {
			cells = append(cells, cell(f))
		}
		fmt.Fprintln(t, strings.Join(cells, "\t")+"\t")
	}
	row("", "", func(f measurements) string { return f.name })
	if !o.only {
		loadRows(row)
		restartRows(row, o)
		killRows(row, o)
		if o.checkpoints > 0 {
			checkpointRows(row)
		}
	}
	if o.query {
		queryRows(row, all[0].queries)
	}
	return t.Flush()
}

type addRow func(name, unit string, cell func(f measurements) string)

func loadRows(row addRow) {
	row("samples stored", "", func(f measurements) string { return fmt.Sprint(f.samples) })
	row("write: elapsed time", "s", func(f measurements) string { return seconds(f.loadTime) })
	row("write: CPU per sample", "us", func(f measurements) string { return per(float64(f.loadCPU.Microseconds()), f.samples) })
	row("control: InfluxDB's decoder alone", "us", func(f measurements) string { return per(float64(f.control.cpu.Microseconds()), f.control.samples) })
	row("memory: resident when empty", "MB", func(f measurements) string { return megabytes(f.memoryEmpty) })
	row("memory: resident after the load", "MB", func(f measurements) string { return megabytes(f.memoryLoaded) })
	row("memory: growth per sample", "bytes", func(f measurements) string { return per(float64(f.memoryLoaded-f.memoryEmpty), f.samples) })
}

// queryRows adds the rows of each question. Where the number of values is known, the CPU time is
// that of one value, else that of one query.
func queryRows(row addRow, questions []queryCost) {
	row("control: during the queries", "us", func(f measurements) string {
		return per(float64(f.queriesControl.cpu.Microseconds()), f.queriesControl.samples)
	})
	for i, q := range questions {
		of := func(f measurements) queryCost { return f.queries[i] }
		median := func(f measurements) time.Duration { return of(f).cpu.quantile(0.5) }
		if q.question.values > 0 {
			row(q.name+": values answered", "", func(f measurements) string { return share(of(f).answer.values, q.question.values) })
			row(q.name+": CPU per value", "ns", func(f measurements) string { return per(float64(median(f).Nanoseconds()), q.question.values) })
		} else {
			row(q.name+": results", "", func(f measurements) string { return fmt.Sprint(of(f).answer.results) })
		}
		row(q.name+": CPU per query", "ms", func(f measurements) string { return fineMilliseconds(median(f)) })
		row(q.name+": elapsed time", "ms", func(f measurements) string { return fineMilliseconds(of(f).elapsed.quantile(0.5)) })
		row(q.name+": size of the answer", "MB", func(f measurements) string { return megabytes(of(f).bytes) })
	}
}

func restartRows(row addRow, o options) {
	row("disk: after the load, per sample", "bytes", func(f measurements) string { return per(float64(f.journal), f.samples) })
	row("stop: elapsed time", "s", func(f measurements) string { return seconds(f.stopTime) })
	row("disk: checkpoints", "MB", func(f measurements) string { return megabytes(f.disk) })
	row("disk: per sample", "bytes", func(f measurements) string { return per(float64(f.disk), f.samples) })
	row("restart: time until ready", "s", func(f measurements) string { return seconds(f.readyTime) })
	row("restart: CPU until ready", "s", func(f measurements) string { return seconds(f.readyCPU) })
	row("restart: resident when ready", "MB", func(f measurements) string { return megabytes(f.memoryRestored) })
	if o.query {
		row("restart: values found", "", func(f measurements) string { return share(f.askedAgain, expectedValues(o)) })
	}
}

func killRows(row addRow, o options) {
	if o.query {
		row("query of everything", "", func(f measurements) string { return f.everything.outcome })
		row("query of everything: answer", "MB", func(f measurements) string { return megabytes(f.everything.bytes) })
		row("query of everything: memory +", "MB", func(f measurements) string { return megabytes(f.everything.grown) })
	}
	row("killed: time until ready", "s", func(f measurements) string { return seconds(f.killed.readyTime) })
	row("killed: CPU until ready", "s", func(f measurements) string { return seconds(f.killed.readyCPU) })
	row("killed: resident when ready", "MB", func(f measurements) string { return megabytes(f.killed.memory) })
	if o.query {
		row("killed: values found", "", func(f measurements) string { return share(f.killed.again, expectedValues(o)) })
	}
}

func checkpointRows(row addRow) {
	row("steady: share of a core", "%", func(f measurements) string { return fmt.Sprintf("%.0f", 100*f.writers.share) })
	row("steady: checkpoints", "", func(f measurements) string { return fmt.Sprint(len(f.writers.checkpoints)) })
	row("steady: median checkpoint", "ms", func(f measurements) string { return milliseconds(f.writers.checkpoints.quantile(0.5)) })
	for _, part := range []struct {
		name string
		of   func(f measurements) durations
	}{
		{"between", func(f measurements) durations { return f.writers.between }},
		{"during", func(f measurements) durations { return f.writers.during }},
	} {
		row("steady: requests "+part.name, "", func(f measurements) string { return fmt.Sprint(len(part.of(f))) })
		for _, q := range []struct {
			name string
			q    float64
		}{{"median", 0.5}, {"p99", 0.99}, {"longest", 1}} {
			row("steady: "+q.name+" "+part.name, "ms", func(f measurements) string { return milliseconds(part.of(f).quantile(q.q)) })
		}
	}
}

// expectedValues is how many values the query after a restart finds.
func expectedValues(o options) int { return min(fewHosts, o.hosts) * seriesPerHost * o.steps }

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }

func fineMilliseconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1000) }

func megabytes(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }

func per(total float64, n int) string { return fmt.Sprintf("%.3g", total/float64(max(1, n))) }

// share formats a count, with the expected count if that is different.
func share(n, of int) string {
	if n == of {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d of %d", n, of)
}
