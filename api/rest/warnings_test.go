package rest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/api/rest"
)

// warningsIn returns the warnings of an answer, and whether it has any.
func warningsIn(t *testing.T, r reply) (list []string, has bool) {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.body), &members); err != nil || r.status != 200 {
		t.Fatalf("%d %.200s: %v", r.status, r.body, err)
	}
	raw, has := members["warnings"]
	if has {
		if err := json.Unmarshal(raw, &list); err != nil {
			t.Fatal(err)
		}
	}
	return list, has
}

func TestUnknownNamesInQueriesAreWarnedOf(t *testing.T) {
	d := open(t)
	d.write(t, "cpu_load,hostname=n1 value=1 {0}")
	f := func(body string, want ...string) {
		t.Helper()
		got, has := warningsIn(t, d.send(t, "POST", "/api/query", body))
		if has != (len(want) > 0) || !slices.Equal(got, want) {
			t.Errorf("%.200s: %q (present: %v), want %q", body, got, has, want)
		}
	}
	const good = `{"metric":"cpu_load","host":"n1"}`
	f(`{}`)
	f(`{"cluster":"nope"}`)
	f(`{"cluster":"alpha","from":0,"to":1,"with-stats":true,"with-data":true,"with-padding":true,"queries":[` + good + `],"for-all-nodes":["cpu_load"]}`)
	f(`{"CLUSTER":"alpha","Queries":[{"Metric":"cpu_load","HOST":"n1"}]}`) // JSON members match in any case
	f(`{"cluster":"alpha","queries":[{"metric":"cpu_load","host":"nope","type":"hwthread","type-ids":["x"],"subtype":"s","subtype-ids":["y"],` +
		`"aggreg":true,"resolution":60,"resample":"max","scale-by":2}]}`)
	f(`{"cluster":"alpha","querys":[`+good+`]}`, `unknown member "querys"`)
	f(`{"cluster":"alpha","queries":[`+good+`],"querys":[{"a":{"b":1}}],"x":{"y":[{"z":{}}]}}`, `unknown member "querys"`, `unknown member "x"`)
	f(`{"cluster":"alpha","queries":[{"metrc":"a","host":"n1","metric":"cpu_load"},{"metrc":"b","metric":"cpu_load"}]}`, `queries: unknown member "metrc"`)
	f(`{"cluster":"alpha","queries":[`+good+`,{"type-ids":["querys","{","}","\""],"metric":"cpu_load","\u0071uerys":[{"x":1}]}]}`, `queries: unknown member "querys"`)
	f(`{"cluster":"al\"pha: {","queries":[`+good+`]}`, `unknown cluster "al\"pha: {"`)
	f(`{"cluster":"nope","for-all-nodes":["cpu_load"]}`, `unknown cluster "nope"`)
	f(`{"cluster":"alpha","for-all-nodes":["cpu_load","nope"],"queries":[{"metric":"nope"},{"metric":"no"}]}`, `unknown metric "nope"`, `unknown metric "no"`)
	f(`{"cluster":"beta","quer\\ies":1,"":2,"queries":[{"metric":"nope"}]}`, `unknown member "quer\\ies"`, `unknown member ""`, `unknown cluster "beta"`, `unknown metric "nope"`)
	f(`{"`+strings.Repeat("k", 5000)+`":1}`, `unknown member "`+strings.Repeat("k", 256)+`..."`)

	var many []string
	for i := range 150 {
		many = append(many, fmt.Sprintf(`{"metric":"m%d"}`, i))
	}
	got, _ := warningsIn(t, d.send(t, "POST", "/api/query", `{"cluster":"alpha","queries":[`+strings.Join(many, ",")+`]}`))
	if len(got) != 100 || got[99] != `unknown metric "m99"` {
		t.Errorf("%d warnings, the last is %s", len(got), got[len(got)-1])
	}
}

// Warnings reveal which clusters exist and must not reach callers who see only some.
func TestWarningsAreForCallersWhoSeeAllClusters(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.Policy.UsersReadAll = true })
	d.write(t, "cpu_load,hostname=n1 value=1 {0}")
	const body = `{"cluster":"nope","x":1,"queries":[{"metric":"nope","host":"n1"}]}`
	f := func(d *deployment, want bool, roles ...string) {
		t.Helper()
		if _, got := warningsIn(t, d.send(t, "POST", "/api/query", body, "Authorization", "Bearer "+d.token(roles...))); got != want {
			t.Errorf("%v: warnings %v, want %v", roles, got, want)
		}
	}
	limited := restricted(t, "alpha")
	for _, roles := range [][]string{{"admin"}, {"support"}, {"api"}, {"admin", "user"}, {"support", "api"}} {
		f(d, true, roles...)
		f(limited, false, roles...)
	}
	for _, roles := range [][]string{{"user"}, {"manager"}, {"user", "api"}, {"manager", "api"}} {
		f(d, false, roles...)
	}
}
