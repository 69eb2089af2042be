package rest_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestTableOfAQuery: it has the values of the JSON answer, and the same errors, limits and rights.
func TestTableOfAQuery(t *testing.T) {
	d := open(t)
	lines := ""
	for i := range 3 {
		for _, device := range []string{"0", "1"} {
			lines += fmt.Sprintf("flops_any,cluster=alpha,hostname=n1,type=hwthread,type-id=%s value=%d %d\n", device, i+1, base+60*int64(i))
		}
	}
	if got := d.send(t, "POST", "/api/write", lines); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	const list = `"queries":[{"metric":"flops_any","host":"n1"},{"metric":"flops_any","host":"n1","type":"hwthread","type-ids":["0","1"],"scale-by":10},
		{"metric":"flops_any","host":"nosuch"}]`
	body := fmt.Sprintf(`{"cluster":"alpha","from":%d,"to":%d,%s}`, base-60, base+240, list)
	var answer struct {
		Results [][]struct {
			Data       []*float64
			From       int64
			Resolution int64
		}
	}
	if err := json.Unmarshal([]byte(d.send(t, "POST", "/api/query", body).body), &answer); err != nil {
		t.Fatal(err)
	}
	var want []float64
	for _, entries := range answer.Results {
		for _, e := range entries {
			for _, v := range e.Data {
				if v != nil {
					want = append(want, *v)
				}
			}
		}
	}
	got := d.send(t, "POST", "/api/query?format=csv", body)
	rows, err := csv.NewReader(strings.NewReader(got.body)).ReadAll()
	if err != nil || len(rows) != 1+len(want) || len(want) != 9 {
		t.Fatalf("%v, %d values\n%s", err, len(want), got.body)
	}
	for i, row := range rows[1:] {
		if row[8] != fmt.Sprint(want[i]) || row[0] != "alpha" || row[1] != "n1" || row[6] != "flops_any" {
			t.Errorf("row %d: %q, want %v", i, row, want[i])
		}
	}
	if first, last := rows[1], rows[9]; first[2] != "node" || first[3] != "" || last[2] != "hwthread" || last[3] != "1" {
		t.Errorf("%q, %q", first, last)
	}
	if other := d.send(t, "POST", "/api/query", body, "Accept", "text/csv"); other.body != got.body {
		t.Errorf("with Accept: %s", other.body)
	}
	f := func(path, body string, status int, text string) {
		t.Helper()
		if got := d.send(t, "POST", path, body); got.status != status || !strings.Contains(got.body, text) {
			t.Errorf("%s: %d %.300s", path, got.status, got.body)
		}
	}
	f("/api/query?format=parquet", body, 200, "PAR1")
	f("/api/query?format=xml", body, 400, `format: expected \"json\", \"csv\" or \"parquet\"; got \"xml\"`)
	f("/api/query?format=csv", `{`, 400, "unexpected end")
	f("/api/query?format=csv", strings.ReplaceAll(body, "flops_any", "nosuch"), 400, "nosuch")
}
