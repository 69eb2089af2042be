package archive

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/archive/journal"
)

// image is the content of a directory's files, by path.
type image map[string][]byte

func (s *sender) image() image {
	s.t.Helper()
	files := make(image)
	for _, path := range s.list("/var/lib") {
		f, err := s.fsys.OpenFile(path, os.O_RDONLY, 0)
		ok(s.t, err)
		files[path], err = io.ReadAll(f)
		ok(s.t, err)
		ok(s.t, f.Close())
	}
	return files
}

// load replaces the disk by one that holds an image.
func (s *sender) load(files image) {
	s.t.Helper()
	s.fsys = disktest.New(1)
	for path, content := range files {
		ok(s.t, s.fsys.MkdirAll(filepath.Dir(path), 0o750))
		s.put(path, content)
	}
}

// smallImage returns an image with a file of each kind, and for each place the part of the image
// that holds it.
func (s *sender) smallImage() (files image, in map[place]string) {
	s.t.Helper()
	ok(s.t, s.open())
	in = make(map[place]string)
	note := func(suffix string) {
		for p := range s.contents() {
			if in[p] == "" {
				in[p] = suffix
			}
		}
	}
	ok(s.t, s.write(s.span(30, 12, 0, 1, 4)...))
	ok(s.t, s.checkpoint())
	note("checkpoint")
	for i := range 4 {
		ok(s.t, s.write(s.span(12-2*i, 10-2*i, 0, 1, 4)...))
		note(fmt.Sprint("record ", i))
	}
	ok(s.t, s.write(s.span(2, 1, 2)...)) // a new series
	note("last record")
	s.end(false)
	return s.image(), in
}

// restoreDamaged restores an image with one file changed, or removed if content is nil. It returns
// what is lost.
func (s *sender) restoreDamaged(what, path string, files image, content []byte) (lost []place) {
	s.t.Helper()
	whole := files[path]
	var oldest string // segment, which the restored checkpoint contains
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if oldest == "" && strings.HasSuffix(name, ".rsj") {
			oldest = name
		}
	}
	files = maps.Clone(files)
	if files[path] = content; content == nil {
		delete(files, path)
	}
	s.load(files)
	verified, err := Verify(s.t.Context(), s.fsys, "/var/lib")
	ok(s.t, err)
	var out bytes.Buffer
	s.log = slog.NewTextHandler(&out, nil)
	if err := s.open(); err != nil {
		s.t.Fatalf("%s: it does not start: %v", what, err)
	}
	got := s.contents()
	for p, v := range got {
		if s.places[p] == nil || s.places[p][0].outcome != v {
			s.t.Fatalf("%s: %v holds %v, which was not sent there", what, p, v)
		}
	}
	for p := range s.places {
		if _, found := got[p]; !found {
			lost = append(lost, p)
		}
	}
	j := s.restored.Journal
	_, kept := s.image()[path+damagedSuffix]
	segment := strings.HasSuffix(path, ".rsj")
	removedManifest := content == nil && strings.Contains(path, manifestPrefix) // the one before is as good
	if counted := s.restored.Damaged + s.restored.Missing + s.restored.Foreign; path != oldest && (counted > 0) != (len(verified.Problems) > 0) {
		s.t.Fatalf("%s: the start counts %+v, verify %v", what, s.restored, verified.Problems)
	}
	switch {
	case segment && content != nil && bytes.HasPrefix(whole, content): // may end with a complete record
	case path == oldest || removedManifest:
	case content == nil && s.restored.Missing == 0, content != nil && s.restored.Damaged+j.Torn == 0:
		s.t.Fatalf("%s: nothing is counted: %+v", what, s.restored)
	case content != nil && s.restored.Damaged > 0 && !(kept && strings.Contains(out.String(), "damaged at byte") && strings.Contains(out.String(), path)):
		s.t.Fatalf("%s: damaged file kept: %v; log:\n%s", what, kept, &out)
	case j.Torn > 0 && !strings.Contains(out.String(), "incomplete record"):
		s.t.Fatalf("%s: torn; log:\n%s", what, &out)
	}
	s.end(false)
	return lost
}

// A flipped bit at any byte of a file, a file that is cut off there, and a file that is gone do not
// prevent a start. Start and verify report the damage, the file is kept, no sample is invented, and
// only the records of a damaged journal segment that no checkpoint contains can be lost.
func TestDamageAtEveryByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, 1, journal.SyncMode(time.Second))
		files, in := s.smallImage()
		for _, path := range slices.Sorted(maps.Keys(files)) {
			content := files[path]
			none := func(what string, lost []place) {
				t.Helper()
				for _, p := range lost {
					if !strings.HasSuffix(path, ".rsj") || !strings.Contains(in[p], "record") {
						t.Fatalf("%s: %v is lost", what, p)
					}
				}
			}
			hit := 0
			for at := range len(content) {
				if at%max(*stride/4, 1) != 0 {
					continue
				}
				changed := bytes.Clone(content)
				changed[at] ^= 1 << (at % 8)
				what := fmt.Sprintf("%s, bit flipped at %d of %d", path, at, len(content))
				lost := s.restoreDamaged(what, path, files, changed)
				none(what, lost)
				for _, p := range lost {
					if in[p] != in[lost[0]] {
						t.Fatalf("%s: %v is lost, and %v", what, p, lost[0])
					}
				}
				if len(lost) > 0 {
					hit++
				}
				what = fmt.Sprintf("%s, cut off at %d of %d", path, at, len(content))
				none(what, s.restoreDamaged(what, path, files, content[:at:at]))
			}
			none(path+", removed", s.restoreDamaged(path+", removed", path, files, nil))
			t.Logf("%s: %d bytes; of the flipped bits %d cost samples", filepath.Base(path), len(content), hit)
		}
	})
}
