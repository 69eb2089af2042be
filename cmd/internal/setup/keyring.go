package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/keyring"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/configs/secrets"
)

// plainIssuer names the issuer of tokens without "iss" if main.jwt-public-key is all that the
// configuration says of it.
const plainIssuer = "jwt-public-key"

// OpenKeyring opens the configured keyring. If a file or an environment variable cannot be used, the
// error is a [ConfigError]. chainLog gets warnings about keys and settings; it may
// be nil.
func OpenKeyring(ctx context.Context, cfg *configs.Config, log, chainLog *slog.Logger) (*keyring.Keyring, error) {
	o, err := KeyringOptions(ctx, cfg)
	if err != nil {
		return nil, err
	}
	o.Log, o.ChainLog = log, chainLog
	ring, err := keyring.Open(ctx, o)
	_, ofVault := errors.AsType[vaultError](err)
	if err != nil && !ofVault && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		err = ConfigError{err}
	}
	return ring, err
}

// vaultError says that a vault could not be read, which is no mistake of the configuration: it may
// be readable at the next start.
type vaultError struct{ error }

// Unwrap returns the cause.
func (e vaultError) Unwrap() error { return e.error }

// KeyringOptions returns the keyring's options without loggers.
func KeyringOptions(ctx context.Context, cfg *configs.Config) (keyring.Options, error) {
	reader, err := newReader(ctx, cfg)
	if err != nil {
		return keyring.Options{}, err
	}
	return keyringOptions(cfg, reader)
}

func keyringOptions(cfg *configs.Config, reader secrets.Reader) (keyring.Options, error) {
	o := keyring.Options{RevocationFile: cfg.Auth.RevocationFile, PollInterval: cfg.Auth.PollInterval}
	var errs []error
	for n, c := range issuers(cfg) {
		path := fmt.Sprintf("auth.issuers[%d]", n)
		settings, err := issuerSettings(c, cfg.Auth)
		if err != nil {
			return o, fmt.Errorf("%s: %w", path, err)
		}
		i := keyring.Issuer{
			Issuer:        settings,
			PublicKeyFile: c.PublicKeyFile,
			KeyID:         c.KeyID,
			JWKSFile:      c.JWKSFile,
			JWKSURLs:      c.JWKSURLs,
			Discovery:     c.Discovery,
		}
		if c.Issuer == "" {
			i.Ed25519Key, err = keyValue("main.jwt-public-key", cfg.Main.JWTPublicKey, reader)
			errs = append(errs, err)
		}
		i.PublicKey, err = keyValue(path+".public-key", c.PublicKey, reader)
		errs = append(errs, err)
		i.SharedSecret, err = secretValue(path+".shared-secret", c.SharedSecret, reader)
		errs = append(errs, err)
		o.Issuers = append(o.Issuers, i)
	}
	return o, errors.Join(errs...)
}

// issuers returns the entries of auth.issuers, and one for main.jwt-public-key if no entry is for
// tokens without "iss".
func issuers(cfg *configs.Config) []configs.Issuer {
	all := cfg.Auth.Issuers
	for _, i := range all {
		if i.Issuer == "" {
			return all
		}
	}
	if cfg.Main.JWTPublicKey == "" {
		return all
	}
	return append(all[:len(all):len(all)], configs.Issuer{Name: plainIssuer})
}

// issuerSettings returns an entry's settings without keys.
func issuerSettings(c configs.Issuer, rules configs.Auth) (auth.Issuer, error) {
	requireExpiry, maxLifetime, leeway := rules.TimesOf(c)
	i := auth.Issuer{
		Name:              c.Name,
		Issuer:            c.Issuer,
		Algorithms:        c.Algorithms,
		Audience:          c.Audience,
		AuthorizedParties: c.AuthorizedParties,
		PrincipalClaims:   c.PrincipalClaims,
		JobUserClaim:      c.JobUserClaim,
		ProjectsClaims:    c.ProjectsClaims,
		ResourcesClaim:    c.ResourcesClaim,
		TrustIsBot:        c.TrustIsBot,
		RolesClaims:       c.RolesClaims,
		Clusters:          c.Clusters,
		RequireExpiry:     &requireExpiry,
		MaxLifetime:       maxLifetime,
		Leeway:            cmp.Or(leeway, -1), // package auth takes 0 as its default, the configuration as none
	}
	if c.RequireClaims != nil {
		i.RequireClaims = make(map[string][]string, len(c.RequireClaims))
		for claim, values := range c.RequireClaims {
			i.RequireClaims[claim] = values
		}
	}
	var err error
	if i.RoleMap, err = mappedRoles("role-map", c.RoleMap); err != nil {
		return i, err
	}
	if i.PrincipalMap, err = mappedRoles("principal-map", c.PrincipalMap); err != nil {
		return i, err
	}
	for _, name := range c.DefaultRoles {
		role, ok := auth.ParseRole(name)
		if !ok {
			return i, fmt.Errorf("default-roles: unknown role %q", name)
		}
		i.DefaultRoles |= role
	}
	return i, nil
}

// mappedRoles returns a role map or principal map, nil for nil.
func mappedRoles(key string, grants map[string]configs.Grant) (map[string]auth.MappedRole, error) {
	if grants == nil {
		return nil, nil
	}
	roles := make(map[string]auth.MappedRole, len(grants))
	for value, grant := range grants {
		role, ok := auth.ParseRole(grant.Role)
		if !ok {
			return nil, fmt.Errorf("%s: unknown role %q", key, grant.Role)
		}
		roles[value] = auth.MappedRole{Role: role, Clusters: grant.Clusters}
	}
	return roles, nil
}

// keyValue returns a key that the configuration holds or refers to, nil if text is empty.
func keyValue(path, text string, reader secrets.Reader) (*keyring.Value, error) {
	if text == "" {
		return nil, nil
	}
	ref, isReference, err := configs.ParseReference(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	v := &keyring.Value{Path: path, Data: []byte(text)}
	if isReference {
		refer(v, ref, func(ctx context.Context) ([]byte, error) { return reader.Read(ctx, text) })
	}
	return v, nil
}

// secretValue returns a shared secret that the configuration holds or refers to, nil if there is
// none.
func secretValue(path string, value configs.Secret, reader secrets.Reader) (*keyring.Value, error) {
	if value == "" {
		return nil, nil
	}
	text, _ := strings.CutPrefix(string(value), "base64:")
	ref, isReference, err := configs.ParseReference(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	v := &keyring.Value{Path: path}
	if isReference {
		refer(v, ref, func(ctx context.Context) ([]byte, error) { return reader.Key(ctx, value) })
		return v, nil
	}
	if v.Data, err = reader.Key(context.Background(), value); err != nil { // reads nothing: it is no reference
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// refer makes v a reference that read resolves.
func refer(v *keyring.Value, ref configs.Reference, read func(context.Context) ([]byte, error)) {
	v.Reference = ref.String()
	if ref.Store == configs.StoreFile {
		v.File = ref.Name
	}
	v.Read = func(ctx context.Context) ([]byte, error) {
		data, err := read(ctx)
		if failed, ok := errors.AsType[*secrets.Error](err); ok {
			err = failed.Err // the keyring's error has the reference
		}
		if err != nil && ref.Store == configs.StoreAzureKV {
			err = vaultError{err}
		}
		return data, err
	}
}
