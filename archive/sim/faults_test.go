package sim

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/archive/journal"
)

// faultActions are those of disks.
func faultActions() []action {
	return []action{
		{"disk-error", 4, true, func(s *server, r *rand.Rand) error {
			s.fail(r, pick[error](r, syscall.EIO, syscall.ENOSPC, &disktest.ShortWrite{Bytes: r.IntN(100), Err: syscall.ENOSPC}))
			return nil
		}},
		{"unreadable", 3, true, func(s *server, r *rand.Rand) error {
			if s.changed { // a damaged file may have no other readable copy
				return nil
			}
			s.end(false)
			s.failReads(r, pick(r, syscall.EIO, syscall.EMFILE, syscall.ESTALE))
			return asMismatch(s.startAgain(false))
		}},
		{"rot", 2, true, func(s *server, r *rand.Rand) error {
			return s.damage(func(files []string) ([]string, error) {
				path := files[r.IntN(len(files))]
				content, err := s.read(path)
				if err != nil || len(content) == 0 {
					return nil, err
				}
				content[r.IntN(len(content))] ^= 1 << r.IntN(8)
				return []string{path}, s.replace(path, content)
			})
		}},
		{"vanish", 2, true, func(s *server, r *rand.Rand) error {
			return s.damage(func(files []string) ([]string, error) {
				path := files[r.IntN(len(files))]
				return []string{path}, errors.Join(s.fsys.Remove(path), s.fsys.SyncDir(filepath.Dir(path)))
			})
		}},
		{"swap", 2, true, func(s *server, r *rand.Rand) error {
			return s.damage(func(files []string) ([]string, error) {
				a := files[r.IntN(len(files))]
				files = slices.DeleteFunc(files, func(b string) bool { return a == b || filepath.Ext(a) != filepath.Ext(b) })
				if len(files) == 0 {
					return nil, nil
				}
				b := files[r.IntN(len(files))]
				first, err := s.read(a)
				second, err2 := s.read(b)
				return []string{a, b}, errors.Join(err, err2, s.replace(a, second), s.replace(b, first))
			})
		}},
	}
}

// needsSpace lists the operations that fail on a full disk.
var needsSpace = map[disktest.Kind]bool{
	disktest.Write: true, disktest.Sync: true, disktest.SyncDir: true, disktest.Rename: true,
	disktest.Link: true, disktest.Truncate: true, disktest.Mkdir: true,
}

// fail makes some operations fail.
func (s *server) fail(r *rand.Rand, cause error) {
	from := s.fsys.Operations() + 1 + r.IntN(pick(r, 5, 50, 200))
	to := from + pick(r, 1, 1, 4, 15)
	full := errors.Is(cause, syscall.ENOSPC)
	fault := func(op disktest.Op) error {
		if op.N >= to {
			s.fault.Store(nil)
			return nil
		}
		if op.N < from || full && !needsSpace[op.Kind] {
			return nil
		}
		if op.Kind == disktest.Sync && s.sync == journal.Off {
			s.unsynced.Store(true)
			s.torn.Store(2)
		}
		s.ailing.Store(true)
		return cause
	}
	s.fault.Store(&fault)
}

// failReads makes a start unable to read some files, for a while or until it gives up.
func (s *server) failReads(r *rand.Rand, cause error) {
	var files []string
	for _, path := range s.files(s.dir) {
		if r.IntN(4) == 0 && filepath.Ext(path) != ".rsj" {
			files = append(files, path)
		}
	}
	kinds := pick(r, []disktest.Kind{disktest.Open}, []disktest.Kind{disktest.Read}, []disktest.Kind{disktest.Open, disktest.Read})
	end := time.Now().Add(pick(r, 4*time.Second, time.Hour))
	fault := func(op disktest.Op) error {
		if time.Now().Before(end) && slices.Contains(kinds, op.Kind) && slices.Contains(files, op.Path) {
			return cause
		}
		return nil
	}
	s.fault.Store(&fault)
}

// failing reports whether an operation may just have failed. A journal that has failed recovers
// within some seconds.
func (s *server) failing() bool {
	if s.fault.Load() == nil && s.ailing.Load() && (s.archive == nil || s.archive.Unavailable() == nil) {
		s.ailing.Store(false)
		return true
	}
	return s.fault.Load() != nil || s.ailing.Load()
}

// damage ends the process, changes files, and starts it again. Nothing is lost if the changed files
// have a second generation. Otherwise anything that was in them may be lost, but nothing is invented,
// and what two checkpoints later is still there stays.
func (s *server) damage(change func(files []string) ([]string, error)) error {
	s.end(false)
	changed, err := change(s.files(s.dir))
	if err != nil || len(changed) == 0 {
		return asMismatch(errors.Join(err, s.startAgain(false)))
	}
	spare := s.spare(changed)
	if s.changed = true; s.forgetsClock(changed) {
		s.trusted = s.now()
	}
	s.torn.Store(2) // a damaged segment stays until then
	if spare {
		return asMismatch(s.startAgain(false))
	}
	s.model.doubt()
	if err := s.startAgain(false); err != nil {
		return asMismatch(err)
	}
	if err := errors.Join(s.checkpoint(), s.checkpoint()); err != nil {
		return asMismatch(err)
	}
	s.end(false)
	s.model.doubt()
	return asMismatch(s.startAgain(false))
}

// forgetsClock reports whether a start trusts the wall clock, because the manifests, which say how far
// earlier processes trusted it, are changed.
func (s *server) forgetsClock(changed []string) bool {
	return !slices.ContainsFunc(s.files(s.dir), func(path string) bool {
		return strings.HasPrefix(filepath.Base(path), "MANIFEST-") && !slices.Contains(changed, path)
	})
}

// spare reports whether another file holds what the changed ones do.
func (s *server) spare(changed []string) bool {
	if len(changed) > 1 || s.changed || s.torn.Load() > 0 || s.unjournaled > 0 { // or some of it is in no journal
		return false
	}
	for _, path := range changed {
		if !strings.HasSuffix(path, ".rsw") {
			return false
		}
	}
	return true
}

// files returns the paths of the archive's files that a start reads.
func (s *server) files(dir string) (all []string) {
	entries, _ := disk.List(s.fsys, dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir() && e.Name() != "snapshots":
			all = append(all, s.files(path)...)
		case strings.HasPrefix(e.Name(), "MANIFEST-"), slices.Contains([]string{".rsb", ".rsw", ".rsj", ".rsm"}, filepath.Ext(path)):
			all = append(all, path)
		}
	}
	return all
}

func (s *server) read(path string) ([]byte, error) {
	f, err := s.fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(f)
	return content, errors.Join(err, f.Close())
}

// replace writes a file so that it survives a loss of power.
func (s *server) replace(path string, content []byte) error {
	return disk.Publish(s.fsys, path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// asMismatch marks an error as one of the simulation.
func asMismatch(err error) error {
	if err == nil {
		return nil
	}
	return &mismatch{err}
}
