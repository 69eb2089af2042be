package disk_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
)

func content(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func read(t *testing.T, fsys disk.FS, path string) string {
	t.Helper()
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "(none)"
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, fsys disk.FS, dir string) string {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// Both implementations behave the same.
func TestFileSystems(t *testing.T) {
	f := func(name string, fsys disk.FS, root string) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(root, "a", "b")
			ok := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			is := func(got, want string) {
				t.Helper()
				if got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			fails := func(err, want error) {
				t.Helper()
				if !errors.Is(err, want) {
					t.Errorf("got error %v, want %v", err, want)
				}
			}
			one, two, three := filepath.Join(dir, "one"), filepath.Join(dir, "two"), filepath.Join(dir, "three")

			_, err := fsys.OpenFile(one, os.O_RDONLY, 0)
			fails(err, fs.ErrNotExist)
			_, err = fsys.ReadDir(dir)
			fails(err, fs.ErrNotExist)
			ok(fsys.MkdirAll(dir, 0o750))
			ok(fsys.MkdirAll(dir, 0o750))
			info, err := fsys.Stat(dir)
			ok(err)
			is(info.Mode().Type().String(), fs.ModeDir.String())

			ok(disk.Publish(fsys, one, content("first")))
			ok(disk.Publish(fsys, one, content("second")))
			is(read(t, fsys, one), "second")
			a, err := fsys.OpenFile(one, os.O_WRONLY|os.O_APPEND, 0)
			ok(err)
			_, err = a.Write([]byte(" third"))
			ok(err)
			ok(a.Truncate(9))
			_, err = a.Write([]byte("!"))
			ok(err)
			ok(a.Sync())
			info, err = a.Stat()
			ok(err)
			if info.Size() != 10 {
				t.Errorf("%d bytes, want 10", info.Size())
			}
			ok(a.Close())
			fails(a.Close(), fs.ErrClosed)
			_, err = a.Write([]byte("late"))
			fails(err, fs.ErrClosed)
			is(read(t, fsys, one), "second th!")

			_, err = fsys.OpenFile(one, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
			fails(err, fs.ErrExist)
			ok(fsys.Link(one, two))
			fails(fsys.Link(one, two), fs.ErrExist)
			ok(fsys.Rename(one, three))
			fails(fsys.Rename(one, three), fs.ErrNotExist)
			is(names(t, fsys, dir), "three two")
			ok(fsys.Remove(three))
			fails(fsys.Remove(three), fs.ErrNotExist)
			is(read(t, fsys, two), "second th!")
			ok(fsys.SyncDir(dir))
			fails(fsys.SyncDir(filepath.Join(root, "missing")), fs.ErrNotExist)
			is(names(t, fsys, root), "a")
			is(names(t, fsys, filepath.Join(root, "a")), "b")

			fails(fsys.Remove(dir), syscall.ENOTEMPTY)
			moved := filepath.Join(root, "a", "c")
			ok(fsys.Rename(dir, moved))
			is(names(t, fsys, moved), "two")
			fails(fsys.SyncDir(dir), fs.ErrNotExist)
			ok(fsys.Rename(moved, dir))
			ok(fsys.MkdirAll(moved, 0o750))
			ok(fsys.Remove(moved))
			fails(fsys.Remove(moved), fs.ErrNotExist)

			_, err = fsys.Lock(filepath.Join(root, "missing", "LOCK"))
			fails(err, fs.ErrNotExist)
			held, err := fsys.Lock(filepath.Join(dir, "LOCK"))
			ok(err)
			_, err = fsys.Lock(filepath.Join(dir, "LOCK"))
			if locked, is := errors.AsType[*disk.LockedError](err); !is || locked.Holder == "" {
				t.Errorf("a second lock: %v", err)
			}
			ok(held.Close())
			held, err = fsys.Lock(filepath.Join(dir, "LOCK"))
			ok(err)
			ok(held.Close())
		})
	}
	f("operating system", disk.OS{}, t.TempDir())
	f("in memory", disktest.New(1), "/root")
}

// If the power is lost during Publish, the file is the old one or the new one; after Publish it is
// the new one.
func TestPublishIsAtomic(t *testing.T) {
	for seed := range uint64(40) {
		for after := 0; ; after++ {
			fsys := disktest.New(seed)
			if err := fsys.MkdirAll("/d", 0o750); err != nil {
				t.Fatal(err)
			}
			if err := disk.Publish(fsys, "/d/file", content("old")); err != nil {
				t.Fatal(err)
			}
			if after > 0 {
				fsys.StopAfter(after)
			}
			err := disk.Publish(fsys, "/d/file", content("new"))
			fsys.LosePower()
			got := read(t, fsys, "/d/file")
			if got != "new" && (err == nil || got != "old") {
				t.Fatalf("seed %d, power lost after operation %d, Publish returned %v: the file is %q", seed, after, err, got)
			}
			if err := disk.RemoveTemporary(fsys, "/d"); err != nil {
				t.Fatal(err)
			}
			if got := names(t, fsys, "/d"); got != "file" {
				t.Fatalf("seed %d, power lost after operation %d: %q is left", seed, after, got)
			}
			if after > 0 && err == nil {
				break
			}
		}
	}
}

// If the process is killed in Publish and the power is lost later, the file is the one that the next
// process saw.
func TestPublishedNamesStay(t *testing.T) {
	for seed := range uint64(20) {
		for after := 1; ; after++ {
			fsys := disktest.New(seed)
			if err := errors.Join(fsys.MkdirAll("/d", 0o750), disk.Publish(fsys, "/d/file", content("old"))); err != nil {
				t.Fatal(err)
			}
			fsys.StopAfter(after)
			err := disk.Publish(fsys, "/d/file", content("new"))
			fsys.Kill()
			if err := disk.RemoveTemporary(fsys, "/d"); err != nil {
				t.Fatal(err)
			}
			seen := read(t, fsys, "/d/file")
			fsys.LosePower()
			if got := read(t, fsys, "/d/file"); got != seen {
				t.Fatalf("seed %d, killed after operation %d: the file was %q, and is %q after a loss of power", seed, after, seen, got)
			}
			if err == nil {
				break
			}
		}
	}
}

// Whatever fails, Publish returns the error and leaves no partial file.
func TestPublishFails(t *testing.T) {
	f := func(name string, kind disktest.Kind, cause error, want string) {
		t.Run(name, func(t *testing.T) {
			fsys := disktest.New(1)
			if err := errors.Join(fsys.MkdirAll("/d", 0o750), disk.Publish(fsys, "/d/file", content("old"))); err != nil {
				t.Fatal(err)
			}
			fsys.Inject(func(op disktest.Op) error {
				if op.Kind == kind {
					return cause
				}
				return nil
			})
			err := disk.Publish(fsys, "/d/file", content("new"))
			fsys.Inject(nil)
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("got error %v, want EIO", err)
			}
			if got := read(t, fsys, "/d/file"); got != want {
				t.Errorf("the file is %q, want %q", got, want)
			}
			if got := names(t, fsys, "/d"); got != "file" {
				t.Errorf("%q is left", got)
			}
		})
	}
	f("open", disktest.Open, syscall.EIO, "old")
	f("write", disktest.Write, syscall.EIO, "old")
	f("short write", disktest.Write, &disktest.ShortWrite{Bytes: 1, Err: syscall.EIO}, "old")
	f("sync", disktest.Sync, syscall.EIO, "old")
	f("rename", disktest.Rename, syscall.EIO, "old")
	f("syncing the directory", disktest.SyncDir, syscall.EIO, "new")
}

