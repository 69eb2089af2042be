package parquet_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/archive/disk"
)

// answer is the output of testdata/duckdb/read.js, in which 64-bit integers are strings.
type answer struct {
	Rows, Files, Infinities, NaNs, Disorder string
	Timestamps, Frequencies                 string
	Values                                  float64
	Columns                                 []string
	Groups                                  struct{ Rows, Groups string }
	Chunks                                  []struct{ Column, Compression, Encodings string }
	Metadata                                []struct{ Key, Value string }
	Series                                  []struct {
		Cluster, Hostname, Metric, Scope string
		ScopeID                          string `json:"scope_id"`
		Rows                             string
		Values                           float64
	}
}

// duckDB reads the files that match a glob with DuckDB.
func duckDB(t *testing.T, glob string) answer {
	t.Helper()
	const dir = "testdata/duckdb"
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("DuckDB does not read the files: node is not there")
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules/@duckdb")); err != nil {
		t.Skip("DuckDB does not read the files: run npm ci --prefix archive/parquet/" + dir)
	}
	cmd := exec.CommandContext(t.Context(), "node", "read.js", glob)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return a
}

// DuckDB finds the documented types, and reads a directory of files at once.
func TestDuckDB(t *testing.T) {
	dir := t.TempDir()
	a := open(t, disk.OS{}, dir)
	write(t, a, "fritz", "x", samples("a", "m", 1, 2, 3), samples("b", "m", 4))
	strange := "a'b\"*/ü\U0001f409"
	write(t, a, "fritz", "y", samples("a", "m", 1, math.Inf(1)), samples("b", "m", 0.5))
	write(t, a, strange, "z", samples(strange, "m", 0.25, math.Inf(-1)))

	one := duckDB(t, filepath.Join(dir, "fritz/2023-11-14.parquet"))
	if one.Rows != "4" || one.Values != 10 || one.Timestamps != fmt.Sprint(4*midnight+60+120) {
		t.Errorf("got %+v", one)
	}
	want := []string{
		"cluster VARCHAR", "hostname VARCHAR", "metric VARCHAR", "scope VARCHAR", "scope_id VARCHAR",
		"timestamp BIGINT", "frequency BIGINT", "value DOUBLE",
	}
	if !slices.Equal(one.Columns, want) {
		t.Errorf("the columns are %q", one.Columns)
	}
	for _, c := range one.Chunks {
		if c.Compression != "ZSTD" || strings.HasPrefix(c.Column, "scope") && !strings.Contains(c.Encodings, "DICTIONARY") {
			t.Errorf("got %+v", c)
		}
	}
	metadata := []struct{ Key, Value string }{
		{"ringstore.cluster", "fritz"}, {"ringstore.day", "2023-11-14"}, {"ringstore.source", "x"}, {"ringstore.version", "1"},
	}
	if !slices.Equal(one.Metadata, metadata) {
		t.Errorf("the metadata are %q", one.Metadata)
	}

	all := duckDB(t, filepath.Join(dir, "*/*.parquet"))
	if all.Rows != "9" || all.Files != "3" || all.Disorder != "0" || all.Infinities != "1" {
		t.Errorf("got %+v", all)
	}
	first := all.Series[0]
	if first.Cluster != strange || first.Hostname != strange || first.Rows != "2" || first.Values != 0.25 || first.Scope != "node" || first.ScopeID != "" {
		t.Errorf("got %+v", first)
	}
}
