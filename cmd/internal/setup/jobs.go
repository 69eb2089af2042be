package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/auth/jobs/ccbackend"
	"github.com/ringstore/ringstore/auth/source"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/configs/smallfile"
)

const (
	// jobMargin is how much longer than samples their jobs are kept.
	jobMargin = 24 * time.Hour
	// maxJobDuration is how long a job may run that cc-backend still reports if it ended while this
	// program was down.
	maxJobDuration = 7 * 24 * time.Hour
)

// JobSources is the index of jobs and the sources that fill it.
type JobSources struct {
	Index  *jobs.Index
	Keeper *jobs.Keeper
	Poller *ccbackend.Poller // nil if cc-backend is not polled
	Events *jobs.Events      // nil if no events are subscribed to
}

// Jobs returns the configured job sources, nil if there are none or authentication is disabled.
func Jobs(ctx context.Context, cfg *configs.Config, log *slog.Logger) (*JobSources, error) {
	c := cfg.Auth.Jobs
	if cfg.Auth.Disabled || !c.HasSource(cfg.Main) {
		return nil, nil
	}
	retention := cfg.MetricStore.RetentionInMemory
	index := jobs.New(jobs.Options{Keep: retention + jobMargin, MaxStaleness: c.MaxStaleness})
	s := &JobSources{
		Index: index,
		Keeper: &jobs.Keeper{
			Index: index, Log: log,
			File: disk.WholeFile{FS: disk.OS{}, Path: filepath.Join(cfg.MetricStore.Checkpoints.Directory, jobs.FileName)},
		},
	}
	if c.NATS != nil {
		named, err := publishers(cfg)
		if err != nil {
			return nil, ConfigError{err}
		}
		s.Events = jobs.NewEvents(index, named)
	}
	if c.Backend.Token == "" || cfg.Main.BackendURL == "" {
		return s, nil
	}
	client, err := backendClient(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.Poller = ccbackend.NewPoller(ccbackend.PollerOptions{
		Client: client, Index: index, LookBack: retention + maxJobDuration, Interval: c.Backend.PollInterval, Log: log,
	})
	return s, nil
}

// publishers returns auth.jobs.nats.publishers. Each must name its issuer, unless
// main.jwt-public-key is the only one, and it must be a subject that nobody can choose. The errors
// have the text to write instead.
func publishers(cfg *configs.Config) ([]jobs.Publisher, error) {
	n := cfg.Auth.Jobs.NATS
	if n == nil || cfg.Auth.Disabled {
		return nil, nil
	}
	all := issuers(cfg)
	var named []jobs.Publisher
	var errs []error
	for at, text := range n.Publishers {
		p, err := publisher(text, all, len(cfg.Auth.Issuers) == 0)
		if err != nil {
			errs = append(errs, fmt.Errorf("auth.jobs.nats.publishers[%d]: %q %w", at, text, err))
		}
		named = append(named, p)
	}
	return named, errors.Join(errs...)
}

// publisher finds the issuer that a publisher names. alone says that issuers has only that of
// main.jwt-public-key.
func publisher(text string, issuers []configs.Issuer, alone bool) (p jobs.Publisher, err error) {
	var fits []string // full names of the subject at each issuer where nobody can choose it
	for _, i := range issuers {
		settings, err := issuerSettings(i, configs.Auth{})
		if err != nil {
			return p, err
		}
		subject, ok := strings.CutPrefix(text, i.Name+":")
		switch {
		case ok && subject != "" && p.Issuer != "":
			return p, fmt.Errorf("may be of the issuer %q or %q: rename one of them", p.Issuer, i.Name)
		case ok && subject != "" && !settings.MayName(subject):
			return p, fmt.Errorf("can be impersonated: people choose all principal-claims of the issuer %q; "+
				"add one that they cannot choose, such as sub, and name the publisher by it", i.Name)
		case ok && subject != "":
			p = jobs.Publisher{Issuer: i.Name, Subject: subject}
		case settings.MayName(text):
			fits = append(fits, fmt.Sprintf("%q", i.Name+":"+text))
		}
	}
	switch {
	case p.Issuer != "":
		return p, nil
	case alone && !strings.Contains(text, ":"):
		return jobs.Publisher{Issuer: plainIssuer, Subject: text}, nil
	case len(fits) == 0:
		return p, errors.New("names no issuer: write ISSUER:SUBJECT")
	default:
		return p, fmt.Errorf("names no issuer, so every issuer's subject of this name could report jobs: write %s", strings.Join(fits, " or "))
	}
}

// ProjectsFile returns the source of auth.jobs.projects-file, which calls apply with the projects.
func ProjectsFile(file string, apply func(map[string][]string)) *source.Source {
	return source.FileUpTo(jobs.MaxProjects, file, func(data []byte) error {
		projects, err := jobs.ParseProjects(data)
		if err == nil {
			apply(projects)
		}
		return err
	})
}

// ReadProjectsFile reads a projects file; an empty name has no projects. Its errors are of type
// [ConfigError].
func ReadProjectsFile(file string) (projects map[string][]string, err error) {
	if file == "" {
		return nil, nil
	}
	data, err := smallfile.ReadRegular(file, jobs.MaxProjects)
	if err == nil {
		projects, err = jobs.ParseProjects(data)
	}
	if err != nil {
		return nil, ConfigError{fmt.Errorf("auth.jobs.projects-file: %s: %w", file, err)}
	}
	return projects, nil
}

// Nodes returns what asks cc-backend for the nodes that run jobs, nil if the configuration has no
// cc-backend.
func Nodes(ctx context.Context, cfg *configs.Config, log *slog.Logger) (*ccbackend.Nodes, error) {
	c := cfg.Auth.Jobs.Backend
	if cfg.Main.BackendURL == "" || c.Token == "" {
		return nil, nil
	}
	client, err := backendClient(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return ccbackend.NewNodes(ccbackend.NodesOptions{
		Client:    client,
		Retention: cfg.MetricStore.RetentionInMemory,
		Interval:  c.PollInterval,
		Log:       log,
	}), nil
}

// backendClient returns a client of the configured cc-backend.
func backendClient(ctx context.Context, cfg *configs.Config) (*ccbackend.Client, error) {
	token, err := resolve(ctx, cfg, "auth.jobs.backend.token", configs.Secret(cfg.Auth.Jobs.Backend.Token))
	if err != nil {
		return nil, err
	}
	client, err := ccbackend.NewClient(cfg.Main.BackendURL, string(token))
	if err != nil {
		return nil, ConfigError{fmt.Errorf("main.backend-url: %w", err)}
	}
	return client, nil
}
