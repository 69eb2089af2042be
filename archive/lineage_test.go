package archive

import (
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/archive/journal"
)

// runs returns an image with three runs and a journal, and the files of a kind, oldest first.
func (s *sender) runs() (files image, of func(suffix string) []string) {
	s.t.Helper()
	ok(s.t, s.open())
	ok(s.t, s.write(s.span(58, 40, 0, 1, 2, 3, 4)...))
	ok(s.t, s.checkpoint())
	ok(s.t, s.write(s.span(40, 22, 0, 1, 2, 3, 4)...))
	ok(s.t, s.checkpoint())
	ok(s.t, s.write(s.span(22, 12, 0, 1, 2, 3, 4)...))
	ok(s.t, s.checkpoint())
	ok(s.t, s.write(s.span(12, 0, 0, 1, 2, 3, 4)...))
	s.end(false)
	files = s.image()
	return files, func(suffix string) []string {
		return slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(path string) bool { return !strings.HasSuffix(path, suffix) })
	}
}

// Files that are missing, that were swapped or copied, and those of another server or another time
// are neither used nor lost. Start and verify say the same, and the next start says nothing.
func TestLineage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		twin := newSender(t, 2, journal.SyncMode(time.Second))
		otherFiles, otherOf := twin.runs()
		s := newSender(t, 1, journal.SyncMode(time.Second))
		files, of := s.runs()
		blocks, windows, segments := of(blocksSuffix), of(windowsSuffix), of(".rsj")
		if len(windows) != keptWindows || len(segments) != 2 || len(blocks) < 4 {
			t.Fatalf("files %v", slices.Sorted(maps.Keys(files)))
		}
		f := func(name string, change func(image), foreign, missing int, loses bool) {
			changed := maps.Clone(files)
			change(changed)
			s.load(changed)
			v, err := Verify(t.Context(), s.fsys, "/var/lib")
			ok(t, err)
			gotForeign, gotMissing := 0, 0
			for _, p := range v.Problems {
				if _, is := errors.AsType[*disk.ForeignError](p); is {
					gotForeign++
				}
				if m, is := errors.AsType[*disk.MissingError](p); is {
					gotMissing++
					if m.From.IsZero() && !strings.Contains(m.Path, manifestPrefix) {
						t.Errorf("%s: %v has no time range", name, m)
					}
				}
			}
			s.log = slog.DiscardHandler
			ok(t, s.open())
			if r := s.restored; r.Foreign != foreign || r.Missing != missing || gotForeign != foreign || gotMissing != missing || r.Damaged > 0 {
				t.Errorf("%s: the start counts %+v, verify %v; expected %d foreign and %d missing", name, r, v.Problems, foreign, missing)
			}
			got := s.contents()
			for p, v := range got {
				if s.places[p][0].outcome != v {
					t.Fatalf("%s: %v holds %v, which was not sent there", name, p, v)
				}
			}
			if lost := len(s.places) - len(got); (lost > 0) != loses {
				t.Errorf("%s: %d of %d samples are lost; %+v", name, lost, len(s.places), s.restored)
			}
			after := slices.Sorted(maps.Keys(s.image()))
			if n := len(slices.DeleteFunc(after, func(path string) bool { return !strings.HasSuffix(path, disk.ForeignSuffix) })); n != foreign {
				t.Errorf("%s: %d files are set aside, want %d: %v", name, n, foreign, after)
			}
			ok(t, s.checkpoint())
			s.end(false)
			ok(t, s.open())
			if r := s.restored; r.Foreign+r.Missing+r.Damaged > 0 {
				t.Errorf("%s: the next start counts %+v", name, r)
			}
			if again := s.contents(); !maps.Equal(got, again) {
				t.Errorf("%s: %d samples, and after the next start %d, or others", name, len(got), len(again))
			}
			s.end(false)
		}
		f("nothing", func(image) {}, 0, 0, false)
		f("the newest windows file is gone", func(i image) { delete(i, windows[1]) }, 0, 1, false)
		f("the older windows file is gone", func(i image) { delete(i, windows[0]) }, 0, 1, false)
		f("the windows files are swapped", func(i image) { i[windows[0]], i[windows[1]] = i[windows[1]], i[windows[0]] }, 2, 0, true)
		f("the older windows file in the place of the newer one", func(i image) { i[windows[1]] = i[windows[0]] }, 1, 0, false)
		f("the newest block file is gone", func(i image) { delete(i, blocks[len(blocks)-1]) }, 0, 1, false)
		f("an old block file is gone", func(i image) { delete(i, blocks[0]) }, 0, 1, true)
		f("block files are swapped", func(i image) { i[blocks[0]], i[blocks[1]] = i[blocks[1]], i[blocks[0]] }, 2, 0, true)
		f("a block file is copied", func(i image) { i[filepath.Join(filepath.Dir(blocks[0]), "0946684800999.rsb")] = i[blocks[0]] }, 1, 0, false)
		f("a block file in another cluster", func(i image) {
			i[filepath.Join("/var/lib/ringstore/blocks/gamma", filepath.Base(blocks[0]))] = i[blocks[0]]
		}, 1, 0, false)
		f("a newer block file of another server", func(i image) {
			i[filepath.Join(filepath.Dir(blocks[0]), "0946699999999.rsb")] = otherFiles[otherOf(blocksSuffix)[0]]
		}, 1, 0, false)
		f("a block file of another server", func(i image) { i[blocks[0]] = otherFiles[otherOf(blocksSuffix)[0]] }, 1, 0, true)
		f("the windows files of another server", func(i image) { i[windows[1]] = otherFiles[otherOf(windowsSuffix)[1]] }, 1, 0, false)
		f("a segment of another server", func(i image) { i[otherOf(".rsj")[0]] = otherFiles[otherOf(".rsj")[0]] }, 1, 0, false)
		f("the segments of another server", func(i image) {
			for _, path := range otherOf(".rsj") {
				i[path] = otherFiles[path]
			}
		}, 2, 0, false)
		f("the newest segment is gone", func(i image) { delete(i, segments[1]) }, 0, 1, true)
		f("the older segment is gone", func(i image) { delete(i, segments[0]) }, 0, 1, false)
		f("a newer manifest of another server", func(i image) {
			var m manifest
			content := otherFiles[otherOf("MANIFEST-000000000004")[0]]
			parsed, err := parseManifest(content)
			ok(t, err)
			m = *parsed
			m.Generation = 99
			content, err = m.append(nil)
			ok(t, err)
			i["/var/lib/ringstore/"+manifestName(99)] = content
		}, 1, 0, false)
		f("all manifests are gone", func(i image) {
			for path := range i {
				if strings.Contains(path, manifestPrefix) {
					delete(i, path)
				}
			}
		}, 0, 1, false)
	})
}

