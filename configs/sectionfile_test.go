package configs_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/configs"
)

// inDirectory changes to a new directory with these files, given as name and content.
func inDirectory(t *testing.T, files ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(files[i], []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Every section may be in a file of its own, relative to the working directory and not to the main
// file.
func TestSectionFiles(t *testing.T) {
	content := func(section string) string { _, object, _ := strings.Cut(section, ":"); return object }
	inDirectory(t,
		"main.json", content(mainSection), "metrics.json", content(metricsSection),
		"metric-store.json", `{"retention-in-memory": "1h", "nats-subscriptions": [{"subscribe-to": "a"}]}`,
		"nats.json", `{"embedded": {"listen": "127.0.0.1:0"}}`, "auth.json", `{"require-expiry": true}`, "limits.json", `{"hosts": 7}`,
	)
	if err := os.Mkdir("etc", 0o700); err != nil {
		t.Fatal(err)
	}
	text := `{"main-file": "main.json", "metrics-file": "metrics.json", "metric-store-file": "metric-store.json",
		"nats-file": "nats.json", "auth-file": "auth.json", "limits-file": "./limits.json"}`
	if err := os.WriteFile("etc/config.json", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := configs.Load("etc/config.json")
	if err != nil {
		t.Fatal(err)
	}
	want := loaded(t, minimal(`"metric-store": {"retention-in-memory": "1h", "nats-subscriptions": [{"subscribe-to": "a"}]}`,
		`"nats": {"embedded": {"listen": "127.0.0.1:0"}}`, `"auth": {"require-expiry": true}`, `"limits": {"hosts": 7}`))
	if !reflect.DeepEqual(config, want) {
		t.Errorf("\n got %+v\nwant %+v", config, want)
	}
}

// The keys of a section in both places are merged, and those in its own file take precedence.
func TestSectionFileBesideSection(t *testing.T) {
	inDirectory(t, "more.json", `{"cpu_load": {"frequency": 10, "aggregation": "avg"}, "added": {"frequency": 5}}`)
	for _, file := range []string{`"metrics-file": "more.json"`, `"metrics": null, "metrics-file": "more.json"`} {
		config, err := configs.Parse("config.json", []byte("{"+mainSection+","+storeSection+","+file+"}"))
		if err != nil || len(config.Metrics) != 2 || len(config.Warnings) > 0 {
			t.Errorf("%s: %+v, %v", file, config, err)
		}
	}
	config := loaded(t, minimal(`"metrics": {"cpu_load": {"frequency": 60}, "kept": {"frequency": 1}}`, `"metrics-file": "more.json"`),
		"config.json: metrics.cpu_load: is also in more.json, which takes precedence")
	want := map[string]configs.Metric{
		"cpu_load": {Frequency: 10, Aggregation: configs.AvgAggregation}, "added": {Frequency: 5}, "kept": {Frequency: 1},
	}
	if !reflect.DeepEqual(config.Metrics, want) {
		t.Errorf("\n got %+v\nwant %+v", config.Metrics, want)
	}
	loaded(t, minimal(`"metrics-file": ""`, `"nats-file": null`))
}

func TestRefusedSectionFiles(t *testing.T) {
	inDirectory(t, "bad.json", "{\n  \"a\": {,}\n}", "array.json", "[]", "twice.json", "{\"a\":\n{\"frequency\": 1, \"frequency\": 2}}",
		"wrong.json", `{"b": {"frequency": 0}, "c": {"freqency": 1}, "d.e": 4}`, "main.json", `{"jwt-public-key": "`+key+`"}`,
		"large.json", strings.Repeat(" ", 1<<20+1))
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }
	without := "{" + mainSection + "," + storeSection + ","

	f(without+`"metrics-file": "none.json"}`, `config.json: metrics-file: "none.json": no such file or directory`)
	f(without+`"metrics-file": "."}`, `config.json: metrics-file: ".": is a directory`)
	f(without+`"metrics-file": {"a": 1}}`, "config.json: metrics-file: expected a string, the name of a file; got an object")
	f(without+`"metrics-file": "bad.json"}`, "bad.json:2:9: invalid character ',' looking for beginning of object key string")
	f(without+`"metrics-file": "large.json"}`, "large.json: larger than 1048576 bytes")
	f(without+`"metrics-file": "array.json"}`, "array.json: metrics: expected an object; got an array")
	f(without+`"metrics-file": "twice.json"}`, "twice.json: metrics.a.frequency: duplicate key, in lines 2 and 2")
	f(without+`"metrics": 5, "metrics-file": "wrong.json"}`,
		"config.json: metrics: expected an object; got a number",
		`wrong.json: metrics.c.freqency: unknown key; did you mean "frequency"?`,
		`wrong.json: metrics["d.e"]: expected an object; got a number`)
	f(minimal(`"metrics": {"a": {"frequency": 0}}`, `"metrics-file": "wrong.json"`),
		`wrong.json: metrics.c.freqency: unknown key; did you mean "frequency"?`,
		`wrong.json: metrics["d.e"]: expected an object; got a number`,
		"config.json: metrics.a.frequency: expected 1 to 31536000 seconds; got 0",
		"wrong.json: metrics.b.frequency: expected 1 to 31536000 seconds; got 0",
		"wrong.json: metrics.c.frequency: expected 1 to 31536000 seconds; got 0")
	f("{"+metricsSection+","+storeSection+`, "main-file": "main.json"}`,
		`main.json: main.addr: missing: the address to listen on, such as "0.0.0.0:8082"`)
}

func TestLoadNamesTheFile(t *testing.T) {
	inDirectory(t, "empty.json", "")
	f := func(path, want string) {
		t.Helper()
		if config, err := configs.Load(path); config != nil || err == nil || err.Error() != want {
			t.Errorf("got %v, %v; want %s", config, err, want)
		}
	}
	f("none.json", "none.json: no such file or directory")
	f(".", ".: is a directory")
	f("empty.json", "empty.json:1:1: unexpected end of JSON input")
	f("no\nne", `"no\nne": no such file or directory`)
}
