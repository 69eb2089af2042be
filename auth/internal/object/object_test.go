package object

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	const maxValues = 2*MaxDepth + 2
	f := func(data string, want error) {
		t.Helper()
		if m, err := Read([]byte(data), maxValues); err != want || (m == nil) != (err != nil) {
			t.Errorf("%.60s: %v, %v; want %v", data, m, err, want)
		}
	}
	nested := func(opening, closing string, depth int) string {
		return `{"a":` + strings.Repeat(opening, depth-1) + `1` + strings.Repeat(closing, depth-1) + `}`
	}
	list := func(value string, n int) string {
		return `{"a":[` + value + strings.Repeat(","+value, n-1) + `]}`
	}
	f(`{}`, nil)
	f(" {\"a\":\"\\\":{[,\"}\n", nil)
	f("\t{ \"a\" : [ ] ,\r\n\"b\":[ 1 , { } ] }\n", nil)
	f(`{"a":1,"A":2}`, nil)
	f(`{"a":{"b":1},"c":{"b":1}}`, nil)
	f(`{"":[null,true,false,-0,0.5,1E+2,-1.25e-3,1e999,"\u00e9\ud83d\ude00\n"]}`, nil)
	f(nested("[", "]", MaxDepth), nil)
	f(nested("[", "]", MaxDepth+1), errDepth)
	f(nested(`{"a":`, "}", MaxDepth), nil)
	f(nested(`{"a":`, "}", MaxDepth+1), errDepth)
	f(list("1", maxValues-4), nil)
	f(list("1", maxValues-3), errValues)
	f(list("{}", (maxValues-4)/2), nil)
	f(list("{}", (maxValues-4)/2+1), errValues)
	f(`{"a":1,"a":1}`, errDuplicate)
	f(`{"a":1,"\u0061":1}`, errDuplicate)
	f(`{"a":[{"b":1,"b":2}]}`, errDuplicate)
	f("{\"\xff\":1}", errUTF8)
	for _, bad := range []string{
		``, ` `, `null`, `[]`, `1`, `"a"`, `{`, `{}}`, `{}{}`, `{"a"}`, `{a:1}`, `{1:1}`, `{"a":1,}`, `{,}`, `{"a":}`, `{"a":1 "b":1}`, "\ufeff{}", "{}\x00", "\x00{}",
		`{"a":[1,]}`, `{"a":[,1]}`, `{"a":[1 1]}`, `{"a":[`, `{"a":[1}`, `{"a":{"b":1]}`,
		`{"a":01}`, `{"a":+1}`, `{"a":-}`, `{"a":.5}`, `{"a":1.}`, `{"a":1e}`, `{"a":1e+}`, `{"a":0x1}`, `{"a":1_0}`, `{"a":Inf}`, `{"a":NaN}`, `{"a":--1}`,
		`{"a":True}`, `{"a":nul}`, `{"a":truefalse}`, `{"a`, `{"a\`, `{"a\"`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12"`, `{"a":"\u00zz"}`, `{"a":"\`, `{"a":"\n`, "{\"a\":\"\n\"}", "{\"a\":\"\\n\n\"}", `{'a':1}`,
	} {
		f(bad, errNotObject)
	}
}

// Read accepts the objects that encoding/json accepts, with the same result, except for those out
// of bounds and those with duplicate names.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"a":2}`, `{"a":{"b":[{"c":1,"c":1}]}}`, `{"\u0061":1,"a":2}`, `{":":",","[":"{"}`, `{"a":"\\","b":"\""}`, `{"a":1}x`,
		` { "a" : [ true , false , null , -0.5e+10 , "\ud800\ud83d\ude00\/" ] } `, `{"\ud800":1,"\udfff":2}`, `{"a":1e400}`, `{"a":-}`, `null`,
		`{"a":"\"\\\/\b\f\n\r\t\u00E9\u00e9"}`, `{"a":"\ud83d\ude00\ud83dx\ud83d\u0041\ude00\ud83d\ud83d\ude00"}`, `{"a":"\ud83d\u"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Read(data, 2*len(data)+2)
		if err == errDepth || err == errUTF8 {
			return
		}
		want, isObject := decode(data)
		if isObject && err == errNotObject || !isObject && err == nil {
			t.Errorf("%q: %v, %v, want %v", data, got, err, want)
		}
		if !isObject {
			return
		}
		name, duplicated := findDuplicate(t, newDecoder(data))
		if duplicated != (err == errDuplicate) || !duplicated && !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v, want %v; duplicate: %q", data, got, err, want, name)
		}
	})
}

// decode reads an object with encoding/json.
func decode(data []byte) (object map[string]any, isObject bool) {
	if !json.Valid(data) || newDecoder(data).Decode(&object) != nil {
		return nil, false
	}
	return object, object != nil
}

func newDecoder(data []byte) *json.Decoder {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d
}

// findDuplicate reads one value and returns a name that occurs twice in one of its objects.
func findDuplicate(t *testing.T, d *json.Decoder) (string, bool) {
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
		if name, duplicated := findDuplicate(t, d); duplicated {
			return name, true
		}
	}
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	return "", false
}

// The cost of claims like Keycloak's, beside that of encoding/json, which does not find duplicate
// names.
func BenchmarkRead(b *testing.B) {
	claims := []byte(`{"exp":1800000000,"iat":1799999700,"jti":"9d5d3e3c-6a6b-4f0e-8f6b-5e0c6f4b7a11","iss":"https://sso.example.org/realms/data-sec",` +
		`"aud":["metric-store","account"],"sub":"f1b0c1d2-0e3f-4a5b-8c6d-7e8f9a0b1c2d","typ":"Bearer","azp":"jupyter","sid":"0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",` +
		`"acr":"1","allowed-origins":["https://jupyter.example.org"],"realm_access":{"roles":["offline_access","student","uma_authorization"]},` +
		`"resource_access":{"metric-store":{"roles":["reader"]},"account":{"roles":["manage-account","view-profile"]}},"scope":"openid email profile",` +
		`"email_verified":true,"name":"Alice Example","groups":["physics","chemistry"],"preferred_username":"alice","email":"alice@example.org"}`)
	b.Run("Read", func(b *testing.B) {
		for b.Loop() {
			if _, err := Read(claims, 1024); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		for b.Loop() {
			var v map[string]any
			if err := json.Unmarshal(claims, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
