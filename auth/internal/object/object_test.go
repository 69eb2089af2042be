package object

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	f := func(data string, want error) {
		t.Helper()
		if m, err := Read([]byte(data), 8); err != want || (m == nil) != (err != nil) {
			t.Errorf("%.60s: %v, %v; want %v", data, m, err, want)
		}
	}
	f(`{}`, nil)
	f(" {\"a\":\"\\\":{[,\"}\n", nil)
	f(`{"a":1,"A":2}`, nil)
	f(`{"a":{"b":1},"c":{"b":1}}`, nil)
	f(strings.Repeat(`{"a":`, MaxDepth)+`1`+strings.Repeat("}", MaxDepth), errValues)
	f(`[`+strings.Repeat(`[`, MaxDepth), errDepth)
	f(`{"a":[1,2,3,4,5,6,7]}`, errValues)
	f(`{"a":1,"a":1}`, errDuplicate)
	f(`{"a":1,"\u0061":1}`, errDuplicate)
	f(`{"a":[{"b":1,"b":2}]}`, errDuplicate)
	f("{\"\xff\":1}", errUTF8)
	for _, bad := range []string{``, `null`, `[]`, `1`, `"a"`, `{`, `{}}`, `{}{}`, `{"a"}`, `{a:1}`, `{"a":1,}`, `{"a":01}`, `{"a":1e999}`, "\ufeff{}", "{}\x00"} {
		f(bad, errNotObject)
	}
}

// Read agrees with a reader that goes token by token and looks for every name twice.
func FuzzRead(f *testing.F) {
	for _, s := range []string{`{"a":1,"a":2}`, `{"a":{"b":[{"c":1,"c":1}]}}`, `{"\u0061":1,"a":2}`, `{":":",","[":"{"}`, `{"a":"\\","b":"\""}`, `{"a":1}x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Read(data, 1<<20)
		if err != nil {
			return
		}
		var want map[string]any
		if json.Unmarshal(data, &want) != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", data, got, want)
		}
		decoder := json.NewDecoder(bytes.NewReader(data))
		if name, twice := duplicate(t, decoder); twice {
			t.Errorf("%q: %q is there twice", data, name)
		}
	})
}

// duplicate reads one value and returns a name that an object in it has twice.
func duplicate(t *testing.T, d *json.Decoder) (string, bool) {
	token, err := d.Token()
	if err != nil {
		t.Fatal(err)
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return "", false
	}
	seen := make(map[string]bool)
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				t.Fatal(err)
			}
			if seen[name.(string)] {
				return name.(string), true
			}
			seen[name.(string)] = true
		}
		if name, twice := duplicate(t, d); twice {
			return name, true
		}
	}
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	return "", false
}
