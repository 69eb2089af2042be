package scripts_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/ringstore/ringstore/auth/authtest"
)

var (
	metricName = regexp.MustCompile(`\bringstore_[a-z_]+`)
	notMetrics = regexp.MustCompile(`ringstore_[0-9]`) // ringstore_1.2.3_amd64.deb
)

// TestMetricNames holds every metric that a document, an alert or the dashboard names against the
// metrics of a running server with all its parts.
func TestMetricNames(t *testing.T) {
	families := scrape(t)
	files := append(markdown(t), "configs/alerts.yml", "configs/grafana-dashboard.json")
	named := make(map[string]bool)
	for _, file := range files {
		text := notMetrics.ReplaceAllString(readDocument(t, file), "")
		for _, name := range metricName.FindAllString(text, -1) {
			named[name] = true
			if !exists(families, name) {
				t.Errorf("%s: no metric is named %s", file, name)
			}
		}
	}
	if len(named) < 50 {
		t.Errorf("the documents name only %d metrics", len(named))
	}
}

// exists reports whether a name, or with a final underscore a prefix, is that of a metric.
func exists(families map[string]*dto.MetricFamily, name string) bool {
	if prefix, ok := strings.CutSuffix(name, "_"); ok {
		return slices.ContainsFunc(slices.Collect(maps.Keys(families)), func(n string) bool {
			return strings.HasPrefix(n, prefix+"_")
		})
	}
	if families[name] != nil {
		return true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		base, ok := strings.CutSuffix(name, suffix)
		if f := families[base]; ok && f != nil && f.GetType() == dto.MetricType_HISTOGRAM {
			return true
		}
	}
	return false
}

// scrape runs a server that has every part with metrics, makes it count something, and returns its
// metrics by name.
func scrape(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	backend := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(backend.Close)
	issuer, dir := authtest.NewIssuer("metrics"), t.TempDir()
	api, metrics, nats := "127.0.0.1"+freePort(t), "127.0.0.1"+freePort(t), "127.0.0.1"+freePort(t)
	type object = map[string]any
	config, err := json.Marshal(object{
		"main": object{
			"addr": api, "metrics-addr": metrics, "jwt-public-key": issuer.PublicKeyBase64(), "backend-url": backend.URL,
		},
		"metrics": object{"cpu_load": object{"frequency": 60, "aggregation": nil}},
		"metric-store": object{
			"retention-in-memory": "48h",
			"nats-subscriptions":  []object{{"subscribe-to": "hpc", "cluster-tag": "fritz", "stream": "METRICS", "durable": "ringstore"}},
		},
		"nats": object{"embedded": object{"listen": nats}},
		"auth": object{"jobs": object{"backend": object{"token": "env:CCB_TOKEN"}, "nats": object{"subject": "jobs"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "ringstore"))
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CCB_TOKEN=not-a-real-token")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("%s", text)
		}
	})
	waitFor(t, "the server is ready", func() bool { return get(t, "http://"+api+"/-/ready") != "" })

	token := issuer.Token(object{"sub": "collector", "roles": []string{"api"}, "exp": time.Now().Add(time.Hour).Unix()})
	publisher, err := natsgo.Connect("nats://"+nats, natsgo.UserInfo("collector", token))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(publisher.Close)
	if err := publisher.Publish("hpc", []byte("cpu_load,hostname=f0101 value=1")); err != nil {
		t.Fatal(err)
	}
	if c, err := natsgo.Connect("nats://"+nats, natsgo.UserInfo("collector", "not-a-token")); err == nil {
		c.Close()
		t.Error("a publisher without a token may connect")
	}
	get(t, "http://"+api+"/api/query") // without a token
	var families map[string]*dto.MetricFamily
	waitFor(t, "the message is stored and the lag is known", func() bool {
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err = parser.TextToMetricFamilies(strings.NewReader(get(t, "http://"+metrics+"/metrics")))
		return err == nil && families["ringstore_nats_stream_pending"] != nil && families["ringstore_nats_stream_messages_total"] != nil
	})
	return families
}

// waitFor waits up to 20 s for a condition.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 200 {
		if done() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("timed out: %s", what)
}

// get returns the body of a response with status 200, otherwise nothing.
func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return ""
	}
	return string(body)
}
