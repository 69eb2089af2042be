package parquet_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/memstore"
)

func TestFoldersOfClusters(t *testing.T) {
	f := func(cluster, want string) {
		t.Helper()
		eachDestination(t, func(t *testing.T, d testDestination) {
			if got := write(t, d.Archive, cluster, "x", samples("a", "m", 1)); got.Name != want+"/2023-11-14.parquet" {
				t.Errorf("%q is archived as %q", cluster, got.Name)
			}
			sameRows(t, d.read(want+"/2023-11-14.parquet"), rowsOf(cluster, samples("a", "m", 1)))
			if has, err := d.Has(t.Context(), cluster, day, "x"); !has || err != nil {
				t.Errorf("Has(%q): %v, %v", cluster, has, err)
			}
		})
	}
	f("fritz", "fritz")
	f("Fritz-2_b.c", "Fritz-2_b.c")
	f("..", "%2E.")
	f(".", "%2E")
	f("../../etc", "%2E.%2F..%2Fetc")
	f("/etc", "%2Fetc")
	f(`a\b`, "a%5Cb")
	f("a%2Fb", "a%252Fb")
	f("*?[a]", "%2A%3F%5Ba%5D")
	f("a b\x00\n", "a%20b%00%0A")
	f("größe", "gr%C3%B6%C3%9Fe")
	f(strings.Repeat("x", 240), strings.Repeat("x", 240))
}

// A cluster whose name is too long for a folder has a folder of a shorter name.
func TestFoldersOfLongNames(t *testing.T) {
	a := open(t, disktest.New(1), "/archive")
	folders := make(map[string]string)
	for _, cluster := range []string{
		"", strings.Repeat("x", 241), strings.Repeat("x", 242), strings.Repeat("x", 240) + "y",
		strings.Repeat("/", 81), strings.Repeat("/", 82), "x" + strings.Repeat("/", 82), "xx" + strings.Repeat("/", 82), strings.Repeat("x", 1<<20),
	} {
		file := write(t, a, cluster, "x", samples("a", "m", 1))
		folder := filepath.Dir(file.Name)
		if len(folder) > 240 || folders[folder] != "" || strings.Contains(folder, "/") {
			t.Errorf("%.10q: folder %q, which also %.10q has", cluster, folder, folders[folder])
		}
		folders[folder] = cluster
	}
}