func TestPublishPassesOnTheWritersError(t *testing.T) {
	dir := t.TempDir()
	want := errors.New("no content")
	if err := disk.Publish(disk.OS{}, filepath.Join(dir, "file"), func(io.Writer) error { return want }); !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
	if got := names(t, disk.OS{}, dir); got != "" {
		t.Errorf("%q is left", got)
	}
}

// A lock holds although its file was removed, and whether its name is that of a file or of a
// directory.
func TestLockHoldsWithoutItsFile(t *testing.T) {
	for _, directory := range []bool{false, true} {
		name := filepath.Join(t.TempDir(), "LOCK")
		if directory {
			if err := os.Mkdir(name, 0o750); err != nil {
				t.Fatal(err)
			}
		}
		held, err := disk.OS{}.Lock(name)
		if err != nil {
			t.Fatal(err)
		}
		second := func(what, holder string) {
			t.Helper()
			_, err := disk.OS{}.Lock(name)
			if locked, is := errors.AsType[*disk.LockedError](err); !is || locked.Holder != holder {
				t.Errorf("%s: got error %v, want the holder %q", what, err, holder)
			}
		}
		second("held", fmt.Sprint(os.Getpid()))
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
		second("removed", "")
		if err := held.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := disk.OS{}.Lock(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
