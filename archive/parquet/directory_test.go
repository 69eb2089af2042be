package parquet_test

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/archive/parquet"
)

// oneRun is the run that each test here interrupts and repeats.
func oneRun(t *testing.T, fsys disk.FS, column parquet.Column) error {
	t.Helper()
	a := open(t, fsys, "/archive")
	_, err := a.Write(t.Context(), "fritz", day, "x", sequence(column))
	return err
}

// operations returns the number of file operations of a run.
func operations(t *testing.T, column parquet.Column) int {
	t.Helper()
	fsys := disktest.New(1)
	if err := oneRun(t, fsys, column); err != nil {
		t.Fatal(err)
	}
	return fsys.Operations()
}

// Each operation fails once, in each way.
func TestFailingDisk(t *testing.T) {
	column := samples("a", "m", 1, 2, 3)
	for n := range operations(t, column) {
		for _, failure := range []error{syscall.EIO, &disktest.ShortWrite{Bytes: 3, Err: syscall.ENOSPC}} {
			fsys := disktest.New(uint64(n))
			fsys.Inject(func(op disktest.Op) error {
				if op.N == n+1 {
					return failure
				}
				return nil
			})
			if err := oneRun(t, fsys, column); !errors.Is(err, failure) {
				t.Errorf("operation %d: %v", n+1, err)
			}
			fsys.Inject(nil)
			repeated(t, fsys, column)
		}
	}
}

// The process or the power ends after each operation.
func TestCrash(t *testing.T) {
	column := samples("a", "m", 1, 2, 3)
	all := operations(t, column)
	for n := range all {
		for _, end := range []func(*disktest.FS){(*disktest.FS).LosePower, (*disktest.FS).Kill} {
			fsys := disktest.New(uint64(n))
			fsys.StopAfter(n + 1)
			if err := oneRun(t, fsys, column); n+1 < all && err == nil {
				t.Errorf("no error after operation %d", n+1)
			}
			end(fsys)
			repeated(t, fsys, column)
		}
	}
}

// repeated repeats a run. Then one file exists, with all rows, and survives a loss of power.
func repeated(t *testing.T, fsys *disktest.FS, column parquet.Column) {
	t.Helper()
	if err := open(t, fsys, "/archive").Clean(t.Context(), "fritz"); err != nil {
		t.Error(err)
	}
	if err := oneRun(t, fsys, column); err != nil {
		t.Errorf("again: %v", err)
	}
	fsys.LosePower()
	if got := names(t, fsys, "/archive/fritz"); !slices.Equal(got, []string{"2023-11-14.parquet"}) {
		t.Fatalf("there are %q", got)
	}
	sameRows(t, readFile(t, fsys, "/archive/fritz/2023-11-14.parquet"), rowsOf("fritz", column))
}

// A temporarily unreadable file may hold the rows: it is not damaged and must not be written again.
func TestReadErrorIsAnError(t *testing.T) {
	fsys := disktest.New(1)
	a := open(t, fsys, "/archive")
	write(t, a, "fritz", "x", samples("a", "m", 1))
	start := fsys.Operations()
	has := func() error {
		_, err := a.Has(t.Context(), "fritz", day, "x")
		return err
	}
	if err := has(); err != nil {
		t.Fatal(err)
	}
	for n := range fsys.Operations() - start {
		from := fsys.Operations()
		fsys.Inject(func(op disktest.Op) error {
			if op.N == from+n+1 {
				return syscall.EIO
			}
			return nil
		})
		if err := has(); !errors.Is(err, syscall.EIO) {
			t.Errorf("operation %d: %v", n+1, err)
		}
	}
}
