package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/configs"
)

// Check finds what the server would fail on at its start, as far as that can be found without
// opening a port, creating a file or connecting to a server. The keys are read as by
// [OpenKeyring]. The error has a line for each problem, and is a [ConfigError] if one of them is.
func Check(ctx context.Context, cfg *configs.Config, log *slog.Logger) error {
	identity, err := LookUp(cfg.Main.User, cfg.Main.Group)
	errs := []error{err}
	if !cfg.Auth.Disabled {
		ring, err := OpenKeyring(ctx, cfg, log, log)
		if err == nil {
			err = ring.Close()
		}
		errs = append(errs, err)
	}
	WarnOfReadable(cfg, log)
	_, storeErr := Store(cfg, nil)
	errs = append(errs, CheckCertificate(cfg), checkSources(ctx, cfg), storeErr, checkDirectories(cfg, identity))
	err = errors.Join(errs...)
	if _, ok := errors.AsType[ConfigError](err); ok {
		return ConfigError{err}
	}
	return err
}

// Certificate returns the certificate files of the HTTP server, none without HTTPS.
func Certificate(cfg *configs.Config) rest.Certificate {
	m := cfg.Main
	return rest.Certificate{CertFile: m.HTTPSCertFile, KeyFile: m.HTTPSKeyFile, ClientCAFile: m.HTTPSClientCAFile, ClientCRLFile: m.HTTPSClientCRLFile}
}

// CheckCertificate reads the certificate files. Its errors are of type [ConfigError].
func CheckCertificate(cfg *configs.Config) error {
	c := Certificate(cfg)
	if c == (rest.Certificate{}) {
		return nil
	}
	if err := c.Check(); err != nil {
		return ConfigError{fmt.Errorf("main.https-cert-file: %w", err)}
	}
	return nil
}

// checkSources reads the token for cc-backend, the projects file, and what NATS needs.
func checkSources(ctx context.Context, cfg *configs.Config) error {
	sources, err := Jobs(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if sources != nil {
		_, err = ReadProjectsFile(cfg.Auth.Jobs.ProjectsFile)
	}
	o, natsErr := NATS(ctx, cfg, sources)
	if natsErr == nil && len(o.Subjects) > 0 {
		if natsErr = o.CheckFiles(); natsErr != nil {
			natsErr = ConfigError{fmt.Errorf("nats: %w", natsErr)}
		}
	}
	return errors.Join(err, natsErr)
}

// checkDirectories finds directories that the server cannot create or write to.
func checkDirectories(cfg *configs.Config, who Identity) error {
	var errs []error
	check := func(key, dir string, missing bool) {
		if err := who.checkCreate(dir, missing); err != nil {
			errs = append(errs, ConfigError{fmt.Errorf("%s: %w", key, err)})
		}
	}
	check("metric-store.checkpoints.directory", cfg.MetricStore.Checkpoints.Directory, true)
	if c := cfg.MetricStore.Cleanup; c.Mode == configs.CleanupArchive {
		check("metric-store.cleanup.directory", c.Directory, true)
	}
	if file := cfg.Auth.AuditLog; file != "" {
		check("auth.audit-log", parent(file), false)
	}
	return errors.Join(errs...)
}

// parent is the directory that holds path, which may be relative.
func parent(path string) string {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return filepath.Dir(path)
	}
	return filepath.Dir(absolute)
}
