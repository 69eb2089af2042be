package setup

import (
	"context"
	"fmt"

	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/configs/secrets"
	"github.com/ringstore/ringstore/configs/secrets/azurekv"
)

// newReader returns a reader for the configuration's references.
func newReader(ctx context.Context, cfg *configs.Config) (secrets.Reader, error) {
	kv := cfg.Auth.AzureKV
	var reader secrets.Reader
	var password configs.Secret
	if kv.ClientSecret != "" {
		var err error
		if password, err = reader.Word(ctx, kv.ClientSecret); err != nil {
			return reader, ConfigError{fmt.Errorf("auth.azure-kv.client-secret: %w", err)}
		}
	}
	reader.AzureKV = azurekv.New(azurekv.Options{
		TenantID:      kv.TenantID,
		ClientID:      kv.ClientID,
		ClientSecret:  string(password),
		AuthorityHost: kv.AuthorityHost,
		NamePrefix:    kv.NamePrefix,
	})
	return reader, nil
}

// resolve returns the value at a path of the configuration, which may be a reference.
func resolve(ctx context.Context, cfg *configs.Config, path string, value configs.Secret) (configs.Secret, error) {
	if _, isReference, _ := configs.ParseReference(string(value)); !isReference {
		return value, nil
	}
	reader, err := newReader(ctx, cfg)
	if err != nil {
		return "", err
	}
	word, err := reader.Word(ctx, string(value))
	if err != nil {
		return "", ConfigError{fmt.Errorf("%s: %w", path, err)}
	}
	return word, nil
}
