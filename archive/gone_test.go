package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/journal"
)

// running runs an archive until the returned function is called.
func running(t *testing.T, a *Archive) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var runs sync.WaitGroup
	runs.Go(func() { a.Run(ctx) })
	return func() {
		cancel()
		runs.Wait()
	}
}

// put writes a file.
func (s *sender) put(path string, content []byte) {
	s.t.Helper()
	f, err := s.fsys.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o640)
	ok(s.t, err)
	_, err = f.Write(content)
	ok(s.t, err)
	ok(s.t, f.Close())
}

// Whatever of the directory is removed while samples are written: it is noticed, nothing is
// acknowledged until everything is written again, and after a kill every acknowledged sample is
// restored.
func TestRemovedFiles(t *testing.T) {
	root := "/var/lib/" + subdir
	of := func(s *sender, dir, suffix string) (paths []string) {
		for path := range s.image() {
			if strings.HasPrefix(path, filepath.Join(root, dir)) && (strings.HasSuffix(path, suffix) || strings.HasPrefix(filepath.Base(path), suffix)) {
				paths = append(paths, path)
			}
		}
		slices.Sort(paths)
		return paths
	}
	remove := func(s *sender, paths ...string) {
		for _, path := range paths {
			ok(t, s.fsys.Remove(path))
		}
	}
	last := func(paths []string) string { return paths[len(paths)-1] }
	cases := []struct {
		name    string
		noticed bool
		remove  func(*sender)
	}{
		{"the directory", true, func(s *sender) { s.fsys.RemoveAll(root) }},
		{"the directory and those above", true, func(s *sender) { s.fsys.RemoveAll("/var") }},
		{"the journal's directory", true, func(s *sender) { s.fsys.RemoveAll(root + "/journal") }},
		{"the current segment", true, func(s *sender) { remove(s, last(of(s, "journal", ".rsj"))) }},
		{"all segments", true, func(s *sender) { remove(s, of(s, "journal", ".rsj")...) }},
		{"the oldest segment", true, func(s *sender) { remove(s, of(s, "journal", ".rsj")[0]) }},
		{"the blocks", true, func(s *sender) { s.fsys.RemoveAll(root + "/blocks") }},
		{"the newest block file", true, func(s *sender) { remove(s, last(of(s, "blocks/alpha", ".rsb"))) }},
		{"the oldest block file", true, func(s *sender) { remove(s, of(s, "blocks/alpha", ".rsb")[0]) }},
		{"the windows files", true, func(s *sender) { remove(s, of(s, "", ".rsw")...) }},
		{"the manifests", true, func(s *sender) { remove(s, of(s, "", manifestPrefix)...) }},
		{"the lock", false, func(s *sender) { s.fsys.RemoveAll(filepath.Join(root, lockName)) }},
		{"renamed", true, func(s *sender) { ok(t, s.fsys.Rename(root, root+".old")) }},
		{"another directory", true, func(s *sender) {
			ok(t, s.fsys.Rename(root, root+".old"))
			ok(t, s.fsys.MkdirAll(root+"/blocks/alpha", 0o750))
			s.put(root+"/blocks/alpha/0000000000001.rsb", []byte("another"))
		}},
		{"another, empty directory", true, func(s *sender) {
			ok(t, s.fsys.Rename(root, root+".old"))
			ok(t, s.fsys.MkdirAll(root, 0o750))
		}},
		{"a copy", true, func(s *sender) {
			content := s.image()
			ok(t, s.fsys.Rename(root, root+".old"))
			for path, b := range content {
				if strings.HasPrefix(path, root+"/") {
					ok(t, s.fsys.MkdirAll(filepath.Dir(path), 0o750))
					s.put(path, b)
				}
			}
		}},
	}
	for _, m := range modes {
		for _, c := range cases {
			t.Run(fmt.Sprint(m.name, ", ", c.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSender(t, 1, m.mode)
					var out bytes.Buffer
					s.log = slog.NewTextHandler(&out, nil)
					s.prepare()
					ok(t, s.open())
					ok(t, s.checkpoint())
					ok(t, s.write(s.span(20, 10, 0, 1, 2, 3, 4)...))
					stop := running(t, s.archive)
					time.Sleep(1500 * time.Millisecond)
					ok(t, s.write(s.span(9, 8, 0, 1, 2, 3, 4)...))
					out.Reset()
					begin := time.Now()
					c.remove(s)
					noticed := false
					for time.Since(begin) < 30*time.Second {
						err := s.write(s.span(7, 6, 0, 1, 2, 3, 4)...)
						if err != nil {
							noticed = true
							if _, is := errors.AsType[*disk.GoneError](err); !is {
								t.Fatalf("got %v", err)
							}
							if _, is := errors.AsType[*journal.UnavailableError](err); !is {
								t.Fatalf("got %v", err)
							}
						}
						time.Sleep(100 * time.Millisecond)
					}
					if found := strings.Contains(out.String(), "removed or replaced"); found != c.noticed {
						t.Errorf("noticed: %v; log %s", found, &out)
					}
					if m.mode == journal.Always && c.noticed && strings.Contains(c.name, "directory") && !noticed {
						t.Error("every write was acknowledged")
					}
					ok(t, s.archive.Unavailable())
					ok(t, s.write(s.span(5, 4, 0, 1, 2, 3, 4)...))
					if _, err := s.fsys.Lock(filepath.Join(root, lockName)); err == nil {
						t.Error("another process can open the directory")
					}
					if n := s.archive.Status().GoneWindows; n > 0 {
						t.Errorf("%d windows are lost", n)
					}
					stop()
					s.end(false)
					s.restart(c.name)
					if r := s.restored; r.Damaged+r.Foreign+r.Missing+r.Unreadable > 0 {
						t.Errorf("the next start finds %+v", r)
					}
				})
			})
		}
	}
}

