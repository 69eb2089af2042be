package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/configs/secrets"
)

// trust tells whose tokens are good, by a configuration that may be replaced.
type trust struct {
	*auth.Cache
	chain *auth.Chain
	ring  *keyring // of the configuration in force
	log   *slog.Logger
}

// checkTrust finds what the configuration itself has wrong, reading nothing that
// it refers to.
func checkTrust(cfg *configs.Config) error {
	if cfg.Auth.Disabled {
		return nil
	}
	_, err := newKeyring(cfg, secrets.Reader{}, nil)
	return err
}

// openTrust reads the keys and follows them until close.
func openTrust(ctx context.Context, cfg *configs.Config, log *slog.Logger) (*trust, error) {
	ring, err := openKeyring(ctx, cfg, log, log)
	if err != nil {
		return nil, err
	}
	return &trust{Cache: auth.NewCache(ring.chain, nil), chain: ring.chain, ring: ring, log: log}, nil
}

// openKeyring is a keyring with all that can be read. The second log is for what
// the chain finds odd.
func openKeyring(ctx context.Context, cfg *configs.Config, log, odd *slog.Logger) (*keyring, error) {
	reader, err := newSecrets(ctx, cfg)
	if err != nil {
		return nil, err
	}
	ring, err := newKeyring(cfg, reader, odd)
	if err != nil {
		return nil, err
	}
	if err := ring.open(ctx, cfg.Auth.PollInterval, log); err != nil {
		return nil, fmt.Errorf("auth: %w", errors.Join(err, ring.close()))
	}
	return ring, nil
}

// reload puts another configuration in force, or with an error leaves everything
// as it is. Verdicts from before hold no longer, but who was just found good
// is still known.
func (t *trust) reload(ctx context.Context, cfg *configs.Config) error {
	ring, err := openKeyring(ctx, cfg, t.log, nil)
	if err != nil {
		return err
	}
	if err := ring.takeOver(t.ring); err != nil {
		return errors.Join(err, ring.close())
	}
	before := t.ring
	t.ring = ring
	return before.close()
}

func (t *trust) close() error { return t.ring.close() }