// No two clusters share a folder, and no folder is outside the archive.
func FuzzFolder(f *testing.F) {
	for _, s := range []string{"a", "..", "a/b", "a%2Fb", "%", "\xff", "a\x00", strings.Repeat("%", 90)} {
		f.Add(s, "a")
	}
	f.Fuzz(func(t *testing.T, x, y string) {
		a := open(t, disktest.New(1), "/archive")
		folder := func(cluster string) string {
			file, err := a.Write(t.Context(), cluster, day, "x", sequence(samples("a", "m", 1)))
			if err != nil {
				t.Skip(err)
			}
			dir := filepath.Dir(file.Name)
			if !filepath.IsLocal(dir) || strings.ContainsAny(dir, `/\`) || strings.HasPrefix(dir, ".") {
				t.Errorf("the folder of %q is %q", cluster, dir)
			}
			return dir
		}
		if (folder(x) == folder(y)) != (x == y) {
			t.Errorf("%q and %q share %q", x, y, folder(x))
		}
	})
}

func TestDays(t *testing.T) {
	f := func(unix int64, want string) {
		t.Helper()
		if got := parquet.DayOf(unix).String(); got != want {
			t.Errorf("%d is in %s, want %s", unix, got, want)
		}
	}
	f(0, "1970-01-01")
	f(86399, "1970-01-01")
	f(86400, "1970-01-02")
	f(-1, "1969-12-31")
	f(-86400, "1969-12-31")
	f(-86401, "1969-12-30")
	f(1_709_164_800, "2024-02-29")
}

func TestCleanRemovesTemporaryFiles(t *testing.T) {
	fsys := disktest.New(1)
	a := open(t, fsys, "/archive")
	if err := a.Clean(t.Context(), "fritz"); err != nil {
		t.Errorf("without a folder: %v", err)
	}
	write(t, a, "fritz", "x", samples("a", "m", 1))
	if err := fsys.Link("/archive/fritz/2023-11-14.parquet", "/archive/fritz/2023-11-14-2.parquet.tmp"); err != nil {
		t.Fatal(err)
	}
	if err := a.Clean(t.Context(), "fritz"); err != nil {
		t.Error(err)
	}
	if got := names(t, fsys, "/archive/fritz"); !slices.Equal(got, []string{"2023-11-14.parquet"}) {
		t.Errorf("left are %q", got)
	}
}

func TestScope(t *testing.T) {
	f := func(d memstore.Device, scope, id string) {
		t.Helper()
		if gotScope, gotID := parquet.Scope(d); gotScope != scope || gotID != id {
			t.Errorf("%+v is %q, %q", d, gotScope, gotID)
		}
	}
	f(memstore.Device{}, "node", "")
	f(memstore.Device{Type: "node"}, "node", "")
	f(memstore.Device{Type: "node", TypeID: "ignored"}, "node", "")
	f(memstore.Device{Type: "hwthread", TypeID: "3"}, "hwthread", "3")
	f(memstore.Device{Type: "accelerator", TypeID: "00000000:49:00.0"}, "accelerator", "00000000:49:00.0")
	f(memstore.Device{Type: "filesystem", TypeID: "/home"}, "filesystem", "/home")
	f(memstore.Device{Subtype: "network", SubtypeID: "eth0"}, "node/network", "eth0")
	f(memstore.Device{Type: "node", TypeID: "ignored", Subtype: "filesystem", SubtypeID: "/home"}, "node/filesystem", "/home")
	f(memstore.Device{Type: "accelerator", TypeID: "0", Subtype: "engine", SubtypeID: "1"}, "accelerator/engine", "0/1")
	f(memstore.Device{Type: "a/b", TypeID: "c/%", Subtype: "d/e", SubtypeID: "f/%"}, "a%2Fb/d/e", "c%2F%25/f/%")
	f(memstore.Device{Type: "100%", TypeID: "100%"}, "100%25", "100%")
	f(memstore.Device{Type: "socket", TypeID: "0", SubtypeID: "1"}, "socket/", "0/1")
	f(memstore.Device{Type: "socket", TypeID: "0", Subtype: "memory"}, "socket/memory", "0/")
	f(memstore.Device{TypeID: "0"}, "", "0")
}

// No two devices share a scope and an id.
func FuzzScope(f *testing.F) {
	f.Add("node", "", "network", "eth0", "node/network", "eth0", "", "")
	f.Add("a", "b/c", "d", "e", "a", "b", "d", "c/e")
	f.Add("a", "b", "", "", "", "a", "b", "")
	f.Add("a", "", "b", "", "a/b", "", "", "")
	f.Fuzz(func(t *testing.T, t1, i1, s1, j1, t2, i2, s2, j2 string) {
		type pair struct{ scope, id string }
		pairOf := func(d memstore.Device) (p pair) {
			p.scope, p.id = parquet.Scope(d)
			return p
		}
		same := func(d memstore.Device) memstore.Device { // the node's names
			if d.Type == "node" || d.Type == "" && d.TypeID == "" {
				d.Type, d.TypeID = "", ""
			}
			return d
		}
		a := same(memstore.Device{Type: t1, TypeID: i1, Subtype: s1, SubtypeID: j1})
		b := same(memstore.Device{Type: t2, TypeID: i2, Subtype: s2, SubtypeID: j2})
		if (pairOf(a) == pairOf(b)) != (a == b) {
			t.Errorf("%+v and %+v are both %+v", a, b, pairOf(a))
		}
	})
}

func TestCompareIsTheOrderOfAFile(t *testing.T) {
	columns := []parquet.Column{
		samples("b", "a", 1), samples("a", "b", 1), samples("a", "a", 1),
		{Host: "a", Metric: "a", Scope: "hwthread", ScopeID: "2", Times: []int64{midnight + 60}, Values: []float64{1}},
		{Host: "a", Metric: "a", Scope: "hwthread", ScopeID: "2", Times: []int64{midnight}, Values: []float64{1}},
		{Host: "a", Metric: "a", Scope: "hwthread", ScopeID: "10", Times: []int64{midnight + 60}, Values: []float64{1}},
	}
	slices.SortFunc(columns, parquet.Column.Compare)
	a := open(t, disktest.New(1), "/archive")
	if f := write(t, a, "fritz", "x", columns...); f.Rows != 6 {
		t.Errorf("%d rows", f.Rows)
	}
}
