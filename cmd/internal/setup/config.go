// Package setup turns the configuration into the options of each package: of the store, the
// archive, NATS, the keyring, job sources and the policy. The server uses it, and so do the
// commands that look at the same configuration without a server.
package setup

import (
	"errors"
	"strings"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/keyring"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/configs/secrets"
)

// ConfigError says that the configuration cannot be used. It is printed as it is.
type ConfigError struct{ Err error }

func (e ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e ConfigError) Unwrap() error { return e.Err }

// Load reads and checks a configuration file, and the keys in it; nothing that it refers to is
// read. Its errors are of type [ConfigError].
func Load(file string) (*configs.Config, error) {
	cfg, err := configs.Load(file)
	if err != nil {
		return nil, ConfigError{err}
	}
	_, publishersErr := publishers(cfg)
	if err := errors.Join(checkKeys(cfg), publishersErr); err != nil {
		return nil, ConfigError{errors.New(configs.Printable(file) + ": " + strings.ReplaceAll(err.Error(), "\n", "\n"+configs.Printable(file)+": "))}
	}
	return cfg, nil
}

// checkKeys finds errors in issuers and keys, such as a weak key, that package configs cannot know
// of.
func checkKeys(cfg *configs.Config) error {
	if cfg.Auth.Disabled {
		return nil
	}
	o, err := keyringOptions(cfg, secrets.Reader{})
	if err != nil {
		return err
	}
	return keyring.Check(o)
}

// Policy returns what each role may do.
func Policy(cfg *configs.Config) auth.Policy {
	return auth.Policy{
		UsersReadAll: cfg.Auth.UsersRead == configs.UsersReadAll,
		JobSource:    cfg.Auth.Jobs.HasSource(cfg.Main),
	}
}
