package main

import (
	"context"
	"reflect"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth/source"
	"github.com/ringstore/ringstore/configs"
)

// reload takes from the configuration as it is now what may change while the
// service runs: issuers, keys, revocations and the certificate. What cannot be
// used stays as it was.
func (s *service) reload(ctx context.Context, file string) {
	defer supervisor{s.log}.reloading()()
	cfg, err := loadConfig(file)
	if err != nil {
		s.log.Error("not reloaded, everything stays as it was", "error", err)
		return
	}
	for _, w := range cfg.Warnings {
		s.log.Warn("configuration", "problem", w.String())
	}
	for _, section := range needRestart(s.cfg, cfg) {
		s.log.Warn("what changed here takes a restart", "section", section)
	}
	if s.trust != nil && !cfg.Auth.Disabled {
		s.reloaded("issuers, keys and revocations", s.trust.reload(ctx, cfg))
	}
	if s.server.IsHTTPS() && cfg.Main.HTTPSCertFile != "" {
		s.reloaded("the HTTPS certificate", s.followCertificate(ctx, cfg))
	}
}

func (s *service) reloaded(what string, err error) {
	if err != nil {
		s.log.Error("not reloaded, it stays as it was", "what", what, "error", err)
		return
	}
	s.log.Info("reloaded", "what", what)
}

// needRestart names the sections of the configuration that changed in more than
// what reload takes.
func needRestart(before, now *configs.Config) (sections []string) {
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
	} {
		if !reflect.DeepEqual(section.before, section.now) {
			sections = append(sections, section.name)
		}
	}
	return sections
}

// withoutReloadable keeps of the files of HTTPS only whether there are some.
func withoutReloadable(c configs.Config) configs.Config {
	c.Main.JWTPublicKey = ""
	if c.Main.HTTPSCertFile != "" {
		c.Main.HTTPSCertFile, c.Main.HTTPSKeyFile, c.Main.HTTPSClientCAFile = "set", "set", ""
	}
	c.Auth.Issuers, c.Auth.Times = nil, configs.Times{}
	c.Auth.PollInterval, c.Auth.RevocationFile, c.Auth.AzureKV = 0, "", configs.AzureKV{}
	return c
}

// httpsFiles names the files of HTTPS, none without it.
func httpsFiles(cfg *configs.Config) rest.Certificate {
	m := cfg.Main
	return rest.Certificate{CertFile: m.HTTPSCertFile, KeyFile: m.HTTPSKeyFile, ClientCAFile: m.HTTPSClientCAFile}
}

// followCertificate takes the certificate that a configuration names, and from
// then on whatever comes into its place.
func (s *service) followCertificate(ctx context.Context, cfg *configs.Config) error {
	c := httpsFiles(cfg)
	load := func([]byte) error { return s.server.LoadCertificate(c) }
	files := []*source.Source{source.File(c.CertFile, load), source.File(c.KeyFile, load)}
	if c.ClientCAFile != "" {
		files = append(files, source.File(c.ClientCAFile, load))
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