// A directory that is removed is noticed by a server that is being stopped, too.
func TestRemovedBeforeClose(t *testing.T) {
	for _, m := range modes {
		synctest.Test(t, func(t *testing.T) {
			s := newSender(t, 1, m.mode)
			s.prepare()
			ok(t, s.open())
			ok(t, s.write(s.span(20, 10, 0, 1, 2, 3, 4)...))
			s.fsys.RemoveAll("/var/lib/" + subdir)
			ok(t, s.close())
			s.restart(m.name)
		})
	}
}

// What was only in a removed file, as it did not fit into memory, is counted as lost and told.
func TestRemovedAndNotInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, 1, journal.SyncMode(time.Second))
		_, of := s.runs()
		s.limit = 1
		ok(t, s.open())
		if s.restored.Skipped == 0 && s.store.Evicted() == 0 {
			t.Fatalf("everything fits: %+v", s.restored)
		}
		ok(t, s.fsys.Remove(of(blocksSuffix)[0]))
		ok(t, s.checkpoint())
		if n := s.archive.Status().GoneWindows; n == 0 {
			t.Error("no window is counted as lost")
		}
		if notes := s.archive.Notes(); len(notes) == 0 || !strings.Contains(notes[0], "removed") {
			t.Errorf("notes %q", notes)
		}
		ok(t, s.archive.Unavailable())
		s.end(false)
		s.limit = 0
		ok(t, s.open())
		if r := s.restored; r.Missing > 0 {
			t.Errorf("the next start finds %+v", r)
		}
	})
}

// On real files: the directory is removed, or replaced, while samples are written.
func TestRemovedRealDirectory(t *testing.T) {
	f := func(name string, remove func(root string) error) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := newStore(t)
			a, err := Open(Options{Dir: dir, Store: s, Now: ticking(), Sync: journal.SyncMode(20 * time.Millisecond)})
			ok(t, err)
			_, err = a.Restore(t.Context())
			ok(t, err)
			fill(t, a, s, 3)
			s.Seal(now*1000, true)
			ok(t, a.Checkpoint())
			fill(t, a, s, 4)
			stop := running(t, a)
			ok(t, remove(filepath.Join(dir, subdir)))
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				st := a.Status()
				if st.Checkpoints.Done > 1 && st.Unavailable == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("nothing is written again: %+v", st)
				}
			}
			fill(t, a, s, 5)
			stop()
			want := contents(t, s)
			copied := t.TempDir() // as a kill leaves it
			ok(t, os.CopyFS(filepath.Join(copied, subdir), os.DirFS(filepath.Join(dir, subdir))))
			again := newStore(t)
			b, err := Open(Options{Dir: copied, Store: again, Now: ticking()})
			ok(t, err)
			defer b.Close()
			r, err := b.Restore(t.Context())
			ok(t, err)
			if r.Damaged+r.Foreign+r.Missing+r.Unreadable > 0 {
				t.Errorf("restored %+v", r)
			}
			if got := contents(t, again); !maps.Equal(got, want) {
				t.Errorf("%d samples are restored, want %d", len(got), len(want))
			}
			_, err = Open(Options{Dir: dir, Store: newStore(t)})
			if _, locked := errors.AsType[*disk.LockedError](err); !locked {
				t.Errorf("a second process: %v", err)
			}
			ok(t, a.Close())
		})
	}
	f("removed", func(root string) error {
		if err := os.RemoveAll(root); !errors.Is(err, syscall.ENOTEMPTY) { // files were made again meanwhile
			return err
		}
		return nil
	})
	f("replaced", func(root string) error {
		return errors.Join(os.Rename(root, root+".old"), os.MkdirAll(filepath.Join(root, "blocks"), 0o750))
	})
	f("replaced by another store", func(root string) error {
		err := os.Rename(root, root+".old")
		other := newStore(t)
		a, openErr := Open(Options{Dir: filepath.Dir(root), Store: other, Now: ticking()})
		if err = errors.Join(err, openErr); err != nil {
			return err
		}
		_, err = a.Restore(t.Context())
		return errors.Join(err, a.Close())
	})
	f("segment", func(root string) error {
		segments, err := filepath.Glob(filepath.Join(root, journalDir, "*"+".rsj"))
		return errors.Join(err, os.Remove(segments[len(segments)-1]))
	})
	f("blocks", func(root string) error { return os.RemoveAll(filepath.Join(root, blocksDir)) })
}
