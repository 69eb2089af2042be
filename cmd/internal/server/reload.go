package server

import (
	"context"
	"reflect"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/source"
	"github.com/ringstore/ringstore/cmd/internal/setup"
	"github.com/ringstore/ringstore/configs"
)

// reload reads the configuration file again and applies what may change while the server runs:
// the audit log is reopened; issuers, keys, revocations, projects and the certificate. Unusable values are logged; the previous ones
// stay active.
func (s *Server) reload(ctx context.Context, file string) {
	defer serviceManager{s.log}.reloading()()
	s.reopenAudit()
	cfg, err := setup.Load(file)
	if err != nil {
		s.log.Error("reload failed; the previous configuration stays active", "error", err)
		return
	}
	s.audit.Record(auth.Event{Transport: "signal", Action: auth.Reload, Code: auth.Accepted})
	logWarnings(cfg, s.log)
	for _, section := range sectionsNeedingRestart(s.cfg, cfg) {
		s.log.Warn("a changed setting requires a restart", "section", section)
	}
	if s.keyring != nil && !cfg.Auth.Disabled {
		s.logReload("issuers, keys and revocations", s.reloadKeys(ctx, cfg))
	}
	if s.jobs != nil && !cfg.Auth.Disabled {
		s.logReload("the projects file", s.jobs.followProjects(ctx, cfg.Auth.Jobs.ProjectsFile))
	}
	if s.main.IsHTTPS() && cfg.Main.HTTPSCertFile != "" {
		s.logReload("the HTTPS certificate", s.followCertificate(ctx, cfg))
	}
}

// reloadKeys replaces the keyring's configuration.
func (s *Server) reloadKeys(ctx context.Context, cfg *configs.Config) error {
	o, err := setup.KeyringOptions(ctx, cfg)
	if err != nil {
		return err
	}
	o.Log = s.log
	return s.keyring.Reload(ctx, o)
}

func (s *Server) logReload(what string, err error) {
	if err != nil {
		s.log.Error("reload failed; the previous state stays active", "what", what, "error", err)
		return
	}
	s.log.Info("reloaded", "what", what)
}

// sectionsNeedingRestart returns the sections of the configuration with changes that reload does
// not apply.
func sectionsNeedingRestart(before, now *configs.Config) (sections []string) {
	a, b := withoutReloadable(*before), withoutReloadable(*now)
	for _, section := range []struct {
		name        string
		before, now any
	}{
		{"main", a.Main, b.Main},
		{"metrics", a.Metrics, b.Metrics},
		{"metric-store", a.MetricStore, b.MetricStore},
		{"nats", a.NATS, b.NATS},
		{"auth", a.Auth, b.Auth},
		{"limits", a.Limits, b.Limits},
		{"explorer", a.Explorer, b.Explorer},
		{"prometheus", a.Prometheus, b.Prometheus},
	} {
		if !reflect.DeepEqual(section.before, section.now) {
			sections = append(sections, section.name)
		}
	}
	return sections
}

// withoutReloadable removes the settings that reload applies. Of the HTTPS files it keeps whether
// there are any.
func withoutReloadable(c configs.Config) configs.Config {
	c.Main.JWTPublicKey = ""
	if c.Main.HTTPSCertFile != "" {
		c.Main.HTTPSCertFile, c.Main.HTTPSKeyFile, c.Main.HTTPSClientCAFile = "set", "set", ""
		c.Main.HTTPSClientCRLFile = ""
	}
	c.Auth.Issuers, c.Auth.Times = nil, configs.Times{}
	c.Auth.PollInterval, c.Auth.RevocationFile, c.Auth.AzureKV = 0, "", configs.AzureKV{}
	c.Auth.Jobs.ProjectsFile = ""
	return c
}

// followCertificate loads the configured certificate, and loads it again whenever its files change.
func (s *Server) followCertificate(ctx context.Context, cfg *configs.Config) error {
	c := setup.Certificate(cfg)
	load := func([]byte) error { return s.loadCertificate(c) }
	files := []*source.Source{source.File(c.CertFile, load), source.File(c.KeyFile, load)}
	if c.ClientCAFile != "" {
		files = append(files, source.File(c.ClientCAFile, load))
	}
	if c.ClientCRLFile != "" {
		files = append(files, source.FileUpTo(rest.MaxRevocationLists, c.ClientCRLFile, load))
	}
	w, err := source.Open(ctx, source.Options{Log: s.log}, files...)
	if err != nil {
		return err
	}
	before := s.certificate
	s.certificate = w
	if before == nil {
		return nil
	}
	return before.Close()
}
