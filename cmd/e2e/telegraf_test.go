package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// telegrafTags are the build tags of the plugins in testdata/telegraf/telegraf.conf; see
// docs/CUSTOMIZATION.md of Telegraf.
const telegrafTags = "custom,inputs.cpu,inputs.file,inputs.mem,inputs.system,parsers.influx,serializers.json," +
	"outputs.file,outputs.influxdb,outputs.influxdb_v2"

// buildTelegraf builds Telegraf and returns its path. The first time it downloads 90 MB and
// compiles for two minutes.
func buildTelegraf(t *testing.T) string {
	t.Helper()
	if os.Getenv("RINGSTORE_TELEGRAF_TEST") == "" {
		t.Skip("make telegraf-test runs this")
	}
	const dir, pkg = "testdata/telegraf", "github.com/influxdata/telegraf/cmd/telegraf"
	if out, err := exec.CommandContext(t.Context(), "go", "list", "-C", dir, "-deps", "-tags", telegrafTags, pkg).CombinedOutput(); err != nil {
		t.Skipf("cannot download Telegraf's source: %v\n%s", err, tail(string(out)))
	}
	path := filepath.Join(t.TempDir(), "telegraf")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-C", dir, "-tags", telegrafTags, "-o", path, pkg).CombinedOutput(); err != nil {
		t.Fatalf("building Telegraf: %v\n%s", err, tail(string(out)))
	}
	return path
}

// telegraf is a running Telegraf.
type telegraf struct {
	cmd       *exec.Cmd
	logs      cmdtest.Output
	collected string // the file of what it collected
}

// startTelegraf runs Telegraf with the configuration in testdata/telegraf. site is the path of a
// file with samples from a tool of the site.
func startTelegraf(t *testing.T, program, server, site string) *telegraf {
	t.Helper()
	a := &telegraf{collected: filepath.Join(t.TempDir(), "collected")}
	a.cmd = exec.Command(program, "--config", "testdata/telegraf/telegraf.conf")
	a.cmd.Env = append(os.Environ(), "RINGSTORE="+server, "RINGSTORE_TOKEN="+token("api"), "SITE="+site, "COLLECTED="+a.collected)
	a.cmd.Stdout, a.cmd.Stderr = &a.logs, &a.logs
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = a.cmd.Process.Kill()
		_ = a.cmd.Wait()
		if t.Failed() {
			t.Log(tail(a.logs.String()))
		}
	})
	return a
}

// stop stops Telegraf after it has sent everything.
func (a *telegraf) stop(t *testing.T) {
	t.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// measurement is what one of Telegraf's inputs collected at one time. Fields are numbers, booleans
// and strings.
type measurement struct {
	Name      string
	Tags      map[string]string
	Fields    map[string]any
	Timestamp int64
}

// measurements returns what Telegraf has written to its file so far.
func (a *telegraf) measurements(t *testing.T) (all []measurement) {
	t.Helper()
	data, err := os.ReadFile(a.collected)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var m measurement
		if !strings.HasSuffix(line, "\n") { // being written
			break
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, m)
	}
	return all
}

// collects waits until Telegraf has collected three times after a time.
func (a *telegraf) collects(t *testing.T, after int64) {
	t.Helper()
	cmdtest.Eventually(t, "Telegraf collects", func() bool {
		later := make(map[int64]bool)
		for _, m := range a.measurements(t) {
			if m.Name == "system" && m.Timestamp > after {
				later[m.Timestamp] = true
			}
		}
		return len(later) >= 3
	})
}

// telegrafSeries are the series that the test compares: the metric, and its measurement, field and
// tag.
var telegrafSeries = []struct{ metric, measurement, field, tag string }{
	{"cpu_load", "system", "load1", ""}, // by an alias
	{"system_n_cpus", "system", "n_cpus", ""},
	{"system_uptime", "system", "uptime", ""},
	{"mem_used", "mem", "used", ""},
	{"mem_used_percent", "mem", "used_percent", ""},
	{"cpu_usage_idle", "cpu", "usage_idle", "cpu"},
	{"net_in", "ib", "rx", "port"}, // by an alias
	{"ib_err", "ib", "err", "port"},
	{"ib_up", "ib", "up", "port"},
	{"room_temp", "room_temp", "value", ""},
}

// telegrafMetrics returns the section "metrics" for telegrafSeries.
func telegrafMetrics() map[string]any {
	metrics := make(map[string]any)
	for _, s := range telegrafSeries {
		m := metric(1, "sum")
		if s.tag != "" {
			m["extra-tags"] = []string{s.tag}
		}
		if name := s.measurement + "_" + s.field; name != s.metric && s.field != "value" {
			m["aliases"] = []string{name}
		}
		metrics[s.metric] = m
	}
	metrics["ib_state"] = metric(1, nil) // a string
	return metrics
}

