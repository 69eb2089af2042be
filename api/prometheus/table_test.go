package prometheus

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// TestTablesHoldWhatJSONHolds: CSV and Parquet have a row for each value of the JSON answer.
func TestTablesHoldWhatJSONHolds(t *testing.T) {
	w := newTwin(t, 3)
	f := func(path, query string) {
		t.Helper()
		form := url.Values{"query": {query}, "start": {fmt.Sprint(now - 1800)}, "end": {fmt.Sprint(now)}, "time": {fmt.Sprint(now - 1800)}, "step": {"60"}}
		var answer struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
				Values [][2]any
			}
		}
		status, body := w.ask(t, http.MethodGet, path, form)
		data(t, status, body, &answer)
		var want []string
		for _, s := range answer.Result {
			if s.Values == nil {
				s.Values = [][2]any{s.Value}
			}
			for _, v := range s.Values {
				m := s.Metric
				want = append(want, fmt.Sprint(m["cluster"], "|", m["hostname"], "|", m["type"], "|", m["type_id"], "|", m["stype"], "|", m["stype_id"], "|", m["__name__"],
					"|", int64(v[0].(float64)*1000), "|", number(t, v[1].(string))))
			}
		}
		if len(want) == 0 {
			t.Fatalf("%s: no values", query)
		}
		form.Set("format", "csv")
		status, body = w.ask(t, http.MethodPost, path, form)
		records, err := csv.NewReader(strings.NewReader(body)).ReadAll()
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %v %.300s", query, status, err, body)
		}
		var got []string
		for _, r := range records[1:] {
			at, err := time.Parse(time.RFC3339, r[7])
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.Join(r[:7], "|")+fmt.Sprint("|", at.UnixMilli(), "|", number(t, r[8])))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: CSV has\n%.500s\nwant\n%.500s", query, got, want)
		}
		form.Set("format", "parquet")
		status, body = w.ask(t, http.MethodGet, path, form)
		type row struct {
			Cluster   string  `parquet:"cluster"`
			Hostname  string  `parquet:"hostname"`
			Type      string  `parquet:"type"`
			TypeID    string  `parquet:"type_id"`
			SType     string  `parquet:"stype"`
			STypeID   string  `parquet:"stype_id"`
			Metric    string  `parquet:"metric"`
			Timestamp int64   `parquet:"timestamp,timestamp(millisecond)"`
			Value     float64 `parquet:"value"`
		}
		rows, err := parquet.Read[row](bytes.NewReader([]byte(body)), int64(len(body)))
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %v %.300q", query, status, err, body)
		}
		got = nil
		for _, r := range rows {
			got = append(got, strings.Join([]string{r.Cluster, r.Hostname, r.Type, r.TypeID, r.SType, r.STypeID, r.Metric}, "|")+fmt.Sprint("|", r.Timestamp, "|", r.Value))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: Parquet has\n%.500s\nwant\n%.500s", query, got, want)
		}
	}
	f("/api/v1/query_range", "flops_any")
	f("/api/v1/query_range", "sum by (hostname) (flops_any)")
	f("/api/v1/query_range", "load / 0")
	f("/api/v1/query", "flops_any")
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestTablesOfErrors: errors stay JSON, before anything is sent.
func TestTablesOfErrors(t *testing.T) {
	w := newTwin(t, 2)
	f := func(want, form string) {
		t.Helper()
		values, err := url.ParseQuery(form)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := w.ask(t, http.MethodGet, "/api/v1/query", values); status != 400 || !strings.HasPrefix(body, want) {
			t.Errorf("%s: %d %s", form, status, body)
		}
	}
	f(`bad_data: invalid parameter "format": expected "json", "csv" or "parquet"; got "xml"`, "query=load&format=xml")
	f(`bad_data: invalid parameter "query"`, "query=load(&format=csv")
	f(`bad_data: invalid parameter "format": a text is not a table`, `query="x"&format=parquet`)
	status, body := w.ask(t, http.MethodGet, "/api/v1/query", url.Values{"query": {"1"}, "format": {"csv"}, "time": {"60"}})
	if status != 200 || body != "cluster,hostname,type,type_id,stype,stype_id,metric,timestamp,value\n,,,,,,,1970-01-01T00:01:00Z,1\n" {
		t.Errorf("%d %s", status, body)
	}
}
