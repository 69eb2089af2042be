package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A small run of all measurements: every sample is stored and found, also after a restart, and no
// file is left.
func TestMeasuresTheServer(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-hosts", "5", "-steps", "12", "-batch", "2", "-settle", "0", "-rounds", "1", "-checkpoints", "1200ms", "-pace", "300"}, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`(?m)^ *samples stored +40680$`,
		`(?m)^ *query: values answered +9984$`,
		`(?m)^ *query: CPU per value +ns +[1-9][0-9.]*$`,
		`(?m)^ *aggregates: results +40$`,
		`(?m)^ *aggregates by id: results +40$`,
		`(?m)^ *aggregates by id: CPU per query +ms +[0-9]+\.[0-9]+$`,
		`(?m)^ *statistics: results +130$`,
		`(?m)^ *all hosts: results +30$`,
		`(?m)^ *control: during the queries +us +[0-9.]+$`,
		`(?m)^ *restart: values found +9984$`,
		`(?m)^ *memory: resident after the load +MB +[1-9][0-9.]+$`,
		`(?m)^ *disk: after the load, per sample +bytes +[1-9][0-9.]*$`,
		`(?m)^ *query of everything +(refused: 4\d\d|[1-9]\d* values)$`,
		`(?m)^ *killed: values found +9984$`,
		`(?m)^ *steady: checkpoints +[1-9][0-9]*$`,
		`(?m)^ *steady: requests during +[0-9]+$`,
		`(?m)^ *steady: requests between +[0-9]+$`,
		`(?m)^ *disk: per sample +bytes +[1-9][0-9.]*$`,
	} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("no line %s in\n%s", want, out.String())
		}
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Each program is first in every other round.
func TestTurns(t *testing.T) {
	for round, want := range [][]int{{0, 1}, {1, 0}, {0, 1}} {
		if got := turns(2, round); !slices.Equal(got, want) {
			t.Errorf("round %d: %v, want %v", round, got, want)
		}
	}
}

func TestRefusesFlags(t *testing.T) {
	f := func(args ...string) {
		t.Helper()
		if _, err := parseOptions(args, t.Output()); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
	f("-hosts", "0")
	f("-steps", "-1")
	f("-writers", "0")
	f("-batch", "0")
	f("-pace", "0")
	f("-rounds", "0")
	f("-only-queries", "-query=false")
	f("-checkpoints", "-1s")
	f("-nope")
	f("operand")
}

// The test process itself has memory and CPU time.
func TestReadsProc(t *testing.T) {
	if n, err := residentMemory(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("resident memory %d, %v", n, err)
	}
	for begin := time.Now(); ; {
		d, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if d > 0 {
			break
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatal("no CPU time after ten seconds of work")
		}
	}
}

// A request that overlaps a checkpoint even briefly counts as during it.
func TestPartsRequests(t *testing.T) {
	const log = `{"time":"2026-11-22T07:07:18.000Z","level":"INFO","msg":"ready"}
{"time":"2026-11-22T07:07:20.000Z","level":"INFO","msg":"checkpoint written","run":1,"hosts":20,"blocks":18,"bytes":824,"took":1.5}
{"time":"2026-11-22T07:07:30.000Z","level":"INFO","msg":"checkpoint written","run":2,"hosts":20,"blocks":12,"bytes":108,"took":0.25}
`
	checkpoints, err := readCheckpoints(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	zero := time.Date(2026, 11, 22, 7, 7, 0, 0, time.UTC)
	f := func(begin, end float64, during bool) {
		t.Helper()
		at := func(s float64) time.Time { return zero.Add(time.Duration(s * float64(time.Second))) }
		w := compare([]span{{at(begin), at(end)}}, checkpoints)
		if got := len(w.during) == 1; got != during || len(w.during)+len(w.between) != 1 || len(w.checkpoints) != len(w.during) {
			t.Errorf("%v to %v: %+v", begin, end, w)
		}
	}
	f(18, 18.4, false)
	f(18.4, 18.6, true)
	f(19, 19.1, true)
	f(18, 21, true)
	f(19.9, 21, true)
	f(20.1, 21, false)
	f(29.7, 29.76, true)
	f(31, 32, false)

	if _, err := readCheckpoints(strings.NewReader(`{"time":"now","msg":"checkpoint written","took":1}`)); err == nil {
		t.Error("an invalid time is accepted")
	}
}

func TestQuantile(t *testing.T) {
	f := func(n int, q float64, want time.Duration) {
		t.Helper()
		var all durations
		for i := range n {
			all = append(all, time.Duration(i+1))
		}
		if got := all.quantile(q); got != want {
			t.Errorf("%v of %d: %d, want %d", q, n, got, want)
		}
	}
	f(0, 0.99, 0)
	f(1, 0, 1)
	f(1, 1, 1)
	f(100, 0.5, 50)
	f(100, 0.99, 99)
	f(1000, 0.99, 990)
	f(3, 1, 3)
}

// Only numbers in lists count.
func TestCountsValues(t *testing.T) {
	f := func(text string, want int) {
		t.Helper()
		if n, err := countValues(strings.NewReader(text)); err != nil || n != want {
			t.Errorf("%s: %d, %v, want %d", text, n, err, want)
		}
	}
	f(`{"queries":[{"metric":"a","host":"b"}],"results":[[{"resolution":60,"from":0,"data":[1,null,2.5],"avg":1.75}],[]]}`, 2)
	f(`{"results":[[{"error":"none","from":1},{"data":[]},{"data":[7],"max":7}]]}`, 1)
	if _, err := countValues(strings.NewReader(`{"results":[[{"data":[1,2`)); err == nil {
		t.Error("an incomplete answer is accepted")
	}
}
