package disktest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/ringstore/ringstore/archive/disk"
)

func create(t *testing.T, fsys *FS, name string) disk.File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f disk.File, text string) {
	t.Helper()
	_, err := f.Write([]byte(text))
	ok(t, err)
}

// state returns all names and contents.
func state(t *testing.T, fsys *FS) string {
	t.Helper()
	entries, err := fsys.ReadDir("/")
	ok(t, err)
	var b strings.Builder
	for _, e := range entries {
		f, err := fsys.OpenFile("/"+e.Name(), os.O_RDONLY, 0)
		ok(t, err)
		content, err := io.ReadAll(f)
		ok(t, err)
		ok(t, f.Close())
		fmt.Fprintf(&b, "%s=%q ", e.Name(), content)
	}
	return strings.TrimSpace(b.String())
}

// outcomes returns the states that many losses of power leave after the same operations.
func outcomes(t *testing.T, do func(*FS)) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for seed := range uint64(1000) {
		fsys := New(seed)
		do(fsys)
		fsys.LosePower()
		seen[state(t, fsys)]++
	}
	return seen
}

func TestLosePower(t *testing.T) {
	synced := func(fsys *FS) disk.File {
		f := create(t, fsys, "/a")
		write(t, f, "one")
		ok(t, f.Sync())
		ok(t, fsys.SyncDir("/"))
		return f
	}
	f := func(name string, do func(*FS), may []string, never ...string) {
		t.Run(name, func(t *testing.T) {
			seen := outcomes(t, do)
			for _, s := range may {
				if seen[s] == 0 {
					t.Errorf("%s never happened", s)
				}
			}
			for s := range seen {
				for _, part := range never {
					if strings.Contains(s, part) {
						t.Errorf("%s happened", s)
					}
				}
			}
			if len(may) == 1 && len(seen) > 1 {
				t.Errorf("%d outcomes, want one", len(seen))
			}
		})
	}
	f("synced data stays", func(fsys *FS) { synced(fsys) },
		[]string{`a="one"`})
	f("a write is lost, torn, zeros or kept", func(fsys *FS) { write(t, synced(fsys), "two") },
		[]string{`a="one"`, `a="onet"`, `a="onetw"`, `a="one\x00\x00\x00"`, `a="onetwo"`}, `="on"`, `="two`)
	f("a later write is kept, an earlier one lost", func(fsys *FS) {
		f := synced(fsys)
		write(t, f, "two")
		write(t, f, "three")
	}, []string{`a="one"`, `a="onetwo"`, `a="onetwothree"`, `a="one\x00\x00\x00three"`})
	f("a truncation is lost or kept", func(fsys *FS) { ok(t, synced(fsys).Truncate(1)) },
		[]string{`a="o"`, `a="one"`}, `="on"`)
	f("a name without a sync of its directory", func(fsys *FS) {
		f := create(t, fsys, "/a")
		write(t, f, "one")
		ok(t, f.Sync())
	}, []string{``, `a="one"`}, `=""`)
	f("a rename is atomic", func(fsys *FS) {
		synced(fsys)
		ok(t, fsys.Rename("/a", "/b"))
	}, []string{`a="one"`, `b="one"`}, `a="one" b="one"`)
	f("a removal", func(fsys *FS) {
		synced(fsys)
		ok(t, fsys.Remove("/a"))
	}, []string{``, `a="one"`})
	f("a synced removal", func(fsys *FS) {
		synced(fsys)
		ok(t, fsys.Remove("/a"))
		ok(t, fsys.SyncDir("/"))
	}, []string{``})
	f("a link", func(fsys *FS) {
		synced(fsys)
		ok(t, fsys.Link("/a", "/b"))
	}, []string{`a="one"`, `a="one" b="one"`})
}

// After a failed fsync the next one succeeds without the lost bytes.
func TestFailedSyncForgets(t *testing.T) {
	fails := func(fsys *FS) disk.File {
		f := create(t, fsys, "/a")
		ok(t, fsys.SyncDir("/"))
		write(t, f, "one")
		fsys.Inject(func(op Op) error {
			if op.Kind == Sync {
				return syscall.EIO
			}
			return nil
		})
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("got error %v, want EIO", err)
		}
		fsys.Inject(nil)
		return f
	}
	seen := outcomes(t, func(fsys *FS) {
		f := fails(fsys)
		write(t, f, "two")
		ok(t, f.Sync())
	})
	for _, want := range []string{`a="\x00\x00\x00two"`, `a="onetwo"`} {
		if seen[want] == 0 {
			t.Errorf("%s never happened: %v", want, seen)
		}
	}
	read := map[string]int{}
	for seed := range uint64(100) {
		fsys := New(seed)
		fails(fsys)
		read[state(t, fsys)]++
	}
	for _, want := range []string{`a="\x00\x00\x00"`, `a="one"`} {
		if read[want] == 0 {
			t.Errorf("%s was never read: %v", want, read)
		}
	}
}

func TestSameSeedSameLoss(t *testing.T) {
	run := func(seed uint64) string {
		fsys := New(seed)
		for i := range 20 {
			write(t, create(t, fsys, fmt.Sprint("/", i)), "some bytes that may be lost")
		}
		fsys.LosePower()
		return state(t, fsys)
	}
	for seed := range uint64(50) {
		if a, b := run(seed), run(seed); a != b {
			t.Fatalf("seed %d: %s and %s", seed, a, b)
		}
	}
}

func TestKillKeepsWhatWasWritten(t *testing.T) {
	fsys := New(1)
	f := create(t, fsys, "/a")
	write(t, f, "one")
	fsys.Kill()
	if got := state(t, fsys); got != `a="one"` {
		t.Errorf("got %s", got)
	}
	if _, err := f.Write([]byte("two")); !errors.Is(err, ErrPower) {
		t.Errorf("a file of the dead process: got error %v, want %v", err, ErrPower)
	}
}

func TestCapacity(t *testing.T) {
	fsys := New(1)
	fsys.SetCapacity(5)
	f := create(t, fsys, "/a")
	write(t, f, "one")
	if n, err := f.Write([]byte("two")); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %d, %v, want 2 bytes and ENOSPC", n, err)
	}
	fsys.SetCapacity(0)
	write(t, f, "!")
	if got := state(t, fsys); got != `a="onetw!"` {
		t.Errorf("got %s", got)
	}
}

func TestInject(t *testing.T) {
	fsys := New(1)
	f := create(t, fsys, "/a")
	fsys.Inject(func(op Op) error {
		if op.N == 2 && op.Kind == Write && op.Path == "/a" {
			return &ShortWrite{Bytes: 1, Err: syscall.EIO}
		}
		return nil
	})
	if n, err := f.Write([]byte("one")); n != 1 || !errors.Is(err, syscall.EIO) {
		t.Errorf("got %d, %v, want 1 byte and EIO", n, err)
	}
	fsys.StopAfter(1)
	write(t, f, "two")
	if err := f.Sync(); !errors.Is(err, ErrPower) {
		t.Errorf("got error %v, want %v", err, ErrPower)
	}
	if n := fsys.Operations(); n != 3 {
		t.Errorf("%d operations, want 3", n)
	}
	fsys.Kill()
	if got := state(t, fsys); got != `a="otwo"` {
		t.Errorf("got %s", got)
	}
}
