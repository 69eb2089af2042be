package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// scrapeTime is how long Prometheus scrapes the demo: go test ./cmd/e2e -run Prometheus -scrape 5m
var scrapeTime = flag.Duration("scrape", 20*time.Second, "how long Prometheus scrapes the demo, once a second")

// prometheusServer is a real Prometheus that scrapes one target.
type prometheusServer struct {
	url  string
	logs cmdtest.Output
}

// startPrometheus scrapes /metrics of a server with a token, once a second.
func startPrometheus(t *testing.T, target, token string) *prometheusServer {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	alerting, err := filepath.Abs(alertsPath)
	if err != nil {
		t.Fatal(err)
	}
	config := cmdtest.WriteFile(t, filepath.Join(dir, "prometheus.yml"), fmt.Appendf(nil, `
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: ringstore
    authorization: {credentials: %q}
    static_configs: [{targets: [%q]}]
`, alerting, token, target))
	addr := freePort(t)
	p := &prometheusServer{url: "http://" + addr}
	c := exec.Command(path, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"), "--web.listen-address="+addr)
	c.Stdout, c.Stderr = &p.logs, &p.logs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		if t.Failed() {
			t.Log(tail(p.logs.String()))
		}
	})
	return p
}

// freePort returns a free address on loopback.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// ask returns the current values of a query.
func (p *prometheusServer) ask(query string) (values []float64, err error) {
	resp, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var got struct {
		Error string
		Data  struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Error != "" {
		return nil, fmt.Errorf("status %d, %w: %s", resp.StatusCode, err, got.Error)
	}
	for _, r := range got.Data.Result {
		v, err := strconv.ParseFloat(r.Value[1].(string), 64)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// TestPrometheusScrapesTheDemo: after some time of a demo with a few queries, /metrics passes
// promtool, every query of the dashboard returns numbers, and no alert fires.
func TestPrometheusScrapesTheDemo(t *testing.T) {
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip(err)
	}
	p := launch(t, nil, "demo", "-addr", "127.0.0.1:0", "-nats", "127.0.0.1:0", "-dir", t.TempDir())
	tokens := p.demoTokens(t)
	prometheus := startPrometheus(t, strings.TrimPrefix(p.url, "http://"), tokens["collector"])
	for end := time.Now().Add(*scrapeTime); time.Now().Before(end); time.Sleep(time.Second) {
		to := time.Now().Unix()
		p.send(t, tokens["root"], "POST", "/api/query", fmt.Sprintf(
			`{"cluster":"demo","from":%d,"to":%d,"queries":[{"metric":"cpu_load","host":"node01"}]}`, to-600, to))
	}
	checkMetrics(t, p.send(t, tokens["collector"], "GET", "/metrics", "").body)
	for _, e := range dashboard(t, 15*time.Second) {
		values, err := prometheus.ask(e.expr)
		isNumber := func(v float64) bool { return v >= 0 && !math.IsInf(v, 0) } // quantiles of unused histograms are NaN
		if err != nil || !slices.ContainsFunc(values, isNumber) {
			t.Errorf("%s: %v, %v\n%s", e.where, values, err, e.expr)
		}
	}
	for _, e := range alerts(t) {
		if values, err := prometheus.ask(e.expr); err != nil || len(values) > 0 {
			t.Errorf("alert %s: %v, %v\n%s", e.where, values, err, e.expr)
		}
	}
}
