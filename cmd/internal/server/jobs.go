package server

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/auth/source"
	"github.com/ringstore/ringstore/auth/ticker"
	"github.com/ringstore/ringstore/cmd/internal/setup"
	"github.com/ringstore/ringstore/configs"
)

// staleCheckInterval is the time between two checks whether a job source has fallen silent.
const staleCheckInterval = 10 * time.Second

// jobSources runs the configured job sources and watches whether they fall silent. A nil
// *jobSources is valid: it has no sources and knows no jobs.
type jobSources struct {
	setup.JobSources
	maxStaleness time.Duration
	log          *slog.Logger
	projects     *source.Watcher // nil if no projects file is followed
}

func newJobSources(ctx context.Context, cfg *configs.Config, log *slog.Logger) (*jobSources, error) {
	sources, err := setup.Jobs(ctx, cfg, log)
	if sources == nil || err != nil {
		return nil, err
	}
	return &jobSources{JobSources: *sources, maxStaleness: cfg.Auth.Jobs.MaxStaleness, log: log}, nil
}

func (s *jobSources) configured() *setup.JobSources {
	if s == nil {
		return nil
	}
	return &s.JobSources
}

// load restores the jobs that were known at the last stop.
func (s *jobSources) load() error {
	if s == nil {
		return nil
	}
	if err := s.Keeper.Load(); err != nil {
		return err
	}
	n := s.Index.Size()
	s.log.Info("jobs restored", "jobs", n.Jobs, "open", n.Open, "intervals", n.Intervals)
	return nil
}

// followProjects reads the configured projects file, and reads it again when it changes. A file
// that was followed before is left once the new one is read.
func (s *jobSources) followProjects(ctx context.Context, file string) error {
	if s == nil {
		return nil
	}
	before := s.projects
	if file == "" {
		s.projects = nil
	} else {
		if _, err := setup.ReadProjectsFile(file); err != nil {
			return err
		}
		w, err := source.Open(ctx, source.Options{Log: s.log}, setup.ProjectsFile(file, s.Index.SetProjects))
		if err != nil {
			return fmt.Errorf("auth.jobs.projects-file: %w", err)
		}
		s.projects = w
	}
	if before != nil {
		if err := before.Close(); err != nil {
			return err
		}
	}
	if file == "" {
		s.Index.SetProjects(nil)
	}
	return nil
}

// close stops following the projects file.
func (s *jobSources) close() error {
	if s == nil || s.projects == nil {
		return nil
	}
	return s.projects.Close()
}

// start starts the goroutines of the sources with run. They end with ctx.
func (s *jobSources) start(ctx context.Context, run func(func())) {
	if s == nil {
		return
	}
	run(func() { s.Keeper.Run(ctx) })
	run(func() { s.watch(ctx) })
	if s.Poller != nil {
		run(func() { s.Poller.Run(ctx) })
	}
}

// index returns the index of jobs, nil if there is none.
func (s *jobSources) index() *jobs.Index {
	if s == nil {
		return nil
	}
	return s.Index
}

// size returns the size of the index, zero if there is none.
func (s *jobSources) size() jobs.Size {
	if s == nil {
		return jobs.Size{}
	}
	return s.Index.Size()
}

// sourceStatus is when a source last reported which jobs run.
type sourceStatus struct {
	name       string
	lastReport time.Time // 1970 if there was none
}

// status returns the status of every source, always in the same order.
func (s *jobSources) status() (all []sourceStatus) {
	if s == nil {
		return nil
	}
	if s.Poller != nil {
		all = append(all, sourceStatus{"cc-backend", time.Unix(s.Index.LastPoll(), 0)})
	}
	if s.Events != nil {
		all = append(all, sourceStatus{"nats", time.Unix(s.Index.EventsAliveAt(), 0)})
	}
	return all
}

func (s *jobSources) isStale(source sourceStatus) bool {
	return time.Since(source.lastReport) > s.maxStaleness
}

// notes returns one sentence for each source that has been silent for too long.
func (s *jobSources) notes() (notes []string) {
	for _, source := range s.status() {
		switch {
		case !s.isStale(source):
		case source.lastReport.Unix() == 0:
			notes = append(notes, "jobs: "+source.name+" has not reported running jobs yet: users cannot see them")
		default:
			notes = append(notes, fmt.Sprintf("jobs: %s has not reported running jobs since %s: users cannot see later samples",
				source.name, source.lastReport.UTC().Format(time.RFC3339)))
		}
	}
	return notes
}

// watch logs when sources fall silent, and when they report again.
func (s *jobSources) watch(ctx context.Context) {
	silent := 0
	for range ticker.Every(ctx, staleCheckInterval) {
		notes := s.notes()
		switch {
		case len(notes) > silent:
			s.log.Warn("a job source is silent", "notes", notes)
		case len(notes) < silent:
			s.log.Info("a job source reports again", "notes", notes)
		}
		silent = len(notes)
	}
}
