package configs_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/configs"
)

// Any text either loads as a valid configuration or is refused with a limited number of printable
// lines.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"config.json", "config-nats.json", "config-issuers.json", "collector-sinks.json"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range []string{
		"", "{", "[[[", `{"main": {"addr": 1}}`, `{"main": null, "metrics": {"": null}}`, minimal(),
		inMain(`"Debug": {"x": [1, {"y": 1e999}]}`), inStore(`"retention-in-memory": "\ud800"`),
		subscribed(`{"subscribe-to": "a.*"}, {"subscribe-to": "*.b", "cluster-tag": "x"}`),
		minimal(`"nats": {"embedded": {"listen": ":0"}}`, `"auth": {"disabled": true}`, `"limits": {"hosts": -0}`),
		`{"main": {"a": 1, "a": 2}, "main": {}}`, "{\"m\xff\": 1}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var sections map[string]json.RawMessage
		_ = json.Unmarshal(data, &sections)
		for section := range sections {
			if strings.HasSuffix(section, "-file") {
				t.Skip("would read any file")
			}
		}
		config, err := configs.Parse("config.json", data)
		if err == nil {
			wellFormed(t, config)
			return
		}
		problems, ok := errors.AsType[configs.Errors](err)
		if !ok || config != nil || len(problems) == 0 || len(problems) > 101 {
			t.Fatalf("%d problems, %T, %v", len(problems), err, config)
		}
		for _, p := range problems {
			if line := p.String(); strings.ContainsAny(line, "\n\r\x00\x1b") || len(line) > 20_000 {
				t.Errorf("not a line: %q", line)
			}
		}
	})
}

func wellFormed(t *testing.T, c *configs.Config) {
	t.Helper()
	if c.Main.Addr == "" || len(c.Metrics) == 0 || c.MetricStore.RetentionInMemory <= 0 || c.MetricStore.CheckpointInterval <= 0 ||
		c.Main.JWTPublicKey == "" && len(c.Auth.Issuers) == 0 && !c.Auth.Disabled || c.Limits.NameBytes < 1 {
		t.Errorf("loaded without what is required: %+v", c)
	}
	for name, m := range c.Metrics {
		if name == "" || m.Frequency < 1 {
			t.Errorf("metric %q: %+v", name, m)
		}
	}
	for _, s := range c.Subjects() {
		if s.Subject == "" || s.Authorization == "" {
			t.Errorf("subject %+v", s)
		}
	}
}
