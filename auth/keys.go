package auth

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/ringstore/ringstore/auth/jwk"
)

// ErrPublishedKey is CheckKey's error for the key pair in the documentation of cc-backend and
// cc-metric-store. The key is cryptographically sound, so callers may warn instead of refusing it.
var ErrPublishedKey = jwk.ErrPublished

// ParsePublicKey reads the Ed25519 public key of main.jwt-public-key in any format that jwk.Parse
// supports, and returns the format's name. Errors name unsupported key types and contain nothing of
// the input. Use CheckKey to refuse weak keys.
func ParsePublicKey(data []byte) (key ed25519.PublicKey, format string, err error) {
	set, format, err := jwk.Parse(data)
	if errors.Is(err, jwk.ErrUnknown) {
		return nil, "", fmt.Errorf("not an Ed25519 public key: %w", err)
	}
	if err != nil {
		return nil, "", err
	}
	if len(set.Keys) != 1 {
		return nil, "", errors.New("expected one public key, got several")
	}
	key, ok := set.Keys[0].Public.(ed25519.PublicKey)
	if !ok {
		return nil, "", fmt.Errorf("expected an Ed25519 public key, got %s", set.Keys[0].Kind())
	}
	return key, format, nil
}

// CheckKey returns an error if an Ed25519 key is weak or published; see [jwk.Check].
func CheckKey(key ed25519.PublicKey) error { return jwk.Check(key) }