// A directory of version 1 becomes one of this version, and RingStore 0.9, which opens LOCK as a
// file first of all, does not start then.
func TestOldDirectoryBecomesNew(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "v1", "directory"))))
	lock := filepath.Join(dir, subdir, lockName)
	ok(t, os.WriteFile(lock, []byte("1"), 0o640))
	s := goldenStore(t)
	a := open(t, dir, s)
	want := describeContents(t, s)
	if f, err := os.OpenFile(lock, os.O_RDWR|os.O_CREATE, 0o640); err == nil {
		t.Error("LOCK can be opened as a file")
		f.Close()
	}
	for range 2 { // the old windows file is the older one, then it is gone
		ok(t, a.Checkpoint())
		v, err := Verify(t.Context(), disk.OS{}, dir)
		if err != nil || len(v.Problems) > 0 {
			t.Errorf("verified: %v, %v", v.Problems, err)
		}
		kill(t, a)
		s = goldenStore(t)
		a = open(t, dir, s)
		if got := describeContents(t, s); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
}

// If the power is lost while a directory becomes new, it is old or new.
func TestOldDirectoryBecomesNewAtomically(t *testing.T) {
	read := func(fsys *disktest.FS) {
		old := os.DirFS(filepath.Join("testdata", "v1", "directory"))
		for _, name := range globAll(t, old) {
			content, err := os.ReadFile(filepath.Join("testdata", "v1", "directory", name))
			ok(t, err)
			path := filepath.Join("/var/lib", name)
			ok(t, fsys.MkdirAll(filepath.Dir(path), 0o750))
			f, err := fsys.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o640)
			ok(t, err)
			_, err = f.Write(content)
			ok(t, errors.Join(err, f.Sync(), f.Close(), fsys.SyncDir(filepath.Dir(path))))
		}
	}
	want, err := os.ReadFile(filepath.Join("testdata", "v1", "contents"))
	ok(t, err)
	for n := 1; ; n++ {
		fsys := disktest.New(uint64(n))
		read(fsys)
		fsys.StopAfter(n)
		a, err := Open(Options{Dir: "/var/lib", FS: fsys, Store: goldenStore(t), Now: ticking()})
		if err == nil {
			_, err = a.Restore(t.Context())
			_ = a.Close()
		}
		fsys.LosePower()
		s := goldenStore(t)
		b, openErr := Open(Options{Dir: "/var/lib", FS: fsys, Store: s, Now: ticking()})
		ok(t, openErr)
		r, restoreErr := b.Restore(t.Context())
		ok(t, restoreErr)
		if got := describeContents(t, s); got != string(want) || r.Damaged+r.Foreign > 0 {
			t.Fatalf("power lost after operation %d: restored %+v", n, r)
		}
		ok(t, b.Close())
		if err == nil {
			return
		}
	}
}

// globAll returns the names of all files.
func globAll(t *testing.T, fsys fs.FS) (names []string) {
	t.Helper()
	ok(t, fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	}))
	return names
}
