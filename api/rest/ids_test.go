package rest

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func (l *idList) all() (all []string) {
	for i := range l.len() {
		all = append(all, l.at(i)...)
	}
	return all
}

// A list of ids decodes as a list of strings does, and keeps each id once.
func TestIDLists(t *testing.T) {
	f := func(text string) {
		t.Helper()
		var want []string
		var got idList
		errWant, err := json.Unmarshal([]byte(text), &want), json.Unmarshal([]byte(text), &got)
		if (err == nil) != (errWant == nil) || err == nil && !slices.Equal(got.all(), want) {
			t.Fatalf("%s: %q, %v, want %q, %v", text, got.all(), err, want, errWant)
		}
		if err != nil {
			return
		}
		distinct := slices.Clone(want)
		slices.Sort(distinct)
		if n := len(slices.Compact(distinct)); len(got.names) != n {
			t.Fatalf("%s: %d names, want %d", text, len(got.names), n)
		}
	}
	for _, text := range []string{
		`null`, `[]`, `[ ]`, `["0"]`, `["0","0"]`, ` [ "0" , "1","0" ] `, `["a\"b","a\u0022b"]`, `["]","[",","]`, `[""]`, `["",null,""]`,
		`[1]`, `["0",1]`, `["0",["1"]]`, `{"a":["0"]}`, `"0"`, `5`, `true`, "[\"\xff\",\"\ufffd\"]", `["0"`,
	} {
		f(text)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		list := make([]string, r.IntN(20))
		for i := range list {
			list[i] = []string{"0", "1", "é", `"`, `\`, "]", ""}[r.IntN(7)]
		}
		text, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		f(string(text))
	}
}

// 1.9 million times the same id are 7.5 KB of gzip.
func TestRepeatedIDsTakeLittleMemory(t *testing.T) {
	const n = 1_900_000
	text := []byte(`["0"` + strings.Repeat(`,"0"`, n-1) + `]`)
	var l idList
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := l.UnmarshalJSON(text); err != nil || l.len() != n || len(l.names) != 1 {
		t.Fatalf("%v, %d ids, %d names", err, l.len(), len(l.names))
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 60<<20 {
		t.Errorf("allocated %d bytes", grown)
	}
}

func TestTooManyIDs(t *testing.T) {
	ids := make([]string, maxIDs+1)
	for i := range ids {
		ids[i] = strings.Repeat("x", i%7) + string(rune('0'+i%10)) + string(rune(0x4e00+i/10))
	}
	text, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	var l idList
	err = json.Unmarshal(text, &l)
	if f, ok := errors.AsType[*failure](err); !ok || !strings.Contains(f.public, "different ids") {
		t.Errorf("%v", err)
	}
}
