package table

import (
	"bytes"
	"errors"
	"math"
	"net/http"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// TestRequested: the parameter decides, else what Accept prefers. What is no format is JSON.
func TestRequested(t *testing.T) {
	f := func(parameter string, want Format, accept ...string) {
		t.Helper()
		got, err := Requested(parameter, http.Header{"Accept": accept})
		if got != want || err != nil {
			t.Errorf("format %q, Accept %q: %v, %v; want %v", parameter, accept, got, err, want)
		}
	}
	f("", JSON)
	f("", JSON, "")
	f("", JSON, "*/*")
	f("", JSON, "text/html", "application/json;q=0.1")
	f("", CSV, "text/csv")
	f("", CSV, "text/html, Text/CSV; charset=utf-8, */*;q=0.5")
	f("", Parquet, "application/vnd.apache.parquet")
	f("", Parquet, "text/csv;q=0.5", "application/vnd.apache.parquet")
	f("", JSON, "application/json, text/csv")
	f("", CSV, "text/csv, application/json")
	f("", JSON, "text/csv;q=0")
	f("", JSON, "text/csv;q=NaN")
	f("", JSON, "text/csv;q=x, ;;, text/", "\x00")
	f("csv", CSV, "application/json")
	f("json", JSON, "text/csv")
	f("parquet", Parquet)
	if _, err := Requested("xml", nil); err == nil || err.Error() != `expected "json", "csv" or "parquet"; got "xml"` {
		t.Error(err)
	}
}

var testSeries = [...]Series{
	{"c", "h1", "hwthread", "3", "", "", "ipc"},
	{"c", `h"2,` + "\n", "node", "", "filesystem", "scratch", "fs_read"},
}

// TestCSV: the exact bytes.
func TestCSV(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, CSV)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range []float64{0.1, math.NaN(), math.Inf(-1), 1e21} {
		if err := w.Add(&testSeries[i%2], 1795300000_000+250*int64(i), v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const want = "cluster,hostname,type,type_id,stype,stype_id,metric,timestamp,value\n" +
		"c,h1,hwthread,3,,,ipc,2026-11-21T22:26:40Z,0.1\n" +
		"c,\"h\"\"2,\n\",node,,filesystem,scratch,fs_read,2026-11-21T22:26:40.25Z,NaN\n" +
		"c,h1,hwthread,3,,,ipc,2026-11-21T22:26:40.5Z,-Inf\n" +
		"c,\"h\"\"2,\n\",node,,filesystem,scratch,fs_read,2026-11-21T22:26:40.75Z,1e+21\n"
	if out.String() != want {
		t.Errorf("%q\nwant\n%q", out.String(), want)
	}
}

// TestParquet: every row comes back bit by bit, from several row groups.
func TestParquet(t *testing.T) {
	const rows = 2*rowsInGroup + 7
	var out bytes.Buffer
	w, err := NewWriter(&out, Parquet)
	if err != nil {
		t.Fatal(err)
	}
	value := func(i int) float64 {
		if i == 5 {
			return math.Inf(1)
		}
		return math.Sqrt(float64(i))
	}
	for i := range rows {
		if err := w.Add(&testSeries[i%2], int64(i), value(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := parquet.Read[row](bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil || len(got) != rows {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	for i, r := range got {
		s := testSeries[i%2]
		if want := (row{s.Cluster, s.Hostname, s.Type, s.TypeID, s.SType, s.STypeID, s.Metric, int64(i), value(i)}); r != want {
			t.Fatalf("row %d: %+v, want %+v", i, r, want)
		}
	}
	file, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil || len(file.RowGroups()) < 2 {
		t.Errorf("%v: nothing was written before the end", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("gone") }

// TestErrorsOfTheClientAreReturned in both formats.
func TestErrorsOfTheClientAreReturned(t *testing.T) {
	for _, f := range []Format{CSV, Parquet} {
		w, err := NewWriter(failing{}, f)
		for i := 0; i < 4*rowsInGroup && err == nil; i++ {
			err = w.Add(&testSeries[0], int64(i), float64(i))
		}
		if closeErr := w.Close(); err == nil || closeErr == nil {
			t.Errorf("format %d: %v, %v", f, err, closeErr)
		}
	}
}
