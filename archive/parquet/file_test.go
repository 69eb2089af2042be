package parquet_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/parquet"
)

// The schema that FORMAT.md documents.
const schema = `message row {
	required binary cluster (STRING);
	required binary hostname (STRING);
	required binary metric (STRING);
	required binary scope (STRING);
	required binary scope_id (STRING);
	required int64 timestamp (INT(64,true));
	required int64 frequency (INT(64,true));
	required double value;
}`

func TestFormat(t *testing.T) {
	dir := t.TempDir()
	a := open(t, disk.OS{}, dir)
	written := write(t, a, "fritz", "blocks 1-7", samples("a", "m", 1, 2, 3), samples("b", "m", 1))
	f, err := os.Open(filepath.Join(dir, written.Name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o640 {
		t.Errorf("mode %s", info.Mode())
	}
	file, err := pq.OpenFile(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	if got := file.Schema().String(); got != schema {
		t.Errorf("the schema is\n%s", got)
	}
	for key, want := range map[string]string{
		"ringstore.version": "1", "ringstore.cluster": "fritz", "ringstore.day": "2023-11-14", "ringstore.source": "blocks 1-7",
	} {
		if got, ok := file.Lookup(key); got != want || !ok {
			t.Errorf("%s is %q", key, got)
		}
	}
	group := file.Metadata().RowGroups[0]
	var sorted []int
	for _, c := range group.SortingColumns {
		if c.Descending {
			t.Errorf("column %d is descending", c.ColumnIdx)
		}
		sorted = append(sorted, int(c.ColumnIdx))
	}
	if !slices.Equal(sorted, []int{0, 1, 2, 3, 4, 5}) {
		t.Errorf("sorted by %v", sorted)
	}
	for i, c := range group.Columns {
		if c.MetaData.Codec.String() != "ZSTD" {
			t.Errorf("column %d: %s", i, c.MetaData.Codec)
		}
	}
}

// Spark 3.0 and older versions of Arrow and Polars read neither data pages of version 2 nor
// DELTA_BINARY_PACKED.
func TestEncodings(t *testing.T) {
	f := func(e parquet.Encoding, timeEncoding format.Encoding, page format.PageType) {
		t.Helper()
		dir := t.TempDir()
		a, err := parquet.Open(disk.OS{}, dir, e)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		written := write(t, a, "fritz", "x", samples("a", "m", 1, 2, 3), samples("b", "m", 4))
		content, err := os.ReadFile(filepath.Join(dir, written.Name))
		if err != nil {
			t.Fatal(err)
		}
		file, err := pq.OpenFile(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range file.Metadata().RowGroups[0].Columns {
			want := format.RLEDictionary
			switch i {
			case 5, 6:
				want = timeEncoding
			case 7:
				want = format.Plain
			}
			pages := 0
			for _, s := range c.MetaData.EncodingStats {
				if s.PageType == format.DictionaryPage && s.Encoding == format.Plain {
					continue
				}
				pages++
				if s.PageType != page || s.Encoding != want {
					t.Errorf("encoding %d: column %d has pages %s of %s, want %s of %s", e, i, s.PageType, s.Encoding, page, want)
				}
			}
			if pages == 0 {
				t.Errorf("encoding %d: column %d says nothing of its pages", e, i)
			}
		}
		if got := duckDB(t, filepath.Join(dir, written.Name)); got.Rows != "4" || got.Values != 10 || got.Timestamps != fmt.Sprint(4*midnight+60+120) {
			t.Errorf("encoding %d: DuckDB reads %+v", e, got)
		}
	}
	f(parquet.Compatible, format.RLEDictionary, format.DataPage)
	f(parquet.Compact, format.DeltaBinaryPacked, format.DataPageV2)
}

// synthetic yields n rows of many series, one per minute of the day.
func synthetic(n int, each func(values []float64)) iter.Seq2[parquet.Column, error] {
	return func(yield func(parquet.Column, error) bool) {
		c := samples("", "", make([]float64, 1440)...)
		c.Scope = "hwthread"
		for series := 0; n > 0; series++ {
			c.Host, c.Metric, c.ScopeID = fmt.Sprintf("a%04d", series/1000), fmt.Sprintf("metric%d", series/100%10), fmt.Sprintf("%02d", series%100)
			for i := range c.Values {
				c.Values[i] = float64((series*1440+i)*2654435761%1000003) / 7
			}
			c.Times, c.Values = c.Times[:min(n, 1440)], c.Values[:min(n, 1440)]
			n -= len(c.Times)
			each(c.Values)
			if !yield(c, nil) {
				return
			}
		}
	}
}

var rowsToWrite = flag.Int("rows", 2_100_000, "of TestMillionsOfRows")

// Writing millions of rows takes no more memory than a row group. DuckDB finds them all.
func TestMillionsOfRows(t *testing.T) {
	const most = 80 << 20
	rows := *rowsToWrite
	dir := t.TempDir()
	a := open(t, disk.OS{}, dir)
	var before, now runtime.MemStats
	for range 3 { // two collections empty the pools
		runtime.GC()
	}
	runtime.ReadMemStats(&before)
	done, peak, sum := 0, uint64(0), 0.0
	f, err := a.Write(t.Context(), "fritz", day, "x", synthetic(rows, func(values []float64) {
		n := len(values)
		for _, v := range values {
			sum += v
		}
		if done/100_000 != (done+n)/100_000 {
			runtime.ReadMemStats(&now) // garbage counts too
			peak = max(peak, now.HeapInuse)
		}
		done += n
	}))
	if err != nil || f.Rows != int64(rows) {
		t.Fatalf("got %+v, %v", f, err)
	}
	if grown := int64(peak) - int64(before.HeapInuse); grown > most {
		t.Errorf("the heap grew by %d bytes", grown)
	} else {
		t.Logf("the heap grew by %d KiB", grown>>10)
	}
	groups, want := rowGroups(t, filepath.Join(dir, f.Name)), slices.Repeat([]int64{1 << 20}, rows>>20)
	if rest := rows % (1 << 20); rest > 0 {
		want = append(want, int64(rest))
	}
	if !slices.Equal(groups, want) {
		t.Errorf("row groups of %d rows", groups)
	}

	got := duckDB(t, filepath.Join(dir, f.Name))
	if got.Rows != fmt.Sprint(rows) || got.Frequencies != fmt.Sprint(rows*60) || got.Disorder != "0" || got.NaNs != "0" || got.Infinities != "0" {
		t.Errorf("got %+v", got)
	}
	if math.Abs(got.Values-sum) > 1e-9*sum {
		t.Errorf("the values' sum is %v, want %v", got.Values, sum)
	}
	if got.Groups.Rows != fmt.Sprint(want[0]) || got.Groups.Groups != fmt.Sprint(len(want)) {
		t.Errorf("got %+v", got.Groups)
	}
}

// Long names close a row group before it has its maximum of rows.
func TestLongNames(t *testing.T) {
	const series, length = 2000, 10_000
	dir := t.TempDir()
	a := open(t, disk.OS{}, dir)
	f, err := a.Write(t.Context(), "fritz", day, "x", func(yield func(parquet.Column, error) bool) {
		for i := range series {
			if !yield(samples(fmt.Sprintf("%06d", i)+strings.Repeat("x", length), "m", 1), nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	groups := rowGroups(t, filepath.Join(dir, f.Name))
	if len(groups) != 2 {
		t.Errorf("row groups of %d rows", groups)
	}
}

func rowGroups(t *testing.T, path string) []int64 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	file, err := pq.OpenFile(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	var rows []int64
	for _, g := range file.RowGroups() {
		rows = append(rows, g.NumRows())
	}
	return rows
}

// nowhere is a file system that discards writes.
type nowhere struct{ disk.OS }

type hole struct{ disk.File }

func (nowhere) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := disk.OS{}.OpenFile(name, flag, perm)
	return hole{f}, err
}

func (hole) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkWrite(b *testing.B) {
	a, err := parquet.Open(nowhere{}, b.TempDir(), parquet.Compatible)
	if err != nil {
		b.Fatal(err)
	}
	const rows = 2_000_000
	source := 0
	for b.Loop() {
		source++
		if _, err := a.Write(b.Context(), fmt.Sprint("c", source), day, "x", synthetic(rows, func([]float64) {})); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}
