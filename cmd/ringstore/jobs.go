package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/ringstore/ringstore/api/nats"
	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/auth/jobs/ccbackend"
	"github.com/ringstore/ringstore/configs"
)

const (
	// jobMargin is how much longer than samples their jobs are kept.
	jobMargin = 24 * time.Hour
	// jobLength is how long jobs may run that are asked for after their end when
	// nothing is known of them.
	jobLength = 7 * 24 * time.Hour
	// staleEvery is how often it is looked whether the sources have fallen silent.
	staleEvery = 10 * time.Second
)

// jobSources are the index of jobs and what tells it of them.
type jobSources struct {
	index  *jobs.Index
	keeper *jobs.Keeper
	poller *ccbackend.Poller // nil if cc-backend is not asked
	events *jobs.Events      // nil if none come
	stale  time.Duration
	log    *slog.Logger
}

// newJobs returns what knows whose jobs run where, nil if the configuration names
// nobody who does, or if everybody is admin.
func newJobs(ctx context.Context, cfg *configs.Config, log *slog.Logger) (*jobSources, error) {
	c := cfg.Auth.Jobs
	if cfg.Auth.Disabled || !c.Known(cfg.Main) {
		return nil, nil
	}
	retention := cfg.MetricStore.RetentionInMemory
	s := &jobSources{
		index: jobs.New(jobs.Options{Keep: retention + jobMargin, MaxStaleness: c.MaxStaleness}),
		stale: c.MaxStaleness, log: log,
	}
	s.keeper = &jobs.Keeper{
		Index: s.index, Log: log,
		File: disk.WholeFile{FS: disk.OS{}, Path: filepath.Join(cfg.MetricStore.Checkpoints.Directory, jobs.FileName)},
	}
	if c.NATS != nil {
		s.events = jobs.NewEvents(s.index, c.NATS.Publishers)
	}
	if c.Backend.Token == "" || cfg.Main.BackendURL == "" {
		return s, nil
	}
	client, err := newBackendClient(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.poller = ccbackend.NewPoller(ccbackend.PollerOptions{
		Client: client, Index: s.index, LookBack: retention + jobLength, Interval: c.Backend.PollInterval, Log: log,
	})
	return s, nil
}

// newBackendClient returns what asks the cc-backend of the configuration.
func newBackendClient(ctx context.Context, cfg *configs.Config) (*ccbackend.Client, error) {
	token, err := resolve(ctx, cfg, "auth.jobs.backend.token", configs.Secret(cfg.Auth.Jobs.Backend.Token))
	if err != nil {
		return nil, err
	}
	client, err := ccbackend.NewClient(cfg.Main.BackendURL, string(token))
	if err != nil {
		return nil, usageError{fmt.Errorf("main.backend-url: %w", err)}
	}
	return client, nil
}

// subjects are those that events come on.
func (s *jobSources) subjects(cfg *configs.Config) []nats.Subject {
	if s == nil || s.events == nil {
		return nil
	}
	n := cfg.Auth.Jobs.NATS
	return []nats.Subject{{Subject: n.Subject, Authorization: nats.Authorization(n.Authorization), Events: s.events}}
}

// load brings back what was known at the last stop.
func (s *jobSources) load() error {
	if s == nil {
		return nil
	}
	if err := s.keeper.Load(); err != nil {
		return err
	}
	n := s.index.Size()
	s.log.Info("jobs restored", "jobs", n.Jobs, "open", n.Open, "intervals", n.Intervals)
	return nil
}

// start runs all that has to, until ctx ends; run is given each part.
func (s *jobSources) start(ctx context.Context, run func(func())) {
	if s == nil {
		return
	}
	run(func() { s.keeper.Run(ctx) })
	run(func() { s.watch(ctx) })
	if s.poller != nil {
		run(func() { s.poller.Run(ctx) })
	}
}

// known returns the index, nil if there is none.
func (s *jobSources) known() *jobs.Index {
	if s == nil {
		return nil
	}
	return s.index
}

// teller is one that tells of jobs, and when it did so last.
type teller struct {
	name string
	told time.Time // 1970 if never
}

func (s *jobSources) tellers() (all []teller) {
	if s == nil {
		return nil
	}
	if s.poller != nil {
		all = append(all, teller{"cc-backend", time.Unix(s.index.LastPoll(), 0)})
	}
	if s.events != nil {
		all = append(all, teller{"nats", time.Unix(s.index.EventsAliveAt(), 0)})
	}
	return all
}

func (s *jobSources) isStale(t teller) bool { return time.Since(t.told) > s.stale }

// notes says of which sources too long nothing was heard.
func (s *jobSources) notes() (notes []string) {
	for _, from := range s.tellers() {
		switch {
		case !s.isStale(from):
		case from.told.Unix() == 0:
			notes = append(notes, "jobs: "+from.name+" has not told yet which run: users see none of these")
		default:
			notes = append(notes, fmt.Sprintf("jobs: %s has not told which run since %s: users see none of the time after that",
				from.name, from.told.UTC().Format(time.RFC3339)))
		}
	}
	return notes
}

// watch logs when sources fall silent, and when they are heard again.
func (s *jobSources) watch(ctx context.Context) {
	silent := 0
	for range ticks(ctx, staleEvery) {
		notes := s.notes()
		switch {
		case len(notes) > silent:
			s.log.Warn("a source of jobs is silent", "notes", notes)
		case len(notes) < silent:
			s.log.Info("a source of jobs is heard again", "notes", notes)
		}
		silent = len(notes)
	}
}
