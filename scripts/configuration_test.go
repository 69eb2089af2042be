package scripts_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/configs"
)

// configKey is a key of the configuration, as docs/configuration.md writes it: "[]" stands for an
// element of a list, NAME for a name that the operator chooses.
type configKey struct {
	container bool          // has keys of its own
	value     reflect.Value // the default; invalid below lists, names and absent objects
}

// configKeys returns the keys of the configuration's types by path, with the values of an almost
// empty configuration.
func configKeys(t *testing.T) map[string]configKey {
	t.Helper()
	const minimal = `{
		"main": {"addr": "127.0.0.1:0"}, "auth": {"disabled": true},
		"metrics": {"m": {"frequency": 1, "aggregation": null}}, "metric-store": {"retention-in-memory": "1h"}
	}`
	cfg, err := configs.Parse("minimal.json", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]configKey)
	walkType(reflect.TypeFor[configs.Config](), reflect.ValueOf(*cfg), "", keys)
	return keys
}

// walkType adds the keys of a struct, and of the structs in it.
func walkType(typ reflect.Type, value reflect.Value, path string, keys map[string]configKey) {
	for i := range typ.NumField() {
		field := typ.Field(i)
		var inside reflect.Value
		if value.IsValid() {
			inside = value.Field(i)
		}
		name := field.Tag.Get("json")
		switch {
		case name == "-":
			continue
		case field.Anonymous && name == "":
			walkType(field.Type, inside, path, keys)
			continue
		}
		at := strings.TrimPrefix(path+"."+name, ".")
		below, suffix := field.Type, ""
		switch below.Kind() {
		case reflect.Pointer:
			below, inside = below.Elem(), reflect.Value{}
		case reflect.Slice:
			below, suffix, inside = below.Elem(), "[]", reflect.Value{}
		case reflect.Map:
			below, suffix, inside = below.Elem(), ".NAME", reflect.Value{}
		}
		if below.Kind() != reflect.Struct {
			keys[at] = configKey{value: inside}
			continue
		}
		keys[at] = configKey{container: true}
		walkType(below, inside, at+suffix, keys)
	}
}

// documentedKey is a row of a table in docs/configuration.md.
type documentedKey struct {
	key, kind, fallback, effect string
}

var keyRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*?) \\| (.*?) \\| (.*?) \\|$")

func documentedKeys(t *testing.T) []documentedKey {
	t.Helper()
	var rows []documentedKey
	for _, m := range keyRow.FindAllStringSubmatch(readDocument(t, "docs/configuration.md"), -1) {
		rows = append(rows, documentedKey{m[1], m[2], m[3], m[4]})
	}
	return rows
}

// TestConfigurationIsDocumented compares docs/configuration.md with the types of package configs:
// every key has one row, no row is invented, and the defaults are the ones that the program fills in.
func TestConfigurationIsDocumented(t *testing.T) {
	keys, seen := configKeys(t), make(map[string]bool)
	if len(keys) < 80 {
		t.Fatalf("found only %d keys in the types", len(keys))
	}
	for _, row := range documentedKeys(t) {
		key, exists := keys[row.key]
		if !exists {
			t.Errorf("%s is documented, but no such key exists", row.key)
			continue
		}
		if seen[row.key] {
			t.Errorf("%s is documented twice", row.key)
		}
		seen[row.key] = true
		if row.kind == "" || row.fallback == "" || row.effect == "" {
			t.Errorf("%s lacks its type, default or effect", row.key)
		}
		checkDefault(t, row, key.value)
	}
	for _, path := range slices.Sorted(maps.Keys(keys)) {
		if !seen[path] && !keys[path].container {
			t.Errorf("%s is not documented", path)
		}
	}
}

