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
		f, err := s.fsys.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o640)
		ok(s.t, err)
		_, err = f.Write(content)
		ok(s.t, err)
		ok(s.t, f.Close())
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

// restoreDamaged restores an image with one file changed, and returns what is lost.
func (s *sender) restoreDamaged(what, path string, files image, content []byte) (lost []place) {
	s.t.Helper()
	whole := files[path]
	files = maps.Clone(files)
	files[path] = content
	s.load(files)
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
	switch {
	case segment && bytes.HasPrefix(whole, content): // may end with a complete record
	case s.restored.Damaged+j.Torn == 0:
		s.t.Fatalf("%s: nothing is counted: %+v", what, s.restored)
	case s.restored.Damaged > 0 && !(kept && strings.Contains(out.String(), "damaged at byte") && strings.Contains(out.String(), path)):
		s.t.Fatalf("%s: damaged file kept: %v; log:\n%s", what, kept, &out)
	case j.Torn > 0 && !strings.Contains(out.String(), "torn"):
		s.t.Fatalf("%s: torn; log:\n%s", what, &out)
	}
	s.end(false)
	return lost
}

// A flipped bit at any byte of a file, and a file that is cut off there, do not prevent a start.
// The damage is logged and the file kept, no sample is invented, and only samples at the damage are
// lost.
func TestDamageAtEveryByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, 1, journal.SyncMode(time.Second))
		files, in := s.smallImage()
		host := func(p place) string { return p.key.Host }
		part := func(p place) string { return in[p] }
		all := func(what string, lost []place, of func(place) string, allowed string) {
			t.Helper()
			for _, p := range lost {
				if of(p) != of(lost[0]) || !strings.Contains(of(p), allowed) {
					t.Fatalf("%s: %v is lost, and %v", what, p, lost[0])
				}
			}
		}
		for _, path := range slices.Sorted(maps.Keys(files)) {
			content := files[path]
			segment := strings.HasSuffix(path, ".rsj")
			hit := 0
			for at := range len(content) {
				if at%max(*stride/4, 1) != 0 {
					continue
				}
				changed := bytes.Clone(content)
				changed[at] ^= 1 << (at % 8)
				what := fmt.Sprintf("%s, bit flipped at %d of %d", path, at, len(content))
				lost := s.restoreDamaged(what, path, files, changed)
				switch {
				case segment:
					all(what, lost, part, "record")
				case strings.HasSuffix(path, blocksSuffix):
					all(what, lost, part, "checkpoint")
					fallthrough
				default: // without a host's series its records in the journal are lost too
					all(what, lost, host, "")
				}
				if len(lost) > 0 {
					hit++
				}

				what = fmt.Sprintf("%s, cut off at %d of %d", path, at, len(content))
				lost = s.restoreDamaged(what, path, files, content[:at])
				if segment || strings.HasSuffix(path, blocksSuffix) {
					for _, p := range lost {
						if segment != strings.Contains(in[p], "record") {
							t.Fatalf("%s: %v is lost", what, p)
						}
					}
				}
			}
			t.Logf("%s: %d bytes; of the flipped bits %d cost samples", filepath.Base(path), len(content), hit)
		}
	})
}