// ofTelegraf returns a cluster's samples of a metric since a time, for one value of the tag that
// tells its series apart.
func (p *program) ofTelegraf(t *testing.T, cluster string, start int64, metric, tag, value string) []map[int64]float64 {
	t.Helper()
	q := map[string]any{"metric": metric, "host": "node01"}
	if tag != "" {
		q["type"], q["subtype"], q["subtype-ids"] = "node", tag, []string{value}
	}
	body, err := json.Marshal(map[string]any{
		"cluster": cluster, "from": start - 10, "to": time.Now().Unix() + 10, "queries": []any{q},
	})
	if err != nil {
		t.Fatal(err)
	}
	var series []map[int64]float64
	for _, e := range p.query(t, string(body)).Results[0] {
		series = append(series, e.ByTime())
	}
	return series
}

// latest returns the time of a cluster's newest sample of Telegraf's input system, 0 if there is
// none since start.
func (p *program) latest(t *testing.T, cluster string, start int64) (newest int64) {
	t.Helper()
	for _, series := range p.ofTelegraf(t, cluster, start, "system_n_cpus", "", "") {
		for at := range series {
			newest = max(newest, at)
		}
	}
	return newest
}

// TestRealTelegraf: a real Telegraf writes to RingStore by each of its outputs, while RingStore is
// restarted. Exactly what it collected for a series is found under the configured name, with its
// times and values.
func TestRealTelegraf(t *testing.T) {
	telegraf := buildTelegraf(t)
	s := newSettings(t)
	s["main"]["addr"] = freePort(t)
	s["metrics"] = telegrafMetrics()
	start := time.Now().Unix() - 60
	var site strings.Builder
	for i := range int64(30) {
		fmt.Fprintf(&site, "ib,port=mlx5_0\\ 1,site=a rx=%di,err=%di,up=%t,state=\"LINK, \\\"up\\\"=1\" %d\n", i*1e6, -i, i%2 == 0, (start+i)*1e9)
		fmt.Fprintf(&site, "ib,port=mlx5_1,site=a rx=%du,err=0i,up=true,state=\"\" %d\n", i+1<<33, (start+i)*1e9)
		fmt.Fprintf(&site, "room_temp value=%v %d\n", 20+float64(i)/7, (start+i)*1e9)
	}

	p := process(t, s)
	a := startTelegraf(t, telegraf, p.url, cmdtest.WriteFile(t, filepath.Join(t.TempDir(), "site"), []byte(site.String())))
	a.collects(t, start)
	p.stopWell(t)
	away := regexp.MustCompile(`\[outputs\.influxdb(_v2)?\].* connection refused`)
	cmdtest.Eventually(t, "Telegraf misses RingStore", func() bool { return away.MatchString(a.logs.String()) })
	p = process(t, s)
	back := time.Now().Unix()
	a.collects(t, back)
	clusters := []string{"v2", "v2-plain", "v1", "v1-header"}
	for _, cluster := range clusters { // an output that waits to retry would not send when Telegraf stops
		cmdtest.Eventually(t, cluster+" is written again", func() bool { return p.latest(t, cluster, start) > back })
	}
	a.stop(t)

	collected := a.measurements(t)
	for _, cluster := range clusters {
		t.Run(cluster, func(t *testing.T) { compareTelegraf(t, p, cluster, start, collected) })
	}
	if got := p.metric(t, "ringstore_ingest_rejected_lines_total"); got != 0 {
		t.Errorf("%v lines were rejected", got)
	}
	if strings.Contains(a.logs.String(), "dropped") || strings.Contains(a.logs.String(), "discard") {
		t.Error("Telegraf dropped samples")
	}
}

// compareTelegraf compares a cluster with what Telegraf collected since a time.
func compareTelegraf(t *testing.T, p *program, cluster string, start int64, collected []measurement) {
	for _, s := range telegrafSeries {
		want := make(map[string]map[int64]float64) // by the tag's value
		for _, m := range collected {
			v, ok := m.Fields[s.field]
			if m.Name != s.measurement || !ok {
				continue
			}
			values := want[m.Tags[s.tag]]
			if values == nil {
				values = make(map[int64]float64)
				want[m.Tags[s.tag]] = values
			}
			values[m.Timestamp] = number(v)
		}
		if len(want) == 0 {
			t.Errorf("Telegraf collected no %s %s", s.measurement, s.field)
		}
		for tag, values := range want {
			got := p.ofTelegraf(t, cluster, start, s.metric, s.tag, tag)
			if len(got) != 1 || !maps.EqualFunc(got[0], values, inFifteenDigits) {
				t.Errorf("%s %q: %v, want %v", s.metric, tag, got, values)
			}
		}
	}
	if got := p.ofTelegraf(t, cluster, start, "ib_state", "", ""); len(got) > 0 {
		t.Errorf("a string is stored as %v", got)
	}
}

// inFifteenDigits reports whether two values agree in the 15 digits that an answer has.
func inFifteenDigits(got, want float64) bool { return math.Abs(got-want) <= 1e-14*math.Abs(want) }

// number returns the sample that a field's value is stored as.
func number(v any) float64 {
	switch v {
	case true:
		return 1
	case false:
		return 0
	}
	return v.(float64)
}
