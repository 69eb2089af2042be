package parquet_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"
	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/archive/parquet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// day is the day that the tests write.
var day = parquet.DayOf(1_700_000_000)

const midnight = 1_699_920_000 // at which it begins

// row is a row as a reader sees it.
type row struct {
	Cluster   string  `parquet:"cluster"`
	Hostname  string  `parquet:"hostname"`
	Metric    string  `parquet:"metric"`
	Scope     string  `parquet:"scope"`
	ScopeID   string  `parquet:"scope_id"`
	Timestamp int64   `parquet:"timestamp"`
	Frequency int64   `parquet:"frequency"`
	Value     float64 `parquet:"value"`
}

// samples returns a column of a node with one value per minute from midnight.
func samples(host, metric string, values ...float64) parquet.Column {
	c := parquet.Column{Host: host, Metric: metric, Scope: "node", Frequency: 60, Values: values}
	for i := range values {
		c.Times = append(c.Times, midnight+int64(i)*60)
	}
	return c
}

func sequence(columns ...parquet.Column) iter.Seq2[parquet.Column, error] {
	return func(yield func(parquet.Column, error) bool) {
		for _, c := range columns {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// failing returns a sequence that ends with an error.
func failing(s iter.Seq2[parquet.Column, error], err error) iter.Seq2[parquet.Column, error] {
	return func(yield func(parquet.Column, error) bool) {
		for c, err := range s {
			if !yield(c, err) {
				return
			}
		}
		yield(parquet.Column{}, err)
	}
}

// rowsOf returns the rows of columns.
func rowsOf(cluster string, columns ...parquet.Column) []row {
	var rows []row
	for _, c := range columns {
		for i, t := range c.Times {
			rows = append(rows, row{cluster, c.Host, c.Metric, c.Scope, c.ScopeID, t, c.Frequency, c.Values[i]})
		}
	}
	return rows
}

func open(t *testing.T, fsys disk.FS, location string) *parquet.Archive {
	t.Helper()
	a, err := parquet.Open(fsys, location, parquet.Compatible)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(a.Close(), a.Close()); err != nil {
			t.Error(err)
		}
	})
	return a
}

func write(t *testing.T, a *parquet.Archive, cluster, source string, columns ...parquet.Column) parquet.File {
	t.Helper()
	f, err := a.Write(t.Context(), cluster, day, source, sequence(columns...))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// readRows reads a file with the reader of the library that wrote it.
func readRows(t *testing.T, r io.ReaderAt, size int64) []row {
	t.Helper()
	rows, err := pq.Read[row](r, size)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func readFile(t *testing.T, fsys disk.FS, name string) []row {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return readRows(t, f, info.Size())
}

func sameRows(t *testing.T, got, want []row) {
	t.Helper()
	same := func(a, b row) bool {
		bits := math.Float64bits(a.Value) == math.Float64bits(b.Value)
		a.Value, b.Value = 0, 0
		return bits && a == b
	}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("got %d rows, want %d:\n%.400v\n%.400v", len(got), len(want), got, want)
	}
}

func names(t *testing.T, fsys disk.FS, dir string) []string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// eachDestination runs a test on a directory and on an S3 server. list returns the names in a
// cluster's folder, read the rows of a file.
func eachDestination(t *testing.T, test func(t *testing.T, d testDestination)) {
	t.Run("directory", func(t *testing.T) {
		fsys := disktest.New(1)
		test(t, testDestination{
			Archive: open(t, fsys, "/archive"),
			list:    func(folder string) []string { return names(t, fsys, filepath.Join("/archive", folder)) },
			read:    func(name string) []row { return readFile(t, fsys, filepath.Join("/archive", name)) },
			put: func(name string, content []byte) {
				path := filepath.Join("/archive", name)
				if err := fsys.MkdirAll(filepath.Dir(path), 0o750); err != nil {
					t.Fatal(err)
				}
				err := disk.Publish(fsys, path, func(w io.Writer) error { _, err := w.Write(content); return err })
				if err != nil {
					t.Fatal(err)
				}
			},
		})
	})
	t.Run("s3", func(t *testing.T) {
		s := startS3(t)
		test(t, testDestination{
			Archive: open(t, nil, "s3://metrics/some/prefix"),
			list:    func(folder string) []string { return s.keys("some/prefix/" + folder + "/") },
			read:    func(name string) []row { return s.rows("some/prefix/" + name) },
			put:     func(name string, content []byte) { s.put("some/prefix/"+name, content) },
		})
	})
}

type testDestination struct {
	*parquet.Archive
	list func(folder string) []string
	read func(name string) []row
	put  func(name string, content []byte)
}

func TestWriteKeepsEveryRow(t *testing.T) {
	columns := []parquet.Column{
		samples("a0001", "cpu_load", 0.1, math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 0, math.MaxFloat64, math.SmallestNonzeroFloat64),
		samples("a0001", "cpu_user", 1.0/3),
		{Host: "a0001", Metric: "cpu_user", Scope: "node", Frequency: 30, Times: []int64{midnight, midnight + 86399}, Values: []float64{1, 2}},
		{Host: "a0001", Metric: "flops", Scope: "hwthread", ScopeID: "10", Frequency: 60, Times: []int64{midnight + 7}, Values: []float64{1}},
		{Host: "a0001", Metric: "flops", Scope: "hwthread", ScopeID: "2"},
		{Host: "a0001", Metric: "flops", Scope: "hwthread", ScopeID: "3", Frequency: 60, Times: []int64{midnight + 7}, Values: []float64{2}},
		samples("b\"\n%/ü\U0001f409", "", 4),
	}
	eachDestination(t, func(t *testing.T, d testDestination) {
		f := write(t, d.Archive, "fritz", "blocks 1-7", columns...)
		want := rowsOf("fritz", columns...)
		if f.Name != "fritz/2023-11-14.parquet" || f.Rows != int64(len(want)) || f.Source != "blocks 1-7" {
			t.Errorf("got %+v", f)
		}
		sameRows(t, d.read(f.Name), want)
		if got := d.list("fritz"); !slices.Equal(got, []string{"2023-11-14.parquet"}) {
			t.Errorf("published %q", got)
		}
	})
}

func TestLateDataGetFilesOfTheirOwn(t *testing.T) {
	eachDestination(t, func(t *testing.T, d testDestination) {
		var want []string
		for i, source := range []string{"x", "y", "z"} {
			f := write(t, d.Archive, "fritz", source, samples("a", "m", float64(i)))
			want = append(want, f.Name)
			sameRows(t, d.read(f.Name), rowsOf("fritz", samples("a", "m", float64(i))))
		}
		if !slices.Equal(want, []string{"fritz/2023-11-14.parquet", "fritz/2023-11-14-2.parquet", "fritz/2023-11-14-3.parquet"}) {
			t.Errorf("wrote %q", want)
		}
		files, err := d.Files(t.Context(), "fritz", day)
		if err != nil || len(files) != 3 {
			t.Fatalf("got %v, %v", files, err)
		}
		for i, f := range files {
			if f.Name != want[i] || f.Source != string("xyz"[i]) || f.Rows != 1 {
				t.Errorf("file %d is %+v", i, f)
			}
		}
	})
}

func TestNumbersGoOnAfterTheLast(t *testing.T) {
	content := otherFile(t)
	f := func(there []string, want string) {
		t.Helper()
		fsys := disktest.New(1)
		a := open(t, fsys, "/archive")
		for _, name := range there {
			path := filepath.Join("/archive/fritz", name)
			if err := fsys.MkdirAll(filepath.Dir(path), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := disk.Publish(fsys, path, func(w io.Writer) error { _, err := w.Write(content); return err }); err != nil {
				t.Fatal(err)
			}
		}
		if got := write(t, a, "fritz", "x", samples("a", "m", 1)); got.Name != "fritz/"+want {
			t.Errorf("beside %q wrote %q, want %q", there, got.Name, want)
		}
	}
	f(nil, "2023-11-14.parquet")
	f([]string{"2023-11-14.parquet"}, "2023-11-14-2.parquet")
	f([]string{"2023-11-14-2.parquet"}, "2023-11-14-3.parquet")
	f([]string{"2023-11-14.parquet", "2023-11-14-9.parquet", "2023-11-14-10.parquet"}, "2023-11-14-11.parquet")
	f([]string{"2023-11-13.parquet", "2023-11-15-2.parquet"}, "2023-11-14.parquet")
	f([]string{"2023-11-14-0.parquet", "2023-11-14-1.parquet", "2023-11-14-02.parquet", "2023-11-14--3.parquet", "2023-11-14-+3.parquet"}, "2023-11-14.parquet")
	f([]string{"2023-11-14-2", "x2023-11-14-2.parquet", "2023-11-14-2.parquet.bak", "2023-11-14-99999999999999999999.parquet"}, "2023-11-14.parquet")
}

// otherFile returns a Parquet file of another program.
func otherFile(t *testing.T) []byte {
	t.Helper()
	var b strings.Builder
	if err := pq.Write(&b, []row{{Cluster: "fritz"}}); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}

func TestTheSameSourceIsPublishedOnce(t *testing.T) {
	eachDestination(t, func(t *testing.T, d testDestination) {
		d.put("fritz/2023-11-14.parquet", otherFile(t))
		first := write(t, d.Archive, "fritz", "x", samples("a", "m", 1, 2))
		asked := false
		again, err := d.Write(t.Context(), "fritz", day, "x", func(func(parquet.Column, error) bool) { asked = true })
		if err != nil || again != first || asked {
			t.Errorf("got %+v, %v, want %+v; asked for columns: %v", again, err, first, asked)
		}
		if got := d.list("fritz"); len(got) != 2 {
			t.Errorf("published %q", got)
		}
		has := func(cluster string, day parquet.Day, source string, want bool) {
			t.Helper()
			if got, err := d.Has(t.Context(), cluster, day, source); got != want || err != nil {
				t.Errorf("Has(%q, %s, %q) = %v, %v", cluster, day, source, got, err)
			}
		}
		has("fritz", day, "x", true)
		has("fritz", day, "y", false)
		has("fritz", day, "", false)
		has("fritz", day+1, "x", false)
		has("alex", day, "x", false)
	})
}

func TestWithoutARowNothingIsPublished(t *testing.T) {
	eachDestination(t, func(t *testing.T, d testDestination) {
		for _, columns := range [][]parquet.Column{nil, {samples("a", "m")}} {
			if f := write(t, d.Archive, "fritz", "x", columns...); f != (parquet.File{}) {
				t.Errorf("got %+v", f)
			}
		}
		if got := d.list("fritz"); len(got) > 0 {
			t.Errorf("published %q", got)
		}
	})
}

func TestRefused(t *testing.T) {
	fsys := disktest.New(1)
	a := open(t, fsys, "/archive")
	f := func(columns iter.Seq2[parquet.Column, error], want string) {
		t.Helper()
		_, err := a.Write(t.Context(), "fritz", day, "x", columns)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if got := names(t, fsys, "/archive/fritz"); len(got) > 0 {
			t.Errorf("%s: there are %q", want, got)
		}
	}
	with := func(change func(*parquet.Column)) iter.Seq2[parquet.Column, error] {
		c := samples("a", "m", 1, 2, 3)
		change(&c)
		return sequence(samples("a", "a", 1), c)
	}
	f(with(func(c *parquet.Column) { c.Values[1] = math.NaN() }), `column "a" "m" "node" "": expected a number at 1699920060, got NaN`)
	f(with(func(c *parquet.Column) { c.Values = c.Values[1:] }), `3 times and 2 values`)
	f(with(func(c *parquet.Column) { c.Values = nil }), `3 times and 0 values`)
	f(with(func(c *parquet.Column) { c.Times[0] = midnight - 1 }), `expected ascending times of 2023-11-14, got 1699919999`)
	f(with(func(c *parquet.Column) { c.Times[2] = midnight + 86400 }), `expected ascending times of 2023-11-14, got 1700006400`)
	f(with(func(c *parquet.Column) { c.Times[0] = midnight + 61 }), `expected ascending times of 2023-11-14, got 1699920060`)
	f(with(func(c *parquet.Column) { c.Host = "a\xff" }), `expected UTF-8, got the name "a\xff"`)
	f(with(func(c *parquet.Column) { c.ScopeID = "\xc0\x80" }), `expected UTF-8, got the name "\xc0\x80"`)
	f(sequence(samples("b", "m", 1), samples("a", "n", 1)), `column "a" "n" "node" "": expected columns in order, got it after "b" "m" "node" ""`)
	f(sequence(samples("a", "m", 1, 2), samples("a", "m", 1)), `expected ascending times of 2023-11-14, got 1699920000`)
	f(failing(sequence(samples("a", "m", 1)), errors.New("block 7 is damaged")), "archive file fritz/2023-11-14.parquet: ")
	f(failing(sequence(samples("a", "m", 1)), errors.New("block 7 is damaged")), "block 7 is damaged")

	for _, source := range []string{"", "\xff"} {
		if _, err := a.Write(t.Context(), "fritz", day, source, sequence(samples("a", "m", 1))); err == nil {
			t.Errorf("the source %q was accepted", source)
		}
	}
}

func TestContext(t *testing.T) {
	eachDestination(t, func(t *testing.T, d testDestination) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := d.Write(ctx, "fritz", day, "x", func(yield func(parquet.Column, error) bool) {
			yield(samples("a", "m", 1), nil)
			cancel()
			yield(samples("b", "m", 1), nil)
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("in the middle: %v", err)
		}
		if got := d.list("fritz"); len(got) > 0 {
			t.Errorf("there are %q", got)
		}
		_, err = d.Write(ctx, "fritz", day, "x", sequence(samples("a", "m", 1)))
		_, errHas := d.Has(ctx, "fritz", day, "x")
		for _, err := range []error{err, errHas, d.Clean(ctx, "fritz")} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("before: %v", err)
			}
		}
	})
}

// A damaged file of the day, or one that is no Parquet file, is reported and left alone; the rows go
// to another file.
func TestDamagedFilesAreLeftAlone(t *testing.T) {
	f := func(content string) {
		t.Helper()
		eachDestination(t, func(t *testing.T, d testDestination) {
			d.put("fritz/2023-11-14.parquet", []byte(content))
			got, err := d.Write(t.Context(), "fritz", day, "x", sequence(samples("a", "m", 1)))
			if err != nil || got.Name != "fritz/2023-11-14-2.parquet" {
				t.Errorf("%.20q: %q, %v", content, got.Name, err)
			}
			files, err := d.Files(t.Context(), "fritz", day)
			if err != nil || len(files) != 2 || files[0].Damage == nil || files[1].Damage != nil {
				t.Errorf("%.20q: files %+v, %v", content, files, err)
				return
			}
			if want := "archive file fritz/2023-11-14.parquet: not a Parquet file, or damaged"; !strings.Contains(files[0].Damage.Error(), want) {
				t.Errorf("%.20q: %v", content, files[0].Damage)
			}
			if has, err := d.Has(t.Context(), "fritz", day, "x"); !has || err != nil {
				t.Errorf("Has: %v, %v", has, err)
			}
		})
	}
	whole := string(otherFile(t))
	f("P")
	f("PAR1PAR1")
	f("no parquet file, but long enough")
	f(whole[:len(whole)-1])
	f(whole[:len(whole)-8] + "\xff\xff\xff\x0fPAR1")
	f("PAR1\x00\x00\x00\x00PAR1")
}
