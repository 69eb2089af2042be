package disk_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
)

// A WholeFile has its old or its new content, whichever operation fails before power is lost.
func TestWholeFileIsReplacedOrKept(t *testing.T) {
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fsys := disktest.New(1)
	file := disk.WholeFile{FS: fsys, Path: "/data/jobs.rsj"}
	if f, err := file.Open(); !errors.Is(err, fs.ErrNotExist) || f != nil {
		t.Fatalf("%v, %v", f, err)
	}
	ok(fsys.MkdirAll("/data", 0o750))
	ok(file.Replace(content("start")))
	before := "start"
	for n := range 20 {
		after := fmt.Sprint("version ", n)
		fsys.StopAfter(n)
		err := file.Replace(content(after))
		fsys.LosePower()
		if got := read(t, fsys, file.Path); got != after && (err == nil || got != before) {
			t.Fatalf("stopped after %d operations (%v): content %q, want %q or %q", n, err, got, before, after)
		}
		ok(file.Replace(content(after)))
		before = after
	}
	f, err := file.Open()
	ok(err)
	ok(f.Close())
}

func TestWholeFileIsSetAside(t *testing.T) {
	fsys := disktest.New(1)
	if err := fsys.MkdirAll("/data", 0o750); err != nil {
		t.Fatal(err)
	}
	file := disk.WholeFile{FS: fsys, Path: "/data/jobs.rsj"}
	if path, err := file.SetAside(); !errors.Is(err, fs.ErrNotExist) || path != "" {
		t.Errorf("without a file: %q, %v", path, err)
	}
	for _, text := range []string{"first", "second"} {
		if err := file.Replace(content(text)); err != nil {
			t.Fatal(err)
		}
		path, err := file.SetAside()
		if err != nil || path != "/data/jobs.rsj.damaged" || read(t, fsys, path) != text || read(t, fsys, file.Path) != "(none)" {
			t.Errorf("%q, %v", path, err)
		}
	}
}
