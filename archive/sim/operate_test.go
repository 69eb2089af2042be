package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
)

// limits are those of memory, in bytes. The larger ones hold most of what a script writes.
var limits = []int64{40_000, 60_000, 100_000}

// operatorActions are those of the operator and of the server's own schedule.
func operatorActions() []action {
	return []action{
		{"configure", 5, true, func(s *server, r *rand.Rand) error {
			if r.IntN(3) == 0 {
				s.end(false)
			} else if err := s.stop(); err != nil {
				return err
			}
			s.configure(r)
			return asMismatch(s.startAgain(false))
		}},
		{"tick", 6, true, func(s *server, _ *rand.Rand) error {
			if err := s.store.Maintain(); err != nil {
				return err
			}
			if s.store.StoreFirst() {
				return s.checkpoint()
			}
			return nil
		}},
		{"archive", 4, true, func(s *server, r *rand.Rand) error {
			s.model.archiving = max(s.model.archiving, s.now().Add(-s.retention).Unix())
			return s.archive.Cleanup(context.Background(), r.IntN(3) == 0)
		}},
		{"day", 1, false, func(s *server, r *rand.Rand) error {
			s.pass(time.Duration(4+r.IntN(22)) * time.Hour)
			return nil
		}},
		{"jump", 1, false, func(s *server, r *rand.Rand) error {
			s.jump(pick(r, 0, 0, 3*24*time.Hour, 10*time.Minute, -10*time.Minute, -2*time.Hour))
			if r.IntN(2) == 0 {
				s.pass(time.Duration(r.IntN(60)) * time.Second)
				if s.archive != nil {
					if err := s.store.Maintain(); err != nil {
						return err
					}
				}
				s.jump(0)
			}
			return nil
		}},
		{"snapshot", 2, true, func(s *server, _ *rand.Rand) error {
			m := s.model.clone()
			info, err := s.archive.Snapshot(context.Background())
			if err == nil {
				s.snapshots = append(s.snapshots, snapshot{info.Path, m})
			}
			return err
		}},
		{"rewind", 2, true, func(s *server, r *rand.Rand) error {
			if len(s.snapshots) == 0 {
				return nil
			}
			s.end(false)
			return asMismatch(s.rewind(s.snapshots[r.IntN(len(s.snapshots))]))
		}},
	}
}

// configure changes one thing in the configuration.
func (s *server) configure(r *rand.Rand) {
	switch r.IntN(5) {
	case 0, 1:
		s.frequencies[r.IntN(len(metrics))] = pick(r, int64(10), 20, 30, 60)
	case 2:
		s.frequencies[r.IntN(len(metrics))] = pick(r, int64(0), 60)
	case 3:
		s.retention = pick(r, time.Hour, 2*time.Hour, 6*time.Hour, 12*time.Hour)
	case 4:
		s.memory = pick(r, 0, 0, pick(r, limits...))
	}
}

// snapshot is a copy of the archive, with what it must hold.
type snapshot struct {
	path  string
	model *model
}

// rewind copies a snapshot to a new directory, and starts the server there.
func (s *server) rewind(from snapshot) error {
	s.dir += "x"
	if err := s.copyAll(from.path, s.dir); err != nil {
		return err
	}
	horizon, archiving, n := s.model.horizon, s.model.archiving, s.model.n
	s.model = from.model.clone()
	s.model.horizon, s.model.archiving, s.model.n = max(horizon, s.model.horizon), max(archiving, s.model.archiving), n
	s.model.durable, s.model.firm = n, n
	s.rewound = true
	return s.startAgain(false)
}

// copyAll copies a directory so that the copy survives a loss of power.
func (s *server) copyAll(from, to string) error {
	entries, err := disk.List(s.fsys, from)
	if err := errors.Join(err, s.fsys.MkdirAll(to, 0o750)); err != nil {
		return err
	}
	for _, e := range entries {
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if e.IsDir() {
			err = s.copyAll(source, target)
		} else {
			var content []byte
			if content, err = s.read(source); err == nil {
				err = s.replace(target, content)
			}
		}
		if err != nil {
			return err
		}
	}
	return s.fsys.SyncDir(to)
}
