package e2e

import (
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/api/rest/resttest"
)

var metricsShown = regexp.MustCompile(`msg="metrics are shown without a token" addr=(\S+)`)

// TestMetricsAddr: the listener at main.metrics-addr shows the same metrics as /metrics, without a
// token, and nothing else.
func TestMetricsAddr(t *testing.T) {
	s := newSettings(t)
	s["main"]["metrics-addr"] = "127.0.0.1:0"
	p := serve(t, s)
	p.write(t, "cpu_load,hostname=n1 value=1")
	inside, described := p.url, p.client.Transport
	p.url = "http://" + p.says(t, metricsShown)[1]
	if p.url == inside {
		t.Fatal("both use the same listener")
	}
	p.client.Transport = resttest.Bare(described)
	f := func(method, path string, status int) {
		t.Helper()
		got := p.send(t, "", method, path, "")
		if got.status != status {
			t.Errorf("%s %s: %d, want %d", method, path, got.status, status)
		}
		if shown := strings.Contains(got.body, "ringstore_ingest_samples_total{transport=\"http\"} 1\n"); shown != (status == 200 && method == "GET") {
			t.Errorf("%s %s: %.300s", method, path, got.body)
		}
	}
	f("GET", "/metrics", http.StatusOK)
	f("GET", "/metrics/", http.StatusOK)
	f("HEAD", "/metrics", http.StatusOK)
	f("POST", "/metrics", http.StatusMethodNotAllowed)
	f("GET", "/", http.StatusNotFound)
	f("GET", "/metrics/x", http.StatusNotFound)
	f("POST", "/api/write", http.StatusNotFound)
	f("GET", "/api/query", http.StatusNotFound)
	f("GET", "/debug/pprof/", http.StatusNotFound)
	p.url, p.client.Transport = inside, described
	if got := p.send(t, "", "GET", "/metrics", ""); got.status != http.StatusUnauthorized {
		t.Errorf("the main listener does not require a token: %d", got.status)
	}
}

// TestMetricsAddrInUse: the start fails if the address is in use.
func TestMetricsAddrInUse(t *testing.T) {
	first := serve(t, newSettings(t))
	s := newSettings(t)
	s["main"]["metrics-addr"] = strings.TrimPrefix(first.url, "http://")
	p := call(t, "-config", s.file(t))
	if code := p.wait(t); code != exitFailure || !strings.Contains(p.stderr.String(), "main.metrics-addr: listen tcp") {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
}

// TestMetricsKeepTheConventions: names match types, and labels hold neither tokens nor names that a
// client chose.
func TestMetricsKeepTheConventions(t *testing.T) {
	p := complete(t)
	p.send(t, "eyJhbGciOiJub25lIn0.e30.", "GET", "/a-path-of-my-own", "")
	p.send(t, "eyJhbGciOiJub25lIn0.e30.", "POST", "/api/write", "a-metric-of-my-own,hostname=h value=1")
	p.send(t, token("api"), "POST", "/api/write", "a-metric-of-my-own,hostname=h value=1")
	got := p.send(t, token("support"), "GET", "/metrics", "")
	for _, secret := range []string{"eyJ", "of-my-own", `"n1"`} {
		if strings.Contains(got.body, secret) {
			t.Errorf("%s is in the metrics", secret)
		}
	}
	const maxSeries = 1000 // of a server with little load
	for name, f := range p.families(t) {
		kind := f.GetType().String()
		if strings.HasSuffix(name, "_total") != (kind == "COUNTER") && strings.HasPrefix(name, "ringstore_") {
			t.Errorf("%s is a %s", name, kind)
		}
		if f.GetHelp() == "" || len(f.Metric) > maxSeries {
			t.Errorf("%s: help %q, %d series", name, f.GetHelp(), len(f.Metric))
		}
	}
	for _, name := range wanted {
		if p.families(t)[name] == nil {
			t.Errorf("no metric %s", name)
		}
	}
	checkMetrics(t, got.body)
}

// wanted are metrics that users rely on: renaming one breaks their dashboards.
var wanted = []string{
	"ringstore_ingest_samples_total", "ringstore_ingest_lines_total", "ringstore_ingest_batches_total", "ringstore_ingest_bytes_total",
	"ringstore_ingest_rejected_lines_total", "ringstore_auth_refusals_total", "ringstore_auth_verifications_total",
	"ringstore_journal_append_duration_seconds", "ringstore_journal_fsync_duration_seconds", "ringstore_journal_segments",
	"ringstore_journal_unsynced_bytes",
	"ringstore_checkpoint_last_duration_seconds", "ringstore_checkpoint_bytes_total", "ringstore_checkpoint_last_success_timestamp_seconds",
	"ringstore_archive_last_duration_seconds", "ringstore_archive_bytes_total", "ringstore_archive_last_success_timestamp_seconds",
	"ringstore_store_series", "ringstore_store_hosts", "ringstore_store_blocks", "ringstore_store_block_values", "ringstore_store_block_bytes",
	"ringstore_store_bytes", "ringstore_store_limit_bytes", "ringstore_memory_cap_bytes", "process_resident_memory_bytes",
	"ringstore_http_request_duration_seconds", "ringstore_http_answered_values_total", "ringstore_http_canceled_requests_total",
	"ringstore_nats_connected", "ringstore_nats_clients", "ringstore_nats_redelivered_total", "ringstore_nats_dropped_total",
	"ringstore_nats_token_left_seconds",
	"ringstore_jobs_jobs", "ringstore_jobs_stale", "ringstore_jobs_told_timestamp_seconds",
}

// checkMetrics runs promtool on /metrics, if it is installed.
func checkMetrics(t *testing.T, body string) {
	t.Helper()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("promtool is not installed: ", err)
		return
	}
	c := exec.Command(promtool, "check", "metrics")
	c.Stdin = strings.NewReader(body)
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// TestAlertsPassPromtool: the alerts are valid, and fire when they should.
func TestAlertsPassPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip(err)
	}
	for _, args := range [][]string{
		{"check", "rules", "--lint-fatal", alertsPath},
		{"test", "rules", "testdata/alerts_test.yml"},
	} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
}

// TestAlertsDiffer: names and conditions are unique.
func TestAlertsDiffer(t *testing.T) {
	seen := make(map[string]string)
	for _, one := range alerts(t) {
		for _, text := range []string{one.where, one.expr} {
			if other, twice := seen[text]; twice {
				t.Errorf("%s repeats %s", one.where, other)
			}
			seen[text] = one.where
		}
	}
}