// TestConfigurationIsUsed checks that the program reads every key: one that no code in cmd selects is
// checked and documented, but has no effect.
func TestConfigurationIsUsed(t *testing.T) {
	selected := map[string]bool{
		"NumWorkers": true, // of cc-metric-store; documented as without effect

		// These are read by methods of package configs.
		"Subscriptions": true, "SubscribeTo": true, // Config.Subjects
		"RequireExpiry": true, "MaxLifetime": true, "Leeway": true, // Auth.TimesOf
	}
	files := token.NewFileSet()
	err := filepath.WalkDir("../cmd", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				selected[s.Sel.Name] = true
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	checkUsed(t, reflect.TypeFor[configs.Config](), "", selected)
}

// checkUsed reports the fields of a type, and of the types below it, that are not selected.
func checkUsed(t *testing.T, typ reflect.Type, path string, selected map[string]bool) {
	t.Helper()
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct {
		return
	}
	for i := range typ.NumField() {
		field := typ.Field(i)
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		at := strings.TrimPrefix(path+"."+key, ".")
		if key == "-" || !field.IsExported() {
			continue
		}
		if !field.Anonymous && !selected[field.Name] {
			t.Errorf("%s: no code in cmd reads the field %s.%s: hand it on, or the key has no effect", at, typ.Name(), field.Name)
		}
		checkUsed(t, field.Type, at, selected)
	}
}

// checkDefault compares the default that a row shows with the one that the program fills in. Keys
// that the minimal configuration sets are required.
func checkDefault(t *testing.T, row documentedKey, value reflect.Value) {
	t.Helper()
	if !value.IsValid() || !value.CanInterface() || value.IsZero() || value.Kind() == reflect.Map {
		return
	}
	if required := row.fallback == "required"; required {
		return
	}
	want := fmt.Sprintf("`%v`", value.Interface())
	switch v := value.Interface().(type) {
	case time.Duration:
		want = fmt.Sprintf("`\"%s\"`", shortDuration(v))
	case string, configs.Sync, configs.CleanupMode, configs.ArchiveEncoding:
		want = fmt.Sprintf("`\"%v\"`", v)
	}
	if row.key != "auth.disabled" && !strings.HasPrefix(row.fallback, want) { // set by the minimal configuration
		t.Errorf("%s: the default is %s, documented is %s", row.key, want, row.fallback)
	}
}

// shortDuration writes 10m0s as 10m.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// TestManualHasTheConfiguration checks that the man page describes every section, and that its
// example configurations are valid.
func TestManualHasTheConfiguration(t *testing.T) {
	manual := readDocument(t, "scripts/release/packaging/ringstore.8")
	typ := reflect.TypeFor[configs.Config]()
	for i := range typ.NumField() {
		section := typ.Field(i).Tag.Get("json")
		if section != "-" && !strings.Contains(manual, "\n.It Ic "+section+"\n") {
			t.Errorf("the man page does not describe section %s", section)
		}
	}
	t.Setenv("CCB_TOKEN", "not-a-real-token")
	metrics := filepath.Join(t.TempDir(), "metrics.json")
	if err := os.WriteFile(metrics, []byte(`{"cpu_load": {"frequency": 60, "aggregation": null}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile(`(?s)\.Bd -literal -offset indent\n(\{\n.*?\n\})\n\.Ed`).FindAllStringSubmatch(manual, -1)
	if len(examples) < 2 {
		t.Errorf("found %d example configurations", len(examples))
	}
	for _, m := range examples {
		text := strings.ReplaceAll(m[1], "/etc/ringstore/metrics.json", metrics)
		if _, err := configs.Parse("the man page", []byte(text)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}

// TestConfigKeys holds the walk over the types to keys of every kind.
func TestConfigKeys(t *testing.T) {
	keys := configKeys(t)
	for _, want := range []string{
		"main.addr", "metrics.NAME.frequency", "metric-store.nats-subscriptions[].subscribe-to", "nats.embedded.listen",
		"auth.require-expiry", "auth.issuers[].role-map.NAME.clusters", "auth.issuers[].leeway", "auth.jobs.nats.subject",
	} {
		if key, ok := keys[want]; !ok || key.container {
			t.Errorf("%s: %+v, %t", want, key, ok)
		}
	}
	if got := keys["limits.hosts"].value.Interface(); got != 20_000 {
		t.Errorf("limits.hosts: %v", got)
	}
	if _, ok := keys["Warnings"]; ok {
		t.Error("Warnings is no key")
	}
}

// missing are the words with which the configuration reports a required key that is not there.
const missing = "missing: "

// TestConfigurationSnippets checks the JSON blocks of the documents that begin with a section's
// name: each is a part of a configuration, so it has no problem except missing keys, and except
// files and variables that only exist at a site.
func TestConfigurationSnippets(t *testing.T) {
	block := regexp.MustCompile("(?s)\n```json\n(.*?)\n```")
	section := regexp.MustCompile(`^"(main|metrics|metric-store|nats|auth)": \{`)
	found := 0
	for _, path := range documents(t) {
		for _, m := range block.FindAllStringSubmatch(readDocument(t, path), -1) {
			if !section.MatchString(m[1]) {
				continue
			}
			found++
			_, err := configs.Parse(path, []byte("{\n"+m[1]+"\n}"))
			var problems configs.Errors
			if !errors.As(err, &problems) {
				continue
			}
			for _, p := range problems {
				if !strings.HasPrefix(p.Message, missing) {
					t.Errorf("%v\n%s", p, m[1])
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("found only %d snippets", found)
	}
}
